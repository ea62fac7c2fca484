"""Migrations go up, down and up again, and agree with the models."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import URL

from bx24app.extensions import Base
from bx24app.migrations import alembic_config
from tests import database
from tests.conftest import plain_environ


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: URL = request.getfixturevalue("postgres")
    with database.fresh_database(server) as url:
        yield url


def tables(url: str) -> set[str]:
    engine = create_engine(url)
    try:
        return set(inspect(engine).get_table_names()) - {"alembic_version"}
    finally:
        engine.dispose()


def test_up_down_and_up_again(empty_database: str) -> None:
    environ = plain_environ() | {"BX24APP_DATABASE_URL": empty_database}
    database.migrate(environ, "upgrade")
    assert tables(empty_database) == set(Base.metadata.tables)
    database.migrate(environ, "check")
    database.migrate(environ, "downgrade", "base")
    assert tables(empty_database) == set()
    database.migrate(environ, "upgrade")
    database.migrate(environ, "check")
    database.migrate(environ, "current")


def test_ready_only_with_all_migrations(app: Flask, client: FlaskClient) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert (client.get("/readyz").status_code, client.get("/readyz").json) == (200, {"status": "ok"})
    with app.app_context():
        command.downgrade(alembic_config(), "base")
        assert client.get("/readyz").status_code == 503
        command.upgrade(alembic_config(), "head")
    assert client.get("/readyz").status_code == 200

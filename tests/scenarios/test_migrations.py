"""Migrations go up, down and up again, and agree with the models."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, MetaData, create_engine, func, inspect, select, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from bx24app.database import Base, is_postgresql, reading
from bx24app.database.migrations import alembic_config
from tests.conftest import plain_environ
from tests.support import database


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


# What any column of a type may hold: one that points to another row finds it there.
SAMPLES: dict[type, Any] = {
    bool: False,
    int: 1,
    float: 1.0,
    str: "x",
    datetime: datetime(2026, 11, 24, 12, tzinfo=UTC),
    date: date(2026, 11, 24),
    Decimal: Decimal(1),
    UUID: UUID(int=7),
    dict: {},
    object: {},
}
REVISIONS = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]


def counts(engine: Engine) -> dict[str, int]:
    """How many rows each table has."""
    metadata = MetaData()
    with engine.connect() as connection:
        metadata.reflect(connection)
        found = {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in metadata.sorted_tables
        }
    return {name: number for name, number in found.items() if name != "alembic_version"}


def fill(engine: Engine) -> None:
    """Put a row into every table that has none."""
    empty = {name for name, number in counts(engine).items() if number == 0}
    metadata = MetaData()
    with engine.begin() as connection:
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            if table.name in empty:
                values = {column.name: SAMPLES[column.type.python_type] for column in table.columns}
                # Two tables of which one takes in the other's rows have different ones.
                values |= {"digest": table.name} if "digest" in values else {}
                connection.execute(table.insert().values(values))


def test_no_migration_loses_a_row(empty_database: str) -> None:
    environ = plain_environ() | {"BX24APP_DATABASE_URL": empty_database}
    engine = create_engine(empty_database, poolclass=NullPool)
    for revision in REVISIONS:
        before = counts(engine)
        database.migrate(environ, "upgrade", revision)
        after = counts(engine)
        # A spent proof goes where limits are kept, and back.
        lost = {name for name, number in before.items() if after.get(name, 0) < number} - {"spent_proof"}
        assert lost == set(), f"upgrade to {revision}"
        fill(engine)
    for revision in reversed(REVISIONS[:-1]):
        before = counts(engine)
        database.migrate(environ, "downgrade", revision)
        lost = {name for name, number in counts(engine).items() if number < before.get(name, 0)} - {"rate"}
        assert lost == set(), f"downgrade to {revision}"


def test_the_decision_that_a_callback_tells_itself_comes_back_with_a_downgrade(empty_database: str) -> None:
    environ = plain_environ() | {"BX24APP_DATABASE_URL": empty_database}
    engine = create_engine(empty_database, poolclass=NullPool)
    database.migrate(environ, "upgrade")
    fill(engine)
    asked = text("SELECT CAST(inputs AS VARCHAR) FROM decision WHERE rule = 'requested' ORDER BY id")
    for command_, revision, told in (("downgrade", "0005", [{"source": "x", "user": "1"}]), ("upgrade", "0006", [])):
        database.migrate(environ, command_, revision)
        with engine.connect() as connection:
            assert [json.loads(inputs) for inputs in connection.scalars(asked)] == told


def test_ready_only_with_all_migrations(app: Flask, client: FlaskClient) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert (client.get("/readyz").status_code, client.get("/readyz").json) == (200, {"status": "ok"})
    with app.app_context():
        command.downgrade(alembic_config(), "base")
        assert client.get("/readyz").status_code == 503
        command.upgrade(alembic_config(), "head")
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("migrate", [command.upgrade, command.current, command.check])
def test_references_are_watched_again_after_a_migration(app: Flask, migrate: Callable[..., None]) -> None:
    with app.app_context():
        migrate(alembic_config(), *(["head"] if migrate is command.upgrade else []))
        with reading() as session:
            if not is_postgresql():
                assert session.execute(text("PRAGMA foreign_keys")).scalar() == 1

"""Connections with the database: one that has died is replaced before its use, and transactions do not nest."""

import pytest
from flask import Flask
from sqlalchemy import create_engine, func, select, text

from bx24app.extensions import reading, writing
from bx24app.models import Portal


def end_connections(url: str) -> None:
    """What a restarted PostgreSQL or a firewall does."""
    engine = create_engine(url)
    with engine.connect() as connection:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
    engine.dispose()


def test_a_connection_that_has_died_is_replaced_at_once(app: Flask, database_url: str) -> None:
    with app.app_context():
        for _ in range(2):
            with reading() as session:
                assert session.scalar(select(func.count()).select_from(Portal)) == 0
            if database_url.startswith("postgresql"):
                end_connections(database_url)


@pytest.mark.parametrize("inner", [reading, writing])
def test_transactions_do_not_nest_and_nobody_waits_for_ever(app: Flask, inner: type) -> None:
    with app.app_context():
        with writing(), pytest.raises(RuntimeError, match="open already"), inner():
            pass
        with writing() as session:
            assert session.scalar(select(func.count()).select_from(Portal)) == 0

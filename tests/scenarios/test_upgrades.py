"""Upgrades: the version before serves meanwhile, or the step that needs a stop is named and nothing is done."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import requests
from alembic import command
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import Script, ScriptDirectory
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, delete, insert, inspect, select, text, update
from sqlalchemy.engine.interfaces import TableKey
from sqlalchemy.exc import DatabaseError

from bx24app.database import reading, writing
from bx24app.database.migrations import (
    ALL_STAND_STILL,
    FIRST_THAT_SAYS,
    alembic_config,
    app_version,
    newest_revision,
    reason_to_stop,
    revision_of,
    steps_that_need_a_stop,
)
from bx24app.database.sole_use import sole_connection
from bx24app.errors import DatabaseInUse
from tests.conftest import Eventually
from tests.scenarios.test_migrations import SAMPLES, empty_database, engine, fill
from tests.support.actors import Actor
from tests.support.operating import Operate, operate, programs
from tests.support.processes import Spawn, StartWeb, kill

Reflected = TypeVar("Reflected")

__all__ = ["empty_database", "engine", "operate", "programs"]

SCRIPTS = [*ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]
SAYING = [script for script in SCRIPTS if script.revision >= FIRST_THAT_SAYS]


def test_every_migration_says_whether_it_needs_a_stop() -> None:
    assert SAYING
    for script in SCRIPTS:
        reason = reason_to_stop(script)
        assert reason is None or (reason and not reason.endswith("."))
        assert script in SAYING or reason == ALL_STAND_STILL


def columns_of(table: Table) -> dict[str, Any]:
    return {column.name: column for column in table.columns}


def reflect(engine: Engine) -> MetaData:
    found = MetaData()
    found.reflect(engine)
    found.remove(found.tables["alembic_version"])
    return found


def narrowed(before: MetaData, after: MetaData) -> list[str]:
    """What the version before cannot work with: what is gone, is another type, or must be given now."""
    wrong: list[str] = []
    for name, old in before.tables.items():
        if name not in after.tables:
            wrong.append(f"{name} is gone")
            continue
        new = columns_of(after.tables[name])
        for column in old.columns:
            now = new.pop(column.name, None)
            if now is None:
                wrong.append(f"{name}.{column.name} is gone")
            elif str(now.type) != str(column.type):
                wrong.append(f"{name}.{column.name} is {now.type}")
            elif column.nullable and not now.nullable:
                wrong.append(f"{name}.{column.name} must be given")
        wrong += [
            f"{name}.{column.name} must be given"
            for column in new.values()
            if not column.nullable and column.server_default is None
        ]
    return wrong


def unique(engine: Engine, tables: list[str]) -> set[tuple[str, str]]:
    """What must be unique or true, by table."""
    with engine.connect() as connection:
        # Of all tables at once: PostgreSQL takes half a minute to be asked about one after the other.
        asked = inspect(connection)
        found = [
            *((table, str(one["column_names"])) for table, one in each(asked.get_multi_indexes()) if one["unique"]),
            *((table, str(one["column_names"])) for table, one in each(asked.get_multi_unique_constraints())),
            *((table, one["sqltext"]) for table, one in each(asked.get_multi_check_constraints())),
            *((table, str(one["constrained_columns"])) for table, one in each(asked.get_multi_foreign_keys())),
        ]
    return {(table, what) for table, what in found if table in tables}


def each(by_table: Mapping[TableKey, list[Reflected]]) -> Iterator[tuple[str, Reflected]]:
    for (_, table), reflected in by_table.items():
        for one in reflected:
            yield table, one


def rows(engine: Engine, tables: MetaData) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        return {
            name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for name, table in tables.tables.items()
        }


def work_as_before(engine: Engine, known: MetaData) -> list[str]:
    """Read and write every table as a program does that knows only these columns; returns where it cannot."""
    failed: list[str] = []
    for table in reversed(known.sorted_tables):
        try:
            with engine.begin() as connection:
                [row] = connection.execute(select(table)).mappings().all()
                connection.execute(update(table).values(dict(row)))
                connection.execute(delete(table))
        except DatabaseError as error:
            failed.append(f"{table.name}: {type(error).__name__}")
    for table in known.sorted_tables:
        values = {column.name: SAMPLES[column.type.python_type] for column in table.columns}
        # Two tables of which one takes in the other's rows have different ones.
        values |= {"digest": table.name} if "digest" in values else {}
        try:
            with engine.begin() as connection:
                connection.execute(insert(table).values(values))
        except DatabaseError as error:
            failed.append(f"{table.name}: {type(error).__name__}")
    return failed


@dataclass(frozen=True)
class Before:
    """What the version before knows, has written, and keeps to."""

    known: MetaData
    written: dict[str, list[tuple[Any, ...]]]
    demanded: set[tuple[str, str]]


def look(engine: Engine) -> Before:
    fill(engine)
    known = reflect(engine)
    return Before(known, rows(engine, known), unique(engine, list(known.tables)))


def hindrances(engine: Engine, before: Before) -> list[str]:
    """What keeps the version before from going on after a step."""
    found = narrowed(before.known, reflect(engine))
    if found:
        return found
    if demanded := unique(engine, list(before.known.tables)) - before.demanded:
        return [f"demands {demanded}"]
    if rows(engine, before.known) != before.written:
        return ["what it has written is another now"]
    return work_as_before(engine, before.known)


@pytest.mark.parametrize("script", SAYING, ids=lambda script: script.revision)
def test_the_version_before_works_with_each_step_that_needs_no_stop(engine: Engine, script: Script) -> None:
    if reason_to_stop(script) is not None:
        pytest.skip("nothing runs during this step")
    command.upgrade(alembic_config(), str(script.down_revision))
    before = look(engine)
    command.upgrade(alembic_config(), script.revision)
    assert hindrances(engine, before) == []


def demand_a_value(op: Operations) -> None:
    with op.batch_alter_table("backup_mark") as table:
        table.alter_column("restored_at", nullable=False)


def demand_a_new_value(op: Operations) -> None:
    # Two steps, for rows that are there have no value.
    op.add_column("budget_day", Column("region", Integer(), server_default="1"))
    op.execute("UPDATE budget_day SET region = 1")
    with op.batch_alter_table("budget_day") as table:
        table.alter_column("region", nullable=False, server_default=None)


def shorten(op: Operations) -> None:
    with op.batch_alter_table("backup_mark") as table:
        table.alter_column("version", type_=String(8))


HARMFUL: dict[str, Callable[[Operations], object]] = {
    "what must be given": demand_a_value,
    "what is new and must be given": demand_a_new_value,
    "what is shorter": shorten,
    "a column that goes": lambda op: op.drop_column("backup_mark", "version"),
    "a column with another name": lambda op: op.execute("ALTER TABLE portal RENAME COLUMN domain TO host"),
    "a table that goes": lambda op: op.drop_table("widget_sighting"),
    "a table with another name": lambda op: op.rename_table("ghost", "decoy"),
    "what must be another": lambda op: op.create_index("uq_portal_host", "portal", ["host"], unique=True),
    "what was written": lambda op: op.execute("UPDATE portal SET host = 'elsewhere'"),
}


@pytest.mark.timeout(240)
def test_a_step_that_would_hinder_the_version_before_is_found(engine: Engine) -> None:
    command.upgrade(alembic_config(), "head")
    missed = []
    for name, harm in HARMFUL.items():
        before = look(engine)
        with engine.begin() as connection:
            harm(Operations(MigrationContext.configure(connection)))
        if not hindrances(engine, before):
            missed.append(name)
    assert missed == []


def test_an_upgrade_waits_for_a_stop_where_a_step_needs_one(
    app: Flask, manager: Actor, operate: Operate, spawn: Spawn, eventually: Eventually
) -> None:
    operate("db", "downgrade", "0031")
    worker = spawn("worker")
    eventually(lambda: is_in_use(app))
    told = operate("db", "upgrade", status=1)
    assert "The upgrade needs a stop, because of 0032 (it was written for an app that stands still)." in told
    assert "The database is in use" in told
    assert revision(app) == "0031"
    kill(worker)
    operate("db", "upgrade")
    assert revision(app) == newest_revision()


def is_in_use(app: Flask) -> bool:
    """Tell whether a process has connected that was just started."""
    with app.app_context():
        try:
            with sole_connection("Nothing"):
                return False
        except DatabaseInUse:
            return True


def revision(app: Flask) -> str | None:
    with app.app_context(), reading() as session:
        return revision_of(session.connection())


def test_an_upgrade_that_needs_no_stop_is_done_while_the_app_serves(
    app: Flask, manager: Actor, operate: Operate, spawn: Spawn, start_web: StartWeb
) -> None:
    [url] = start_web(1)
    spawn("worker")
    operate("db", "downgrade", "0032")
    operate("db", "upgrade", "0033")
    operate("db", "upgrade")
    assert requests.get(f"{url}/readyz", timeout=5).status_code == 200


def test_a_database_of_a_newer_version_is_served_and_not_upgraded(
    app: Flask, client: FlaskClient, manager: Actor, operate: Operate
) -> None:
    with app.app_context(), writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        told = operate("db", "upgrade", status=1)
        assert told.startswith("Error: The database is at migration 9999, which a newer version of the app has made.")
        assert f"This is {app_version()}" in told
        assert client.get("/readyz").status_code == 200
        assert "Is at migration 9999 of a newer version of the app" in operate("doctor")
    finally:
        with app.app_context(), writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": newest_revision()})


def test_an_empty_database_needs_no_stop() -> None:
    assert steps_that_need_a_stop(None) == []
    assert [step.revision for step in steps_that_need_a_stop("0030", "0032")] == ["0031", "0032"]
    assert steps_that_need_a_stop("0032", "0033") == []

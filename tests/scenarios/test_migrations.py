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
from flask import Flask, current_app
from flask.testing import FlaskClient
from sqlalchemy import Engine, MetaData, create_engine, func, inspect, literal, select, table, text, union_all
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from bx24app import create_app
from bx24app.database import Base, db, is_postgresql, reading
from bx24app.database.migrations import alembic_config
from tests.conftest import Eventually, plain_environ
from tests.support import database


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: URL = request.getfixturevalue("postgres")
    with database.fresh_database(server) as url:
        yield url


@pytest.fixture
def engine(empty_database: str) -> Iterator[Engine]:
    """Connections to the empty database, while an app migrates it in this process: a process each takes its time."""
    app = create_app(plain_environ() | {"BX24APP_DATABASE_URL": empty_database})
    engine = create_engine(empty_database, poolclass=NullPool)
    with app.app_context():
        yield engine
        db.engine.dispose()


def upgrade(revision: str) -> None:
    command.upgrade(alembic_config(), revision)


def downgrade(revision: str) -> None:
    command.downgrade(alembic_config(), revision)


def operate(*arguments: str) -> None:
    """Run ``flask db ...``."""
    done = current_app.test_cli_runner().invoke(args=["db", *arguments])
    assert done.exit_code == 0, (done.output, done.exception)


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


@pytest.mark.parametrize(
    "url",
    ["sqlite:////nowhere/at/all.db", "postgresql+psycopg://x@/x?host=/nowhere", "postgresql+psycopg://x@127.0.0.1:1/x"],
)
def test_a_database_that_cannot_be_used_is_one_sentence(url: str) -> None:
    app = create_app(plain_environ() | {"BX24APP_DATABASE_URL": url})
    done = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert done.exit_code == 1
    assert done.output.startswith("Error: The database cannot be used: ")
    assert "Traceback" not in done.output


def test_up_down_and_up_again(engine: Engine) -> None:
    operate("upgrade")
    assert tables(engine) == set(Base.metadata.tables)
    operate("check")
    operate("downgrade", "base")
    assert tables(engine) == set()
    operate("upgrade")
    operate("check")
    operate("current")


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
    """How many rows each table has, asked with one statement: to reflect all tables for it takes most of a second."""
    names = sorted(tables(engine))
    if not names:
        return {}
    every = [select(literal(name).label("name"), func.count().label("rows")).select_from(table(name)) for name in names]
    with engine.connect() as connection:
        return dict(connection.execute(union_all(*every)).all())


def fill(engine: Engine) -> None:
    """Put a row into every table that has none."""
    empty = [name for name, number in counts(engine).items() if number == 0]
    metadata = MetaData()
    with engine.begin() as connection:
        metadata.reflect(connection, only=empty)  # and what they point to
        for filled in metadata.sorted_tables:
            if filled.name not in empty:
                continue
            values = {column.name: SAMPLES[column.type.python_type] for column in filled.columns}
            # Two tables of which one takes in the other's rows have different ones.
            values |= {"digest": filled.name} if "digest" in values else {}
            connection.execute(filled.insert().values(values))


@pytest.mark.parametrize("newest", [4, pytest.param(len(REVISIONS), id="all", marks=pytest.mark.long)])
def test_no_migration_loses_a_row(engine: Engine, newest: int) -> None:
    revisions = REVISIONS[-newest:]
    for revision in revisions:
        before = counts(engine)
        upgrade(revision)
        after = counts(engine)
        # A spent proof goes where limits are kept, and back.
        lost = {name for name, number in before.items() if after.get(name, 0) < number} - {"spent_proof"}
        assert lost == set(), f"upgrade to {revision}"
        fill(engine)
    for revision in reversed(revisions[:-1]):
        before = counts(engine)
        downgrade(revision)
        lost = {name for name, number in counts(engine).items() if number < before.get(name, 0)} - {"rate"}
        assert lost == set(), f"downgrade to {revision}"


def test_the_decision_that_a_callback_tells_itself_comes_back_with_a_downgrade(engine: Engine) -> None:
    upgrade("head")
    fill(engine)
    asked = text("SELECT CAST(inputs AS VARCHAR) FROM decision WHERE rule = 'requested' ORDER BY id")
    for migrate, revision, told in ((downgrade, "0005", [{"source": "x", "user": "1"}]), (upgrade, "0006", [])):
        migrate(revision)
        with engine.connect() as connection:
            assert [json.loads(inputs) for inputs in connection.scalars(asked)] == told


def test_whoever_has_the_app_already_is_led_through_no_first_run(engine: Engine) -> None:
    upgrade("0024")
    fill(engine)
    upgrade("0025")
    row = row_of(engine, "portal_setup")
    assert (row["portal_id"], row["steps"], row["checked_at"]) == (1, {}, None)
    assert row["closed_at"] is not None


def row_of(engine: Engine, table: str) -> dict[str, Any]:
    """The one row of a table, as the database has it now."""
    metadata = MetaData()
    with engine.connect() as connection:
        metadata.reflect(connection, only=[table])
        found = dict(connection.execute(select(metadata.tables[table])).mappings().one())
    # SQLite keeps no zone, and the columns of a table made anew may stand in another order.
    aware = {name: value.replace(tzinfo=UTC) for name, value in found.items() if isinstance(value, datetime)}
    return dict(sorted((found | aware).items()))


def change_row(engine: Engine, table: str, values: dict[str, Any]) -> None:
    """Set columns of the one row of a table."""
    metadata = MetaData()
    with engine.begin() as connection:
        metadata.reflect(connection, only=[table])
        connection.execute(metadata.tables[table].update().values(values))


CHOSEN = {
    "default_line_id": "sip7",
    "default_voice_id": "anna",
    "default_text": "A customer waits.",
    "default_country": "DE",
    "stands_in": True,
    "hours": {"zone": "Europe/Berlin", "week": {"mon": [["09:00", "18:00"]]}},
    "websites_off": True,
    "retries": 3,
    "retry_minutes": 7,
    "line_cap": None,
}
KNOWN_LINES = {
    "lines": {"sip7": "Office", "reg1": "Sales line"},
    "lines_fetched_at": datetime(2026, 11, 25, 9, tzinfo=UTC),
    # "gone" is not listed any more.
    "foreign_lines": ["gone", "reg1"],
    "redialling_lines": {"reg1": "2026-11-25T10:00:00+00:00"},
    "stopped_lines": {"gone": "2026-11-25T11:00:00+00:00"},
}


@pytest.mark.parametrize("known", [KNOWN_LINES, {"lines": None, "lines_fetched_at": None}, {"lines": {}}])
def test_lines_and_settings_of_a_portal_stay_what_they_are(engine: Engine, known: dict[str, Any]) -> None:
    upgrade("0006")
    fill(engine)
    empty: dict[str, Any] = {"foreign_lines": [], "redialling_lines": {}, "stopped_lines": {}}
    change_row(engine, "portal", CHOSEN | empty | known)
    before = row_of(engine, "portal")
    upgrade("0007")
    settings = row_of(engine, "portal_settings")
    assert settings == CHOSEN | {"portal_id": before["id"], "revision": before["revision"]}
    with engine.connect() as connection:
        found = connection.execute(text("SELECT line_id, name, position FROM portal_line ORDER BY line_id")).all()
    listed = [("gone", "", None), ("reg1", "Sales line", 1), ("sip7", "Office", 0)]
    assert [tuple(row) for row in found] == (listed if known is KNOWN_LINES else [])
    downgrade("0006")
    assert row_of(engine, "portal") == before


@pytest.mark.parametrize("state", ["", "found", "asking_lead_1", "asking_contact_0"])
def test_leases_and_the_search_in_the_crm_stay_what_they_are(engine: Engine, state: str) -> None:
    upgrade("0007")
    fill(engine)
    until = datetime(2026, 11, 26, 9, tzinfo=UTC)
    change_row(engine, "website_request", {"crm_state": state, "crm_leased_until": until})
    change_row(engine, "credential", {"renewing_until": until, "fence": 7})
    before = row_of(engine, "website_request"), row_of(engine, "credential")
    upgrade("0008")
    request, credential = row_of(engine, "website_request"), row_of(engine, "credential")
    _, kind, asks = (state.upper() if "_" in state else "_None_0").split("_")
    asked = (request["crm_state"], str(request["crm_kind"]), request["crm_asks"])
    assert asked == (state.split("_", maxsplit=1)[0], kind, int(asks))
    assert (request["leased_until"], credential["leased_until"], credential["lease_fence"]) == (until, until, 7)
    downgrade("0007")
    assert (row_of(engine, "website_request"), row_of(engine, "credential")) == before


def copy_row(engine: Engine, table: str, row: dict[str, Any]) -> None:
    """Put a row into a table, as the table is now."""
    metadata = MetaData()
    with engine.begin() as connection:
        metadata.reflect(connection, only=[table])
        connection.execute(metadata.tables[table].insert().values(row))


def test_keys_get_spaces_of_their_own_and_lose_them_again(engine: Engine) -> None:
    def keys() -> list[str | None]:
        with engine.connect() as connection:
            return list(connection.scalars(text("SELECT idempotency_key FROM callback ORDER BY to_number")))

    def id_of(number: int) -> object:
        return UUID(int=90 + number) if isinstance(row["id"], UUID) else f"y{number}"

    upgrade("0011")
    fill(engine)
    change_row(engine, "callback", {"source": "api", "form_id": 1, "idempotency_key": "order-8061", "to_number": "+1"})
    row = row_of(engine, "callback")
    for number, source, by, key in (
        # A key that looks like another one with its space.
        (2, "api", None, "a.1.order-8061"),
        (3, "staff", 7, "8061"),
        (4, "staff", 7, "s.7.8061"),
        (5, "website", None, "w.digest"),
        (6, "staff", None, "nobody"),
        (7, "api", None, None),
    ):
        other = {"id": id_of(number), "to_number": f"+{number}"}
        copy_row(engine, "callback", row | other | {"source": source, "requested_by": by, "idempotency_key": key})
    before = keys()
    upgrade("0013")
    spaced = ["a.1.order-8061", "a.1.a.1.order-8061", "s.7.8061", "s.7.s.7.8061", "w.digest", "nobody", None]
    assert keys() == spaced
    later = {"id": id_of(8), "to_number": "+8", "source": "staff", "requested_by": 8}
    copy_row(engine, "callback", row | later | {"idempotency_key": "s.8.order-8061"})
    downgrade("0011")
    assert keys() == [*before, None]


def defaults(engine: Engine) -> dict[tuple[str, str], str | None]:
    """What each column has by itself, as the database writes it."""
    found = inspect(engine)
    return {
        (table, column["name"]): column["default"]
        for table in found.get_table_names()
        for column in found.get_columns(table)
        if table != "alembic_version"
    }


def test_the_defaults_of_the_models_are_those_of_the_database(engine: Engine) -> None:
    upgrade("head")
    migrated = defaults(engine)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    assert migrated == defaults(engine)
    assert len([default for default in migrated.values() if default is not None]) > 40


def test_ready_only_with_all_migrations(app: Flask, client: FlaskClient, eventually: Eventually) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert (client.get("/readyz").status_code, client.get("/readyz").json) == (200, {"status": "ok"})
    with app.app_context():
        command.downgrade(alembic_config(), "base")
        eventually(lambda: client.get("/readyz").status_code == 503)
        command.upgrade(alembic_config(), "head")
    eventually(lambda: client.get("/readyz").status_code == 200)


@pytest.mark.parametrize("migrate", [command.upgrade, command.current, command.check])
def test_references_are_watched_again_after_a_migration(app: Flask, migrate: Callable[..., None]) -> None:
    with app.app_context():
        migrate(alembic_config(), *(["head"] if migrate is command.upgrade else []))
        with reading() as session:
            if not is_postgresql():
                assert session.execute(text("PRAGMA foreign_keys")).scalar() == 1

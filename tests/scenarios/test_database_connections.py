"""Connections with the database: one that has died is replaced before its use, and transactions do not nest."""

import multiprocessing
import os
import signal
import time
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import bindparam, create_engine, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from bx24app import create_app
from bx24app.database import db, is_postgresql, reading, writer_lock, writing
from bx24app.database.compiled import CompiledStatement, compiled_reading, compiled_writing
from bx24app.models import Portal, PortalSettings, TokenBucket, utcnow
from bx24app.services.runtime import row_cache
from tests.conftest import OtherApp, plain_environ

COUNT = CompiledStatement(lambda: select(func.count()).select_from(TokenBucket))
ADD = CompiledStatement(
    lambda: insert(TokenBucket).values(
        digest=bindparam("named"), tokens=1, size=1, refill=0, at=0, full_at=bindparam("till")
    )
)


def end_connections(url: str) -> None:
    """Do what a restarted PostgreSQL or a firewall does, and return when it is done."""
    engine = create_engine(url)
    with engine.connect() as connection:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}"))
    engine.dispose()


def test_a_connection_that_has_died_is_replaced_at_once(app: Flask, database_url: str) -> None:
    with app.app_context():
        for _ in range(2):
            with reading() as session:
                assert session.scalar(select(func.count()).select_from(Portal)) == 0
            with compiled_reading() as run:
                assert run(COUNT.bind({})).fetchone() == (0,)
            if database_url.startswith("postgresql"):
                end_connections(database_url)


def test_the_connection_used_last_is_used_next(app: Flask) -> None:
    """It has the statements prepared; the others would have to be brought there one by one."""
    with app.app_context():
        pooled = [db.engine.raw_connection() for _ in range(4)]
        last = pooled[-1].driver_connection
        for one in pooled:
            one.close()
        for _ in range(3):
            with closing(db.engine.raw_connection()) as again:
                assert again.driver_connection is last


def test_a_compiled_statement_is_prepared_by_its_first_run(app: Flask) -> None:
    with app.app_context():
        if not is_postgresql():
            pytest.skip("SQLite's driver keeps every statement")
        for _ in range(2):
            with compiled_reading() as run:
                run(COUNT.bind({}))
        with closing(db.engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("SELECT generic_plans + custom_plans FROM pg_prepared_statements")
            assert cursor.fetchall() == [(2,)]


@pytest.mark.parametrize("inner", [reading, writing, compiled_reading, compiled_writing])
def test_transactions_do_not_nest_and_nobody_waits_for_ever(app: Flask, inner: type) -> None:
    with app.app_context():
        with writing(), pytest.raises(RuntimeError, match="open already"), inner():
            pass
        with writing() as session:
            assert session.scalar(select(func.count()).select_from(Portal)) == 0


def count_without(url: str) -> None:
    with compiled_reading() as run:
        end_connections(url)
        run(COUNT.bind({}))


def test_a_connection_that_dies_in_use_is_not_given_back(app: Flask, database_url: str) -> None:
    if not database_url.startswith("postgresql"):
        return  # A file does not go away.
    with app.app_context():
        with pytest.raises(OperationalError):
            count_without(database_url)
        with compiled_reading() as run:
            assert run(COUNT.bind({})).fetchone() == (0,)


def add_plainly(*names: str) -> None:
    with compiled_writing() as run:
        for name in names if not is_postgresql() else names[-1:]:
            run(ADD.bind({"named": name, "till": 1.0}))


def add_in_vain(name: str) -> None:
    with writing() as session:
        session.add(TokenBucket(digest=name, tokens=1, size=1, refill=0, at=0, full_at=1))
        session.flush()
        raise ZeroDivisionError


def test_plain_writing_is_kept_whole_or_not_at_all(app: Flask) -> None:
    with app.app_context():
        add_plainly("a")
        with pytest.raises(IntegrityError):
            add_plainly("b", "a")
        # The same connection then serves a transaction that is taken back.
        with pytest.raises(ZeroDivisionError):
            add_in_vain("c")
        with reading() as session:
            assert session.scalars(select(TokenBucket.digest)).all() == ["a"]


def _hold_turn(environ: dict[str, str], holds: Event) -> None:
    with create_app(environ).app_context(), writer_lock():
        holds.set()
        time.sleep(60)


def test_the_turn_of_a_killed_process_is_free(app: Flask, environ: dict[str, str]) -> None:
    spawn = multiprocessing.get_context("spawn")
    holds = spawn.Event()
    other = spawn.Process(target=_hold_turn, args=(environ, holds))
    other.start()
    try:
        assert holds.wait(30)
        assert other.pid is not None
        os.kill(other.pid, signal.SIGKILL)
        with app.app_context(), writing() as session:
            assert session.scalar(select(func.count()).select_from(Portal)) == 0
    finally:
        other.kill()
        other.join()


def test_what_is_remembered_is_what_the_database_says(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.app_context():
        row_cache.put_cached("one", (1, 2), "value")
        assert row_cache.get_cached("one", (1, 2)) == "value"
        assert row_cache.get_cached("one", (1, 3)) is None
        assert row_cache.get_cached("two", (1, 2)) is None
        monkeypatch.setattr(row_cache, "CACHED_SECONDS", 0.0)
        row_cache.put_cached("one", (1, 2), "value")
        time.sleep(0.001)
        assert row_cache.get_cached("one", (1, 2)) is None
        monkeypatch.setattr(row_cache, "MAX_CACHED", 3)
        for number in range(10):
            row_cache.put_cached(number, (1,), "value")
        assert len(app.extensions["bx24app.row_cache"]) <= 3


def test_every_update_changes_the_revision(app: Flask) -> None:
    portal = Portal(
        member_id="a" * 32,
        domain="a.example",
        client_endpoint="https://a.example/rest/",
        app_code="a",
        app_id="1",
        installed_at=utcnow(),
    )
    revisions = []
    with app.app_context():
        with writing() as session:
            session.add(portal)
        revisions.append(portal.revisions)
        for change in (_stops_websites, _moves, _lists_lines, _marks_a_line, _stops_a_line, _resumes_a_line):
            with writing() as session:
                change(session.get_one(Portal, portal.id))
            with reading() as session:
                revisions.append(session.get_one(Portal, portal.id).revisions)
        for by_hand in (update(PortalSettings).values(websites_off=False), update(Portal).values(language="ru")):
            with db.engine.begin() as connection:
                connection.execute(by_hand)
            with reading() as session:
                revisions.append(session.get_one(Portal, portal.id).revisions)
    assert len(set(revisions)) == 9


def _stops_websites(portal: Portal) -> None:
    portal.settings.websites_off = True


def _moves(portal: Portal) -> None:
    portal.move("b.example", "https://b.example/rest/")


def _lists_lines(portal: Portal) -> None:
    portal.keep_lines({"reg1": "Sales line"}, utcnow())


def _marks_a_line(portal: Portal) -> None:
    portal.mark_foreign("reg1")


def _stops_a_line(portal: Portal) -> None:
    portal.stop_line("reg1", utcnow())


def _resumes_a_line(portal: Portal) -> None:
    portal.resume_line("reg1")


def test_the_turn_stands_beside_the_file_whatever_leads_there(tmp_path: Path) -> None:
    file = tmp_path / "some.db"
    for url in (f"sqlite:///{file}", f"sqlite:///file:{file}?uri=true"):
        app = create_app(plain_environ() | {"BX24APP_DATABASE_URL": url})
        with app.app_context():
            with writing() as session:
                session.execute(text("CREATE TABLE IF NOT EXISTS some (a)"))
            db.engine.dispose()
    file.chmod(0o640)
    waiting = tmp_path / "some.db-turn"
    waiting.unlink()
    with app.app_context():
        with writing() as session:
            session.execute(text("INSERT INTO some VALUES (1)"))
        db.engine.dispose()
    assert waiting.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.db", "some.db-turn"]


def test_a_database_that_is_away_is_told_as_something_that_passes(other_app: OtherApp) -> None:
    """Nothing listens there: programs and people are asked to come back, and the log has no mistake of ours."""
    client = other_app(DATABASE_URL="postgresql+psycopg://nobody@127.0.0.1:1/nothing").test_client()
    for path in ("/w/0123456789abcdef", "/w/0123456789abcdef/slots"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5"), (path, answer.text)

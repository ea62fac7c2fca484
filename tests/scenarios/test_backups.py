"""Backup and restore: written while the app runs, restored while it does not, and nothing half done."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import MetaData, create_engine, select, text, update

from bx24app.backups import unsettled
from bx24app.database import db, reading, writing
from bx24app.database.copies import read_facts
from bx24app.database.id_gap import ID_GAP
from bx24app.database.migrations import app_version, newest_revision
from bx24app.errors import CommandRefused
from bx24app.models import (
    BackupMark,
    Callback,
    Credential,
    Portal,
    PortalState,
    Rejection,
    RuleRun,
    RuleStage,
    TimelineEntry,
    utcnow,
)
from bx24app.services.portals import token_renewal
from bx24app.services.security import last_restore
from tests.conftest import OtherApp, encryption_key
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.support import ROOT
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.operating import Operate, operate, programs
from tests.support.processes import Spawn, StartWeb, kill
from tests.support.waiting import accept, work
from tests.support.websites import MakeVisitor

__all__ = ["operate", "programs"]


def content(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    metadata, engine = MetaData(), create_engine(url)
    try:
        with engine.connect() as connection:
            metadata.reflect(connection)
            return {
                table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
                for table in metadata.sorted_tables
            }
    finally:
        engine.dispose()


@pytest.fixture
def backup(manager: Actor, app: Flask, operate: Operate, tmp_path: Path) -> Path:
    """Of a portal with one callback that waits."""
    accept(app)
    operate("backup", path := tmp_path / "backup")
    return path


def test_a_backup_is_whole_private_and_says_what_it_is(
    app: Flask, manager: Actor, operate: Operate, spawn: Spawn, start_web: StartWeb, tmp_path: Path
) -> None:
    start_web(1)
    spawn("worker")
    begun = utcnow()
    told = operate("backup", path := tmp_path / "backup")
    assert told == f"{path}: {path.stat().st_size} bytes.\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with app.app_context():
        facts = read_facts(path)
        assert (facts.revision, facts.version) == (newest_revision(), app_version())
        with reading() as session:
            mark = session.get_one(BackupMark, 1)
            assert begun <= mark.made_at <= utcnow()
            assert mark.restored_at is None
    before = path.read_bytes()
    assert "is there already" in operate("backup", path, status=1)
    assert path.read_bytes() == before
    operate("backup", path, "--replace")
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_backup_that_cannot_be_written_leaves_nothing(
    operate: Operate, tmp_path: Path, folder: str, manager: Actor
) -> None:
    (tmp_path / "file").touch()
    assert "cannot be written" in operate("backup", tmp_path / folder / "backup", status=1)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
from app import app
from bx24app.database import db
for arguments in (["backup", sys.argv[1]], ["restore", sys.argv[2], "--replace"]):
    done = app.test_cli_runner().invoke(args=arguments)
    print(done.exit_code, done.output, end="")
    with app.app_context():
        db.engine.dispose()
"""


@pytest.mark.long
def test_a_full_disk_stops_both_and_changes_nothing(
    app: Flask, environ: dict[str, str], database_url: str, backup: Path, tmp_path: Path
) -> None:
    """On this machine no file grows beyond 64 KB."""
    before, files = content(database_url), sorted(tmp_path.iterdir())
    with app.app_context():
        db.engine.dispose()
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "other"), str(backup)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=False)
    backing_up, restoring, *_ = done.stdout.splitlines()
    assert backing_up.startswith("1 Error: The backup cannot be written"), done
    assert sorted(tmp_path.iterdir()) == files
    if database_url.startswith("sqlite"):
        # Of PostgreSQL it is the server's disk.
        assert restoring.startswith("1 Error: The database cannot be written"), done
        # That a backup was tried is noted.
        assert content(database_url) | {"backup_mark": []} == before | {"backup_mark": []}


@pytest.mark.parametrize("process", ["worker", "web"])
def test_nothing_is_restored_while_the_app_runs(
    app: Flask, backup: Path, operate: Operate, spawn: Spawn, start_web: StartWeb, portal: FakePortal, process: str
) -> None:
    # Nothing else is to make the app of this process connect.
    portal.events.pause()
    if process == "web":
        [running] = start_web(1).values()
    else:
        running = spawn("worker")
        wait_until_connected(app, operate, backup)
    told = operate("restore", backup, "--replace", status=1)
    assert "The database is in use: stop every web, worker and other process of the app first." in told
    assert restored_at(app) is None
    kill(running)
    operate("restore", backup, "--replace")
    assert restored_at(app) is not None


def restored_at(app: Flask) -> datetime | None:
    with app.app_context(), reading() as session:
        return session.scalar(select(BackupMark.restored_at))


def wait_until_connected(app: Flask, operate: Operate, backup: Path) -> None:
    """A worker that has just started has connected: it has taken the callback that waits."""
    for _ in range(500):
        with app.app_context(), reading() as session:
            if session.scalar(select(Callback.state)) != "queued":
                return
        time.sleep(0.02)
    raise AssertionError("the worker does nothing")


def cut(backup: Path) -> None:
    os.truncate(backup, backup.stat().st_size // 2)


def overwrite(backup: Path) -> None:
    with backup.open("r+b") as file:
        file.seek(backup.stat().st_size // 2)
        file.write(os.urandom(20_000))


def empty(backup: Path) -> None:
    os.truncate(backup, 0)


def other_file(backup: Path) -> None:
    backup.write_text("hello\n")


def other_database(backup: Path) -> None:
    backup.write_bytes((b"PGDMP" if backup.read_bytes().startswith(b"SQLite") else b"SQLite format 3\0") + b"x" * 100)


def remove(backup: Path) -> None:
    backup.unlink()


WRONG: dict[Callable[[Path], None], str] = {
    cut: "is damaged",
    overwrite: "is damaged",
    empty: "is no backup of this app",
    other_file: "is no backup of this app",
    other_database: "is a backup of a",
    remove: "cannot be read",
}


def test_what_is_no_whole_backup_is_refused(database_url: str, backup: Path, operate: Operate) -> None:
    before, whole = content(database_url), backup.read_bytes()
    for spoil, words in WRONG.items():
        backup.write_bytes(whole)
        spoil(backup)
        told = operate("restore", backup, "--replace", status=1)
        assert words in told, (spoil.__name__, told)
        assert told.count("\n") == 1
        assert content(database_url) == before


def test_a_backup_of_a_newer_version_is_refused(
    app: Flask, database_url: str, manager: Actor, operate: Operate, tmp_path: Path
) -> None:
    def say(revision: str) -> None:
        with app.app_context(), writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})

    say("9999")
    operate("backup", path := tmp_path / "newer")
    say(newest_revision())
    before = content(database_url)
    told = operate("restore", path, "--replace", status=1)
    assert f"was made by version {app_version()} of the app (migration 9999)" in told
    assert content(database_url) == before


def test_a_backup_of_an_older_version_is_migrated(app: Flask, manager: Actor, operate: Operate, tmp_path: Path) -> None:
    operate("db", "downgrade", "0033")
    operate("backup", path := tmp_path / "older")
    operate("db", "upgrade")
    operate("restore", path, "--replace")
    operate("db", "check")
    with app.app_context(), reading() as session:
        assert session.query(Portal).count() == 1


def test_a_database_that_holds_something_is_replaced_only_when_that_is_said(
    app: Flask, database_url: str, backup: Path, operate: Operate
) -> None:
    before = content(database_url)
    assert "The database is not empty: say --replace" in operate("restore", backup, status=1)
    assert content(database_url) == before
    with app.app_context(), writing() as session:
        session.query(Portal).delete()
    operate("restore", backup)
    assert len(content(database_url)["portal"]) == 1


def test_a_database_with_tables_of_others_is_left_alone(app: Flask, backup: Path, operate: Operate) -> None:
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
    try:
        assert "has tables that are not the app's: theirs" in operate("restore", backup, "--replace", status=1)
    finally:
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(text("DROP TABLE theirs"))


def test_a_key_that_is_missing_is_named(
    database_url: str, backup: Path, other_app: OtherApp, operate: Operate, app: Flask
) -> None:
    before = content(database_url)
    with app.app_context():
        db.engine.dispose()
    stranger = other_app(ENCRYPTION_KEYS=encryption_key())
    done = stranger.test_cli_runner().invoke(args=["restore", str(backup), "--replace"])
    assert (done.exit_code, "is not in BX24APP_ENCRYPTION_KEYS" in done.output) == (1, True), done.output
    assert content(database_url) == before


KILLED = """
import sys, time
from bx24app.backups import unsettled
from bx24app.services.portals import token_renewal
from bx24app.services.security import last_restore
def wait(*_):
    print("here", flush=True)
    time.sleep(60)
unsettled.forget_certainties = wait
from flask.cli import main
sys.argv = ["flask", "--app", "app", *sys.argv[1:]]
main()
"""


@pytest.mark.long
def test_a_restore_that_is_killed_leaves_the_database_as_it_was(
    environ: dict[str, str], database_url: str, backup: Path, operate: Operate, app: Flask
) -> None:
    with app.app_context():
        db.engine.dispose()
    before = content(database_url)
    command = [sys.executable, "-c", KILLED, "restore", str(backup), "--replace"]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | environ, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "here\n"
        running.send_signal(signal.SIGKILL)
    assert content(database_url) == before
    operate("restore", backup, "--replace")
    assert content(database_url)["callback"] != before["callback"]


def test_an_error_on_the_way_leaves_the_database_as_it_was(
    database_url: str, backup: Path, operate: Operate, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(database_url)

    def fail(*_: object) -> None:
        raise CommandRefused("something")

    monkeypatch.setattr(unsettled, "forget_certainties", fail)
    assert operate("restore", backup, "--replace", status=1) == "Error: something\n"
    assert content(database_url) == before


def test_ids_that_were_given_since_are_not_given_again(app: Flask, backup: Path, operate: Operate) -> None:
    def add_portal() -> int:
        with app.app_context(), writing() as session:
            session.add(portal := Portal(**{**row, "member_id": f"m{utcnow().timestamp()}"}))
            session.flush()
            return portal.id

    with app.app_context(), reading() as session:
        first = session.query(Portal).one()
        row = {column.key: getattr(first, column.key) for column in Portal.__table__.columns if column.key != "id"}
    lost = add_portal()
    operate("restore", backup, "--replace")
    assert lost < add_portal() == first.id + ID_GAP + 1
    # A table that has never had a row has a gap too.
    with app.app_context(), writing() as session:
        session.add(run := RuleRun(portal_id=first.id, token_digest="x", user_id=1, properties={}, made_at=utcnow()))
        session.flush()
        assert run.id == ID_GAP + 1


def test_what_was_about_to_be_done_elsewhere_is_not_done_again(
    app: Flask, manager: Actor, operate: Operate, tmp_path: Path
) -> None:
    now = utcnow()
    id = accept(app, crm_entity_type="LEAD", crm_entity_id=1)
    with app.app_context(), writing() as session:
        for stage in RuleStage:
            session.add(
                RuleRun(portal_id=1, token_digest=stage, stage=stage, user_id=1, properties={}, made_at=now, due_at=now)
            )
        entry = TimelineEntry(portal_id=1, callback_id=id, origin=id, entity_type="LEAD", entity_id=1, due_at=now)
        session.add(entry)
    operate("backup", path := tmp_path / "backup")
    told = operate("restore", path, "--replace")
    assert "2 runs of automation rules were ended without a call." in told
    with app.app_context(), reading() as session:
        runs = {run.token_digest: run for run in session.query(RuleRun)}
        assert {name: (run.stage, run.reason) for name, run in runs.items()} == {
            "unproven": ("ended", "restored"),
            "received": ("ended", "restored"),
            "calling": ("calling", None),
            "ended": ("ended", None),
        }
        # The card is looked at before anything is added to it.
        entry = session.query(TimelineEntry).one()
        assert (entry.asks, entry.asked_at is not None) == (1, True)


def test_a_request_that_was_accepted_since_is_not_accepted_again(
    app: Flask, visitor_of: MakeVisitor, operate: Operate, tmp_path: Path, other_app: OtherApp, portal: FakePortal
) -> None:
    visitor = visitor_of()
    operate("backup", path := tmp_path / "backup")
    post = {"number": CUSTOMER, "name": "Anna", "consent": True, "altcha": visitor.works(), "idempotency_key": "one"}
    assert visitor.posts(post).status_code == 202
    work(app)
    operate("restore", path, "--replace")
    # What a process that was started since knows.
    app.extensions.pop(last_restore.KEPT)
    refused = visitor.posts(post)
    assert (refused.status_code, json_of(refused)["code"]) == (400, "invalid_request")
    with app.app_context(), reading() as session:
        assert session.scalars(select(Rejection.rule)).all() == ["proof"]
    work(app)
    assert len(portal.telephony.dials) == 1
    # Whoever asks anew is called.
    with time_machine.travel(utcnow() + timedelta(minutes=1)):
        assert visitor.asks("+4930901899").status_code == 202


def test_portals_whose_tokens_were_renewed_since_are_named(
    app: Flask, manager: Actor, fake: FakeBitrix24, operate: Operate, tmp_path: Path, portal: FakePortal
) -> None:
    other = fake.add_portal("beta")
    Actor(manager.client, other, manager.application, other.administrator).installs()
    operate("backup", path := tmp_path / "backup")
    with app.app_context(), writing() as session:
        mine = select(Portal.id).where(Portal.member_id == portal.member_id).scalar_subquery()
        session.execute(update(Credential).where(Credential.portal_id == mine).values(expires_at=utcnow()))
    with app.app_context():
        for id in db_ids(app, portal):
            token_renewal.open_access(id)
    told = operate("restore", path, "--replace", "--renew")
    assert f"{portal.domain} ({portal.member_id}): renewed 0, refused" in told
    assert f"{other.domain} ({other.member_id}): renewed 1, refused 0, no answer 0\n" in told
    assert "1 portals are disconnected" in told
    with app.app_context(), reading() as session:
        states = dict[str, str](session.execute(select(Portal.member_id, Portal.state)).all())
    assert states == {portal.member_id: PortalState.DISCONNECTED, other.member_id: PortalState.INSTALLED}


def db_ids(app: Flask, portal: FakePortal) -> list[int]:
    with app.app_context(), reading() as session:
        query = select(Credential.id).join(Portal, Portal.id == Credential.portal_id)
        return list(session.scalars(query.where(Portal.member_id == portal.member_id)))

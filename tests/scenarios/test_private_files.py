"""The files of a SQLite database: other users of the machine read none, and stop nobody who writes."""

import fcntl
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, text

from bx24app import create_app
from bx24app.database import db, writing
from bx24app.database.compiled import compiled_writing
from bx24app.errors import DatabaseBusy
from bx24app.models import Portal, State
from bx24app.services import diagnostics
from bx24app.services.diagnostics import Level
from tests.conftest import Eventually, plain_environ, working
from tests.fake_bitrix24 import FakePortal
from tests.scenarios.test_database_connections import ADD
from tests.support import ROOT
from tests.support.actors import Actor, json_of
from tests.support.waiting import accept, seen

NOBODY = 65534
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
SUFFIXES = ("", "-wal", "-shm", "-turn")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def app_at(path: Path) -> Flask:
    return create_app(plain_environ() | {"BX24APP_DATABASE_URL": f"sqlite:///{path}"})


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder that the app has to itself, with a database as an operator's umask has left it."""
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    path = folder / "bx24app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE some (a)")
    path.chmod(0o644)
    return path


@contextmanager
def written(app: Flask) -> Iterator[None]:
    """Something is written, and the connection stays open, or the other files would go with it."""
    with app.app_context():
        try:
            with writing() as session:
                session.execute(text("CREATE TABLE IF NOT EXISTS other (a)"))
            yield
        finally:
            db.engine.dispose()


def finding(app: Flask) -> tuple[Level, str]:
    [found] = [one for one in diagnostics.examine_installation() if one.check == "files"]
    return found.level, found.about


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_new_files_are_the_app_s_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Commands of a process of its own, as an operator runs them."""
    folder = tmp_path / "instance"
    program = (
        "import os; os.umask(int(os.environ['WITH_UMASK'])); from bx24app import create_app; from bx24app.database "
        "import db, writing; from sqlalchemy import text; import sys\n"
        "import flask; flask.Flask.auto_find_instance_path = lambda self: sys.argv[1]\n"
        "app = create_app()\n"
        "with app.app_context(), writing() as session:\n"
        "    session.execute(text('CREATE TABLE some (a)'))\n"
        "open(os.path.join(sys.argv[1], 'export.csv'), 'w').close()\n"
        "print([oct(os.stat(os.path.join(sys.argv[1], name)).st_mode & 0o777) for name in os.listdir(sys.argv[1])])\n"
    )
    environ = os.environ | plain_environ() | {"WITH_UMASK": str(umask)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(["0o600"] * 5), done.stdout
    assert mode(folder) == 0o700


def test_files_that_others_could_read_are_closed_at_the_start_and_told(
    own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    turn = own.with_name("bx24app.db-turn")
    turn.touch()
    turn.chmod(0o444)
    app = app_at(own)
    with written(app):
        assert [mode(own.with_name(own.name + suffix)) for suffix in SUFFIXES] == [0o600] * 4
        assert finding(app) == (Level.WARNING, "closed")
    assert "database_files_closed" in caplog.text
    with written(again := app_at(own)):
        assert finding(again) == (Level.OK, "ok")


def test_the_instance_folder_is_closed_and_no_other_one(own: Path) -> None:
    own.parent.chmod(0o755)
    app = app_at(own)
    with written(app):
        assert mode(own.parent) == 0o755
        assert finding(app)[0] == Level.WARNING
    app = app_at(own)
    with written(app):
        assert finding(app) == (Level.WARNING, "listed")
    instance = app_at(own)
    instance.instance_path = str(own.parent)
    with written(instance):
        assert mode(own.parent) == 0o700


def test_a_folder_that_others_write_in_is_left_as_it_is_and_told(own: Path) -> None:
    own.parent.chmod(0o1777)
    app = app_at(own)
    with written(app):
        assert (mode(own.parent), mode(own)) == (0o777, 0o600)
        assert finding(app) == (Level.PROBLEM, "shared")


def _link_to(path: Path, target: Path) -> None:
    path.symlink_to(target)


def _link_to_nothing(path: Path, target: Path) -> None:
    path.symlink_to(target.with_name("not-there"))


def _folder(path: Path, _: Path) -> None:
    path.mkdir()


def _pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [_link_to, _link_to_nothing, _folder, _pipe])
def test_what_is_planted_at_the_locks_place_is_neither_followed_nor_waited_for(
    own: Path, tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("untouched")
    precious.chmod(0o644)
    plant(own.with_name("bx24app.db-turn"), precious)
    with precious.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        app = app_at(own)
        with written(app):
            assert finding(app) == (Level.PROBLEM, "lock")
    assert (mode(precious), precious.read_text()) == (0o644, "untouched")
    assert not precious.with_name("not-there").exists()


@is_root
def test_somebody_elses_lock_is_not_waited_for(own: Path) -> None:
    turn = own.with_name("bx24app.db-turn")
    turn.touch()
    os.chown(turn, NOBODY, NOBODY)
    with turn.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        app = app_at(own)
        with written(app):
            assert finding(app) == (Level.PROBLEM, "lock")


@is_root
def test_what_root_makes_belongs_to_the_owner_of_the_database(own: Path) -> None:
    """``flask db upgrade`` as root does not lock the app out."""
    os.chown(own, NOBODY, NOBODY)
    with written(app_at(own)):
        assert [own.with_name(own.name + suffix).stat().st_uid for suffix in SUFFIXES] == [NOBODY] * 4


@pytest.fixture
def unprivileged(own: Path) -> Iterator[None]:
    """We are an ordinary user, who may do nothing in the folder of the database."""
    if os.geteuid() != 0:
        own.parent.chmod(0o500)
        yield
        own.parent.chmod(0o700)
        return
    own.parent.chmod(0o755)
    for folder in own.parents[:-1]:
        folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_where_nothing_can_be_written_is_told(own: Path, unprivileged: None) -> None:
    app = app_at(own)
    with app.app_context():
        assert finding(app) == (Level.PROBLEM, "read_only")
        db.engine.dispose()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["bx24app.database.writer_lock"], "WAIT_SECONDS", 0.2)


@contextmanager
def holding(app: Flask) -> Iterator[None]:
    """Another process of ours stands still with the lock in its hand."""
    with app.app_context():
        path = db.engine.url.database
    assert path is not None
    with open(f"{path}-turn", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextmanager
def writing_elsewhere(app: Flask) -> Iterator[None]:
    """A program that knows nothing of our lock holds SQLite's own."""
    with app.app_context():
        path = db.engine.url.database
    assert path is not None
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.fixture
def sqlite_only(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not database_url.startswith("sqlite"):
        pytest.skip("PostgreSQL needs no such lock")
    pragmas = ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=200", "synchronous=FULL")
    monkeypatch.setattr("bx24app.database.engine.SQLITE_PRAGMAS", pragmas)


BUSY = pytest.mark.parametrize("busy", [holding, writing_elsewhere])


@BUSY
def test_a_writer_waits_for_a_bounded_time(
    sqlite_only: None, impatient: None, app: Flask, busy: Callable[[Flask], Iterator[None]]
) -> None:
    with app.app_context(), busy(app):  # type: ignore[attr-defined]
        with pytest.raises(DatabaseBusy), writing() as session:
            session.scalar(select(Portal.id))
        with pytest.raises(DatabaseBusy), compiled_writing() as run:
            run(ADD.bind({"named": "a", "till": 1.0}))
    with app.app_context(), writing() as session:
        assert session.scalar(select(Portal.id)) is None


@BUSY
def test_the_web_says_when_to_try_again_and_the_worker_does(
    sqlite_only: None,
    impatient: None,
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    busy: Callable[[Flask], Iterator[None]],
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    id = accept(app)
    with busy(app), working(app):  # type: ignore[attr-defined]
        refused = manager.asks("POST", "/callbacks", json={"to_number": "+493012345678", "line_id": "reg150907"})
        assert (refused.status_code, json_of(refused)["code"]) == (503, "database_busy")
        assert int(refused.headers["Retry-After"]) > 0
        assert "press Retry" in manager.opens().text
        eventually(lambda: "job_postponed" in caplog.text)
    assert "job_failed" not in caplog.text
    assert portal.telephony.dials == []
    with working(app):
        eventually(lambda: seen(app, id).state == State.STARTED)

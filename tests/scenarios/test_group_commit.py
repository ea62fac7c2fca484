"""Writes that wait at the same time share a transaction, and each is kept or undone by itself."""

import gc
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, OperationalError

from bx24app.database import compiled, group_commit, reading, writer_lock, writing
from bx24app.database.compiled import Run
from bx24app.database.group_commit import write_together
from bx24app.errors import DatabaseBusy
from bx24app.models import TokenBucket
from tests.scenarios.test_database_connections import ADD

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
WAITS = 0.3


class Writers:
    """Threads that each write one row, and what became of them."""

    def __init__(self, app: Flask) -> None:
        self._app, self._threads = app, list[threading.Thread]()
        self.told: dict[str, Any] = {}

    def _write(self, name: str, work: Callable[[Run], Any]) -> None:
        with self._app.app_context():
            try:
                self.told[name] = write_together(work)
            except Exception as error:
                self.told[name] = error

    def start(self, name: str, work: Callable[[Run], Any] | None = None) -> None:
        self._threads.append(threading.Thread(target=self._write, args=(name, work or adding(name)), daemon=True))
        self._threads[-1].start()
        time.sleep(0.05)

    def end(self) -> dict[str, Any]:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        return self.told


@pytest.fixture
def writers(app: Flask) -> Writers:
    return Writers(app)


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How each transaction of the writers ended."""
    ends: list[str] = []

    @contextmanager
    def noted(wait_seconds: float) -> Iterator[Run]:
        try:
            with compiled.compiled_writing(wait_seconds) as run:
                yield run
        except BaseException as error:
            ends.append(type(error).__name__)
            raise
        ends.append("committed")

    monkeypatch.setattr(group_commit, "compiled_writing", noted)
    return ends


def adding(*names: str) -> Callable[[Run], int]:
    def work(run: Run) -> int:
        return [run(ADD.bind({"named": name, "till": 1.0})).rowcount for name in names][-1]

    return work


def in_vain(run: Run) -> None:
    run(ADD.bind({"named": "in vain", "till": 1.0}))
    raise LookupError


def kept(app: Flask) -> set[str]:
    with app.app_context(), reading() as session:
        return set(session.scalars(select(TokenBucket.digest)))


def test_those_who_wait_share_a_transaction(app: Flask, writers: Writers, transactions: list[str]) -> None:
    with app.app_context(), writing():
        for name in "abcdefg":
            writers.start(name)
    assert writers.end() == dict.fromkeys("abcdefg", 1)
    assert kept(app) == set("abcdefg")
    # Who came first was in line alone, and all others have come meanwhile.
    assert transactions == ["committed"]
    assert writers.told == dict.fromkeys("abcdefg", 1)


def test_more_than_may_write_at_once_follow_in_the_next(
    app: Flask, writers: Writers, transactions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MOST_TOGETHER", 3)
    with app.app_context(), writing():
        for name in "abcdefg":
            writers.start(name)
    assert writers.end() == dict.fromkeys("abcdefg", 1)
    assert kept(app) == set("abcdefg")
    assert transactions == ["committed"] * 3


def test_what_fails_undoes_its_own_rows_alone(app: Flask, writers: Writers, transactions: list[str]) -> None:
    with app.app_context(), writing():
        writers.start("a")
        writers.start("in vain", in_vain)
        writers.start("twice", adding("b", "a"))
        writers.start("c")
    told = writers.end()
    assert (told["a"], told["c"]) == (1, 1)
    assert isinstance(told["in vain"], LookupError)
    assert isinstance(told["twice"], IntegrityError)
    assert kept(app) == {"a", "c"}
    assert transactions == ["committed"]


def test_nothing_is_synced_for_those_who_are_all_refused(app: Flask, writers: Writers, transactions: list[str]) -> None:
    with app.app_context(), writing():
        writers.start("one", in_vain)
        writers.start("two", in_vain)
    assert all(isinstance(error, LookupError) for error in writers.end().values())
    assert kept(app) == set()
    assert transactions == ["_NothingWritten"]
    # And the same thread, alone.
    with app.app_context(), pytest.raises(LookupError):
        write_together(in_vain)
    assert kept(app) == set()


def test_a_transaction_that_is_lost_is_lost_for_all_of_it(app: Flask, writers: Writers) -> None:
    """As where the disk is full: SQLite takes everything back by itself."""

    def losing(run: Run) -> None:
        run(compiled.Bound("ROLLBACK", []))
        raise sqlite3.OperationalError("database or disk is full")

    with app.app_context(), writing():
        writers.start("a")
        writers.start("lost", losing)
        writers.start("b")
    told = writers.end()
    assert {type(error) for error in told.values()} == {OperationalError}
    assert all("disk is full" in str(error) for error in told.values())
    assert kept(app) == set()
    writers.start("c")
    assert writers.end()["c"] == 1
    assert kept(app) == {"c"}


def test_a_commit_that_fails_is_told_to_all_of_it(
    app: Flask, writers: Writers, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def failing(wait_seconds: float) -> Iterator[Run]:
        with compiled.compiled_writing(wait_seconds) as run:
            yield run
            raise OperationalError("COMMIT", None, sqlite3.OperationalError())

    with monkeypatch.context() as patched:
        patched.setattr(group_commit, "compiled_writing", failing)
        with app.app_context(), writing():
            writers.start("a")
            writers.start("b")
        assert {type(error) for error in writers.end().values()} == {OperationalError}
    assert kept(app) == set()


def test_who_gets_no_turn_in_time_writes_nothing_and_holds_nobody_up(
    app: Flask, writers: Writers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for its own time, whether it stood in line or was about to lead."""
    monkeypatch.setattr(group_commit, "WAIT_SECONDS", WAITS)
    with app.app_context(), writer_lock():
        began = time.monotonic()
        for name in "abc":
            writers.start(name)
        assert {type(error) for error in writers.end().values()} == {DatabaseBusy}
        assert time.monotonic() - began < 2 * WAITS
    with app.app_context():
        assert write_together(adding("d")) == 1
    assert kept(app) == {"d"}


def test_somebody_leads_also_when_the_next_ones_time_ends_at_that_moment(
    app: Flask, writers: Writers, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = group_commit._Write.finish

    def finish_late(write: group_commit._Write, error: BaseException | None) -> None:
        time.sleep(2 * WAITS)
        finish(write, error)

    monkeypatch.setattr(group_commit, "WAIT_SECONDS", WAITS)
    monkeypatch.setattr(group_commit, "MOST_TOGETHER", 1)
    monkeypatch.setattr(group_commit._Write, "finish", finish_late)
    with app.app_context(), writer_lock():
        for name in "ab":
            writers.start(name)
    writers.end()
    monkeypatch.undo()
    with app.app_context():
        assert write_together(adding("c")) == 1


def test_an_error_keeps_nothing_of_its_request(app: Flask) -> None:
    class Body:
        """What somebody has sent."""

    def asks() -> weakref.ref[Body]:
        body = Body()
        with suppress(LookupError):
            write_together(in_vain)
        return weakref.ref(body)

    with app.app_context():
        gc.disable()
        try:
            assert asks()() is None
        finally:
            gc.enable()


def test_many_threads_lose_nothing_and_write_nothing_twice(app: Flask, writers: Writers) -> None:
    """Each adds to what the last one has left, and one in three is undone."""
    rows = 40

    def keep_on(number: int) -> None:
        with app.app_context():
            for row in range(rows):
                name = f"{number}.{row}"
                with suppress(LookupError):
                    write_together(in_vain if row % 3 == 0 else adding(name))

    threads = [threading.Thread(target=keep_on, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = {f"{number}.{row}" for number in range(12) for row in range(rows) if row % 3}
    assert kept(app) == expected
    with app.app_context(), reading() as session:
        assert session.scalar(select(func.count()).select_from(TokenBucket)) == len(expected)


def test_who_has_a_transaction_open_does_not_wait_for_itself(app: Flask) -> None:
    with app.app_context(), writing(), pytest.raises(RuntimeError, match="open already"):
        write_together(adding("a"))

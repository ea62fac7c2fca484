"""When the database fails, nothing that prints the error shows a number, a spoken text or a sealed token."""

import logging
import traceback
from collections.abc import Callable, Iterator

import pytest
import structlog
from flask import Flask
from sqlalchemy import bindparam, create_engine, insert, text
from sqlalchemy.exc import SQLAlchemyError

from bx24app.database import reading, writing
from bx24app.database.compiled import CompiledStatement, compiled_writing
from bx24app.models import DoNotCall, TokenBucket
from tests.support.actors import Actor
from tests.support.visitors import Visitor
from tests.support.waiting import NUMBER, accept

SECRET = "1a2b3c4d.sealed-token"
WORDS = 'Callback from "Clara Fall": 030 901820'
VALUES = ("901820", SECRET, "Clara")
ADD = CompiledStatement(
    lambda: insert(TokenBucket).values(digest=bindparam("named"), tokens=1, size=1, refill=0, at=0, full_at=0)
)


@pytest.fixture
def printed(app: Flask) -> Iterator[list[str]]:
    """Every line of every logger, as the operator sees it."""
    [ours] = [handler for handler in logging.getLogger().handlers if handler.get_name() == "bx24app"]
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Lines()
    handler.setFormatter(ours.formatter)
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)


def tells_nothing(words: str) -> bool:
    return not any(value in words for value in VALUES)


def add_twice() -> None:
    for _ in range(2):
        with writing() as session:
            session.add(DoNotCall(portal_id=1, number_digest=SECRET, number=NUMBER, note=WORDS))


def add_twice_by_hand() -> None:
    for _ in range(2):
        with compiled_writing() as run:
            run(ADD.bind({"named": NUMBER}))


def leave_out() -> None:
    with writing() as session:
        sql = "INSERT INTO do_not_call (portal_id, number_digest, number, note) VALUES (1, :a, :b, :c)"
        session.execute(text(sql), {"a": SECRET, "b": NUMBER, "c": WORDS})


def misread() -> None:
    with reading() as session:
        session.execute(text("SELECT json_extract(:a, :b), CAST(:a AS integer)"), {"a": WORDS, "b": WORDS})


def misread_by_hand() -> None:
    with reading() as session:
        session.execute(text("SELECT CAST(:a AS numeric), json(:b)"), {"a": WORDS, "b": SECRET})


def store_what_is_no_time() -> None:
    with writing() as session:
        session.add(DoNotCall(portal_id=1, number_digest=SECRET, number=NUMBER, note="", added_at=WORDS))


@pytest.mark.parametrize(
    "fail", [add_twice, add_twice_by_hand, leave_out, misread, misread_by_hand, store_what_is_no_time]
)
def test_no_error_of_the_database_carries_a_value(
    app: Flask, manager: Actor, printed: list[str], fail: Callable[[], None]
) -> None:
    with app.app_context(), pytest.raises(SQLAlchemyError) as caught:
        fail()
    error = caught.value
    assert tells_nothing("".join(traceback.format_exception(error)))
    assert tells_nothing(f"{error!r} {error.__cause__!r}")
    structlog.get_logger("bx24app.x").error("failed", exc_info=error)
    logging.getLogger("gunicorn.error").error("Error handling request", exc_info=error)
    assert len(printed) == 2
    for line in printed:
        assert tells_nothing(line)
        assert type(error).__name__ in line
        # Whoever mends it is told where, and the statement.
        assert fail.__name__ in line


@pytest.fixture
def broken(app: Flask, database_url: str) -> Iterator[Callable[[str], None]]:
    """Take away a table, until the end of the test."""
    engine, gone = create_engine(database_url), list[str]()

    def rename(old: str, new: str) -> None:
        with engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    def take(table: str) -> None:
        rename(table, f"hidden_{table}")
        gone.append(table)

    yield take
    for table in gone:
        rename(f"hidden_{table}", table)
    engine.dispose()


@pytest.mark.parametrize("table", ["callback", "attempt", "do_not_call"])
def test_a_failing_database_is_logged_without_what_people_said(
    app: Flask, desk: Actor, visitor: Visitor, printed: list[str], broken: Callable[[str], None], table: str
) -> None:
    accept(app)
    broken(table)
    line_id = next(iter(desk.portal.lines))
    body = {"to_number": NUMBER, "line_id": line_id, "text": WORDS}
    answers = [
        desk.asks("POST", "/callbacks", body),
        desk.asks("GET", "/callbacks?q=901820"),
        visitor.asks(name="Clara Fall"),
        desk.asks("POST", "/do-not-call", {"number": NUMBER, "note": WORDS}),
        desk.opens(),
    ]
    assert 500 in {answer.status_code for answer in answers}
    assert all(tells_nothing(answer.text) for answer in answers if answer.status_code == 500)
    assert [line for line in printed if '"failed"' in line]
    assert all(map(tells_nothing, printed)), [line for line in printed if not tells_nothing(line)]


def test_the_words_of_an_exception_are_not_logged(app: Flask, printed: list[str]) -> None:
    """They quote what somebody has sent, whoever raised it."""

    def read() -> None:
        try:
            int(WORDS)
        except ValueError as error:
            raise KeyError(SECRET) from error

    with pytest.raises(KeyError) as caught:
        read()
    caught.value.add_note(NUMBER)
    structlog.get_logger("bx24app.x").error("failed", exc_info=caught.value)
    assert tells_nothing(printed[0])
    assert "builtins.KeyError" in printed[0]
    assert "builtins.ValueError" in printed[0]
    assert "int(WORDS)" in printed[0]

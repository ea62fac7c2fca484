"""``/healthz`` touches nothing, and ``/readyz`` asks the database at most once a second, whoever asks."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from bx24app.database import db
from bx24app.services.runtime import kept_answer
from bx24app.services.runtime.kept_answer import keep_answer
from tests.support.statements import statements

VERSION = "alembic_version.version_num"


def connections(app: Flask) -> list[str]:
    """Note every connection that is taken from the pool."""
    taken: list[str] = []
    with app.app_context():
        event.listen(db.engine, "checkout", lambda *_: taken.append("taken"))
    return taken


def ready(app: Flask) -> int:
    return app.test_client().get("/readyz").status_code


def test_being_alive_touches_nothing(app: Flask, client: FlaskClient, other_app: Callable[..., Flask]) -> None:
    taken = connections(app)
    assert [client.get("/healthz").status_code for _ in range(3)] == [200] * 3
    assert taken == []
    lost = other_app(DATABASE_URL="sqlite:////no/such/folder/at-all.db")
    assert lost.test_client().get("/healthz").json == {"status": "ok"}
    assert lost.test_client().get("/readyz").status_code == 503


def test_twenty_who_ask_at_once_make_the_database_answer_once_a_second(app: Flask) -> None:
    with statements(app) as ran, ThreadPoolExecutor(20) as pool:
        began = time.monotonic()
        assert set(pool.map(lambda _: ready(app), range(200))) == {200}
        seconds = int(time.monotonic() - began) + 1
        assert 1 <= len([sql for sql in ran if VERSION in sql]) <= seconds
        ran.clear()
        time.sleep(kept_answer.ANSWER_WAIT_SECONDS)
        assert ready(app) == 200
        assert len([sql for sql in ran if VERSION in sql]) == 1


def test_a_database_that_does_not_answer_is_not_called_ready(app: Flask) -> None:
    """And whoever asks meanwhile is told so, instead of waiting too."""
    asked, answers = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        asked.set()
        answers.wait(10)

    assert ready(app) == 200
    time.sleep(1.1)
    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", hang)
    try:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(ready, app)
            assert asked.wait(5)
            began = time.monotonic()
            assert ready(app) == 503
            assert time.monotonic() - began < 5
            answers.set()
            assert first.result() == 200
    finally:
        event.remove(engine, "before_cursor_execute", hang)
    assert ready(app) == 200


@pytest.mark.parametrize("first", [False, 0, None, "bad"])
def test_an_answer_is_kept_whatever_it_is(app: Flask, first: object) -> None:
    answers = [first, "another"]
    with app.app_context():
        assert [keep_answer("x", 60, lambda: answers.pop(0)) for _ in range(2)] == [first, first]
        assert keep_answer("y", 60, lambda: answers.pop(0)) == "another"

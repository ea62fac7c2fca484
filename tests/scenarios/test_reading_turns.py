"""Lists, pages and reports take a processor for long, and those of one portal must not take every thread."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from flask import Flask
from sqlalchemy import text

from bx24app import database
from bx24app.database import reading
from bx24app.models import Form, Portal
from bx24app.web import guards
from tests.support.actors import Actor
from tests.support.waiting import add_form

READS = ["/api/v1/callbacks", "/api/v1/callbacks/counters", "/api/v1/callbacks.csv", "/api/v1/me", "/api/v1/settings"]
READS += ["/api/v1/reports/summary", "/api/v1/reports/by_day.csv", "/desk/view/reports"]
READS += ["/desk/callbacks", "/desk/callbacks/filter", "/desk/view/callbacks", "/desk/view/settings/journal"]
# A portal may have 200 forms, 1,000 webhooks and 600 keys: 2 MB.
READS += ["/api/v1/forms", "/api/v1/webhooks", "/api/v1/api-keys"]
READS += [f"/desk/view/websites{rest}" for rest in ("", "/rejected", "/developers")]
READS += ["/desk/view/settings/log", "/desk/requests?method=none"]
# Of one form, that may have refused 30,000 requests.
READS += ["/api/v1/forms/{key}/refusals", "/desk/view/websites/{key}"]
# What only computes, though it is posted.
POSTS: dict[str, dict[str, object]] = {
    "/api/v1/numbers/read": {"number": "+4930901820"},
    "/api/v1/rules/test": {"number": "+4930901820", "form_key": "{key}"},
    "/desk/forms/{key}/preview": {"settings": {}, "language": "en"},
    "/desk/start/text": {"text": "Hello"},
}
# They wait for the portal, and have bounds of their own.
ASKING = ["/api/v1/lines", "/api/v1/voices", "/desk/check", "/desk/company/hours"]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "READER_WAITS_SECONDS", 0.05)


@contextmanager
def reading_of(app: Flask, portal_id: int, count: int = guards.READ_OF_PORTAL) -> Iterator[None]:
    """Let so many of a portal read at this moment."""
    with app.app_context():
        turns = guards._turns()
    with ExitStack() as held:
        for person in range(count):
            assert held.enter_context(turns.hold(portal_id, person, 1.0))
        yield


@pytest.fixture
def reads(app: Flask, manager: Actor, administrator: Actor) -> Callable[[str], tuple[int, str | None]]:
    administrator.opens()
    bearer = {"Authorization": f"Bearer {administrator.ticket}"}
    add_form(app)
    with app.app_context(), reading() as session:
        key = session.query(Form).one().key

    def read(path: str) -> tuple[int, str | None]:
        client, address = app.test_client(), path.format(key=key)
        if path in POSTS:
            body = {name: key if value == "{key}" else value for name, value in POSTS[path].items()}
            answer = client.post(address, json=body, headers=bearer)
        else:
            answer = client.get(address, headers=bearer)
        return answer.status_code, answer.headers.get("Retry-After")

    return read


def portal_of(app: Flask) -> int:
    with app.app_context(), reading() as session:
        return session.query(Portal).one().id


@pytest.mark.parametrize("path", [*READS, *POSTS])
def test_few_of_a_portal_read_at_once(app: Flask, reads: Callable[[str], tuple[int, str | None]], path: str) -> None:
    portal_id = portal_of(app)
    with reading_of(app, portal_id):
        assert reads(path) == (429, "2")
        # Another portal has its turn meanwhile.
        with reading_of(app, portal_id + 1, 1):
            pass
    assert reads(path)[0] == 200


@pytest.mark.parametrize("path", ASKING)
def test_what_waits_for_the_portal_takes_no_turn(
    app: Flask, reads: Callable[[str], tuple[int, str | None]], path: str
) -> None:
    with reading_of(app, portal_of(app)):
        assert reads(path)[0] == 200


def test_some_wait_for_their_turn(
    app: Flask, reads: Callable[[str], tuple[int, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company has many people, whose pages are kept up to date."""
    monkeypatch.setattr(guards, "READER_WAITS_SECONDS", 10.0)
    answers: list[tuple[int, str | None]] = []
    waiting = [threading.Thread(target=lambda: answers.append(reads(READS[0]))) for _ in range(guards.READERS_WAITING)]
    with reading_of(app, portal_of(app)):
        for thread in waiting:
            thread.start()
        time.sleep(0.5)
        assert answers == []
        assert reads(READS[0]) == (429, "2")
    for thread in waiting:
        thread.join(10)
    assert [status for status, _ in answers] == [200] * guards.READERS_WAITING


# What takes each database some tenths of a second.
COMPUTING = {
    "postgresql": "SELECT sum(sqrt(n)) FROM generate_series(1, 1500000) AS s(n)",
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1500000) SELECT sum(n) FROM s",
}


def test_what_the_database_computes_for_a_thread_is_counted_and_waiting_is_not(app: Flask) -> None:
    """Whoever asks for little, and waits for the interpreter, has taken little of it."""
    with app.app_context(), reading() as session:
        before = database.computed_seconds()
        session.execute(text(COMPUTING[database.db.engine.dialect.name]))
        assert database.computed_seconds() - before > 0.05
    before = database.computed_seconds()
    time.sleep(0.3)
    assert database.computed_seconds() - before < 0.1

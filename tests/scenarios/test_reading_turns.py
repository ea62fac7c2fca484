"""Lists, pages and reports take a processor for long, and those of one portal must not take every thread."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from flask import Flask

from bx24app.database import reading
from bx24app.models import Form, Portal
from bx24app.services.runtime import slow_portals
from bx24app.services.runtime.slots import turn
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
# They wait for the portal, and have bounds of their own.
ASKING = ["/api/v1/lines", "/api/v1/voices", "/desk/check", "/desk/company/hours"]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "READER_WAITS_SECONDS", 0.05)


@pytest.fixture
def reads(app: Flask, manager: Actor, administrator: Actor) -> Callable[[str], tuple[int, str | None]]:
    administrator.opens()
    bearer = {"Authorization": f"Bearer {administrator.ticket}"}
    add_form(app)
    with app.app_context(), reading() as session:
        key = session.query(Form).one().key

    def read(path: str) -> tuple[int, str | None]:
        answer = app.test_client().get(path.format(key=key), headers=bearer)
        return answer.status_code, answer.headers.get("Retry-After")

    return read


def portal_of(app: Flask) -> int:
    with app.app_context(), reading() as session:
        return session.query(Portal).one().id


@pytest.mark.parametrize("path", READS)
def test_few_of_a_portal_read_at_once(app: Flask, reads: Callable[[str], tuple[int, str | None]], path: str) -> None:
    portal_id = portal_of(app)
    with ExitStack() as held:
        for _ in range(guards.READ_OF_PORTAL):
            held.enter_context(turn(guards._read, portal_id))
        assert reads(path) == (429, "2")
        # Another portal has its turn meanwhile.
        held.enter_context(turn(guards._read, portal_id + 1))
    assert reads(path)[0] == 200


@pytest.mark.parametrize("path", ASKING)
def test_what_waits_for_the_portal_takes_no_turn(
    app: Flask, reads: Callable[[str], tuple[int, str | None]], path: str
) -> None:
    with ExitStack() as held:
        for _ in range(guards.READ_OF_PORTAL):
            held.enter_context(turn(guards._read, portal_of(app)))
        assert reads(path)[0] == 200


def test_some_wait_for_their_turn(
    app: Flask, reads: Callable[[str], tuple[int, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page asks for several things at once, and a company has more than one employee."""
    monkeypatch.setattr(guards, "READER_WAITS_SECONDS", 10.0)
    answers: list[tuple[int, str | None]] = []
    waiting = [threading.Thread(target=lambda: answers.append(reads(READS[0]))) for _ in range(guards.ROOM_OF_PERSON)]
    with ExitStack() as held:
        for _ in range(guards.READ_OF_PORTAL):
            held.enter_context(turn(guards._read, portal_of(app)))
        for thread in waiting:
            thread.start()
        time.sleep(0.5)
        assert answers == []
        # One person leaves room for colleagues.
        assert reads(READS[0]) == (429, "2")
    for thread in waiting:
        thread.join(10)
    assert [status for status, _ in answers] == [200] * guards.ROOM_OF_PERSON


def test_a_portal_of_many_people_leaves_threads_to_others(
    app: Flask, reads: Callable[[str], tuple[int, str | None]]
) -> None:
    portal_id = portal_of(app)
    with ExitStack() as held:
        for _ in range(guards.ROOM_OF_PORTAL):
            held.enter_context(turn(guards._room, portal_id))
        assert reads(READS[0]) == (429, "2")
        held.enter_context(turn(guards._room, portal_id + 1))


def test_portals_that_have_taken_much_share_few_places(
    app: Flask, reads: Callable[[str], tuple[int, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner of many portals would have all places, and a neighbour would be asked to come again."""
    portal_id = portal_of(app)
    assert reads(READS[0])[0] == 200
    with app.app_context():
        taken = guards._taken()
    with ExitStack() as held:
        for other in range(guards.READ_BY_GREEDY):
            held.enter_context(turn(guards._read_by_greedy, portal_id + 1 + other))
        assert reads(READS[0])[0] == 200
        taken.add(portal_id, 2 * guards.MUCH_READ_SECONDS)
        assert reads(READS[0]) == (429, "2")
    assert reads(READS[0])[0] == 200
    monkeypatch.setattr(slow_portals, "LAST_SECONDS", 0.01)
    time.sleep(0.05)
    assert taken.greedy() == set()


def test_what_is_read_is_counted_by_the_processor_that_it_takes(
    app: Flask, reads: Callable[[str], tuple[int, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "MUCH_READ_SECONDS", 0.05)
    for _ in range(20):
        reads("/desk/view/reports")
    with app.app_context():
        assert guards._taken().greedy() == {portal_of(app)}

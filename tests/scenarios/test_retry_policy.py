"""What follows a call that did not join the two: the next step for every code, and never beside the line's own."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from bx24app.models import State, utcnow
from bx24app.services.callbacks.retry_policy import NEXT_STEPS, NextStep, next_step
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.waiting import (
    accept,
    add_form,
    change_line,
    change_portal,
    follow_calls,
    pass_time,
    rules,
    seen,
    work,
)

# Written by hand from the documentation's list of codes and the issue, not from the code.
STEPS: dict[str, str] = {
    "again_later": "304 480 486 500 603-S",
    "never": "403 404 423 484 503 603 OTHER",
    "stop_line": "402 402-B24",
    "none": "200",
}
CASES = [(code, step) for step, codes in STEPS.items() for code in codes.split()]


@pytest.mark.parametrize(("code", "step"), CASES)
def test_the_next_step_for_every_code(code: str, step: str) -> None:
    assert next_step(code) == next_step(code.lower()) == step


def test_no_code_is_left_out_and_an_unlisted_one_is_never_repeated() -> None:
    assert set(NEXT_STEPS) == {code for code, _ in CASES}
    assert next_step("999") == next_step("") == NextStep.NEVER


def ends(app: Flask, portal: FakePortal, code: str) -> None:
    """The newest call ends with a code, and the app knows."""
    portal.telephony.end(portal.telephony.calls[-1], code, "words of the portal")
    follow_calls(app, portal)


def dialled(app: Flask, **fields: Any) -> UUID:
    id = accept(app, **fields)
    assert work(app) == 1
    return id


@pytest.mark.parametrize(("code", "step"), CASES)
def test_a_website_call_that_ends_with_a_code_is_followed_up(
    app: Flask, manager: Actor, portal: FakePortal, code: str, step: str
) -> None:
    id = dialled(app, form_id=add_form(app, retries=1, retry_minutes=10))
    ends(app, portal, code)
    callback = seen(app, id)
    if step == "again_later":
        assert (callback.state, callback.reason) == (State.SCHEDULED, f"retry_code_{code.lower().replace('-', '_')}")
        assert timedelta(minutes=9) < callback.due_at - utcnow() < timedelta(minutes=11)
        assert callback.expires_at - callback.due_at == timedelta(minutes=60)
        assert rules(app, id)[-2:] == ["repeats", "event_applied"]
    elif step == "none":
        assert (callback.state, callback.reason) == (State.COMPLETED, None)
    else:
        assert (callback.state, callback.reason) == (State.MISSED, f"code_{code.lower().replace('-', '_')}")
        assert rules(app, id)[-2:] == ["not_repeated", "event_applied"]


def test_it_is_dialled_again_until_the_attempts_are_used_up(app: Flask, manager: Actor, portal: FakePortal) -> None:
    id = dialled(app, form_id=add_form(app, retries=2, retry_minutes=5))
    for _ in range(2):
        ends(app, portal, "486")
        assert work(app) == 0
        pass_time(app, timedelta(minutes=6))
        assert work(app) == 1
    ends(app, portal, "486")
    callback = seen(app, id)
    assert (callback.state, callback.reason) == (State.MISSED, "code_486")
    assert [a.outcome for a in callback.attempts] == ["missed"] * 3
    assert callback.decisions[-2].inputs["why"] == "used_up"


def test_attempts_that_were_not_executed_use_nothing_up(app: Flask, manager: Actor, portal: FakePortal) -> None:
    portal.faults.add("error", "voximplant.callback.start", code="CONNECTION_ERROR", status=500)
    id = dialled(app, form_id=add_form(app, retries=1, retry_minutes=5))
    pass_time(app, timedelta(minutes=1))
    assert work(app) == 1
    ends(app, portal, "486")
    assert seen(app, id).reason == "retry_code_486"


@pytest.mark.parametrize(("retries", "state"), [(0, State.MISSED), (1, State.SCHEDULED)])
def test_for_staff_the_administrator_decides(
    app: Flask, manager: Actor, portal: FakePortal, retries: int, state: State
) -> None:
    change_portal(app, retries=retries)
    id = dialled(app, source="staff", requested_by=portal.manager.id)
    ends(app, portal, "304")
    assert seen(app, id).state == state


def test_a_waiting_repetition_can_be_cancelled_and_brought_forward(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    first = dialled(app, form_id=add_form(app, retries=1))
    ends(app, portal, "486")
    assert manager.asks("PATCH", f"/callbacks/{first}", {"scheduled_at": utcnow().isoformat()}).status_code == 200
    assert work(app) == 1
    second = dialled(app, to_number="+4930901821", form_id=add_form(app, retries=1))
    ends(app, portal, "486")
    assert manager.asks("POST", f"/callbacks/{second}/cancel").status_code == 200
    pass_time(app, timedelta(hours=1))
    assert work(app) == 0


class TestLineThatRedials:
    """The history has shown ``REDIAL_ATTEMPT``: the line retries, so the app does not."""

    def test_the_app_does_not_repeat_beside_it_and_says_so(
        self, app: Flask, administrator: Actor, manager: Actor, portal: FakePortal
    ) -> None:
        change_line(app, "reg150907", redials_seen_at=utcnow())
        id = dialled(app, form_id=add_form(app, retries=2))
        ends(app, portal, "304")
        callback = seen(app, id)
        assert (callback.state, callback.decisions[-2].inputs["why"]) == (State.MISSED, "line_redials")

    def test_another_line_is_repeated_as_before(self, app: Flask, manager: Actor, portal: FakePortal) -> None:
        change_line(app, "reg150907", redials_seen_at=utcnow())
        id = dialled(app, line_id="sip7", form_id=add_form(app, retries=2))
        ends(app, portal, "304")
        assert seen(app, id).state == State.SCHEDULED


class TestLineWithoutMoney:
    @pytest.fixture
    def stopped(self, app: Flask, manager: Actor, portal: FakePortal) -> None:
        dialled(app, to_number="+4930901800")
        ends(app, portal, "402")

    def test_nothing_more_is_dialled_on_it(self, app: Flask, stopped: None) -> None:
        here, elsewhere = accept(app), accept(app, to_number="+4930901821", line_id="sip7")
        assert work(app) == 1
        assert (seen(app, here).state, seen(app, here).reason) == (State.QUEUED, "line_stopped")
        assert seen(app, elsewhere).state == State.STARTED

    def test_after_an_hour_one_call_tries_it_again(self, app: Flask, portal: FakePortal, stopped: None) -> None:
        first, second = accept(app), accept(app, to_number="+4930901821")
        change_line(app, "reg150907", stopped_until=utcnow() - timedelta(seconds=1))
        assert work(app) == 1
        portal.telephony.calls[-1].hang_up()
        follow_calls(app, portal)
        pass_time(app, timedelta(seconds=1))
        assert work(app) == 1
        assert {seen(app, first).state, seen(app, second).state} == {State.COMPLETED, State.STARTED}

    def test_an_administrator_says_that_there_is_money_again(
        self, app: Flask, administrator: Actor, manager: Actor, stopped: None
    ) -> None:
        accept(app)
        page = administrator.opens().text
        assert "has no money" in page
        assert manager.asks("POST", "/lines/reg150907/resume").status_code == 403
        assert administrator.asks("POST", "/lines/reg150907/resume").status_code == 200
        assert administrator.asks("POST", "/lines/nothing/resume").status_code == 404
        assert work(app) == 1
        assert "has no money" not in administrator.opens().text

"""What people may make us ask their portal counts against the pace of its dials, and has a bound."""

import pytest
from flask import Flask

from bx24app.database import reading
from bx24app.models import utcnow
from bx24app.services.portals import throttle
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.waiting import fill_pace, work

METHODS = {"lines": "voximplant.line.get", "voices": "voximplant.tts.voices.get"}


@pytest.mark.parametrize("kind", METHODS)
def test_a_list_is_asked_for_anew_a_few_times_a_minute(manager: Actor, portal: FakePortal, kind: str) -> None:
    most = int(throttle.ASKED_BY_PEOPLE.size)
    assert manager.asks("GET", f"/{kind}").status_code == 200
    before = len(portal.requests_for(METHODS[kind]))
    answers = [manager.asks("GET", f"/{kind}?refresh=1") for _ in range(most + 3)]
    assert len(portal.requests_for(METHODS[kind])) <= most
    assert before <= most
    assert [answer.status_code for answer in answers][-3:] == [429] * 3
    assert int(answers[-1].headers["Retry-After"]) == 10
    # What is known is shown still.
    assert json_of(manager.asks("GET", f"/{kind}"))[kind]


OF_SETTINGS = [
    ("GET", "/desk/check"),
    ("POST", "/desk/check/bind"),
    ("POST", "/desk/company/smart-processes"),
    ("GET", "/desk/company/hours"),
]


@pytest.mark.parametrize(("method", "path"), OF_SETTINGS)
def test_what_the_settings_ask_the_portal_is_asked_a_few_times_a_minute(
    desk: Actor, portal: FakePortal, method: str, path: str
) -> None:
    """Two connections of a page that somebody had kept stopped all dialling of the portal for as long as they asked."""
    most = int(throttle.ASKED_BY_PEOPLE.size)
    headers = {"Authorization": f"Bearer {desk.ticket}"}
    before = len(portal.requests)
    answers = [desk.client.open(path, method=method, headers=headers) for _ in range(most)]
    asked = len(portal.requests) - before
    assert {answer.status_code for answer in answers} <= {200, 204}
    answers = [desk.client.open(path, method=method, headers=headers) for _ in range(3)]
    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(429, "10")] * 3
    assert len(portal.requests) - before == asked


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *OF_SETTINGS,
        ("GET", "/api/v1/lines?refresh=1"),
        ("GET", "/api/v1/voices?refresh=1"),
        ("GET", "/desk/callbacks/{id}/bitrix24"),
    ],
)
def test_what_can_wait_leaves_most_of_the_pace_to_dials_and_jobs(
    app: Flask, desk: Actor, portal: FakePortal, method: str, path: str
) -> None:
    """One person may ask all kinds of questions at once, each within its own bound: none of the calls was dialled."""
    lead = portal.crm.add_lead("Price list", "Clara", [CUSTOMER])
    asked_for = json_of(desk.requests_callback(CUSTOMER, crm_entity={"type": "LEAD", "id": lead}))
    work(app)
    fill_pace(app, 18)
    before = len(portal.requests)
    headers = {"Authorization": f"Bearer {desk.ticket}"}
    refused = desk.client.open(path.format(id=asked_for["id"]), method=method, headers=headers)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
    assert len(portal.requests) == before
    with app.app_context(), reading() as session:
        assert session.scalars(throttle.without_spare(utcnow())).all() == []
    # A page is opened, and a call is dialled.
    assert desk.opens().status_code == 200
    desk.requests_callback("+4930901821")
    work(app)
    assert len(portal.requests_for("voximplant.callback.start")) == 2


def test_lines_that_there_are_not_make_nobody_ask_without_end(manager: Actor, portal: FakePortal) -> None:
    said = [manager.requests_callback(f"+49309018{number}", line_id=f"none{number}") for number in range(30, 50)]
    assert {answer.status_code for answer in said} == {422}
    assert len(portal.requests_for(METHODS["lines"])) <= throttle.ASKED_BY_PEOPLE.size

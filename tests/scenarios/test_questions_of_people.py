"""What people may make us ask their portal counts against the pace of its dials, and has a bound."""

import pytest

from bx24app.services.portals import throttle
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of

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


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/desk/check"),
        ("POST", "/desk/check/bind"),
        ("POST", "/desk/company/smart-processes"),
        ("GET", "/desk/company/hours"),
    ],
)
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


def test_lines_that_there_are_not_make_nobody_ask_without_end(manager: Actor, portal: FakePortal) -> None:
    said = [manager.requests_callback(f"+49309018{number}", line_id=f"none{number}") for number in range(30, 50)]
    assert {answer.status_code for answer in said} == {422}
    assert len(portal.requests_for(METHODS["lines"])) <= throttle.ASKED_BY_PEOPLE.size

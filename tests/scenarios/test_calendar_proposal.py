"""Working hours that the company's calendar proposes: only where it may be read, and never saved by themselves."""

from typing import Any

import pytest
from flask import Flask

from bx24app.bitrix24.company.calendar import read_calendar
from bx24app.outgoing.errors import UnreadableAnswer
from bx24app.services.portals import bindings
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import Actor, json_of
from tests.support.tables import rows_in_one_world

SAMPLE = {
    "work_time_start": "9",
    "work_time_end": "19",
    "year_holidays": "1.01,2.01,7.01,23.02,8.03,1.05,9.05,12.06,4.11",
    "week_holidays": ["SA", "SU"],
}
WORKDAYS = (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("said", "opens", "closes", "weekdays", "days"),
    [
        ({}, "09:00", "19:00", WORKDAYS, 9),
        ({"work_time_start": "9.30", "work_time_end": "18:00"}, "09:30", "18:00", WORKDAYS, 9),
        ({"work_time_start": 8, "work_time_end": "24"}, "08:00", "24:00", WORKDAYS, 9),
        ({"work_time_end": "0"}, "09:00", "24:00", WORKDAYS, 9),
        ({"week_holidays": "SU|XX"}, "09:00", "19:00", (0, 1, 2, 3, 4, 5), 9),
        ({"week_holidays": {"0": "su", "2": 7}}, "09:00", "19:00", (0, 1, 2, 3, 4, 5), 9),
        ({"week_holidays": None}, "09:00", "19:00", (0, 1, 2, 3, 4, 5, 6), 9),
        ({"year_holidays": "30.02,29.02,1.1,x,32.01,1.13,31.12.2026,,"}, "09:00", "19:00", WORKDAYS, 3),
        ({"year_holidays": ["1.01", 25.12, None]}, "09:00", "19:00", WORKDAYS, 1),
        ({"year_holidays": "1.01," * 100_000}, "09:00", "19:00", WORKDAYS, 1),
    ],
)
def test_what_portals_say_is_read_and_what_means_nothing_is_left_out(
    said: dict[str, Any], opens: str, closes: str, weekdays: tuple[int, ...], days: int
) -> None:
    found = read_calendar({**SAMPLE, **said})
    assert found is not None
    assert (found.opens, found.closes, found.weekdays, len(found.closed)) == (opens, closes, weekdays, days)


@rows_in_one_world(
    "said",
    [
        {"work_time_start": "25"},
        {"work_time_start": 25},
        {"work_time_end": "25"},
        {"work_time_end": "24.30"},
        {"work_time_start": ""},
        {"work_time_start": None},
        {"work_time_start": True},
        {"work_time_start": "9.5"},
        {"work_time_start": "9.75"},
        {"work_time_start": "٩"},
        {"work_time_start": "20"},
        {"work_time_start": "19"},
        {"work_time_start": {"x": 1}},
        {"week_holidays": ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]},
    ],
)
def test_without_hours_that_could_be_meant_nothing_is_proposed(said: dict[str, Any]) -> None:
    assert read_calendar({**SAMPLE, **said}) is None


def test_an_answer_of_another_shape_proposes_nothing() -> None:
    assert read_calendar([]) is None
    for answer in (None, "x", 7):
        with pytest.raises(UnreadableAnswer):
            read_calendar(answer)


@pytest.fixture
def calendar(app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp) -> Actor:
    """An administrator of a portal that has granted the scope."""
    application.scopes = (*application.scopes, "calendar")
    administrator.opens()
    return administrator


def proposed(actor: Actor) -> str:
    answer = actor.client.get("/desk/company/hours", headers={"Authorization": f"Bearer {actor.ticket}"})
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_hours_page_proposes_what_the_calendar_says_and_saves_nothing(
    app: Flask, calendar: Actor, portal: FakePortal
) -> None:
    text = proposed(calendar)
    assert "Your company calendar says: Mon – Fri 09:00–19:00." in text
    assert "Dec 25" in text
    assert "Jan 1" in text
    settings = calendar.asks("GET", "/settings")
    assert json_of(settings)["hours"] == ""
    # A company that has taken it over, whose public holidays close the same days, is told nothing more.
    week = {day: [["09:00", "19:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
    hours = {"zone": "Europe/Berlin", "week": week, "holidays": "DE", "closed": []}
    assert calendar.asks("PATCH", "/settings", {"hours": hours}).status_code == 200
    assert proposed(calendar) == ""
    portal.calendar["year_holidays"] = "30.02,24.12"
    assert "Dec 24" in proposed(calendar)
    portal.calendar |= {"work_time_start": "25", "year_holidays": "<b>"}
    assert proposed(calendar) == ""


def test_without_the_scope_nobody_is_asked_and_a_portal_that_fails_costs_nothing(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    administrator.opens()
    asked = len(portal.requests)
    assert proposed(administrator) == ""
    assert len(portal.requests) == asked
    application.scopes = (*application.scopes, "calendar")
    administrator.opens()
    assert "Fill in" in proposed(administrator)
    portal.faults.add("html_502", "calendar.settings.get")
    assert proposed(administrator) == ""
    application.scopes = application.scopes[:-1]
    assert proposed(administrator) == ""
    with app.app_context():
        bindings.bind_missing_for_portal(1)


def test_only_administrators_are_told(manager: Actor) -> None:
    headers = {"Authorization": f"Bearer {manager.ticket}"}
    assert manager.client.get("/desk/company/hours", headers=headers).status_code == 403
    assert manager.client.get("/desk/company/hours").status_code == 401

"""Public holidays that only a part of a country has. A new case is a new line in one of the tables."""

from datetime import date

import pytest
import time_machine
from flask import Flask

from bx24app.messages.diagnostics import describe
from bx24app.services import diagnostics
from bx24app.services.calling.business_hours import Hours
from bx24app.services.calling.public_holidays import is_holiday, look_up
from tests.support.actors import Actor, json_of

WEEK = {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}

# A holiday of one part, by the part; the whole country works on it.
OF_A_PART = [
    ("GB-ENG", "2027-03-29"),  # Easter Monday
    ("GB-NIR", "2027-03-17"),  # St Patrick's Day
    ("GB-SCT", "2026-11-30"),  # St Andrew's Day
    ("GB-WLS", "2027-08-30"),  # Late summer bank holiday
    ("DE-BY", "2027-01-06"),  # Heilige Drei Könige
    ("DE-SN", "2026-11-18"),  # Buß- und Bettag
    ("ES-CT", "2026-12-26"),  # Sant Esteve
    ("CH-ZH", "2027-03-29"),  # Ostermontag
    ("US-MA", "2027-04-19"),  # Patriots' Day
    ("AU-VIC", "2026-11-03"),  # Melbourne Cup
    ("CA-QC", "2027-06-24"),  # Fête nationale
    ("FR-6AE", "2026-12-26"),  # Saint-Étienne
    ("IN-TN", "2026-01-14"),  # Pongal
]
# Countries without such parts, or of which none is meant.
WHOLE = ["RU", "KZ", "PL", "AT", "JP", "GB-", "DE-", "DE-BY", "FR-", ""]


@pytest.mark.parametrize(("region", "day"), OF_A_PART)
def test_a_part_has_a_holiday_that_the_country_leaves_out(region: str, day: str) -> None:
    country, _, part = region.partition("-")
    assert is_holiday(region, date.fromisoformat(day))
    assert not is_holiday(country, date.fromisoformat(day))
    parts = look_up(country, date(2026, 11, 26), "en").parts
    assert part in {one.code for one in parts}
    assert all(one.name for one in parts)
    assert look_up(region, date(2026, 11, 26), "en").parts == ()


@pytest.mark.parametrize("region", WHOLE)
def test_nobody_is_asked_for_a_part_that_is_no_matter_or_was_chosen(region: str) -> None:
    assert look_up(region, date(2026, 11, 26), "en").parts == ()


def test_no_part_in_particular_has_the_holidays_of_the_whole() -> None:
    for country in ("GB", "DE", "FR"):
        hours = [
            Hours.model_validate({"zone": "UTC", "week": WEEK, "holidays": one}) for one in (country, f"{country}-")
        ]
        assert is_holiday(hours[1].holidays, date(2026, 12, 25)) == is_holiday(hours[0].holidays, date(2026, 12, 25))


NEXT = [
    ("GB-ENG", "2027-03-28", "en", "2027-03-29", "Easter Monday"),
    ("GB", "2027-03-28", "en", "2027-05-03", "May Day"),
    ("RU", "2026-12-31", "ru", "2027-01-01", "Новогодние каникулы"),
    ("DE-BY", "2026-12-26", "en", "2027-01-01", "New Year's Day"),
    ("DE", "2026-12-26", "uk", "2027-01-01", "Новий рік"),
    # A language that the library does not have there: English.
    ("DE", "2026-12-26", "ru", "2027-01-01", "New Year's Day"),
]


@pytest.mark.parametrize(("region", "today", "language", "day", "name"), NEXT)
def test_the_next_holiday_is_named(region: str, today: str, language: str, day: str, name: str) -> None:
    found = look_up(region, date.fromisoformat(today), language).next
    assert found is not None
    assert (str(found.day), found.name) == (day, name)


def hours(region: str) -> dict[str, object]:
    return {"zone": "Europe/London", "week": WEEK, "holidays": region, "closed": []}


def test_the_api_asks_for_the_part_and_shows_the_next_holiday(desk: Actor) -> None:
    with time_machine.travel("2027-03-20T12:00:00Z", tick=True):
        desk = Actor(desk.client, desk.portal, desk.application, desk.user)
        desk.opens()
        shown = json_of(desk.asks("PATCH", "/settings", {"hours": hours("GB")}))["public_holidays"]
        assert [part["code"] for part in shown["parts"]] == ["ENG", "NIR", "SCT", "WLS"]
        assert shown["next"] == {"day": "2027-03-26", "name": "Good Friday"}
        shown = json_of(desk.asks("PATCH", "/settings", {"hours": hours("GB-ENG")}))["public_holidays"]
        assert (shown["region"], shown["parts"]) == ("GB-ENG", [])
        assert json_of(desk.asks("PATCH", "/settings", {"hours": ""}))["public_holidays"] is None
        form = json_of(desk.asks("POST", "/forms", {"name": "Shop", "default_country": "DE", "hours": hours("DE")}))
        assert {"code": "BY", "name": "Bayern"} in form["public_holidays"]["parts"]
        found = json_of(desk.asks("GET", "/settings/holidays?region=GB-NIR"))
        assert (found["next"]["name"], found["parts"]) == ("Good Friday", [])
        assert json_of(desk.asks("GET", "/settings/holidays?region="))["next"] is None
        for region in ("XX", "GB-XX", "GB--", "-", "x" * 17):
            assert desk.asks("GET", f"/settings/holidays?region={region}").status_code == 400


def test_the_doctor_asks_too_and_shows_the_next_holiday(app: Flask, desk: Actor) -> None:
    def found() -> dict[str, tuple[str, str]]:
        with app.app_context(), app.test_request_context():
            told = describe(diagnostics.examine_portal(1))
        return {one.sentence: (one.level, one.about) for one in told if one.check == "holidays"}

    assert found() == {}
    desk.asks("PATCH", "/settings", {"hours": hours("GB")})
    desk.asks("POST", "/forms", {"name": "Shop", "default_country": "RU", "hours": hours("RU")})
    [(asked, level), (plain, fine)] = found().items()
    assert (level, fine) == (("warning", "part"), ("ok", "ok"))
    assert asked.startswith("Parts of GB have more holidays than the whole country")
    assert "The next holiday of GB: " in asked
    assert plain.startswith("The next holiday of RU: ")
    desk.asks("PATCH", "/settings", {"hours": hours("GB-")})
    assert [level for level, _ in found().values()] == ["ok", "ok"]

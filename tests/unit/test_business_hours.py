"""Working hours: days, holidays, zones, and the two days a year on which the clock is changed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bx24app.services.calling.business_hours import Hours

WEEK: dict[str, Any] = {day: [["09:00", "12:30"], ["13:30", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
BERLIN: dict[str, Any] = {"zone": "Europe/Berlin", "week": WEEK, "holidays": "DE-BE", "closed": ["2026-12-24"]}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "is_open", "next_open"),
    [
        ("2026-11-24T07:59", False, "2026-11-24T08:00"),
        ("2026-11-24T08:00", True, "2026-11-24T08:00"),
        ("2026-11-24T11:30", False, "2026-11-24T12:30"),
        ("2026-11-24T17:00", False, "2026-11-25T08:00"),
        ("2026-11-27T20:00", False, "2026-11-30T08:00"),
        ("2026-06-05T06:30", False, "2026-06-05T07:00"),
        # Christmas: the 24th is our own day off, then two holidays and a Sunday.
        ("2026-12-23T18:00", False, "2026-12-28T08:00"),
        ("2026-12-31T18:00", False, "2027-01-04T08:00"),
    ],
)
def test_a_moment_is_inside_or_the_next_one_is_named(moment: str, is_open: bool, next_open: str) -> None:
    hours = Hours.model_validate(BERLIN)
    assert hours.is_open(at(moment)) == is_open
    assert hours.next_open(at(moment)) == at(next_open)


def test_times_that_the_clock_skips_or_repeats() -> None:
    hours = Hours.model_validate({"zone": "Europe/Berlin", "week": {"sun": [["02:15", "02:45"]]}})
    # On 29 March 2026 02:15 does not exist; on 25 October it comes twice, and both count.
    assert hours.next_open(at("2026-03-28T12:00")) == at("2026-03-29T01:15")
    assert not hours.is_open(at("2026-03-29T00:30"))
    assert hours.is_open(at("2026-10-25T00:20"))
    assert hours.is_open(at("2026-10-25T01:20"))
    assert not hours.is_open(at("2026-10-25T01:46"))


def test_a_day_may_last_until_midnight() -> None:
    hours = Hours.model_validate({"zone": "Asia/Tokyo", "week": {"mon": [["22:00", "24:00"]]}})
    assert hours.is_open(at("2026-11-23T14:59"))
    assert not hours.is_open(at("2026-11-23T15:00"))


def test_slots_are_round_and_in_the_future() -> None:
    hours = Hours.model_validate(BERLIN)
    found = hours.slots(at("2026-11-24T10:40"), 4)
    assert found == [at(f"2026-11-24T{clock}") for clock in ("11:00", "12:30", "13:00", "13:30")]
    assert Hours.model_validate({"zone": "UTC", "week": {}}).slots(at("2026-11-24T10:40"), 4) == []


@given(st.integers(0, 5 * 366 * 24 * 60))
def test_the_next_moment_is_open_and_nothing_before_it_is(minutes: int) -> None:
    moment = at("2025-01-01T00:00") + timedelta(minutes=minutes)
    hours = Hours.model_validate(BERLIN)
    opens = hours.next_open(moment)
    assert opens is not None
    assert opens >= moment
    assert hours.is_open(opens)
    if opens > moment:
        assert not hours.is_open(moment)
        assert not hours.is_open(opens - timedelta(seconds=1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"zone": "Mars/Base"},
        {"zone": "../../etc/passwd"},
        {"zone": "Europe/Berlin\0"},
        # Some machines know them, and others do not.
        {"zone": "right/Europe/Berlin"},
        {"zone": "posix/UTC"},
        {"zone": "localtime"},
        {"zone": "posixrules"},
        {"week": {"mon": [["18:00", "09:00"]]}},
        {"week": {"mon": [["09:00", "12:00"], ["11:00", "13:00"]]}},
        {"week": {"mon": [["9am", "12:00"]]}},
        {"week": {"mon": [["09:00", "25:00"]]}},
        {"week": {"someday": []}},
        {"week": {"mon": [["09:00", "10:00"]] * 5}},
        {"holidays": "XX"},
        {"holidays": "DE-XX"},
        {"closed": ["yesterday"]},
        {"more": 1},
    ],
)
def test_what_is_no_hours_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Hours.model_validate({"zone": "UTC", "week": {}} | wrong)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ({"zone": "right/Europe/Berlin"}, ("Europe/Berlin", "")),
        ({"zone": "US/Pacific", "holidays": "DE-BY"}, ("US/Pacific", "DE-BY")),
        ({"zone": "Mars/Base", "holidays": "DE"}, ("UTC", "DE")),
        ({"zone": "Europe/Berlin", "holidays": "DE-NO"}, ("Europe/Berlin", "")),
    ],
)
def test_stored_hours_are_read_with_names_that_went_out_of_use(stored: dict[str, str], read: tuple[str, str]) -> None:
    hours = Hours.of_stored({"week": WEEK} | stored)
    assert (hours.zone, hours.holidays) == read
    assert hours.spans_on(at("2026-11-24T00:00").date())

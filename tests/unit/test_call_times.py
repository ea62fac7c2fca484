"""The times at which a call can be planned: right on days on which the clock changes, and outside of working hours."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from bx24app.errors import TextInvalid
from bx24app.services.calling.business_hours import Hours
from bx24app.services.calling.call_times import STEP, offer_times, quarters
from bx24app.services.calling.countries import single_zone
from bx24app.services.calling.spoken_text import preview, staff_text

HOURS = Hours.model_validate(
    {"zone": "Europe/Berlin", "week": {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}}
)
FRIDAY_NIGHT = datetime(2026, 11, 27, 20, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day", "count"),
    [
        ("Europe/Berlin", date(2026, 11, 27), 96),
        ("Europe/Berlin", date(2027, 3, 28), 92),
        ("Europe/Berlin", date(2026, 10, 25), 100),
        ("Australia/Lord_Howe", date(2026, 10, 4), 94),
        ("Africa/Cairo", date(2026, 4, 24), 92),
    ],
)
def test_a_day_has_every_quarter_of_its_hours_once(zone: str, day: date, count: int) -> None:
    found = quarters(day, ZoneInfo(zone))
    assert len(found) == len(set(found)) == count
    assert {at.astimezone(ZoneInfo(zone)).date() for at in found} == {day}
    assert all(later - at == STEP for at, later in pairwise(found))


def test_the_first_choice_is_when_the_company_opens_and_every_later_day_can_be_had() -> None:
    offered = offer_times(HOURS, "Europe/Berlin", FRIDAY_NIGHT)
    assert offered is not None
    monday = datetime(2026, 11, 30, 8, tzinfo=UTC)
    assert (offered.day, offered.chosen, offered.opening) == (monday.date(), monday, monday)
    assert offered.tomorrow == datetime(2026, 11, 28, 8, tzinfo=UTC)
    assert sum(time.is_open for time in offered.times) == 36
    today = offer_times(HOURS, "Europe/Berlin", FRIDAY_NIGHT, date(2026, 11, 27))
    assert today is not None
    assert today.times[0].at == datetime(2026, 11, 27, 20, 15, tzinfo=UTC)
    assert offer_times(HOURS, "Europe/Berlin", FRIDAY_NIGHT, date(2026, 11, 26)) is None
    assert offer_times(HOURS, "Europe/Berlin", FRIDAY_NIGHT, date(2026, 11, 27) + timedelta(days=366)) is None
    always = offer_times(None, "UTC", datetime(2026, 11, 27, 23, 50, tzinfo=UTC))
    assert always is not None
    assert always.day == date(2026, 11, 28)


def test_tomorrow_morning_across_a_change_of_the_clock_is_nine_by_the_clock() -> None:
    offered = offer_times(None, "Europe/Berlin", datetime(2027, 3, 27, 12, tzinfo=UTC))
    assert offered is not None
    assert offered.tomorrow == datetime(2027, 3, 28, 7, tzinfo=UTC)


def test_a_country_has_one_zone_where_all_its_clocks_agree() -> None:
    assert [single_zone(country) for country in ("DE", "GB", "US", "RU", "ZZ")] == [
        "Europe/Berlin",
        "Europe/London",
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "name", "spoken"),
    [
        ("Callback from {name}, connecting.", "Clara", "Callback from Clara, connecting."),
        ("Callback from {name}, connecting.", "", "Callback, connecting."),
        ("Dear { name }: {topic} ${name} {{name}}", "Clara", "Dear Clara: {topic} ${name} {{name}}"),
        ("From {name}", "{name} {topic}", "From {name} {topic}"),
        ("From {name}", "x" * 400, "From " + "x" * 294 + "…"),
    ],
)
def test_staff_may_name_the_customer_and_everything_else_is_said_as_it_is(text: str, name: str, spoken: str) -> None:
    assert staff_text(text, name) == spoken
    said = preview(text, name)
    assert said is not None
    assert (said.text, 1 <= said.seconds <= 15) == (spoken, True)


@pytest.mark.parametrize(("text", "name"), [("{name}", ""), ("x" * 301, "Clara"), ("", "Clara"), ("{name}" * 51, "C")])
def test_a_text_that_cannot_be_said_is_refused(text: str, name: str) -> None:
    assert preview(text, name) is None
    with pytest.raises(TextInvalid):
        staff_text(text, name)

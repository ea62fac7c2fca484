"""Ids begin with the time, and follow the clock."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import time_machine

from bx24app.models.callbacks.state import first_id
from bx24app.models.ids import new_id

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def test_it_is_a_uuid_of_version_7_of_this_moment() -> None:
    with time_machine.travel(NOON + timedelta(milliseconds=5), tick=False):
        id = new_id()
    assert (id.version, id.variant) == (7, "specified in RFC 4122")
    assert first_id(NOON + timedelta(milliseconds=5)) < id < first_id(NOON + timedelta(milliseconds=6))


def test_they_grow_also_when_the_clock_stands() -> None:
    with time_machine.travel(NOON, tick=False):
        ids = [new_id() for _ in range(5000)]
    assert ids == sorted(set(ids))


def test_no_two_threads_make_one_twice() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = [id for made in pool.map(lambda _: [new_id() for _ in range(500)], range(8)) for id in made]
    assert len(set(ids)) == 4000


def test_a_clock_that_was_days_ahead_is_forgotten_once_it_is_right() -> None:
    """Lists of a period and reports take the id for the time."""
    with time_machine.travel(NOON + timedelta(days=3), tick=False):
        new_id()
    with time_machine.travel(NOON, tick=False):
        assert first_id(NOON) < new_id() < first_id(NOON + timedelta(milliseconds=1))


def test_a_clock_that_is_set_back_by_some_milliseconds_changes_no_order() -> None:
    with time_machine.travel(NOON, tick=False):
        first = new_id()
    with time_machine.travel(NOON - timedelta(milliseconds=300), tick=False):
        assert new_id() > first

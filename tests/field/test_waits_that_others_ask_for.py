"""``Retry-After`` as servers write it. A new case is a new line in the table."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import requests
from flask import Flask
from sqlalchemy import select, update
from urllib3 import HTTPHeaderDict, HTTPResponse

from bx24app.database import reading, writing
from bx24app.models import Webhook, WebhookDelivery, utcnow
from bx24app.outgoing.retry_after import LONGEST_WAIT, asked_wait
from tests.support.actors import Actor
from tests.support.sites import Site, status
from tests.support.webhook_steps import added, asked, form, site, told_all

__all__ = ["form", "site"]  # Fixtures.

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
MOST = LONGEST_WAIT.total_seconds()

# The headers Retry-After, and the seconds that are meant; None: nobody knows. It is 09:00 GMT on 26 November 2026.
WAITS: dict[str, tuple[Sequence[str], float | None]] = {
    "seconds": (["120"], 120),
    "spaces": (["  120 "], 120),
    "a fraction": (["1.5"], 1.5),
    "a date": (["Thu, 26 Nov 2026 09:02:00 GMT"], 120),
    "a date of RFC 850": (["Thursday, 26-Nov-26 09:02:00 GMT"], 120),
    "a date of asctime": (["Thu Nov 26 09:02:00 2026"], 120),
    "a date in another zone": (["Thu, 26 Nov 2026 10:02:00 +0100"], 120),
    "a date of ISO 8601": (["2026-11-26T09:02:00Z"], 120),
    "none": ([], None),
    "empty": ([""], None),
    "nothing": (["0"], None),
    "negative": (["-120"], None),
    "a past date": (["Thu, 26 Nov 2026 08:59:00 GMT"], None),
    "a date of long ago": (["Thu, 01 Jan 1970 00:00:00 GMT"], None),
    "too long": (["86400"], MOST),
    "huge": (["9" * 30], MOST),
    "a date far away": (["Fri, 31 Dec 9999 23:59:59 GMT"], MOST),
    "a moment as a number": (["1795683720"], MOST),
    "words": (["soon"], None),
    "an exponent": (["1e9"], None),
    "infinity": (["inf"], None),
    "not a number": (["nan"], None),
    "digits of another script": (["\u0661\u0662\u0660"], None),
    "a date that is none": (["Thu, 99 Nov 2026 09:02:00 GMT"], None),
    "a zone that is none": (["Thu, 26 Nov 2026 09:02:00 +9999"], None),
    "a year that is none": (["Thu, 26 Nov 99999 09:02:00 GMT"], None),
    "a header without end": (["1" * 5000], MOST),
    "several": (["10", "120"], 120),
    "several in one": (["10, 120"], 120),
    "several kinds": (["x", "Thu, 26 Nov 2026 09:02:00 GMT", "60", "-1"], 120),
    "more than anybody reads": (["x"] * 500 + ["120"], None),
}


def answer(headers: Sequence[str], date: str = "") -> requests.Response:
    """An answer with these headers, as the library makes it."""
    fields = HTTPHeaderDict([*(("Retry-After", one) for one in headers), *([("Date", date)] if date else [])])
    response = requests.Response()
    response.raw = HTTPResponse(body=b"", headers=fields, status=503)
    response.headers = requests.structures.CaseInsensitiveDict(fields)
    return response


@pytest.mark.parametrize("name", WAITS)
def test_whatever_stands_there_is_a_wait_within_bounds_or_none(name: str) -> None:
    headers, seconds = WAITS[name]
    assert asked_wait(answer(headers), NOW) == (None if seconds is None else timedelta(seconds=seconds))


def test_a_date_counts_by_the_clock_of_whoever_wrote_it() -> None:
    theirs = answer(["Thu, 26 Nov 2026 21:02:00 GMT"], date="Thu, 26 Nov 2026 21:00:00 GMT")
    assert asked_wait(theirs, NOW) == timedelta(minutes=2)
    odd = answer(["Thu, 26 Nov 2026 09:02:00 GMT"], date="yesterday")
    assert asked_wait(odd, NOW) == timedelta(minutes=2)


def waits(app: Flask) -> tuple[float, float]:
    """For how many seconds no delivery is made, and when the first one is due."""
    with app.app_context(), reading() as session:
        webhook, delivery = session.scalars(select(Webhook)).one(), session.scalars(select(WebhookDelivery)).first()
        assert webhook.waits_until is not None
        assert delivery is not None
        now = utcnow()
        return (webhook.waits_until - now).total_seconds(), (delivery.due_at - now).total_seconds()


def time_passes(app: Flask, seconds: float) -> None:
    with app.app_context(), writing() as session:
        webhook, delivery = session.scalars(select(Webhook)).one(), session.scalars(select(WebhookDelivery)).all()
        assert webhook.waits_until is not None
        webhook.waits_until -= timedelta(seconds=seconds)
        for one in delivery:
            one.due_at -= timedelta(seconds=seconds)


def test_a_site_is_not_asked_before_it_wants_to_be(app: Flask, administrator: Actor, form: int, site: Site) -> None:
    added(administrator, site)
    site.answers += [
        status(503, **{"Retry-After": "600"}),
        status(429, **{"Retry-After": (utcnow() + timedelta(minutes=20)).strftime("%a, %d %b %Y %H:%M:%S GMT")}),
        status(500, **{"Retry-After": "300"}),
        status(503, **{"Retry-After": "-5"}),
        status(503, **{"Retry-After": "9" * 40}),
    ]
    asked(app, form)
    for first, last in [(595, 601), (1195, 1201), (295, 301)]:
        told_all(app)
        assert [first < wait < last for wait in waits(app)] == [True, True]
        told = len(site.told)
        time_passes(app, first - 10)
        told_all(app)
        assert len(site.told) == told
        time_passes(app, 20)
    told_all(app)
    pause, due = waits(app)
    assert 200 < pause < 361  # Our own: the fourth.
    assert due < 361
    time_passes(app, 400)
    told_all(app)
    assert [MOST - 5 < wait < MOST + 1 for wait in waits(app)] == [True, True]
    time_passes(app, MOST)
    told_all(app)
    assert site.answers == []
    assert len(site.told) == 6


def test_nothing_else_is_told_to_a_site_that_asks_to_wait(
    app: Flask, administrator: Actor, form: int, site: Site
) -> None:
    added(administrator, site)
    site.answers.append(status(429, **{"Retry-After": "600"}))
    asked(app, form)
    told_all(app)
    asked(app, form, "+4930901821")
    time_passes(app, 590)
    told_all(app)
    assert len(site.told) == 1
    time_passes(app, 20)
    told_all(app)
    assert len(site.told) == 3


def test_no_wait_gives_a_delivery_up_that_has_time_left(
    app: Flask, administrator: Actor, form: int, site: Site
) -> None:
    added(administrator, site)
    site.answers.append(status(503, **{"Retry-After": "7200"}))
    asked(app, form)
    with app.app_context(), writing() as session:
        session.execute(update(WebhookDelivery).values(expires_at=utcnow() + timedelta(hours=1)))
    told_all(app)
    with app.app_context(), reading() as session:
        assert session.scalars(select(WebhookDelivery.done_at)).one() is None

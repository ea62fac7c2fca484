"""Reports: figures of a hand-made week, for whom they are, and what they refuse."""

import csv
import html
import io
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from bx24app.database import reading
from bx24app.models import Form
from bx24app.services.reports import counting
from tests.fake_bitrix24 import FakePortal
from tests.support import report_days
from tests.support.actors import Actor, json_of
from tests.support.report_days import EXPECTED, EXPECTED_DAYS, EXPECTED_FUNNEL, EXPECTED_TIMES, write_week
from tests.support.visitors import Visitor

WEEK = "from=2026-10-19&to=2026-10-25"
OPERATORS: dict[str, Any] = {"operators": {"people": []}, "others": "view"}


@pytest.fixture
def reported(app: Flask, visitor: Visitor, administrator: Actor) -> Actor:
    """An administrator of a portal with the hand-made week, counted by the worker."""
    with app.app_context():
        with reading() as session:
            form = session.scalars(select(Form)).one()
        write_week(form.portal_id, form)
        while counting.count_changed() > 0:
            pass
    administrator.opens()
    return administrator


def report(actor: Actor, name: str, query: str = WEEK) -> dict[str, Any]:
    response = actor.asks("GET", f"/reports/{name}?{query}")
    assert response.status_code == 200, response.text
    return json_of(response)


def test_figures_of_a_week_with_a_clock_change_two_currencies_and_untold_legs(app: Flask, reported: Actor) -> None:
    summary = report(reported, "summary")
    assert (summary["from"], summary["to"], summary["zone"]) == ("2026-10-19", "2026-10-25", report_days.ZONE)
    found = summary["figures"]
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    assert {name: found["time_to_callback"][name] for name in EXPECTED_TIMES} == EXPECTED_TIMES
    assert [one["count"] for one in found["time_to_callback"]["buckets"]] == [3, 1, 1, 0, 0]
    steps = [(one["step"], one["count"], one["lost"], one["reason"]) for one in found["funnel"]]
    assert steps == EXPECTED_FUNNEL
    days = report(reported, "by_day")["rows"]
    assert [day["requests"] for day in days] == EXPECTED_DAYS
    # Both passes of the hour that the clock repeats stand in one cell: Sunday, 2 to 3.
    hours = {
        (one["weekday"], one["hour"]): (one["called"], one["picked_up"]) for one in report(reported, "by_hour")["rows"]
    }
    assert hours == {(1, 9): (2, 2), (1, 23): (1, 0), (2, 0): (1, 1), (2, 10): (2, 1), (3, 12): (1, 1), (7, 2): (2, 1)}
    people = {
        one["key"]: (one["requests"], one["reached"], one["talk_seconds"])
        for one in report(reported, "by_person")["rows"]
    }
    assert people == {"7": (5, 4, 360)}
    [form] = report(reported, "by_form")["rows"]
    assert (form["requests"], form["cost"]) == (12, [{"currency": "EUR", "amount": 0.2112}])
    assert sum(one["requests"] for one in report(reported, "by_line")["rows"]) == 13
    sources = {one["key"]: one["requests"] for one in report(reported, "by_source")["rows"]}
    assert sources == {"website": 12, "staff": 1}
    assert report(reported, "refusals")["rows"] == [{"rule": "origin", "count": 7}, {"rule": "hours", "count": 2}]
    # In UTC, the first request of Tuesday is of Monday, and that of the Monday after is of Sunday.
    elsewhere = report(reported, "by_day", f"{WEEK}&zone=UTC")
    assert [day["requests"] for day in elsewhere["rows"]] == [4, 2, 4, 0, 0, 0, 4]
    # One filter at a time; the sums of a part are those of its row.
    staff = report(reported, "summary", f"{WEEK}&source=staff")["figures"]
    assert (staff["requests"], staff["cost"], staff["rejected"]) == (1, [{"currency": "RUB", "amount": 1.5}], None)
    before = report(reported, "summary", f"{WEEK}&compare=1")["before"]
    assert (before["requests"], before["reached"]) == (1, 1)
    # Moments are taken for their days.
    assert report(reported, "summary", "from=2026-10-18T22:00:00Z&to=2026-10-25T23:00:00Z")["figures"] == found


@pytest.mark.parametrize(("language", "separator", "amount"), [("en", ",", "0.2112"), ("ru", ";", "0,2112")])
def test_a_report_as_a_file(app: Flask, reported: Actor, language: str, separator: str, amount: str) -> None:
    reported.asks("PATCH", f"/forms/{_form_key(app)}", {"name": "=1+1"})
    files = {
        name: reported.asks("GET", f"/reports/{name}.csv?{WEEK}", Accept_Language=language)
        for name in ("summary", "by_day", "by_form", "refusals")
    }
    for name, answer in files.items():
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}-2026-10-19-2026-10-25.csv"'
    read = {
        name: list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff")), delimiter=separator))
        for name, answer in files.items()
    }
    [summary] = read["summary"]
    assert (summary["requests"], summary["cost_EUR"], summary["wait_median_seconds"]) == ("13", amount, "40")
    assert [day["requests"] for day in read["by_day"]] == [str(count) for count in EXPECTED_DAYS]
    assert read["by_form"][0]["name"] == "'=1+1"


def _form_key(app: Flask) -> str:
    with app.app_context(), reading() as session:
        return session.scalars(select(Form.key)).one()


def test_who_sees_whose_figures(app: Flask, reported: Actor, portal: FakePortal, manager: Actor) -> None:
    assert manager.user.id != report_days.ANNA
    assert report(manager, "summary")["figures"]["requests"] == 13
    assert reported.asks("PATCH", "/settings", {"shares_reports": False}).status_code == 200
    assert report(reported, "summary")["figures"]["requests"] == 13
    # An operator now sees what is their own, and nothing of others.
    assert report(manager, "summary")["figures"]["requests"] == 0
    assert report(manager, "by_person")["rows"] == []
    assert report(manager, "by_day", f"{WEEK}&person={manager.user.id}")["rows"]
    for name, query in (
        ("by_form", ""),
        ("by_line", ""),
        ("by_source", ""),
        ("refusals", ""),
        ("summary", "&source=staff"),
        ("summary", f"&person={report_days.ANNA}"),
        ("by_day", f"&form_key={_form_key(app)}"),
    ):
        assert manager.asks("GET", f"/reports/{name}?{WEEK}{query}").status_code == 403, (name, query)
        assert manager.asks("GET", f"/reports/{name}.csv?{WEEK}{query}").status_code == 403, (name, query)
    # Whoever only looks on sees all, and who may see nothing sees nothing.
    reported.lets_call([], others="view")
    assert report(manager, "summary")["figures"]["requests"] == 13
    reported.lets_call([], others="none")
    assert manager.asks("GET", f"/reports/summary?{WEEK}").status_code == 403


def test_what_no_report_can_be_made_of_is_named(app: Flask, reported: Actor) -> None:
    for query, field in (
        ("from=2026-10-26&to=2026-10-25", "from"),
        ("from=2025-10-24&to=2026-10-25", "from"),
        ("from=0001-01-01&to=0001-01-02", "to"),
        ("from=9999-12-31&to=9999-12-31", "to"),
        ("from=yesterday", "from"),
        ("to=1760000000", "to"),
        ("from=2026-02-30", "from"),
        ("zone=Europe/Atlantis", "zone"),
        ("zone=../../etc/passwd", "zone"),
        ("period=fortnight", "period"),
        ("period=today&from=2026-10-25", "period"),
        ("source=staff&line_id=sip7", "source"),
        ("person=0", "person"),
        ("formkey=x", "formkey"),
        ("compare=maybe", "compare"),
    ):
        response = reported.asks("GET", f"/reports/summary?{query}")
        assert response.status_code == 400, query
        told = json_of(response)
        assert [one["field"] for one in told["errors"]] == [field], query
        assert told["detail"]
    assert reported.asks("GET", "/reports/by_form?source=staff").status_code == 400
    for path in ("/reports/nothing", "/reports/summary.pdf", "/reports/summary?form_key=nobody"):
        assert reported.asks("GET", path).status_code == 404, path


def test_named_periods_end_with_today_in_the_zone(app: Flask, reported: Actor) -> None:
    for name, first, last in (
        ("today", "2026-10-26", "2026-10-26"),
        ("yesterday", "2026-10-25", "2026-10-25"),
        ("7_days", "2026-10-20", "2026-10-26"),
        ("30_days", "2026-09-27", "2026-10-26"),
        ("this_month", "2026-10-01", "2026-10-26"),
        ("last_month", "2026-09-01", "2026-09-30"),
    ):
        # An hour before midnight in UTC it is the next day in Berlin already.
        with time_machine.travel(datetime(2026, 10, 25, 23, 30, tzinfo=UTC), tick=False):
            reported.renews_ticket()
            found = report(reported, "by_day", f"period={name}")
        assert (found["from"], found["to"]) == (first, last), name


def test_the_page_shows_the_same_figures(app: Flask, reported: Actor, manager: Actor) -> None:
    def shown(actor: Actor, query: str, language: str = "en") -> str:
        headers = {"Authorization": f"Bearer {actor.ticket}", "Accept-Language": language}
        return actor.client.get(f"/desk/view/reports?{query}", headers=headers).text

    page = shown(reported, f"{WEEK}&compare=1")
    for figure in ("13", "31%", "0.21\xa0EUR", "1.50\xa0RUB", "9 more rejected", "40 s", "9 of 10 within 11 min 0 s"):
        assert figure in page, figure
    for name, count in [(step, count) for step, count, _, _ in EXPECTED_FUNNEL]:
        assert f'<td class="count">{count}</td>' in page, name
    # The table below the picture has each day, and the picture a total for each that has requests.
    assert page.count('<tr><th scope="row">') > len(EXPECTED_DAYS)
    wide = page.partition('class="chart wide"')[2].partition("</svg>")[0]
    totals = [part.partition("</text>")[0].rpartition(">")[2] for part in wide.split('class="total"')[1:]]
    assert totals == [str(count) for count in EXPECTED_DAYS if count]
    assert "style=" not in page
    assert "Заявок: 13, дозвонились: 4" in shown(reported, WEEK, "ru")
    # What no report can be made of is named, and the first figures are shown instead.
    assert "The first day comes after the last one" in shown(reported, "from=2026-10-26&to=2026-10-25")
    reported.asks("PATCH", "/settings", {"shares_reports": False})
    own = shown(manager, WEEK)
    assert "Nobody asked for a callback in this period." in own
    assert "Shop" not in own


def test_every_filter_that_the_page_offers_shows_its_figures(reported: Actor) -> None:
    headers = {"Authorization": f"Bearer {reported.ticket}"}
    page = reported.client.get(f"/desk/view/reports?{WEEK}", headers=headers).text
    offered = [html.unescape(value) for value in re.findall(r'<option value="([^"]*=[^"]*)"', page)]
    assert {value.partition("=")[0] for value in offered} == {"form_key", "line_id", "source", "person"}
    for value in offered:
        name, _, key = value.partition("=")
        shown = reported.client.get(f"/desk/view/reports?{WEEK}&{urlencode({name: key})}", headers=headers).text
        assert "data-note hidden" in shown, value
        assert f'<option value="{html.escape(value)}" selected' in shown, value

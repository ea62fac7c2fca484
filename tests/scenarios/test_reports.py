"""Reports: figures of a hand-made week, for whom they are, and what they refuse."""

import csv
import html
import io
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode

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
        ("source=staff&person=7", "person"),
        ("person=0", "person"),
        ("formkey=x", "formkey"),
        ("compare=maybe", "compare"),
    ):
        response = reported.asks("GET", f"/reports/summary?{query}")
        assert response.status_code == 400, query
        told = json_of(response)
        assert [one["field"] for one in told["errors"]] == [field], query
        assert told["detail"]
    for path in ("by_form?person=7", "by_person?source=staff", "refusals?source=website", "refusals?line_id=sip7"):
        assert reported.asks("GET", f"/reports/{path}").status_code == 400, path
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
        assert re.search(rf'<td class="count">(<a href="[^"]*">)?{count}(</a>)?</td>', page), name
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
    def shown(query: str) -> str:
        headers = {"Authorization": f"Bearer {reported.ticket}"}
        return reported.client.get(f"/desk/view/reports?{WEEK}&{query}", headers=headers).text

    offered: dict[str, list[str]] = {}
    for name, options in re.findall(
        r'<select id="report-\w+" name="(\w+)" data-part>(.*?)</select>', shown(""), re.DOTALL
    ):
        offered[name] = [html.unescape(value) for value in re.findall(r'<option value="([^"]+)"', options)]
    assert set(offered) == {"form_key", "line_id", "source", "person"}
    for name, values in offered.items():
        for value in values:
            page = shown(urlencode({name: value}))
            assert "data-note hidden" in page, value
            assert f'<option value="{html.escape(value)}" selected' in page, value
    # A form, a line and a source at once: what there is of all three, by hand.
    chosen = urlencode({"form_key": offered["form_key"][0], "line_id": "sip7", "source": "website"})
    found = report(reported, "summary", f"{WEEK}&{chosen}")["figures"]
    assert (found["requests"], found["reached"], found["rejected"]) == (6, 2, None)
    assert shown(chosen).count(" selected") == 4
    for name, keys in (("by_form", offered["form_key"]), ("by_line", ["sip7"]), ("by_source", ["website"])):
        assert [row["key"] for row in report(reported, name, f"{WEEK}&{chosen}")["rows"]] == keys
    assert report(reported, "summary", f"{WEEK}&source=staff&line_id=sip7")["figures"]["requests"] == 1
    assert report(reported, "summary", f"{WEEK}&source=api&line_id=sip7")["figures"]["requests"] == 0


LINK = re.compile(r'<a href="#/callbacks\?([^"]*)">([^<]*)</a>')
CELL = re.compile(r'title="(\d+) of (\d+) picked up"><a href="#/callbacks\?([^"]*)">')
PART = re.compile(r'data-link="#/callbacks\?([^"]*)"')


def test_every_figure_leads_to_a_list_with_as_many(app: Flask, reported: Actor, manager: Actor) -> None:
    def count(actor: Actor, query: str) -> int:
        answer = json_of(actor.asks("GET", f"/callbacks?{html.unescape(query)}&limit=1"))
        assert answer["total_is_exact"], answer
        return int(answer["total"])

    def linked(page: str) -> list[tuple[str, int]]:
        counts = [(query, int(text)) for query, text in LINK.findall(page) if text.isdigit()]
        return counts + [(query, int(called)) for _picked, called, query in CELL.findall(page)]

    def page_of(actor: Actor, query: str) -> str:
        headers = {"Authorization": f"Bearer {actor.ticket}"}
        return actor.client.get(f"/desk/view/reports?{query}", headers=headers).text

    def shown_in_list(actor: Actor, query: str) -> int:
        headers = {"Authorization": f"Bearer {actor.ticket}"}
        page = actor.client.get(f"/desk/view/callbacks?{html.unescape(query)}", headers=headers).text
        place = re.search(r"\d+–\d+ of (\d+)", page)
        return int(place[1]) if place else page.count('class="callback ')

    page = page_of(reported, WEEK)
    found = linked(page)
    names = {name for query, _ in found for name in parse_qs(html.unescape(query))}
    assert names >= {"outcome", "called", "picked_up", "wait_from", "wait_below", "person", "weekday", "form_key"}
    assert len(found) > 30
    for query, figure in found:
        assert count(reported, query) == figure, query
    # On the page too: of each kind of figure one.
    for query, figure in {tuple(parse_qs(html.unescape(query))): (query, figure) for query, figure in found}.values():
        assert shown_in_list(reported, query) == figure, query
    # Shares stand in the cards instead of their numbers, and bars lead where their figures do.
    cards = LINK.findall(page.partition('<ul class="figures">')[2].partition("</ul>")[0])
    by_hand = [EXPECTED[name] for name in ("requests", "reached", "nobody_answered", "customer_not_reached")]
    assert [count(reported, query) for query, _ in cards] == [*by_hand, EXPECTED_TIMES["measured"]]
    wide = page.partition('class="chart wide"')[2].partition("</svg>")[0]
    assert set(PART.findall(wide)) <= {query for query, _ in found}
    narrow = PART.findall(page.partition('class="chart narrow"')[2].partition("</svg>")[0])
    assert sum(count(reported, query) for query in narrow) == EXPECTED["requests"]
    # Filtered, and of one person alone.
    for query in ("source=website&line_id=sip7", f"person={report_days.ANNA}"):
        for link, figure in linked(page_of(reported, f"{WEEK}&{query}")):
            assert count(reported, link) == figure, (query, link)
    reported.asks("PATCH", "/settings", {"shares_reports": False})
    for link, figure in linked(page_of(manager, WEEK)):
        assert count(manager, link) == figure, link


def test_an_hour_is_looked_for_in_a_period_and_with_its_weekday(reported: Actor) -> None:
    week = "from=2026-10-18T22:00:00Z&to=2026-10-25T23:00:00Z"
    for query, field in (
        (f"{week}&weekday=7", "hour"),
        (f"{week}&hour=2", "weekday"),
        ("weekday=7&hour=2", "from"),
        ("from=2025-10-18T22:00:00Z&to=2026-10-25T23:00:00Z&weekday=7&hour=2", "from"),
        (f"{week}&weekday=8&hour=2", "weekday"),
        (f"{week}&weekday=1&hour=24", "hour"),
        ("outcome=answered", "outcome"),
        ("called=maybe", "called"),
        ("wait_from=-1", "wait_from"),
    ):
        response = reported.asks("GET", f"/callbacks?{query}")
        assert response.status_code == 400, query
        assert [one["field"] for one in json_of(response)["errors"]] == [field], query
    # The hour that the clock repeats has both, and the file has the same rows.
    both = f"{week}&weekday=7&hour=2"
    assert json_of(reported.asks("GET", f"/callbacks?{both}"))["total"] == 2
    assert len(reported.asks("GET", f"/callbacks.csv?{both}").text.strip().splitlines()) == 3

"""The list of website forms: what each did today, whether it is open, and what keeps it from taking requests."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from zoneinfo import ZoneInfo

import time_machine
from flask import Flask
from sqlalchemy import insert, select

from bx24app.database import reading, writing
from bx24app.models import Form, Portal, Rejection
from bx24app.services.calling.business_hours import Hours
from bx24app.web.presenters.hours import opening_words
from tests.support.actors import Actor, json_of
from tests.support.many_callbacks import Crowd, insert_crowd
from tests.support.statements import statements
from tests.support.tables import rows_in_one_world
from tests.support.websites import MakeVisitor

# Noon in Berlin, where the company counts its days.
NOON = datetime(2027, 3, 10, 11, 0, tzinfo=UTC)
WEEK = {"zone": "Europe/Berlin", "week": {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}}


def view(desk: Actor, path: str) -> str:
    response = desk.client.get(f"/desk/view/{path}", headers={"Authorization": f"Bearer {desk.ticket}"})
    assert response.status_code == 200, response.text
    return str(response.text)


def row(page: str, key: str) -> str:
    return page.partition(f'id="form-{key}"')[2].partition("data-snippet hidden")[0]


def figures(page: str, key: str) -> dict[str, tuple[str, str]]:
    """Count and address by the words of a figure."""
    found = re.findall(r'<a href="(#/[^"]+)"><strong>([^<]+)</strong> (\w+)</a>', row(page, key))
    return {words: (count, unescape(href)) for href, count, words in found}


def ids_of(app: Flask) -> tuple[int, dict[str, int]]:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal.id)).one(), dict(session.execute(select(Form.key, Form.id)).all())


def test_each_figure_of_today_opens_a_list_with_as_many(app: Flask, desk: Actor, visitor_of: MakeVisitor) -> None:
    shop, other = visitor_of(), visitor_of(name="Other")
    with time_machine.travel(NOON, tick=False):
        desk.opens()
        portal_id, forms = ids_of(app)
        # From yesterday until now, so that midnight in Berlin lies between.
        crowd = Crowd(portal_id, list(forms.values()), 300, NOON - timedelta(hours=30), NOON, open_every=3)
        with app.app_context(), writing() as session:
            insert_crowd(session, crowd)
        for made_at, count in ((NOON - timedelta(hours=13), 5), (NOON - timedelta(hours=11), 3), (NOON, 1)):
            rejection = {"rule": "hours", "inputs": {}, "made_at": made_at, "count": count}
            with app.app_context(), writing() as session:
                session.execute(
                    insert(Rejection).values(portal_id=portal_id, form_id=forms[shop.form_key], **rejection)
                )
        page = view(desk, "websites")
        for visitor in (shop, other):
            told = figures(page, visitor.form_key)
            assert list(told) == ["requests", "reached", "waiting", "rejected"]
            for words in ("requests", "reached", "waiting"):
                total, href = told[words]
                query = href.partition("?")[2] + "&limit=100"
                listed = json_of(desk.asks("GET", f"/callbacks?{query}"))
                assert (int(total), listed["next_cursor"]) == (len(listed["callbacks"]), None), words
                assert int(total) > 0, words
        total, href = figures(page, shop.form_key)["rejected"]
        assert (total, figures(page, other.form_key)["rejected"][0]) == ("4", "0")
        rejected = view(desk, href.removeprefix("#/"))
        assert "Main site: 4 rejected requests" in rejected
        assert "Other" not in rejected.partition("Try a number")[0]
        assert "Main site: 9 rejected requests" in view(desk, "websites/rejected")


def test_two_hundred_forms_are_read_by_as_many_statements_as_two(
    app: Flask, desk: Actor, visitor_of: MakeVisitor
) -> None:
    for name in ("One", "Two"):
        visitor_of(name=name, budget_calls=100)
    view(desk, "websites")
    with statements(app) as few:
        view(desk, "websites")
    with app.app_context(), writing() as session:
        first = session.scalars(select(Form).limit(1)).one()
        copied = {"portal_id": first.portal_id, "line_id": first.line_id, "budget_calls": 100, "default_country": "DE"}
        session.execute(insert(Form), [{"key": f"{n:032x}", "name": f"Form {n}", **copied} for n in range(198)])
    with statements(app) as many:
        page = view(desk, "websites")
    assert page.count('role="switch"') == 200
    assert len(many) == len(few), [sql for sql in many if many.count(sql) > few.count(sql)]
    # Whoever opens the desk is told of forms that take nothing: no more statements for many.
    with statements(app) as opened:
        view(desk, "callbacks")
    assert len(opened) < 40


def test_trouble_stands_in_the_row_with_what_cures_it(app: Flask, desk: Actor, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(budget_calls=1)
    page = row(view(desk, "websites"), visitor.form_key)
    assert ("Accepting requests" in page, "Open at any time" in page, "note warning" in page) == (True, True, False)
    assert visitor.asks().status_code == 202
    page = row(view(desk, "websites"), visitor.form_key)
    assert "Not accepting requests" in page
    assert re.search(rf'calls? of today .*href="#/websites/{visitor.form_key}/protection">Change the limit', page)
    desk.asks("PATCH", f"/forms/{visitor.form_key}", {"is_on": False})
    assert re.search(r'turned off\.</span> <button [^>]*data-action="switch">Turn on', view(desk, "websites"))
    with app.app_context(), writing() as session:
        session.scalars(select(Form)).one().line_id = "gone"
    assert re.search(rf'href="#/websites/{visitor.form_key}/calling">Choose a line', view(desk, "websites"))


def test_odd_filters_of_rejected_requests_are_refused(desk: Actor) -> None:
    for query, status in (
        ("day=0001-01-01", 400),
        ("day=nonsense", 400),
        ("form=" + "x" * 33, 400),
        ("form=none", 200),
    ):
        path = f"/desk/view/websites/rejected?{query}"
        assert desk.client.get(path, headers={"Authorization": f"Bearer {desk.ticket}"}).status_code == status, query


def test_the_times_of_a_form_are_offered_to_administrators_of_its_portal(
    desk: Actor, manager: Actor, visitor_of: MakeVisitor
) -> None:
    visitor = visitor_of(hours={**WEEK, "zone": "Asia/Tokyo"})
    for actor, key, status in ((desk, visitor.form_key, 200), (desk, "f" * 16, 404), (manager, visitor.form_key, 403)):
        headers = {"Authorization": f"Bearer {actor.ticket}"}
        answer = actor.client.get(f"/desk/start/later?form_key={key}", headers=headers)
        assert (answer.status_code, "09:00–18:00, Asia/Tokyo" in answer.text) == (status, status == 200)
    assert json_of(desk.asks("GET", f"/forms/{visitor.form_key}"))["seen_at"] is None


@rows_in_one_world(
    ("local", "hours", "words"),
    [
        ("2026-11-25T12:00", WEEK, "Open until 6:00 PM"),
        ("2026-11-25T08:59", WEEK, "Closed, opens 9:00 AM"),
        ("2026-11-25T18:00", WEEK, "Closed, opens Thu 9:00 AM"),
        ("2026-11-27T18:00", WEEK, "Closed, opens Mon 9:00 AM"),
        (
            "2026-11-27T18:00",
            {**WEEK, "closed": ["2026-11-30", "2026-12-01", "2026-12-02", "2026-12-03"]},
            "Closed, opens Fri, Dec 4 9:00 AM",
        ),
        ("2026-11-25T12:00", {"zone": "UTC", "week": {}}, "Closed, with no opening in the next 60 days"),
        ("2026-11-25T12:00", None, "Open at any time"),
        (
            "2026-11-25T12:00",
            {
                "zone": "UTC",
                "week": {d: [["00:00", "24:00"]] for d in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")},
            },
            "Open at any time",
        ),
        ("2026-11-25T12:00", {"zone": "Europe/Berlin", "week": {"wed": [["09:00", "24:00"]]}}, "Open until 12:00 AM"),
        (
            "2026-11-25T12:00",
            {"zone": "Europe/Berlin", "week": {"wed": [["09:00", "24:00"]], "thu": [["00:00", "02:00"]]}},
            "Open until Thu 2:00 AM",
        ),
    ],
)
def test_whether_it_is_open_is_told_in_words(
    app: Flask, local: str, hours: dict[str, object] | None, words: str
) -> None:
    now = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    with app.test_request_context():
        told = opening_words(Hours.model_validate(hours) if hours else None, now)
    assert told.replace("\u202f", " ") == words

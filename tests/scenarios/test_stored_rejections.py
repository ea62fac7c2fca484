"""Rejections that anybody may cause: how many rows they become, and that none is lost from the count."""

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, insert, select, text

from bx24app.database import db, is_postgresql, reading, writing
from bx24app.errors import RateLimited
from bx24app.models import Form, Rejection, utcnow
from bx24app.services.websites import forms, rejections
from bx24app.services.websites.submission import Submission, read_number
from tests.scenarios.test_query_plans import plans
from tests.support.actors import Actor, json_of
from tests.support.statements import statements
from tests.support.visitors import Visitor
from tests.support.websites import MakeVisitor

RULES = [f"rule_{number}" for number in range(8)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bounds, with smaller numbers."""
    monkeypatch.setattr(rejections, "ROWS_AN_HOUR", 5)
    monkeypatch.setattr(rejections, "FORM_ROWS_A_DAY", 12)
    monkeypatch.setattr(rejections, "PORTAL_ROWS_A_DAY", 20)
    for name in ("WRITES_FOR_ADDRESS", "WRITES_FOR_FORM", "WRITES_IN_ALL"):
        monkeypatch.setattr(rejections, name, 10_000)


def submission_of(visitor: Visitor) -> Submission:
    opened = forms.open_form(visitor.form_key)
    number = read_number("+493012345678", opened)
    return Submission(form=opened.form, portal=opened.portal, now=utcnow(), number=number, address="203.0.113.7")


def reject(app: Flask, visitor: Visitor, rule: str, times: int) -> None:
    with app.app_context():
        submission = submission_of(visitor)
        for _ in range(times):
            rejections.record(submission, RateLimited(rule))


def rows(app: Flask) -> list[tuple[int, str, int]]:
    with app.app_context(), reading() as session:
        query = select(Rejection.form_id, Rejection.rule, Rejection.count).order_by(Rejection.id)
        return [(row[0], row[1], row[2]) for row in session.execute(query)]


def test_a_flood_is_few_rows_for_a_rule_a_form_and_a_portal(app: Flask, visitor_of: MakeVisitor, small: None) -> None:
    first, second = visitor_of(), visitor_of(name="Shop")
    reject(app, first, RULES[0], 30)
    assert len(rows(app)) == rejections.ROWS_AN_HOUR
    for rule in RULES[1:]:
        reject(app, first, rule, 30)
    # Each rule that comes too late still has one row, at which it is counted.
    of_first = [rule for _, rule, _ in rows(app)]
    assert len(of_first) <= rejections.FORM_ROWS_A_DAY + len(RULES)
    assert set(of_first) == set(RULES)
    for rule in RULES:
        reject(app, second, rule, 30)
    found = rows(app)
    assert len(found) <= rejections.PORTAL_ROWS_A_DAY + 2 * len(RULES)
    assert sum(count for _, _, count in found) == 30 * len(RULES) * 2


def test_each_form_and_rule_is_counted_whole(app: Flask, visitor_of: MakeVisitor, small: None) -> None:
    first, second = visitor_of(), visitor_of(name="Shop")
    for visitor in (first, second):
        for rule in RULES:
            reject(app, visitor, rule, 11)
    with app.app_context():
        for visitor in (first, second):
            form_id = forms.open_form(visitor.form_key).form.id
            assert rejections.summarize_rejections(form_id, utcnow() - timedelta(days=1), 50).counts == dict.fromkeys(
                RULES, 11
            )


def test_the_flood_of_yesterday_does_not_count_at_todays(
    app: Flask, visitor: Visitor, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reject(app, visitor, RULES[0], 9)
    with app.app_context(), writing() as session:
        for row in session.scalars(select(Rejection)):
            row.made_at -= timedelta(days=2)
    reject(app, visitor, RULES[0], 4)
    with app.app_context():
        form_id = forms.open_form(visitor.form_key).form.id
        summary = rejections.summarize_rejections(form_id, utcnow() - timedelta(days=1), 50)
    assert summary.counts == {RULES[0]: 4}


def flood(visitor: Visitor, addresses: int, each: int) -> None:
    """Send requests that prove nothing, from several addresses in turn."""
    for number in range(addresses * each):
        visitor.address = f"203.0.113.{number % addresses}"
        answer = visitor.posts({"number": "+493012345678", "leave_empty": "x"})
        assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("addresses", "each", "limit"),
    [(1, 12, "WRITES_FOR_ADDRESS"), (6, 2, "WRITES_FOR_FORM"), (6, 2, "WRITES_IN_ALL")],
)
def test_a_flood_is_counted_in_memory_and_keeps_no_writer_waiting(
    app: Flask, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, addresses: int, each: int, limit: str
) -> None:
    monkeypatch.setattr(rejections, limit, 4)
    with statements(app) as ran:
        flood(visitor, addresses, each)
    assert len([sql for sql in ran if sql.startswith("INSERT INTO refusal")]) <= 5
    assert len([sql for sql in ran if sql == "BEGIN IMMEDIATE"]) <= 5
    # Whoever looks sees all of them, and a person at the same address is not kept out.
    with app.app_context():
        form_id = forms.open_form(visitor.form_key).form.id
        counts = rejections.summarize_rejections(form_id, utcnow() - timedelta(days=1), 50).counts
    assert counts == {"honeypot": addresses * each}
    assert visitor.asks().status_code == 202


def test_what_is_counted_in_memory_is_written_after_a_while(
    app: Flask, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "WRITES_FOR_ADDRESS", 2)
    flood(visitor, 1, 8)
    assert sum(count for _, _, count in rows(app)) < 8
    monkeypatch.setattr(rejections, "COUNTS_WRITTEN_EVERY", 0.0)
    flood(visitor, 1, 1)
    assert sum(count for _, _, count in rows(app)) == 9


@pytest.fixture
def crowded(app: Flask, visitor_of: MakeVisitor) -> Visitor:
    """Two forms: one has a few rejections among very many of the other one."""
    quiet, loud = visitor_of(), visitor_of(name="Shop")
    now = utcnow()
    with app.app_context():
        with reading() as session:
            ids = {form.key: form.id for form in session.scalars(select(Form))}
        for key, many in ((quiet.form_key, 40), (loud.form_key, 20_000)):
            values = [
                {
                    "portal_id": 1,
                    "form_id": ids[key],
                    "rule": RULES[number % 8],
                    "inputs": {},
                    "made_at": now - timedelta(seconds=number),
                }
                for number in range(many)
            ]
            with writing() as session:
                session.execute(insert(Rejection), values)
        if is_postgresql():
            with db.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
    return quiet


def test_whatever_is_stored_a_rejection_and_a_page_read_by_an_index(app: Flask, crowded: Visitor) -> None:
    found: list[str] = []
    with app.app_context():
        submission = submission_of(crowded)
        with plans(found):
            rejections.summarize_rejections(submission.form.id, utcnow() - timedelta(days=30), 20)
            for _ in range(3):
                rejections.record(submission, RateLimited(RULES[0]))
            rejections.purge_rejections()
            with writing() as session:
                row = Rejection(portal_id=1, form_id=submission.form.id, rule=RULES[0], made_at=utcnow(), count=1)
                assert rejections._count(session, row)
    about = [plan for plan in found if "refusal" in plan]
    assert len(about) >= 4
    assert not [plan for plan in about if re.search("SCAN refusal|Seq Scan on refusal", plan)]
    with app.app_context(), reading() as session:
        assert session.scalar(select(func.count()).select_from(Rejection)) == 20_043


def test_no_number_is_kept_in_what_is_no_time_or_no_origin(desk: Actor, visitor: Visitor) -> None:
    sent = [f"{'at' * 26} +49 30 901820", "49309018201234567890 tomorrow", "2026-12-24 or +49-30-901820"]
    for written in sent:
        assert visitor.asks(scheduled_at=written).status_code == 400
    visitor.origin = "+49 30 901820"
    assert visitor.asks().status_code == 403
    kept = json_of(desk.asks("GET", f"/forms/{visitor.form_key}/refusals"))
    text = str(kept)
    assert all(digits not in re.sub(r"[ -]", "", text) for digits in ("901820", "4930901", "0901820"[:5]))
    assert (text.count("...820"), text.count("...890"), "2026-12-24 or ...820" in text) == (3, 1, True)

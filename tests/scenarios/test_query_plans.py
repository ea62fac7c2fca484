"""How the databases find what they are asked for: by an index, however many callbacks are stored."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, insert, select, text, update

from bx24app.database import db, is_postgresql, reading, writing
from bx24app.models import SPAN_LENGTHS, Attempt, Callback, Form, Portal, ReportFigure, State, utcnow
from bx24app.services import retention
from bx24app.services.callbacks import conditions, guarded_statements, guarded_write
from bx24app.services.callbacks.conditions import Candidate
from bx24app.services.callbacks.queries import CardFilter, read_named_callbacks
from bx24app.services.crm import crm_requests
from bx24app.services.diagnostics import gauges
from bx24app.services.dialling import abandoned, call_history, deadlines, queue
from bx24app.services.portals import tokens
from bx24app.services.reports import counting, figures
from bx24app.services.reports.figures import ReportScope
from bx24app.services.reports.periods import Period
from bx24app.services.reports.tally import Kind, Tally
from bx24app.services.runtime import overlong_waits
from bx24app.services.websites import budgets, forms, quotas, wait_estimate
from bx24app.services.websites.candidate import PreparedSubmission, candidate_of
from bx24app.services.websites.submission import Submission, read_number
from tests.support.tables import rows_in_one_world
from tests.support.visitors import Visitor

MANY = 3000


@pytest.fixture
def crowded(app: Flask, visitor: Visitor) -> Form:
    """A form whose portal has thousands of callbacks that have ended."""
    now = utcnow()
    with app.app_context():
        with reading() as session:
            form = session.query(Form).one()
        rows = [
            {
                "portal_id": form.portal_id,
                "form_id": form.id,
                "state": State.COMPLETED,
                "to_number": f"+4940{number:07}",
                "line_id": "reg150907",
                "line_name": "Sales line",
                "text": "Callback request.",
                "source": "website",
                "idempotency_key": f"k{number}",
                "due_at": now,
                "expires_at": now,
                "version": 1,
                "counted_version": 1,
                "ended_at": now,
            }
            for number in range(MANY)
        ]
        with writing() as session:
            session.execute(insert(Callback), rows)
        if is_postgresql():
            with db.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
    return form


@contextmanager
def plans(found: list[str], *, is_large: bool = False) -> Iterator[None]:
    """Collect the plans of the statements that are run meanwhile; ``is_large``: as of large tables."""
    explain = "EXPLAIN " if is_postgresql() else "EXPLAIN QUERY PLAN "

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            raw = connection.connection.cursor()
            if is_large and is_postgresql():
                raw.execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
            raw.execute(explain + statement, parameters)
            found.append("\n".join(str(row[-1]) for row in raw.fetchall()))
            if is_large and is_postgresql():
                raw.execute("RESET ALL")
            raw.close()

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


# Wherever all callbacks, or all of a portal or form, would be looked through. Of those with a lease there are few.
SQLITE_WALKS = re.compile(
    r"SCAN callback|SEARCH callback\w* USING (COVERING )?INDEX (?!ix_callback_leased)\w+ \((portal_id|form_id)=\?\)"
)
POSTGRESQL_WALKS = re.compile(r"Seq Scan on callback")
# Few have changed since the reports counted them.
IN_ORDER = {"count": "SCAN callback USING INDEX ix_callback_uncounted"}


def candidate_for(form: Form) -> Candidate:
    opened = forms.open_form_by_id(form.id)
    case = Submission(opened.form, opened.portal, utcnow(), number=read_number("030 901820", opened), key="k")
    return candidate_of(PreparedSubmission(case, digest="d"), quotas.rate_limits_of(case))


def look_around(form: Form) -> None:
    candidate = candidate_for(form)
    with reading() as session:
        list(conditions.obstacles(session, candidate))


def spend_later(form: Form) -> None:
    with reading() as session:
        budgets.spent_money(session, form, budgets.local_day(utcnow() + timedelta(days=2), "UTC"))


def _card(form: Form, wanted: CardFilter) -> None:
    with reading() as session:
        read_named_callbacks(session, form.portal_id, wanted)


ASKED: dict[str, Callable[[Form], object]] = {
    "around": look_around,
    "claim": lambda _: queue.lease_due(4),
    "overlong": lambda _: overlong_waits.end_overlong_waits(),
    "sweep": lambda _: abandoned.expire_abandoned(),
    "settle": lambda _: deadlines.apply_deadlines(),
    "history": lambda _: call_history._lease_portal(),
    "purge": lambda _: [retention.purge_callbacks(), retention.purge_visitors(), tokens.purge_idle()],
    "count": lambda _: counting.count_changed(),
    "crm": lambda _: crm_requests.lease_crm_request(),
    "waiting": lambda form: wait_estimate.expected_minutes(forms.open_form_by_id(form.id), utcnow()),
    "scrape": lambda _: gauges._read(),
    "card": lambda form: _card(form, CardFilter(crm_entity=("DEAL", 7), to_numbers=("+4930901820",))),
}


@rows_in_one_world("asked", ASKED)
def test_nobody_looks_through_all_callbacks(app: Flask, crowded: Form, asked: str) -> None:
    found: list[str] = []
    with app.app_context(), plans(found):
        ASKED[asked](crowded)
        walks = POSTGRESQL_WALKS if is_postgresql() else SQLITE_WALKS
    assert found
    for plan in found:
        assert not walks.search(plan.replace(IN_ORDER.get(asked, "-"), "")), plan


def dial_all(form: Form, at: datetime) -> None:
    """Each callback of the form was dialled once; the portal has told what one of ten has cost."""
    with writing() as session:
        ids = session.scalars(select(Callback.id).where(Callback.form_id == form.id)).all()
        common = {
            "portal_id": form.portal_id,
            "number": 1,
            "line_id": "reg150907",
            "to_number": "+4940",
            "started_at": at,
        }
        costs = [{"cost": Decimal("0.10"), "cost_currency": "EUR"}] + [{"cost": None, "cost_currency": None}] * 9
        rows = [common | costs[place % 10] | {"callback_id": id, "number": 1} for place, id in enumerate(ids)]
        session.execute(insert(Attempt), rows)
        session.execute(update(Form).values(budget_money=Decimal(10)))
    if is_postgresql():
        with db.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))


def test_the_money_of_a_day_is_read_by_an_index_whatever_was_dialled_before(app: Flask, crowded: Form) -> None:
    found: list[str] = []
    with app.app_context():
        dial_all(crowded, utcnow() - timedelta(days=3))
        with plans(found):
            look_around(crowded)
            spend_later(crowded)
        walks = POSTGRESQL_WALKS if is_postgresql() else SQLITE_WALKS
    used = {index for plan in found for index in re.findall(r"ix_attempt_\w+|ix_callback_waiting", plan)}
    assert used == {"ix_attempt_started_at", "ix_attempt_cost", "ix_attempt_currency", "ix_callback_waiting"}
    for plan in found:
        assert not walks.search(plan), plan
        assert not re.search(r"Seq Scan on attempt|SCAN attempt", plan), plan
        assert not re.search(r"ix_callback_form\w*", plan), plan


def test_where_the_sum_of_a_day_is_kept_only_the_last_minutes_are_read(
    app: Flask, crowded: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "MANY_KEPT_SECONDS", 600.0)
    day = budgets.LocalDay(utcnow().date(), utcnow() - timedelta(days=1), utcnow() + timedelta(days=1))
    found: list[str] = []
    with app.app_context():
        dial_all(crowded, utcnow() - timedelta(hours=1))
        with reading() as session:
            whole = budgets.spent_money(session, crowded, day)
        with writing() as session:
            session.execute(update(Attempt).values(cost=Decimal(9), cost_currency="EUR"))
        with plans(found), reading() as session:
            again = budgets.spent_money(session, crowded, day)
    assert (again.known, again.open_calls) == (whole.known, whole.open_calls)
    [plan] = [plan for plan in found if "ix_attempt_started_at" in plan]
    assert not re.search(r"Seq Scan on attempt|SCAN attempt", plan), plan


def test_what_expires_is_found_portal_by_portal_by_an_index(
    app: Flask, crowded: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To rank all that one portal has would take half a second where that is 100,000."""
    monkeypatch.setattr(abandoned, "RUN_SECONDS", 600.0)
    ago, found = utcnow() - timedelta(minutes=1), list[str]()
    with app.app_context():
        with writing() as session:
            some = select(Callback.id).order_by(Callback.id).limit(25)
            late = {"state": State.QUEUED, "due_at": ago, "expires_at": ago}
            session.execute(update(Callback).where(Callback.id.in_(some)).values(late))
        with plans(found, is_large=True):
            assert abandoned.expire_abandoned() == 25
    of_portal = r"ix_callback_waiting( on callback.*\n +Index Cond: \()? ?\(portal_id ?="
    turns, *tens = [plan for plan in found if re.search(of_portal, plan)]
    assert re.search(r"(SCAN|Scan.* on) portal", turns), turns
    assert len(tens) == 3
    for plan in tens:
        assert not re.search(r"Sort|TEMP B-TREE|Bitmap", plan), plan


# PostgreSQL takes the newest of indexes that cost the same.
LATER_INDEXES = "CREATE INDEX ON callback (portal_id, reason); CREATE INDEX ON do_not_call (portal_id, added_by)"


def indexes_on_new_tables(candidate: Candidate, *before: str) -> list[str]:
    """By what the guarded write looks, before PostgreSQL knows anything of the tables that it looks into."""
    shape, values = guarded_write._described(candidate)
    statement = guarded_statements.whole_statement(shape).on(db.engine.dialect)
    with closing(db.engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("TRUNCATE callback, do_not_call, ghost CASCADE")
        cursor.execute("DELETE FROM pg_statistic WHERE starelid IN ('callback'::regclass, 'do_not_call'::regclass)")
        for sql in before:
            cursor.execute(sql)
        cursor.execute(f"EXPLAIN {statement.sql}", statement.parameters(values))
        plan = "\n".join(row[0] for row in cursor.fetchall())
        connection.rollback()
    return re.findall(r"Scan using (\w+) on (?:callback|do_not_call)", plan)


def test_the_intake_reads_one_row_whatever_is_known_of_its_tables(app: Flask, visitor: Visitor) -> None:
    """A plan is kept, also one that was made before the first callback, when all indexes looked alike."""
    with app.app_context():
        if not is_postgresql():
            pytest.skip("SQLite chooses an index by its columns")
        with reading() as session:
            form = session.query(Form).one()
        candidate = candidate_for(form)
        unique = {
            "uq_callback_in_hand",
            "uq_callback_portal_id_idempotency_key",
            "uq_do_not_call_portal_id_number_digest",
        }
        assert {*indexes_on_new_tables(candidate)} == {*unique, "ix_callback_follow_up"}
        assert unique < {*indexes_on_new_tables(candidate, LATER_INDEXES)}


def test_a_report_reads_nothing_outside_of_its_period(app: Flask, crowded: Form) -> None:
    now, counts = utcnow(), asdict(Tally(requests=1))
    newest = int(now.timestamp()) // 900
    rows = [
        {
            "portal_id": crowded.portal_id,
            "quarters": quarters,
            "kind": kind,
            "slot": newest - number * quarters,
            "key": "7",
        }
        for quarters in SPAN_LENGTHS
        for kind in Kind
        for number in range(500)
    ]
    found: list[str] = []
    with app.app_context():
        with writing() as session:
            session.execute(insert(ReportFigure), [row | counts for row in rows])
        if is_postgresql():
            with db.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
        period = Period(now.date() - timedelta(days=1), now.date(), "Europe/Berlin")
        with reading() as session:
            whole, portal = ReportScope(crowded.portal_id), session.get_one(Portal, crowded.portal_id)
            with plans(found):
                figures.summarize(session, whole, period)
                figures.by_day(session, whole, period)
                figures.by_hour(session, whole, period)
                figures.by_part(session, portal, whole, Kind.PERSON, period)
                counting._kept_within(session, crowded.portal_id, [newest - 96, newest])
    about = [plan for plan in found if "report_figure" in plan and "INSERT" not in plan.upper()]
    assert len(about) > 8
    for plan in about:
        assert re.search(r"slot[>=]|Index Cond: .*slot", plan), plan
        assert "Seq Scan" not in plan, plan

"""How the databases find a list: by the index that is meant for it, and nothing of a portal is put in order first."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from bx24app.database import db, is_postgresql, reading, writing
from bx24app.models import Form, Source, State, utcnow
from bx24app.services.callbacks.listing import counters, finding, pages
from bx24app.services.callbacks.listing.filters import Day, ListFilter, Order, Quick, Scope, read_search
from bx24app.services.callbacks.listing.finding import Most
from bx24app.services.callbacks.listing.pages import ListRequest
from tests.scenarios.test_query_plans import plans
from tests.support.many_callbacks import Crowd, insert_crowd
from tests.support.tables import rows_in_one_world
from tests.support.visitors import Visitor

MANY = 4000
NOW = utcnow()
DAY = Day(NOW - timedelta(hours=12), NOW + timedelta(hours=12))
FILTERS: dict[str, ListFilter] = {
    "all": ListFilter(),
    "period": ListFilter(since=NOW - timedelta(days=7), until=NOW),
    "states": ListFilter(states=(State.MISSED, State.FAILED)),
    "source": ListFilter(source=Source.API),
    "form": ListFilter(form_id=1),
    "line": ListFilter(line_id="sip7"),
    "person": ListFilter(requested_by=3),
    "many": ListFilter(requested_by=3, line_id="sip7", source=Source.STAFF, states=(State.MISSED,)),
    "several": ListFilter(several_attempts=True),
    "number": ListFilter(**read_search("0820", "DE")),  # type: ignore[arg-type]
    "name": ListFilter(**read_search("clara mey", None)),  # type: ignore[arg-type]
    **{quick: ListFilter(quick=quick, today=DAY) for quick in Quick},
}
# By the portal alone SQLite looks through an index only in the order of the list.
IN_ORDER = "ix_callback_portal_id_id|ix_attempt_second|ix_callback_waiting"
SQLITE_WALK = re.compile(rf"SCAN (callback|attempt|callback_word)\b|INDEX (?!{IN_ORDER})\w+ \(portal_id=\?\)")
# Numbers, rare words, what is due today and what somebody answered are few, as is what was found: these may be sorted.
SQLITE_SORT = re.compile(r"^USE TEMP B-TREE FOR (ORDER BY|DISTINCT)", re.MULTILINE)
MAY_SORT = {"number", "name", Quick.TODAY, Quick.MINE}
POSTGRESQL_WALK = re.compile(r"Seq Scan on (callback|attempt|callback_word)\b")


@pytest.fixture
def crowded(app: Flask, visitor: Visitor) -> Iterator[Form]:
    """A form whose portal has thousands of callbacks, as the databases know them after a while."""
    with app.app_context():
        with reading() as session:
            form = session.scalars(select(Form)).one()
        with writing() as session:
            insert_crowd(session, Crowd(form.portal_id, [form.id], MANY, NOW - timedelta(days=90), NOW))
        if is_postgresql():
            with db.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
        yield form


def parts(plan: str) -> str:
    """The plan without what is read for the rows of a page, or looked up for one callback after the other."""
    if re.search(r"ix_decision_callback_id|sqlite_autoindex_attempt_1 \(callback_id", plan):
        return ""
    if "SCAN page" in plan:
        # The rows of the page alone are put in order last of all.
        plan = plan.removesuffix("\nUSE TEMP B-TREE FOR ORDER BY")
    return plan.partition("SCAN found")[0]


@rows_in_one_world("name", FILTERS)
def test_no_list_looks_through_a_portal_or_puts_it_in_order(app: Flask, crowded: Form, name: str) -> None:
    found: list[str] = []
    scope = Scope(crowded.portal_id, user_id=3)
    with app.app_context(), plans(found, is_large=True):
        pages.list_page(scope, ListRequest(FILTERS[name], limit=25))
        walk = POSTGRESQL_WALK if is_postgresql() else SQLITE_WALK
    assert found
    if name == Quick.TODAY and not is_postgresql():
        assert "ix_callback_due" in found[0], found
    for plan in found:
        assert not walk.search(plan), plan
        if not is_postgresql() and name not in MAY_SORT and "SCAN looked_at" not in plan:
            assert not SQLITE_SORT.search(parts(plan)), plan


def test_the_counters_look_through_no_portal(app: Flask, crowded: Form) -> None:
    found: list[str] = []
    with app.app_context(), plans(found, is_large=True):
        counters.count_quick(Scope(crowded.portal_id, user_id=3), DAY)
        walk = POSTGRESQL_WALK if is_postgresql() else SQLITE_WALK
    [plan] = found
    assert not walk.search(plan), plan


def test_the_statement_of_the_counters_is_made_once(app: Flask, crowded: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    # Making it takes many times as long as counting, and each open desk asks every few seconds.
    people = [Scope(crowded.portal_id, user_id=user_id) for user_id in (3, 4, None)]
    with app.app_context():
        expected = [counters.count_quick(scope, DAY) for scope in people]
        monkeypatch.setattr(counters, "drivers_of", None)
        later = Day(DAY.begins - timedelta(days=80), DAY.ends)
        assert [counters.count_quick(scope, DAY) for scope in people] == expected
        assert counters.count_quick(people[0], later)[Quick.TODAY] == counters.MOST_COUNTED > expected[0][Quick.TODAY]
    assert expected[0][Quick.MINE] > expected[2][Quick.MINE] == 0


IN_INDEX = {
    "two": ListFilter(line_id="sip7", source=Source.STAFF),
    "of a person": ListFilter(requested_by=3, line_id="sip7", states=(State.MISSED,)),
    "of a form": ListFilter(form_id=1, source=Source.API, states=(State.MISSED,), since=NOW - timedelta(days=30)),
    "all": FILTERS["many"],
}


@rows_in_one_world("name", IN_INDEX)
def test_filters_together_are_answered_from_an_index(app: Flask, crowded: Form, name: str) -> None:
    found: list[str] = []
    with app.app_context(), plans(found, is_large=True):
        pages.list_page(Scope(crowded.portal_id, user_id=3), ListRequest(IN_INDEX[name], limit=25))
        is_sqlite = not is_postgresql()
    looked_through = [plan for plan in found if "looked_at" in plan]
    assert looked_through
    for plan in looked_through:
        # PostgreSQL chooses by the size of a table, and this one is small.
        assert not POSTGRESQL_WALK.search(plan), plan
        if is_sqlite:
            assert "callback USING COVERING INDEX ix_callback_" in plan, plan
            assert "callback USING INDEX ix_callback" not in plan, plan


@rows_in_one_world("name", ["name", "number"])
def test_how_often_something_occurs_is_not_counted_through_all_times(
    app: Flask, crowded: Form, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "EFFORT", 20)
    asked = ListFilter(**read_search({"name": "mey", "number": "+4930"}[name], None))  # type: ignore[arg-type]
    # A time of before everything, in which there is nothing.
    empty = replace(asked, since=NOW - timedelta(days=400), until=NOW - timedelta(days=390))
    scope = Scope(crowded.portal_id, user_id=3)

    def steps(wanted: ListFilter) -> int:
        taken = [0]

        def tick() -> int:
            taken[0] += 1
            return 0

        with reading() as session:
            raw: Any = session.connection().connection.dbapi_connection
            raw.set_progress_handler(tick, 1)
            try:
                finding.find_ids(session, scope, wanted, Order.NEWEST, None, Most(26, 26))
            finally:
                raw.set_progress_handler(None, 0)
        return taken[0]

    with app.app_context():
        if is_postgresql():
            pytest.skip("counts the steps of SQLite")
        assert steps(empty) < steps(asked)

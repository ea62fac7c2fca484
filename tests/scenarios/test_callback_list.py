"""The list of callbacks: every filter, alone and combined, agrees with a recount; pages, counters, the file."""

import csv
import io
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.errors import TooManyFiles
from bx24app.models import RETRIABLE, Callback, Form, PortalSettings, Source, State
from bx24app.services.callbacks.listing import export, finding, pages
from bx24app.services.calling.name_words import words_of
from tests.support.actors import Actor, json_of
from tests.support.many_callbacks import LINES, Crowd, insert_crowd
from tests.support.tables import rows_in_one_world
from tests.support.visitors import Visitor

# After everything that the world of a test has done before.
NOW = (datetime.now(UTC) + timedelta(days=2)).replace(hour=12, minute=0, second=0, microsecond=0)
COUNT = 300
Row = dict[str, Any]


@pytest.fixture
def crowd(app: Flask, visitor: Visitor, manager: Actor, administrator: Actor) -> Iterator[list[Row]]:
    """Some hundred callbacks of the last twenty days, as plain rows, the newest first."""
    with time_machine.travel(NOW, tick=False):
        with app.app_context():
            with reading() as session:
                form = session.scalars(select(Form)).one()
            with writing() as session:
                session.execute(update(PortalSettings).values(default_country="DE"))
                wanted = Crowd(form.portal_id, [form.id], COUNT, NOW - timedelta(days=20), NOW)
                insert_crowd(session, wanted)
            with reading() as session:
                rows = [_row(callback, form.key) for callback in session.scalars(select(Callback))]
        manager.renews_ticket()
        administrator.opens()
        yield sorted(rows, key=lambda row: row["id"], reverse=True)


def _row(callback: Callback, form_key: str) -> Row:
    row = {column.key: getattr(callback, column.key) for column in Callback.__table__.columns}
    answered = {attempt.answered_by for attempt in callback.attempts}
    return row | {"id": str(callback.id), "key": form_key, "attempts": len(callback.attempts), "answered": answered}


def later(row: Row, rows: list[Row]) -> bool:
    return any(other["to_number"] == row["to_number"] and other["id"] > row["id"] for other in rows)


def is_quick(row: Row, rows: list[Row], quick: str, user_id: int) -> bool:
    """The quick filters as the page explains them."""
    waits = row["state"] in RETRIABLE and not later(row, rows)
    midnight = NOW.astimezone(ZoneInfo("Europe/Berlin")).replace(hour=0)
    found: dict[str, bool] = {
        "attention": row["state"] == State.UNKNOWN
        or (
            waits
            and row["state"] != State.MISSED
            and row["source"] != Source.STAFF
            and row["created_at"] >= NOW - timedelta(days=7)
        ),
        "today": row["created_at"] >= midnight or midnight <= row["due_at"] < midnight + timedelta(days=1),
        "in_progress": row["state"] in {State.QUEUED, State.DIALLING, State.STARTED, State.ANSWERED},
        "scheduled": row["state"] == State.SCHEDULED,
        "not_called_back": waits and row["state"] == State.MISSED,
        "mine": row["requested_by"] == user_id or user_id in row["answered"],
        "all": True,
    }
    return found[quick]


def matches(row: Row, rows: list[Row], query: dict[str, Any], user_id: int) -> bool:
    """What a filter means, said a second time and as simply as can be."""
    words = words_of(row["customer_name"] or "")
    meant: dict[str, Callable[[Any], bool]] = {
        "state": lambda value: row["state"] in value.split(","),
        "source": lambda value: row["source"] == value,
        "form_key": lambda value: row["form_id"] is not None and row["key"] == value,
        "line_id": lambda value: row["line_id"] == value,
        "requested_by": lambda value: row["requested_by"] == value,
        "from": lambda value: row["created_at"] >= datetime.fromisoformat(value),
        "to": lambda value: row["created_at"] < datetime.fromisoformat(value),
        "q": lambda value: (
            all(any(word.startswith(one) for word in words) for one in words_of(value))
            if any(map(str.isalpha, value))
            else row["to_number"].endswith(value)
            or row["to_number"].startswith(("+" + value, "+49" + value.lstrip("0")))
        ),
        "quick": lambda value: is_quick(row, rows, value, user_id),
        "several_attempts": lambda _: row["attempts"] > 1,
    }
    return all(meant[name](value) for name, value in query.items())


def walk(actor: Actor, query: dict[str, Any], limit: int = 50) -> list[str]:
    """The ids of all pages; every page but the last is full, or says how far it has looked."""
    found: list[str] = []
    cursor = None
    while True:
        sent = urlencode({**query, "limit": limit, **({"cursor": cursor} if cursor else {})})
        page = json_of(actor.asks("GET", f"/callbacks?{sent}"))
        assert page["first"] == len(found) + 1
        found += [one["id"] for one in page["callbacks"]]
        cursor = page["next_cursor"]
        assert cursor is None or len(page["callbacks"]) == limit or page["searched_to"]
        if cursor is None:
            assert page["total_is_exact"] is (len(found) <= pages.COUNTED_TO)
            assert page["total"] == min(len(found), pages.COUNTED_TO)
            return found


def combinations(rows: list[Row]) -> Iterator[dict[str, Any]]:
    """Each filter alone, and many together."""
    named = next(row for row in rows if row["customer_name"])
    values: dict[str, list[Any]] = {
        "state": ["missed", "completed,unknown", "scheduled,queued", "failed"],
        "source": ["website", "staff", "api"],
        "form_key": [rows[0]["key"], "nobodys00000000"],
        "line_id": [LINES[0], LINES[2], "none"],
        "requested_by": [3, 99],
        "from": [(NOW - timedelta(days=7)).isoformat()],
        "to": [(NOW - timedelta(days=2)).isoformat()],
        "q": [named["to_number"][-4:], "0301000", "4930", "meyer", "ma", "kell", "öztur", "jean pe", "ivan", "ИВАН"],
        "quick": ["attention", "today", "in_progress", "scheduled", "not_called_back", "mine", "all"],
        "several_attempts": ["1"],
    }
    yield {}
    for name, some in values.items():
        yield from ({name: value} for value in some)
    rng = random.Random(7)
    for size in itertools.chain([2] * 30, [3] * 20, [4] * 10):
        yield {name: rng.choice(values[name]) for name in rng.sample(sorted(values), size)}


@pytest.mark.parametrize(("effort", "first"), [(finding.EFFORT, finding.FIRST_EFFORT), (20, 5)])
def test_every_combination_of_filters_finds_what_a_recount_finds(
    crowd: list[Row], manager: Actor, monkeypatch: pytest.MonkeyPatch, effort: int, first: int
) -> None:
    monkeypatch.setattr(finding, "EFFORT", effort)
    monkeypatch.setattr(finding, "FIRST_EFFORT", first)
    wrong = {}
    user_id = manager.user.id
    for query in combinations(crowd):
        expected = {row["id"] for row in crowd if matches(row, crowd, query, user_id)}
        found = walk(manager, query)
        if len(found) != len(set(found)) or set(found) != expected:
            wrong[str(query)] = (len(found), len(expected))
    assert wrong == {}


def test_the_counter_of_each_quick_filter_is_the_number_of_its_rows(
    crowd: list[Row], manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json_of(manager.asks("GET", "/callbacks/counters"))
    assert told == {quick: min(len(walk(manager, {"quick": quick})), 100) for quick in told}
    assert len(told) == 7
    assert told["all"] == 100


@rows_in_one_world(
    ("query", "backwards"),
    [({}, True), ({"order": "oldest"}, False), ({"quick": "not_called_back"}, False), ({"order": "newest"}, True)],
)
def test_pages_are_in_order(crowd: list[Row], manager: Actor, query: Row, backwards: bool) -> None:
    found = walk(manager, query, limit=25)
    assert len(found) > 10
    assert found == sorted(found, reverse=backwards)


def test_planned_ones_come_by_the_time_of_their_call(
    crowd: list[Row], manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = {row["id"]: (row["due_at"], row["id"]) for row in crowd}
    for effort in (finding.EFFORT, 3):
        monkeypatch.setattr(finding, "EFFORT", effort)
        found = walk(manager, {"quick": "scheduled"}, limit=2)
        assert found == sorted(found, key=due.__getitem__)
        assert len(found) == sum(row["state"] == State.SCHEDULED for row in crowd)


def test_a_page_stays_as_it_is_while_others_arrive(crowd: list[Row], manager: Actor) -> None:
    first = json_of(manager.asks("GET", "/callbacks?limit=25"))
    second = f"/callbacks?limit=25&cursor={first['next_cursor']}"
    before = json_of(manager.asks("GET", second))
    manager.requests_callback("+4930901820")
    assert json_of(manager.asks("GET", second)) == before
    assert (before["first"], before["total"]) == (26, COUNT)


LISTS = {
    "other filter": "state=missed&",
    "other order": "order=oldest&",
    "other search": "q=4930&",
    "other quick": "quick=mine&",
}


def test_a_cursor_leads_only_through_its_own_list(crowd: list[Row], manager: Actor, administrator: Actor) -> None:
    cursor = json_of(manager.asks("GET", "/callbacks?limit=25"))["next_cursor"]
    asked = [manager.asks("GET", f"/callbacks?{more}cursor={cursor}") for more in LISTS.values()]
    asked += [administrator.asks("GET", f"/callbacks?cursor={cursor}")]
    foreign = (crowd[0]["id"], cursor[:-2], "é", cursor + "x")
    asked += [manager.asks("GET", f"/callbacks?cursor={one}") for one in foreign]
    for response in asked:
        told = json_of(response)
        assert (response.status_code, told["errors"][0]["field"]) == (400, "cursor")
        assert "another list" in told["detail"]


@rows_in_one_world(
    ("query", "field", "words"),
    [
        ("states=missed", "states", "no such filter"),
        ("state=missed&state=failed", "state", "twice"),
        ("state=ringing", "state", ""),
        (f"state={','.join(['missed'] * 500)}", "state", ""),
        ("q=1", "q", "three digits"),
        ("q=%25", "q", "three digits"),
        ("q=a", "q", "two letters"),
        (f"q={'1' * 10_000}", "q", ""),
        (f"q={'1' * 30}", "q", "Fewer digits".lower()),
        ("order=due", "order", "planned"),
        ("order=due&state=scheduled,missed", "order", "planned"),
        ("attention=1&quick=today", "attention", "contradict"),
        ("requested_by=0", "requested_by", ""),
        ("requested_by=99999999999", "requested_by", ""),
        ("from=2026-11-24T00:00:00Z&to=2026-11-23T00:00:00Z", "to", "before it begins"),
        (f"{'x' * 5000}=1", "x" * 64, "no such filter"),
        ("limit=201", "limit", ""),
    ],
)
def test_what_cannot_be_listed_is_explained(manager: Actor, query: str, field: str, words: str) -> None:
    for path in ("/callbacks", "/callbacks.csv"):
        response = manager.asks("GET", f"{path}?{query}")
        told = json_of(response)
        named = field if path == "/callbacks" or "limit" not in query else "limit"
        assert (response.status_code, told["errors"][0]["field"]) == (400, named)
        assert words in told["detail"] or path == "/callbacks.csv"
        assert len(response.text) < 1000


def test_the_file_has_the_rows_of_the_filter(crowd: list[Row], manager: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "EXPORTED_AT_ONCE", 40)
    for language, separator in (("en", ","), ("ru", ";")):
        response = manager.asks("GET", "/callbacks.csv?source=website", Accept_Language=language)
        text = response.get_data(as_text=True)
        assert (response.status_code, response.mimetype, text[0]) == (200, "text/csv", "\ufeff")
        heading, *lines = csv.reader(io.StringIO(text[1:]), delimiter=separator)
        assert [line[-1] for line in lines] == walk(manager, {"source": "website"})
        row = {one["id"]: one for one in crowd}[lines[0][-1]]
        local = row["created_at"].astimezone(ZoneInfo("Europe/Berlin"))
        assert lines[0][0] == f"{local:%Y-%m-%d %H:%M:%S}"
        assert lines[0][1] == f"{row['created_at']:%Y-%m-%dT%H:%M:%SZ}"
        assert "Europe/Berlin" in heading[0]
        assert any("'=1+1" in line[2] for line in lines)
        assert not any(cell.startswith(("=", "+", "-", "@")) for line in lines for cell in line)
        response.close()


def test_the_file_ends_at_its_most_and_leaves_room_for_others(
    crowd: list[Row], manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_EXPORTED", 70)
    monkeypatch.setattr(export, "EXPORTED_AT_ONCE", 50)
    first = manager.client.get(
        "/api/v1/callbacks.csv", headers={"Authorization": f"Bearer {manager.ticket}"}, buffered=False
    )
    portal_id = crowd[0]["portal_id"]
    with ExitStack() as others:
        # A colleague's file, and two of another portal.
        for holder in (portal_id, portal_id + 1, portal_id + 1):
            others.enter_context(export.file_slot(holder))
        refused = manager.asks("GET", "/callbacks.csv")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, str(export.RETRY_SECONDS))
        assert "files" in json_of(refused)["detail"]
        with pytest.raises(TooManyFiles), export.file_slot(portal_id + 1):
            pass
        with export.file_slot(portal_id + 2):
            assert len(first.get_data(as_text=True).splitlines()) == 71
    first.close()
    second = manager.asks("GET", "/callbacks.csv")
    second.close()
    assert second.status_code == 200


def test_chosen_callbacks_are_a_file_in_the_order_in_which_they_stand(
    crowd: list[Row], manager: Actor, administrator: Actor
) -> None:
    ids = [crowd[place]["id"] for place in (7, 2, 40, 2)]
    foreign = "01900000-0000-7000-8000-000000000000"
    lines = manager.asks("GET", f"/callbacks.csv?ids={','.join([*ids, foreign])}").get_data(as_text=True).splitlines()
    assert [line[-36:] for line in lines[1:]] == ids[:3]
    # Only what whoever asks may see.
    assert administrator.asks("PATCH", "/settings", {"shares_callbacks": False}).status_code == 200
    hidden = next(row for row in crowd if manager.user.id not in {row["requested_by"], *row["answered"]})
    text = manager.asks("GET", f"/callbacks.csv?ids={hidden['id']}").get_data(as_text=True)
    assert len(text.splitlines()) == 1
    for query in ("ids=1", f"ids={','.join([foreign] * 101)}", f"ids={foreign}&state=missed", f"ids={foreign},"):
        refused = manager.asks("GET", f"/callbacks.csv?{query}")
        assert (refused.status_code, json_of(refused)["errors"][0]["field"]) == (400, "ids"), query
    assert manager.asks("GET", f"/callbacks?ids={foreign}").status_code == 400


def test_operators_see_only_their_own_where_administrators_have_chosen_that(
    crowd: list[Row], manager: Actor, administrator: Actor
) -> None:
    assert administrator.asks("PATCH", "/settings", {"shares_callbacks": False}).status_code == 200
    own = {row["id"] for row in crowd if manager.user.id in {row["requested_by"], *row["answered"]}}
    assert own
    assert set(walk(manager, {})) == own
    assert set(walk(manager, {"state": "missed"})) <= own
    assert json_of(manager.asks("GET", "/callbacks/counters"))["all"] == min(len(own), 100)
    lines = manager.asks("GET", "/callbacks.csv").get_data(as_text=True).splitlines()
    assert len(lines) == len(own) + 1
    foreign = next(row for row in crowd if row["id"] not in own and row["state"] == State.MISSED)
    for method, path, body in (
        ("GET", "", None),
        ("POST", "/cancel", None),
        ("POST", "/retry", None),
        ("POST", "/resolve", {"outcome": "reached"}),
        ("PATCH", "", {"scheduled_at": "2027-03-01T10:30:00Z"}),
    ):
        assert manager.asks(method, f"/callbacks/{foreign['id']}{path}", body).status_code == 404
    # So it is on the page: the rows, and the view of one.
    sent = {"Authorization": f"Bearer {manager.ticket}"}
    for path in ("/desk/callbacks", "/desk/view/callbacks"):
        shown = manager.client.get(f"{path}?quick=all&limit=100", headers=sent).text
        assert foreign["id"] not in shown
        assert max(own) in shown
    path = "/desk/view/callbacks"
    assert manager.client.get(f"{path}/{foreign['id']}", headers=sent).status_code == 404
    assert min(own) in manager.client.get(f"{path}/{min(own)}", headers=sent).text
    assert len(walk(administrator, {})) == COUNT


def test_a_name_that_comes_with_a_request_is_found(manager: Actor, app: Flask) -> None:
    made = json_of(manager.requests_callback("+4930901820", customer_name="Zoë  d’Ångström\u202e"))
    assert made["customer_name"] == "Zoë d’Ångström"
    for q in ("zoe", "angstr", "ångström zo"):
        assert walk(manager, {"q": q}) == [made["id"]]
    assert walk(manager, {"q": "gstrom"}) == []

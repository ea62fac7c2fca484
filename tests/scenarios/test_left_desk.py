"""What a person's next opening of the desk begins with: theirs alone, without anything typed, and for a time."""

from datetime import timedelta
from typing import Any

import time_machine
from flask import Flask
from sqlalchemy import delete, func, select

from bx24app.database import reading, writing
from bx24app.models import SavedFilter, User, utcnow
from tests.support.actors import Actor, json_of
from tests.support.tables import rows_in_one_world

LEFT: dict[str, Any] = {
    "view": "callbacks",
    "filters": {"quick": "mine", "state": ["missed", "failed"], "period": "7_days", "order": "oldest"},
    "page_size": 50,
    "columns": ["customer", "state", "talk"],
    "start_bar_open": False,
}
# Four bytes.
BIG = "\U0001f600"
FILTER = {"name": "Missed", "filters": {"state": ["missed"]}}


def test_the_desk_comes_back_as_its_person_left_it(manager: Actor, administrator: Actor) -> None:
    assert json_of(manager.asks("GET", "/me/desk"))["page_size"] == 25
    assert manager.asks("PUT", "/me/desk", LEFT).status_code == 204
    told = json_of(manager.asks("GET", "/me/desk"))
    assert all(told[name] == value for name, value in LEFT.items() if name != "filters")
    assert {name: told["filters"][name] for name in LEFT["filters"]} == LEFT["filters"]
    assert json_of(administrator.asks("GET", "/me/desk"))["page_size"] == 25
    with time_machine.travel(utcnow() + timedelta(hours=13), tick=False):
        manager.renews_ticket()
        later = json_of(manager.asks("GET", "/me/desk"))
    assert (later["view"], later["page_size"], later["filters"]["quick"]) == (None, 50, "mine")


@rows_in_one_world(
    ("path", "changed"),
    [
        ("/me/desk", {"filters": {"q": "901820"}}),
        ("/me/desk", {"q": "901820"}),
        ("/me/desk", {"view": "callbacks?q=4930901820"}),
        ("/me/desk", {"view": "+4930901820"}),
        ("/me/desk", {"page_size": 26}),
        ("/me/desk", {"columns": ["x" * 30] * 21}),
        ("/me/desk", {"columns": ["<b>"]}),
        ("/me/desk", {"filters": {"line_id": "я" * 255, "form_key": "я" * 64}, "columns": ["x" * 32] * 20, "x": 1}),
        (
            "/me/desk",
            {"filters": {"line_id": BIG * 255, "form_key": BIG * 64}, "columns": ["x" * 32] * 20},
        ),
        ("/me/filters", {**FILTER, "filters": {"q": "Meyer"}}),
        ("/me/filters", {**FILTER, "name": "x" * 61}),
        ("/me/filters", {**FILTER, "name": " "}),
    ],
)
def test_what_was_typed_and_what_is_too_long_is_not_kept(manager: Actor, path: str, changed: dict[str, Any]) -> None:
    response = manager.asks("PUT" if path == "/me/desk" else "POST", path, changed)
    assert (response.status_code, json_of(response)["code"]) == (400, "invalid_request")
    assert json_of(manager.asks("GET", "/me/desk"))["left_at"] is None


def test_filters_are_of_their_person_and_shared_by_administrators(
    app: Flask, manager: Actor, administrator: Actor
) -> None:
    for number in range(10):
        assert manager.asks("POST", "/me/filters", {**FILTER, "name": f"F{number}"}).status_code == 201
    assert manager.asks("POST", "/me/filters", FILTER).status_code == 422
    assert manager.asks("POST", "/me/filters", {**FILTER, "name": "F3"}).status_code == 201
    assert manager.asks("POST", "/me/filters", {**FILTER, "name": "F3", "is_shared": True}).status_code == 403
    own = json_of(manager.asks("GET", "/me/desk"))["saved_filters"]
    assert [one["name"] for one in own] == [f"F{number}" for number in range(10)]
    assert json_of(administrator.asks("GET", "/me/desk"))["saved_filters"] == []
    assert administrator.asks("DELETE", f"/me/filters/{own[0]['id']}").status_code == 404
    shared = json_of(administrator.asks("POST", "/me/filters", {**FILTER, "is_shared": True}))
    seen = json_of(manager.asks("GET", "/me/desk"))["saved_filters"][-1]
    assert seen == {**shared, "is_own": False}
    assert manager.asks("DELETE", f"/me/filters/{shared['id']}").status_code == 404
    assert manager.asks("DELETE", f"/me/filters/{own[0]['id']}").status_code == 204
    with app.app_context():
        with writing() as session:
            session.execute(delete(User).where(User.user_id == manager.user.id))
        with reading() as session:
            assert session.scalar(select(func.count()).select_from(SavedFilter)) == 1

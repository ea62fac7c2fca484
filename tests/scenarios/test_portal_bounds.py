"""What the people of one portal may store and ask: a lot, and not without end."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from bx24app.services.callbacks import principal
from bx24app.services.calling import do_not_call
from bx24app.services.webhooks import subscriptions
from bx24app.services.websites import api_keys, forms
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.statements import statements
from tests.support.visitors import Visitor

MakeBody = Callable[[Visitor, int], dict[str, Any]]


def a_form(_: Visitor, number: int) -> dict[str, Any]:
    return {"name": f"Site {number}", "default_country": "DE"}


def a_key(visitor: Visitor, number: int) -> dict[str, Any]:
    return {"form_key": visitor.form_key, "name": f"Server {number}"}


def a_webhook(visitor: Visitor, number: int) -> dict[str, Any]:
    return {"form_key": visitor.form_key, "url": f"https://example.com/{number}"}


def a_number(_: Visitor, number: int) -> dict[str, Any]:
    return {"number": f"+49309018{number:02}"}


def is_described(desk: Actor, path: str, status: str) -> bool:
    """Tell whether the API's description names an answer to a POST."""
    return status in json_of(desk.asks("GET", "/openapi.json"))["paths"][f"/api/v1{path}"]["post"]["responses"]


@pytest.mark.parametrize(
    ("path", "limit", "body", "present"),
    [
        ("/forms", (forms, "MAX_FORMS"), a_form, 1),
        ("/api-keys", (api_keys, "MAX_KEYS"), a_key, 0),
        ("/webhooks", (subscriptions, "MAX_PER_FORM"), a_webhook, 0),
        ("/do-not-call", (do_not_call, "MAX_NUMBERS"), a_number, 0),
    ],
)
def test_there_are_so_many_and_whoever_removes_one_may_add_one(
    desk: Actor,
    visitor: Visitor,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    limit: tuple[object, str],
    body: MakeBody,
    present: int,
) -> None:
    monkeypatch.setattr(*limit, 4)
    monkeypatch.setattr(forms, "MAX_FORMS_A_DAY", 100)
    made = [desk.asks("POST", path, body(visitor, number)) for number in range(6)]
    assert [answer.status_code for answer in made] == [201] * (4 - present) + [422] * (2 + present)
    assert "as many of these as there may be" in json_of(made[-1])["detail"]
    assert is_described(desk, path, "422")
    first = json_of(made[0])
    first = first.get("webhook", first)
    assert desk.asks("DELETE", f"{path}/{first.get('key') if path == '/forms' else first['id']}").status_code == 204
    assert desk.asks("POST", path, body(visitor, 7)).status_code == 201
    assert desk.asks("POST", path, body(visitor, 8)).status_code == 422


@pytest.mark.parametrize(
    ("path", "limit", "body"),
    [("/forms", (forms, "MAX_FORMS_A_DAY"), a_form), ("/api-keys", (api_keys, "MAX_KEYS_EVER"), a_key)],
)
def test_what_leaves_a_row_cannot_be_made_and_removed_without_end(
    desk: Actor, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, path: str, limit: tuple[object, str], body: MakeBody
) -> None:
    monkeypatch.setattr(*limit, 3)
    statuses = []
    for number in range(5):
        made = desk.asks("POST", path, body(visitor, number))
        statuses.append(made.status_code)
        if made.status_code == 201:
            shown = json_of(made)
            assert desk.asks("DELETE", f"{path}/{shown.get('id') or shown['key']}").status_code == 204
    assert statuses[0] == 201
    assert statuses[-2:] == [422, 422]


def test_a_number_that_a_full_list_holds_is_answered_without_counting_it(
    desk: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(do_not_call, "MAX_NUMBERS", 1)
    assert desk.asks("POST", "/do-not-call", {"number": CUSTOMER}).status_code == 201
    with statements(desk.client.application) as ran:
        assert desk.asks("POST", "/do-not-call", {"number": CUSTOMER}).status_code == 200
    assert not any("OFFSET" in sql and "do_not_call" in sql for sql in ran)


def test_who_adds_numbers_without_end_waits_for_their_turn(desk: Actor) -> None:
    """To see how many numbers a full list has takes 60 ms of the database."""
    with do_not_call._adding.hold(1), do_not_call._adding.hold(1):
        refused = desk.asks("POST", "/do-not-call", {"number": CUSTOMER})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
    assert is_described(desk, "/do-not-call", "429")
    assert desk.asks("POST", "/do-not-call", {"number": CUSTOMER}).status_code == 201


def test_a_person_adds_a_hundred_numbers_a_day_one_by_one(
    desk: Actor, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a fresh proof: whoever is dismissed keeps a page for an hour, and what they list would stay for ever."""
    monkeypatch.setattr(do_not_call, "LISTED_A_DAY", 2)
    answers = [manager.asks("POST", "/do-not-call", {"number": f"+493090182{last}"}) for last in (0, 1, 1, 2)]
    assert [answer.status_code for answer in answers] == [201, 201, 200, 429]
    assert answers[-1].headers["Retry-After"] == "43200"
    assert "This one was not added" in json_of(answers[-1])["detail"]
    assert desk.asks("POST", "/do-not-call", {"number": CUSTOMER[:-1] + "2"}).status_code == 201
    assert len(json_of(desk.asks("GET", "/do-not-call"))["numbers"]) == 3


def test_a_list_that_would_be_too_long_is_not_taken_in(desk: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(do_not_call, "MAX_NUMBERS", 5)
    headers = {"Authorization": f"Bearer {desk.ticket}", "Content-Type": "text/csv"}

    def take_in(numbers: range) -> int:
        text = "\n".join(f"+4930901{number:03}" for number in numbers)
        return desk.client.post("/api/v1/do-not-call/import", data=text, headers=headers).status_code

    assert take_in(range(3)) == 200
    assert take_in(range(3, 6)) == 422
    assert is_described(desk, "/do-not-call/import", "422")
    assert len(json_of(desk.asks("GET", "/do-not-call"))["numbers"]) == 3
    assert take_in(range(3, 5)) == 200


def test_a_program_with_a_ticket_is_slowed_down_and_nobody_else(
    app: Flask, manager: Actor, desk: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principal, "REQUESTS_A_MINUTE", 6)
    answers = [manager.asks("GET", "/callbacks?limit=1") for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 2
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert json_of(answers[-1])["code"] == "rate_limited"
    assert desk.asks("GET", "/callbacks?limit=1").status_code == 200


def test_a_person_with_pages_open_does_not_meet_the_limit() -> None:
    """A page asks once a second at the most (list.js); five are looked at side by side, and somebody clicks."""
    assert principal.REQUESTS_A_MINUTE >= 60 * (5 + 5)

"""Idempotency keys: what one is, and that those of different forms, people and doors never meet."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, select

from bx24app.database import reading, writing
from bx24app.models import Callback, DecoyRequest
from bx24app.services.callbacks import idempotency
from bx24app.services.security import digests
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.websites import BackEnd, MakeBackEnd, MakeVisitor

NUMBERS = [f"+49309018{number}" for number in range(20, 40)]
LONGEST = "k" * 255


def rows(app: Flask, model: type[Any]) -> list[Any]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(model)))


def test_keys_of_two_forms_never_meet(visitor_of: MakeVisitor, back_end_of: MakeBackEnd) -> None:
    one, two = (back_end_of(visitor_of(name=name)) for name in ("One", "Two"))
    made = [
        json_of(back_end.requests_callback(number, key="order-8061"))["id"]
        for back_end, number in ((one, NUMBERS[0]), (two, NUMBERS[1]))
    ]
    assert len(set(made)) == 2
    for back_end, number, id in ((one, NUMBERS[0], made[0]), (two, NUMBERS[1], made[1])):
        again = back_end.requests_callback(number, key="order-8061")
        assert (again.status_code, json_of(again)["id"]) == (200, id)
        other = back_end.requests_callback(NUMBERS[2], key="order-8061")
        assert (other.status_code, json_of(other)["code"]) == (422, "idempotency_key_reused")


def test_another_key_of_the_same_form_repeats_what_the_first_one_asked_for(
    visitor_of: MakeVisitor, back_end_of: MakeBackEnd
) -> None:
    visitor = visitor_of()
    made = back_end_of(visitor).requests_callback(key="order-8061")
    again = back_end_of(visitor).requests_callback(key="order-8061")
    assert (again.status_code, json_of(again)["id"]) == (200, json_of(made)["id"])


def test_keys_of_two_people_never_meet(manager: Actor, administrator: Actor) -> None:
    made = [
        json_of(person.requests_callback(number, key="8061"))["id"]
        for person, number in ((manager, NUMBERS[0]), (administrator, NUMBERS[1]))
    ]
    assert len(set(made)) == 2
    for person, number, id in ((manager, NUMBERS[0], made[0]), (administrator, NUMBERS[1], made[1])):
        again = person.requests_callback(number, key="8061")
        assert (again.status_code, json_of(again)["id"]) == (200, id)


def test_keys_of_a_visitor_of_a_back_end_and_of_staff_never_meet(
    app: Flask, manager: Actor, visitor_of: MakeVisitor, back_end_of: MakeBackEnd
) -> None:
    visitor = visitor_of()
    back_end = back_end_of(visitor)
    answers = [
        visitor.asks(NUMBERS[0], idempotency_key="8061"),
        back_end.requests_callback(NUMBERS[1], key="8061"),
        manager.requests_callback(NUMBERS[2], key="8061"),
    ]
    assert [answer.status_code for answer in answers] == [202, 201, 201]
    visitor.asks(NUMBERS[1], idempotency_key="decoy")
    # Whatever a key looks like, also like one that is stored for another door, it is its owner's.
    for number, row in enumerate([*rows(app, Callback), *rows(app, DecoyRequest)], 3):
        assert row.idempotency_key is not None
        assert back_end.requests_callback(NUMBERS[number], key=row.idempotency_key).status_code == 201
        assert manager.requests_callback(NUMBERS[number + 10], key=row.idempotency_key).status_code == 201


@pytest.mark.parametrize(
    ("sent", "same"),
    [
        ("order 8061", '"order 8061"'),
        ('"order-8061"', "order-8061"),
        (" order-8061 ", "order-8061"),
        ('" order"', '" order"'),
        ('"a \\"quoted\\" key\\\\"', 'a "quoted" key\\'),
        ("!~", '"!~"'),
        ("a", "a"),
        (LONGEST, f'"{LONGEST}"'),
        ('"open', '"open'),
        ('half"', 'half"'),
        ("{'a': 1}", "{'a': 1}"),
    ],
)
def test_a_key_is_the_same_with_and_without_quotes(back_end: BackEnd, sent: str, same: str) -> None:
    first, again = back_end.requests_callback(key=sent), back_end.requests_callback(key=same)
    assert (first.status_code, again.status_code) == (201, 200)
    assert json_of(first)["id"] == json_of(again)["id"]


@pytest.mark.parametrize(
    "sent", ["", " ", "   ", '""', '"   "', "k" * 256, f'"{"k" * 256}"', "ключ", "\x7f", "a\tb", "clé", '"naïve"']
)
def test_what_is_no_key_is_refused(app: Flask, back_end: BackEnd, manager: Actor, sent: str) -> None:
    for answer in (
        back_end.asks("POST", "/callbacks", {"to_number": CUSTOMER}, Idempotency_Key=sent),
        manager.asks("POST", "/callbacks", {"to_number": CUSTOMER}, Idempotency_Key=sent),
    ):
        assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid_request")
    assert rows(app, Callback) == []


def test_a_header_that_comes_twice_is_one_key(back_end: BackEnd) -> None:
    """Servers join the values with a comma, as HTTP wants it, so a repeat of the whole request is one."""

    def asks() -> Any:
        headers = [("Authorization", f"Bearer {back_end.secret}"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        return back_end.client.post("/api/v1/callbacks", json={"to_number": CUSTOMER}, headers=headers)

    first, again = asks(), asks()
    assert (first.status_code, again.status_code, json_of(again)["id"]) == (201, 200, json_of(first)["id"])
    assert back_end.requests_callback(NUMBERS[5], key="a").status_code == 201


def test_a_form_takes_any_text_of_a_key(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(limits={"address_hour": 50, "number_day": 3, "form_hour": 60, "form_day": 300})
    for number, key in zip(NUMBERS, ["ключ", "k" * 255, "k" * 256, "a\0b", '"quoted"'], strict=False):
        first, again = (visitor.asks(number, idempotency_key=key) for _ in range(2))
        assert (first.status_code, json_of(first)) == (202, json_of(again))
    for number, nothing in ((NUMBERS[5], " "), (NUMBERS[6], None), (NUMBERS[7], "")):
        first, again = (visitor.asks(number, idempotency_key=nothing) for _ in range(2))
        assert json_of(first)["reference"] != json_of(again)["reference"]


def test_what_is_stored_of_a_request_can_be_made_only_with_the_key_of_digests(
    app: Flask, manager: Actor, visitor_of: MakeVisitor, back_end_of: MakeBackEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erased number stays in the digests of its decoys: whoever has the rows could try all numbers."""
    visitor = visitor_of()

    def ask_all() -> list[tuple[str, str | None]]:
        before = {row.id for model in (Callback, DecoyRequest) for row in rows(app, model)}
        # The number is in hand after the first: the second is a decoy.
        for key in ("one", "two"):
            assert visitor.asks(NUMBERS[0], idempotency_key=key).status_code == 202
        assert back_end_of(visitor).requests_callback(NUMBERS[1], key="one").status_code == 201
        assert manager.requests_callback(NUMBERS[2], key="one").status_code == 201
        stored = [row for model in (Callback, DecoyRequest) for row in rows(app, model) if row.id not in before]
        return [(row.idempotency_key or "", row.request_digest) for row in stored]

    first = ask_all()
    with app.app_context(), writing() as session:
        for model in (Callback, DecoyRequest):
            session.execute(delete(model))
    monkeypatch.setitem(app.extensions, digests.KEY_CACHE, b"another key")
    again = ask_all()
    assert len(first) == len(again) == 4
    assert {digest for _, digest in first}.isdisjoint(digest for _, digest in again)
    assert {key for key, _ in first if key.startswith("w.")}.isdisjoint(key for key, _ in again)


@pytest.mark.parametrize("number", [NUMBERS[0], NUMBERS[1]], ids=["free", "in hand"])
def test_a_repeat_of_a_request_that_an_earlier_version_stored_is_answered_alike(
    app: Flask, manager: Actor, visitor_of: MakeVisitor, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    visitor = visitor_of()
    manager.requests_callback(NUMBERS[1])
    proof = visitor.works()

    def ask_all() -> list[Any]:
        answers = [
            visitor.asks(number, idempotency_key="8061", altcha=proof),
            manager.requests_callback(NUMBERS[2], key="8061"),
        ]
        return [json_of(answer).get("reference") or json_of(answer)["id"] for answer in answers]

    with monkeypatch.context() as before:
        before.setattr(idempotency, "_keyed", lambda plain: plain)
        first = ask_all()
    assert ask_all() == first
    other = visitor.asks(number, idempotency_key="8061", name="Anna", altcha=proof)
    assert (other.status_code, json_of(other)["code"]) == (422, "idempotency_key_reused")

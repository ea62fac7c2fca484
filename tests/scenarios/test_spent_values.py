"""What is signed and spent is known by its content: another spelling of it is not another one."""

import base64
import json
from collections.abc import Iterator
from uuid import uuid4

import pytest
from flask import Flask
from itsdangerous.encoding import base64_decode

from bx24app.errors import NotFound, TicketExpired
from bx24app.services.security import signing
from bx24app.services.security.tickets import read_ticket
from bx24app.services.websites import challenge
from tests.support.actors import Actor
from tests.support.visitors import Visitor
from tests.support.websites import MakeVisitor

PLENTY = {"address_hour": 1000, "number_day": 1000, "form_hour": 1000, "form_day": 1000}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def spellings(signed: str) -> Iterator[str]:
    """Texts that a lenient decoder takes for the same signature and content."""
    yield from (signed + end for end in ("=", "==", "A", "AA", "\n", " ", "==A"))
    body, _, signature = signed.rpartition(".")
    for letter in LETTERS:
        other = signature[:-1] + letter
        if other != signature and base64_decode(other) == base64_decode(signature):
            yield f"{body}.{other}"
    for place in (1, len(signature) // 2):
        yield f"{body}.{signature[:place]}!{signature[place:]}"
    yield signed.replace(".", "=.", 1)


def repacked(proof: str) -> Iterator[str]:
    """The same proof of work, written in other ways."""
    payload = json.loads(base64.b64decode(proof))

    def packed(value: object, **options: object) -> str:
        return base64.b64encode(json.dumps(value, **options).encode()).decode()  # type: ignore[arg-type]

    yield packed(payload, indent=1)
    yield packed(payload, sort_keys=True)
    yield packed(payload | {"more": 1})
    yield packed({**payload, "solution": {**payload["solution"], "time": 7, "counter": 1}})
    key = payload["solution"]["derivedKey"]
    yield packed({**payload, "solution": {**payload["solution"], "derivedKey": key.upper()}})
    made = payload["challenge"]
    yield packed({**payload, "challenge": {**made, "more": 1}})
    yield packed({**payload, "challenge": {**made, "signature": made["signature"].upper()}})
    yield packed({**payload, "challenge": {**made, "parameters": {**made["parameters"], "more": 1}}})
    yield proof + "="
    yield proof + "\n"
    yield f" {proof}"


def test_another_spelling_of_a_spent_token_sends_nothing(app: Flask, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(limits=PLENTY)
    token = visitor.opens()
    assert visitor.asks("030 901820", token=token).status_code == 202
    others = list(spellings(token))
    assert len(others) > 10
    with app.app_context():
        genuine = [one for one in others if challenge.read_token(one, visitor.form_key)]
    assert genuine, "none of them is genuine: nothing is tested"
    for number, other in enumerate(others):
        assert visitor.asks(f"030 9018{30 + number}", token=other).status_code == 400, other


def test_another_spelling_of_a_spent_proof_sends_nothing(app: Flask, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(limits=PLENTY)
    proof = visitor.works()
    assert visitor.asks("030 901820", altcha=proof).status_code == 202
    others = list(repacked(proof))
    with app.app_context():
        assert [one for one in others if challenge.read_proof(one, visitor.form_key)]
    for number, other in enumerate(others):
        assert visitor.asks(f"030 9018{30 + number}", altcha=other).status_code == 400, other


def test_every_spelling_has_the_digest_of_its_content(app: Flask, visitor: Visitor) -> None:
    token, proof = visitor.opens(), visitor.works()
    with app.app_context():
        read = [challenge.read_token(one, visitor.form_key) for one in (token, *spellings(token))]
        solved = [challenge.read_proof(one, visitor.form_key) for one in (proof, *repacked(proof))]
        another = challenge.read_token(visitor.opens(), visitor.form_key)
    assert len({one.digest for one in read if one}) == 1
    assert len({one.digest for one in solved if one}) == 1
    assert another
    assert another.digest != next(one.digest for one in read if one)


def test_another_spelling_of_a_link_or_ticket_is_the_same_one_or_none(app: Flask, manager: Actor) -> None:
    """Neither is spent; what they are compared by is what they hold."""
    with app.app_context():
        id = uuid4()
        for link in spellings(signing.sign_link(id)):
            try:
                assert signing.read_link(link) == id
            except NotFound:
                continue
        ticket = read_ticket(manager.ticket)
        for other in spellings(manager.ticket):
            try:
                assert read_ticket(other) == ticket
            except TicketExpired:
                continue


@pytest.mark.parametrize("content", [["{form}"], ["{form}", 1], ["{form}", "a", "b"], {"0": "{form}"}, "{form}", None])
def test_signed_content_of_another_shape_is_no_token(app: Flask, visitor: Visitor, content: object) -> None:
    said = json.loads(json.dumps(content).replace("{form}", visitor.form_key))
    with app.app_context():
        signed = signing.serializer(challenge.FORM_SALT).dumps(said)
        assert challenge.read_token(str(signed), visitor.form_key) is None

"""What is only decoration of a request never costs the call. A new case is a new line in one of the tables."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from bx24app.database import writing
from bx24app.models import Form
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor

# Bodies beside number and consent.
DECORATION: dict[str, dict[str, Any]] = {
    "no page": {"page": None},
    "a page that is too long": {"page": "https://shop.example/?x=" + "x" * 4130},
    "a page that is none": {"page": "javascript:alert(1)"},
    "an empty page": {"page": ""},
    "nothing optional": dict.fromkeys(("page", "name", "topic", "scheduled_at"), None),
    "empty ones": dict.fromkeys(("page", "name", "topic", "scheduled_at"), ""),
    "fields that nobody knows": {"utm": {"source": ["x"]}, "": 1},
}


def test_decoration_costs_no_call(desk: Actor, visitor: Visitor) -> None:
    generous = dict.fromkeys(("address_hour", "number_day", "form_hour", "form_day"), 1000)
    assert desk.asks("PATCH", f"/forms/{visitor.form_key}", {"limits": generous}).status_code == 200
    for place, (name, body) in enumerate(DECORATION.items()):
        response = visitor.asks(f"+493090182{place}", **body)
        assert response.status_code == 202, (name, response.text)


# Topics as an administrator writes or pastes them, and as a visitor sends them.
TOPICS = {
    "a no-break space": ("Prices\xa0and delivery", "Prices\xa0and delivery"),
    "a no-break space that became one": ("Prices\xa0and delivery", "Prices and delivery"),
    "two spaces": ("Prices  and delivery", "Prices and delivery"),
    "a narrow space": ("1\u202f000 pieces", "1 000 pieces"),
    "a space at the end": ("Delivery ", "Delivery"),
    "a mark of direction": ("\u200fDelivery", "Delivery"),
    "a soft hyphen": ("De\xadlivery", "Delivery"),
}


@pytest.mark.parametrize("was_stored_before", [False, True])
def test_a_topic_that_was_set_can_be_chosen(app: Flask, desk: Actor, visitor: Visitor, was_stored_before: bool) -> None:
    path = f"/forms/{visitor.form_key}"
    generous = dict.fromkeys(("address_hour", "number_day", "form_hour", "form_day"), 1000)
    written = list(dict.fromkeys(stored for stored, _ in TOPICS.values()))
    assert desk.asks("PATCH", path, {"topics": written, "limits": generous}).status_code == 200
    shown = json_of(desk.asks("GET", path))["topics"]
    assert set(shown) == {"Prices and delivery", "1 000 pieces", "Delivery"}
    if was_stored_before:
        with app.app_context(), writing() as session:
            session.execute(update(Form).values(topics=written))
    for place, (name, (_, sent)) in enumerate(TOPICS.items()):
        response = visitor.asks(f"+493090182{place}", topic=sent)
        assert response.status_code == 202, (name, response.text)
    assert visitor.asks("+4930901829", topic="Something else").status_code == 400

"""JSON of very many values, each of which costs the interpreter more than a letter does."""

import pytest

from bx24app.web.bodies import MAX_BODY_SIGNS
from bx24app.web.guards import WRONG_TOLD
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor

CROWDED = {
    "fields that nobody knows": {f"x{number}": [1] for number in range(18_000)},
    "a list": {"operators": {"people": [1] * 80_000}},
    "lists in lists": {"filters": [[]] * 40_000},
}


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("PUT", "/me/notifications", "fields that nobody knows"),
        ("PATCH", "/settings", "a list"),
        ("POST", "/callbacks", "lists in lists"),
        ("PATCH", "/forms/none", "fields that nobody knows"),
    ],
)
def test_a_body_of_very_many_values_is_not_looked_at(
    manager: Actor, administrator: Actor, method: str, path: str, name: str
) -> None:
    """A quarter of a second of a processor each, and an answer of 1.1 MB; forty a second stopped a server for 15 s."""
    administrator.opens()
    answer = administrator.asks(method, path, CROWDED[name])
    assert answer.status_code == 400
    assert f"more than {MAX_BODY_SIGNS} values" in answer.text
    assert len(answer.data) < 1000


def test_of_many_wrong_fields_the_first_are_told(manager: Actor) -> None:
    manager.opens()
    body = {f"x{number}" + "y" * 5000: 1 for number in range(50)}
    answer = manager.asks("PUT", "/me/notifications", body)
    assert answer.status_code == 400
    assert len(json_of(answer)["errors"]) == WRONG_TOLD
    assert len(answer.data) < 10_000


def test_a_customer_s_request_with_very_many_values_is_refused(visitor: Visitor) -> None:
    answer = visitor.posts({"number": "+4930901820", "more": [1] * 12_000})
    assert answer.status_code in (400, 422)


def test_as_many_people_as_there_may_be_are_taken(manager: Actor, administrator: Actor) -> None:
    administrator.opens()
    body = {"roles": {"operators": {"people": [*range(1, 501)], "departments": [1]}, "others": "none"}}
    assert administrator.asks("PATCH", "/settings", body).status_code == 200

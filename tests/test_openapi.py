"""``/api/v1/openapi.json`` describes the JSON API: every route of it, and no more."""

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.actors import Actor, json_of

ROUTES = re.compile(r"<(?:\w+:)?(\w+)>")


@pytest.fixture
def described(client: FlaskClient) -> dict[str, Any]:
    response = client.get("/api/v1/openapi.json")
    assert response.status_code == 200
    return json_of(response)


def test_every_route_is_described_and_no_more(app: Flask, described: dict[str, Any]) -> None:
    exist = {
        (ROUTES.sub(r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert told == exist


def test_every_operation_tells_its_answers_and_who_may_ask(described: dict[str, Any]) -> None:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["summary"].endswith((".", "?")), where
            assert any(status.startswith("2") for status in operation["responses"]), where
            for status, response in operation["responses"].items():
                if not status.startswith("2"):
                    [schema] = (content["schema"] for content in response["content"].values())
                    assert schema["allOf"][0] == {"$ref": "#/components/schemas/Problem"}, where
                    assert schema["allOf"][1]["properties"]["code"]["enum"], where
            assert ("401" in operation["responses"]) == bool(operation["security"]), where
            assert ("requestBody" in operation) == ("413" in operation["responses"]), where


def test_nothing_refers_to_what_is_not_there(described: dict[str, Any]) -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return found.union(*(references(value) for value in node.values()))
        return {name for value in node for name in references(value)} if isinstance(node, list) else set()

    names = {reference.removeprefix("#/components/schemas/") for reference in references(described)}
    assert names <= described["components"]["schemas"].keys()
    assert "Problem" in names


def test_the_roles_come_from_the_guards(administrator: Actor, manager: Actor, described: dict[str, Any]) -> None:
    def promised(path: str, method: str) -> bool:
        return "403" in described["paths"][f"/api/v1{path}"][method]["responses"]

    assert promised("/settings", "get")
    assert not promised("/lines", "get")
    assert manager.asks("GET", "/settings").status_code == 403
    assert manager.asks("GET", "/lines").status_code == 200
    assert described["paths"]["/api/v1/openapi.json"]["get"]["security"] == []

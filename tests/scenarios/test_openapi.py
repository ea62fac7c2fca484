"""``/api/v1/openapi.json`` describes the JSON API: every route of it, and no more."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bx24app.web.api import openapi
from tests.support.actors import Actor, json_of
from tests.support.tables import rows_in_one_world

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


def test_it_is_made_once_however_many_ask_at_once(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []

    def make(app: Flask) -> dict[str, Any]:
        made.append(time.monotonic())
        time.sleep(0.2)
        return {}

    monkeypatch.setattr(openapi, "document", make)
    app.extensions.pop(openapi.CACHE, None)
    try:
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(app.test_client().get, "/api/v1/openapi.json") for _ in range(8)]
        assert {one.result().status_code for one in asked} == {200}
    finally:
        app.extensions.pop(openapi.CACHE, None)
    assert len(made) == 1


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
    assert promised("/lines", "get")
    assert not promised("/me", "get")
    assert manager.asks("GET", "/settings").status_code == 403
    assert manager.asks("GET", "/lines").status_code == 200
    assert described["paths"]["/api/v1/openapi.json"]["get"]["security"] == []


def test_addresses_are_described_as_they_are_read(described: dict[str, Any]) -> None:
    def schema(path: str, method: str) -> dict[str, Any]:
        [parameter] = (p for p in described["paths"][f"/api/v1{path}"][method]["parameters"] if p["in"] == "path")
        return {name: parameter["schema"].get(name) for name in ("type", "format", "pattern", "maximum")}

    number = {"type": "integer", "format": None, "pattern": None, "maximum": 2**31 - 1}
    assert schema("/webhooks/{webhook_id}", "get") == number
    assert schema("/api-keys/{key_id}", "delete") == number
    key = {"type": "string", "format": None, "pattern": "^[0-9A-Za-z_-]{1,32}$", "maximum": None}
    assert schema("/forms/{form_key}", "patch") == key
    assert schema("/callbacks/{callback_id}", "get")["format"] == "uuid"


def test_what_has_no_content_and_what_is_no_json_is_told(described: dict[str, Any]) -> None:
    paths = described["paths"]
    assert "content" not in paths["/api/v1/forms/{form_key}"]["delete"]["responses"]["204"]
    assert list(paths["/api/v1/do-not-call/export"]["get"]["responses"]["200"]["content"]) == ["text/csv"]
    assert list(paths["/api/v1/do-not-call/import"]["post"]["requestBody"]["content"]) == ["text/plain"]


def test_callbacks_may_be_asked_for_with_a_ticket_or_a_key(described: dict[str, Any]) -> None:
    callbacks = described["paths"]["/api/v1/callbacks"]
    assert callbacks["get"]["security"] == callbacks["post"]["security"] == [{"ticket": []}, {"key": []}]
    assert "429" in callbacks["get"]["responses"]
    assert described["paths"]["/api/v1/callbacks/{callback_id}/retry"]["post"]["security"] == [{"ticket": []}]
    bodies = described["components"]["schemas"]["StartBody"]["anyOf"]
    assert [body["$ref"].rpartition("/")[2] for body in bodies] == ["CallbackBody", "KeyedBody"]


@rows_in_one_world(
    ("method", "path"),
    [
        ("GET", "/forms/%00"),
        ("PATCH", "/forms/%00"),
        ("DELETE", "/forms/a%00b"),
        ("GET", "/forms/%00/refusals"),
        ("GET", f"/forms/{'k' * 33}"),
        ("DELETE", f"/api-keys/{2**31}"),
        ("DELETE", f"/api-keys/{2**64}"),
        ("DELETE", f"/do-not-call/{2**31}"),
        ("DELETE", f"/do-not-call/{2**64}"),
        ("GET", f"/webhooks/{2**64}"),
        ("DELETE", f"/webhooks/{2**31}"),
        ("POST", f"/webhooks/deliveries/{2**64}/redeliver"),
        ("POST", "/lines/%00/resume"),
    ],
)
def test_what_can_be_no_id_is_not_found(desk: Actor, method: str, path: str) -> None:
    answer = desk.asks(method, path, {} if method == "PATCH" else None)
    assert (answer.status_code, json_of(answer)["code"]) == (404, "not_found")


@rows_in_one_world(
    ("method", "path", "body"),
    [
        ("POST", "/api-keys", {"form_key": "\0", "name": "x"}),
        ("POST", "/rules/test", {"form_key": "\0", "number": "1"}),
        ("POST", "/webhooks", {"form_key": "\0", "url": "https://site.example.com"}),
        ("GET", "/webhooks?form_key=%00", None),
    ],
)
def test_what_can_be_no_key_is_refused(desk: Actor, method: str, path: str, body: object) -> None:
    answer = desk.asks(method, path, body)
    assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid_request")


# The last two are moments in UTC, and none in half of all zones.
@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T01:18:22+11:31", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
)
def test_a_moment_outside_of_all_time_is_refused(desk: Actor, moment: str) -> None:
    id, key = (
        json_of(desk.requests_callback())["id"],
        json_of(desk.asks("POST", "/forms", {"name": "Shop", "default_country": "DE"}))["key"],
    )
    query = moment.replace("+", "%2B")
    for method, path, body in (
        ("GET", f"/callbacks?from={query}", None),
        ("GET", f"/callbacks?to={query}", None),
        ("GET", f"/callbacks?from={query}&to={query}&weekday=1&hour=0", None),
        ("GET", f"/callbacks.csv?from={query}", None),
        ("GET", f"/reports/summary?from={query}", None),
        ("GET", f"/reports/by_hour.csv?to={query}&zone=America/New_York", None),
        ("PATCH", f"/callbacks/{id}", {"scheduled_at": moment}),
        ("POST", "/rules/test", {"form_key": key, "number": "+4930901820", "at": moment}),
    ):
        answer = desk.asks(method, path, body)
        assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid_request"), path
    assert desk.requests_callback("+4930901821", scheduled_at=moment).status_code == 400

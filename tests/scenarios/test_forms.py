"""Website forms: made with nothing but a name, changed all or none, removed."""

from typing import Any

from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.tables import rows_in_one_world
from tests.support.visitors import Visitor


def test_a_form_needs_only_a_name_and_has_safe_defaults(desk: Actor) -> None:
    response = desk.asks("POST", "/forms", {"name": " Main site ", "default_country": "DE"})
    form = json_of(response)
    assert (response.status_code, response.headers["Location"]) == (201, f"/api/v1/forms/{form['key']}")
    assert form["snippet"] == f'<script src="{form["url"]}/widget.js" async></script>'
    shown = {name: form[name] for name in ("name", "is_on", "allowed_origins", "allowed_countries", "fields", "limits")}
    assert shown == {
        "name": "Main site",
        "is_on": True,
        "allowed_origins": [],
        "allowed_countries": [],
        "fields": {"name": "optional", "topic": "off"},
        "limits": {"address_hour": 5, "number_day": 3, "form_hour": 60, "form_day": 300},
    }
    assert (form["budget_calls"], form["consent_text"], form["consent_version"]) == (None, None, 0)
    assert (form["languages"], form["colour"], form["creates_lead"]) == (["en", "ru"], "#0075ff", False)
    assert (form["retries"], form["retry_minutes"], form["expiry_minutes"]) == (2, 10, 60)


def test_every_setting_can_be_written_read_and_cleared(desk: Actor, portal: FakePortal) -> None:
    key = json_of(desk.asks("POST", "/forms", {"name": "Main", "default_country": "DE"}))["key"]
    wanted = {
        "is_on": False,
        "line_id": next(iter(portal.lines)),
        "voice_id": next(iter(portal.voices)),
        "text": "Call from {name} about {topic}",
        "default_country": "GB",
        "allowed_countries": ["GB", "IE"],
        "blocked_prefixes": ["+4490"],
        "allowed_prefixes": ["+44", "+353"],
        "allowed_origins": ["https://shop.example"],
        "hours": {
            "zone": "Europe/London",
            "week": {"mon": [["09:00", "17:30"]]},
            "holidays": "GB",
            "closed": ["2026-12-24"],
        },
        "fields": {"name": "required", "topic": "optional"},
        "topics": ["Order"],
        "consent_text": "Yes.",
        "languages": ["en"],
        "retries": 0,
        "retry_minutes": 5,
        "unknown_policy": "dial_again",
        "expiry_minutes": 30,
        "limits": {"address_hour": 1, "number_day": 1, "form_hour": 1, "form_day": 1},
        "budget_calls": 10,
        "budget_money": "12.5",
        "budget_currency": "GBP",
        "colour": "#ff0000",
        "texts": {
            "en": {"heading": "Call us", "sentence": "Soon", "button": "Go", "thanks": "Thanks"},
            "ru": {"heading": "", "sentence": "", "button": "Жду", "thanks": ""},
        },
        "corner": "left",
        "shown": "in_hours",
        "creates_lead": True,
    }
    response = desk.asks("PATCH", f"/forms/{key}", wanted)
    assert response.status_code == 200, response.text
    shown = json_of(desk.asks("GET", f"/forms/{key}"))
    assert {name: shown[name] for name in wanted} == wanted
    cleared = dict.fromkeys(("line_id", "voice_id", "text", "default_country", "hours", "budget_money"))
    shown = json_of(desk.asks("PATCH", f"/forms/{key}", cleared))
    assert {name: shown[name] for name in cleared} == cleared
    assert shown["colour"] == "#ff0000"


@rows_in_one_world(
    ("change", "status", "code"),
    [
        ({"name": "\u0000"}, 400, "invalid_request"),
        ({"name": "a" * 256}, 400, "invalid_request"),
        ({"key": "mine"}, 400, "invalid_request"),
        ({"is_on": "perhaps"}, 400, "invalid_request"),
        ({"line_id": "reg0"}, 422, "unknown_line"),
        ({"voice_id": "nobody"}, 422, "unknown_voice"),
        ({"text": "Hello {password}"}, 422, "text_invalid"),
        ({"text": "x" * 301}, 422, "text_invalid"),
        ({"default_country": "ZZ"}, 400, "invalid_request"),
        ({"allowed_countries": ["Germany"]}, 400, "invalid_request"),
        ({"blocked_prefixes": ["4990"]}, 400, "invalid_request"),
        ({"allowed_origins": ["https://shop.example/x"]}, 400, "invalid_request"),
        ({"hours": {"zone": "Mars/Olympus", "week": {}}}, 400, "invalid_request"),
        ({"hours": {"zone": "UTC", "week": {"mon": [["18:00", "09:00"]]}}}, 400, "invalid_request"),
        ({"fields": {"email": "required"}}, 400, "invalid_request"),
        ({"fields": {"name": "maybe"}}, 400, "invalid_request"),
        ({"languages": ["de"]}, 400, "invalid_request"),
        ({"retries": -1}, 400, "invalid_request"),
        ({"unknown_policy": "hope"}, 400, "invalid_request"),
        ({"limits": {"form_day": 0}}, 400, "invalid_request"),
        ({"budget_calls": -1}, 400, "invalid_request"),
        ({"budget_money": "-1"}, 400, "invalid_request"),
        ({"budget_money": "NaN"}, 400, "invalid_request"),
        ({"budget_money": "1.23456"}, 400, "invalid_request"),
        ({"budget_currency": "euro"}, 400, "invalid_request"),
        ({"colour": "red"}, 400, "invalid_request"),
        ({"colour": "#ff0000;background:url(x)"}, 400, "invalid_request"),
        ({"topics": [""]}, 400, "invalid_request"),
        ({"consent_text": "\u0000"}, 400, "invalid_request"),
    ],
)
def test_a_wrong_setting_changes_nothing(
    desk: Actor, visitor: Visitor, change: dict[str, Any], status: int, code: str
) -> None:
    path = f"/forms/{visitor.form_key}"
    before = desk.asks("GET", path).json
    response = desk.asks("PATCH", path, {"expiry_minutes": 33, **change})
    assert (response.status_code, json_of(response)["code"]) == (status, code)
    assert desk.asks("GET", path).json == before


def test_the_version_of_the_consent_grows_only_with_its_text(desk: Actor, visitor: Visitor) -> None:
    path = f"/forms/{visitor.form_key}"
    texts = ["One.", "One.", "Two.", None, "Two."]
    versions = [json_of(desk.asks("PATCH", path, {"consent_text": text}))["consent_version"] for text in texts]
    assert versions == [1, 1, 2, 3, 4]


def test_a_removed_form_is_not_listed(desk: Actor, visitor: Visitor) -> None:
    path = f"/forms/{visitor.form_key}"
    assert desk.asks("DELETE", path).status_code == 204
    assert json_of(desk.asks("GET", "/forms"))["forms"] == []
    statuses = [desk.asks(method, path, {}).status_code for method in ("GET", "PATCH", "DELETE")]
    assert statuses == [404] * 3

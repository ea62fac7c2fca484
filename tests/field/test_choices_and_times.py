"""Words of a list, times and zones as people and programs write them. A new case is a new line in one of the tables."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select
from werkzeug.test import TestResponse

from bx24app.database import reading
from bx24app.models import Callback, utcnow
from bx24app.web.moments import UtcMoment, iso
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor
from tests.support.websites import BackEnd, MakeVisitor

pytestmark = pytest.mark.timeout(300)
PLENTY = dict.fromkeys(("address_hour", "number_day", "form_hour", "form_day"), 1000)


@pytest.fixture
def visitor(visitor_of: MakeVisitor) -> Visitor:
    return visitor_of(limits=PLENTY)


def spellings(word: str) -> list[str]:
    """A word of a list as others write it."""
    return [
        word,
        word.upper(),
        word.title(),
        f" {word}\r\n",
        f"\u00a0{word}\u202f",
        f"\u200e{word}\ufeff",
        word.replace("_", "-"),
        word.replace("_", " "),
        word.replace("_", "\u2011").upper(),
        word.replace("_", "\u00a0"),
    ]


# What is no word of the list, whatever the door.
NO_WORDS = ("perhaps", "dialagain", "lead-", "_", "mo", "опционально")


def test_words_of_the_forms_settings(desk: Actor, visitor: Visitor) -> None:
    path = f"/forms/{visitor.form_key}"

    def stored(change: dict[str, Any]) -> Any:
        answer = desk.asks("PATCH", path, change)
        return json_of(answer) if answer.status_code == 200 else answer.text

    for written in spellings("dial_again"):
        assert stored({"unknown_policy": "ask"})["unknown_policy"] == "ask"
        assert stored({"unknown_policy": written})["unknown_policy"] == "dial_again", written
    for written in spellings("required"):
        assert stored({"fields": {"name": written, "topic": "OFF"}})["fields"] == {"name": "required", "topic": "off"}
    for written in spellings("fri"):
        hours = {"zone": "Europe/Berlin", "week": {written: [["09:00", "18:00"]]}}
        assert stored({"hours": hours})["hours"]["week"] == {"fri": [["09:00", "18:00"]]}, written
    for tags in (["RU", " ru_RU\n", "\u00a0ru-RU"], ["Ru"], ["ru-Cyrl-RU"], ["ru\u2011RU"]):
        assert stored({"languages": tags})["languages"] == ["ru"], tags
    for wrong in NO_WORDS:
        for change in ({"unknown_policy": wrong}, {"fields": {"name": wrong}}, {"languages": [wrong]}):
            assert desk.asks("PATCH", path, change).status_code == 400, change
        assert desk.asks("PATCH", path, {"hours": {"zone": "UTC", "week": {wrong: []}}}).status_code == 400, wrong


def test_words_of_callbacks(desk: Actor) -> None:
    for place, written in enumerate([*spellings("lead"), "LEAD", "Lead"]):
        answer = desk.requests_callback(f"+4930901{100 + place}", crm_entity={"type": written, "id": 7})
        assert (answer.status_code, json_of(answer)["crm_entity"]) == (201, {"type": "LEAD", "id": 7}), written
    id = json_of(answer)["id"]
    for field, words in {"state": ("queued", "scheduled"), "source": ("staff", "website")}.items():
        there, absent = (
            [json_of(desk.asks("GET", "/callbacks?" + urlencode({field: one})))["callbacks"] for one in spellings(word)]
            for word in words
        )
        assert all(there), field
        assert not any(absent), field
    for written in (*spellings("not_reached"), *spellings("dial_again")):
        # A word that is understood, and a callback that is not unknown.
        assert desk.asks("POST", f"/callbacks/{id}/resolve", {"outcome": written}).status_code == 409, written
    for wrong in NO_WORDS:
        assert desk.requests_callback("+49309012", crm_entity={"type": wrong, "id": 7}).status_code == 400, wrong
        assert desk.asks("POST", f"/callbacks/{id}/resolve", {"outcome": wrong}).status_code == 400, wrong
        assert desk.asks("GET", "/callbacks?" + urlencode({"state": wrong})).status_code == 400, wrong
    assert desk.asks("GET", "/callbacks?" + urlencode({"state": " \t"})).status_code == 200


def test_words_of_the_portals_settings(desk: Actor) -> None:
    for written in spellings("none"):
        roles = {"operators": {"people": [5]}, "others": written}
        answer = desk.asks("PATCH", "/settings", {"roles": roles})
        assert (answer.status_code, json_of(answer)["roles"]["others"]) == (200, "none"), (written, answer.text)
        for everybody in (True, "true", " YES", 1):
            answer = desk.asks("PATCH", "/settings", {"roles": {"operators": {"everybody": everybody}}})
            assert json_of(answer)["roles"]["operators"] == {"everybody": True}, (everybody, answer.text)
    for operators, meant in {
        ("people", "5"): {"people": [5], "departments": []},
        ("departments", " 7 "): {"people": [], "departments": [7]},
    }.items():
        field, id = operators
        for nothing in (None, "", list[int]()):
            sent: dict[str, object] = {"people": nothing, "departments": nothing} | {field: [id]}
            answer = desk.asks("PATCH", "/settings", {"roles": {"operators": sent, "others": None}})
            assert (answer.status_code, json_of(answer)["roles"]["operators"]) == (200, meant), answer.text
    for wrong in ({"everybody": False}, {"everybody": "no"}, {"everybody": "perhaps"}, {"people": ["five"]}):
        assert desk.asks("PATCH", "/settings", {"roles": {"operators": wrong}}).status_code == 400, wrong
    for written in ("1", "true", "TRUE", " yes ", "on"):
        assert desk.asks("GET", "/lines?" + urlencode({"refresh": written})).status_code == 200, written
    lists = len(desk.portal.requests_for("voximplant.line.get"))
    for written in ("0", "false", "No", "off", " ", ""):
        assert desk.asks("GET", "/lines?" + urlencode({"refresh": written})).status_code == 200, written
    assert len(desk.portal.requests_for("voximplant.line.get")) == lists
    assert desk.asks("GET", "/lines?" + urlencode({"refresh": "perhaps"})).status_code == 400


def test_the_log_of_requests(desk: Actor) -> None:
    for query in (
        "outcome=Answered&hours=%2024",
        "outcome=REFUSED&hours=1 ",
        "outcome=%C2%A0refused",
        "hours=",
        "outcome=+",
    ):
        page = desk.client.get(f"/desk/requests?{query}", headers={"Authorization": f"Bearer {desk.ticket}"})
        assert page.status_code == 200, query


# Hours as people write them, and how they are stored.
HOURS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a zone in small letters": ({"zone": "europe/berlin"}, {"zone": "Europe/Berlin"}),
    "a zone with a space": ({"zone": " America/New York\n"}, {"zone": "America/New_York"}),
    "a zone with a mark nobody sees": ({"zone": "\u200eEurope/Berlin"}, {"zone": "Europe/Berlin"}),
    "the zone of all": ({"zone": "utc"}, {"zone": "UTC"}),
    "one digit": ({"week": {"mon": [["9:00", "18:00"]]}}, {"week": {"mon": [["09:00", "18:00"]]}}),
    "seconds": ({"week": {"mon": [["09:00:00", "18:00:00"]]}}, {"week": {"mon": [["09:00", "18:00"]]}}),
    "a dot": ({"week": {"mon": [["9.00", " 18.30"]]}}, {"week": {"mon": [["09:00", "18:30"]]}}),
    "a closed day": ({"week": {"mon": [["09:00", "18:00"]], "sun": None, "sat": ""}}, {}),
    "a region in small letters": ({"holidays": "de-by"}, {"holidays": "DE-BY"}),
    "a region with an underscore": ({"holidays": " DE_BY "}, {"holidays": "DE-BY"}),
    "a country": ({"holidays": "gb"}, {"holidays": "GB"}),
    "a country whose part is no matter": ({"holidays": "gb-"}, {"holidays": "GB-"}),
    "no holidays": ({"holidays": None, "closed": None}, {"holidays": "", "closed": []}),
    "holidays that are empty": ({"holidays": "", "closed": ""}, {"holidays": "", "closed": []}),
}


@pytest.mark.parametrize("door", ["settings", "form"])
def test_hours(desk: Actor, visitor: Visitor, door: str) -> None:
    path = "/settings" if door == "settings" else f"/forms/{visitor.form_key}"
    usual = {"zone": "Europe/Berlin", "week": {"mon": [["09:00", "18:00"]]}}
    for name, (written, stored) in HOURS.items():
        answer = desk.asks("PATCH", path, {"hours": usual | written})
        assert answer.status_code == 200, (name, answer.text)
        hours = json_of(answer)["hours"]
        assert {field: hours[field] for field in stored} == stored, name
    for wrong in ({"zone": "Berlin"}, {"zone": None}, {"week": {"mon": [["25:00", "26:00"]]}}, {"holidays": "XX"}):
        assert desk.asks("PATCH", path, {"hours": usual | wrong}).status_code == 400, wrong
    assert desk.asks("GET", "/settings/holidays?" + urlencode({"region": "de_by"})).status_code == 200


# Moments as programs write them; all of them are the same.
MOMENT = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
MOMENTS = (
    "2026-12-01T09:00:00Z",
    "2026-12-01t09:00:00z",
    "2026-12-01T09:00Z",
    "2026-12-01 09:00:00Z",
    " 2026-12-01T09:00:00Z\n",
    "2026-12-01T09:00:00.000Z",
    "2026-12-01T09:00:00.0000000Z",
    "2026-12-01T09:00:00,000Z",
    "20261201T090000Z",
    "2026-12-01T10:00:00+01:00",
    "2026-12-01T10:00:00+0100",
    "2026-12-01T10:00:00+01",
    "2026-12-01T04:00:00\u221205:00",
    # The plus of an address that nobody has escaped.
    "2026-12-01T10:00:00 01:00",
    "2026-12-01T10:00 0100",
    # Ruby, Go, Java.
    "2026-12-01 10:00:00 +0100",
    "2026-12-01 09:00:00 UTC",
    "2026-12-01 10:00:00 +0100 CET",
    "2026-12-01T10:00:00+01:00[Europe/Berlin]",
    "2026-12-01T09:00:00Z[UTC]",
    # JavaScript, mail and HTTP.
    "Tue Dec 01 2026 10:00:00 GMT+0100 (Central European Standard Time)",
    "Tue, 01 Dec 2026 09:00:00 GMT",
    "Tue, 1 Dec 2026 10:00:00 +0100",
    "1 Dec 2026 09:00 UTC",
    # Seconds and milliseconds of Unix.
    "1796115600",
    1796115600,
    1796115600.0,
    1796115600000,
    "\u200e2026-12-01T09:00:00Z\ufeff",
)
NO_MOMENTS = (
    "2026-12-01T09:00:00",
    "2026-12-01",
    "2026-12-01 09:00",
    "01.12.2026 09:00",
    "12/01/2026 09:00 UTC",
    "09:00Z",
    "tomorrow",
    "Tue, 31 Feb 2026 09:00:00 GMT",
    "2026-13-01T09:00:00Z",
    "20261201",
    20261201,
    -1796115600,
    True,
    1e400,
    10**30,
    {"date": "2026-12-01"},
    "0001-01-01T00:00:00+14:00",
)


def test_moments() -> None:
    reader: TypeAdapter[datetime] = TypeAdapter(UtcMoment)
    wrong = [written for written in MOMENTS if reader.validate_python(written) != MOMENT]
    assert wrong == []
    for written in NO_MOMENTS:
        with pytest.raises(ValidationError):
            print(written, reader.validate_python(written))


@pytest.mark.parametrize("door", ["ticket", "key", "visitor", "customer", "query"])
def test_moments_at_every_door(app: Flask, desk: Actor, visitor: Visitor, back_end: BackEnd, door: str) -> None:
    """The same forms, near enough to be taken."""
    at = (utcnow() + timedelta(days=3)).replace(minute=0, second=0, microsecond=0)
    written = [
        iso(at),
        at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        at.strftime("%Y-%m-%d %H:%M:%S 0000"),
        at.strftime("%Y-%m-%dT%H:%M:%SZ[UTC]"),
        int(at.timestamp()),
        int(at.timestamp()) * 1000,
    ]
    status_url = json_of(visitor.asks("+4930901899", scheduled_at=iso(at + timedelta(hours=1))))["status_url"]
    reschedule = "/c/" + status_url.rpartition("/c/")[2] + "/reschedule"
    page = {"Accept": "application/json"}
    doors: dict[str, Callable[[str, object], TestResponse]] = {
        "ticket": lambda number, moment: desk.requests_callback(number, scheduled_at=moment),
        "key": lambda number, moment: back_end.requests_callback(number, scheduled_at=moment),
        "visitor": lambda number, moment: visitor.asks(number, scheduled_at=moment),
        "customer": lambda _, moment: visitor.client.post(reschedule, json={"scheduled_at": moment}, headers=page),
        "query": lambda _, moment: desk.asks("GET", "/callbacks?" + urlencode({"from": moment, "to": moment})),
    }
    for place, moment in enumerate(written):
        answer = doors[door](f"+49309018{10 + place}", moment)
        assert answer.status_code in (200, 201, 202), (moment, answer.text)
        if door == "query":
            continue
        with app.app_context(), reading() as session:
            assert session.scalars(select(Callback.due_at).order_by(Callback.updated_at.desc())).first() == at, moment


def test_the_description_still_lists_the_words(desk: Actor) -> None:
    described = json_of(desk.client.get("/api/v1/openapi.json"))
    models = described["components"]["schemas"]
    kind = models["CrmEntityBody"]["properties"]["type"]["anyOf"]
    assert "DYNAMIC_" in kind[0]["pattern"]
    assert kind[1]["enum"] == ["LEAD", "DEAL", "CONTACT", "COMPANY"]
    assert kind[2]["pattern"].startswith(r"^\s*([Ll][Ee][Aa][Dd]|")
    outcome = models["OutcomeBody"]["properties"]["outcome"]["anyOf"]
    assert outcome[0]["enum"] == ["reached", "not_reached", "dial_again"]
    assert "[Nn][Oo][Tt][-_ ][Rr]" in outcome[1]["pattern"]
    parameters = described["paths"]["/api/v1/callbacks"]["get"]["parameters"]
    [state] = (one["schema"] for one in parameters if one["name"] == "state")
    assert "State" in str(state)

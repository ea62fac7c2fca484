"""What every rule of a website form decides: numbers, origins, times and fields, each with the rule that refuses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask_babel import force_locale
from sqlalchemy import select

from bx24app.database import reading
from bx24app.messages.rules import rule_words
from bx24app.models import Callback, Rejection
from bx24app.services.websites import rules
from tests.fake_bitrix24 import FakePortal
from tests.support import ROOT
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.visitors import Visitor, altered

TAKEN = None
OWN = "own"
# A Wednesday, 11:00 in Berlin.
WORKDAY = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
EVENING = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
BERLIN = {
    "zone": "Europe/Berlin",
    "week": {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")},
    "holidays": "DE",
}
WIDE = {"allowed_countries": ["DE", "US", "GB"]}
SHOP = {"allowed_origins": ["https://shop.example"]}
OFFICE = {"hours": BERLIN}
STRICT = {"fields": {"name": "required", "topic": "required"}, "topics": ["Order", "Return"]}
AGREED = {"consent_text": "You may call me."}


@dataclass(frozen=True)
class Row:
    """A form's settings, what is sent, from where and when, and the rule that decides."""

    rule: str | None
    number: str = CUSTOMER
    form: dict[str, Any] = field(default_factory=dict)
    origin: str | None = OWN
    at: datetime = WORKDAY
    sent: dict[str, Any] = field(default_factory=dict)


NUMBERS = [
    Row(TAKEN, "+49 30 901820"),
    Row(TAKEN, "030 901820"),
    Row(TAKEN, "(030) 90 18 20"),
    Row(TAKEN, "030/901820"),
    Row(TAKEN, "030 – 901820"),
    Row(TAKEN, "0049 30 901820"),
    Row(TAKEN, "+４９３０９０１８２０"),
    Row(TAKEN, "٠٣٠٩٠١٨٢٠"),
    Row(TAKEN, "\u202a+49 30\u00a0901820\u202c"),
    Row("number_shape", ""),
    Row("number_shape", "   "),
    Row("number_short", "110"),
    Row("number_short", "112"),
    Row("number_short", "911"),
    Row("number_short", "+4930"),
    Row("number_shape", "1-800-FLOWERS"),
    Row("number_shape", "+49 30 ABCDEF1234"),
    Row(TAKEN, "+49 30 901820 ext 3"),
    Row(TAKEN, "+49 30 901820;ext=3"),
    Row(TAKEN, "+49 30 901820 x3"),
    Row(TAKEN, "tel:+4930901820"),
    Row("number_shape", "9" * 30),
    Row("number_shape", "+" + "9" * 250),
    Row("number_shape", "📞"),
    Row(TAKEN, "4️⃣9️⃣3️⃣0️⃣9️⃣0️⃣1️⃣8️⃣2️⃣0️⃣"),
    Row(TAKEN, "+49 30 901820 📞"),
    # Words around a number are left out, whatever they are.
    Row(TAKEN, "<script>alert(4930901820)</script>"),
    Row(TAKEN, "{{ 4930901820 }}"),
    Row("number_shape", "' OR 4930901820=4930901821 --"),
    Row("number_shape", "+49+30+901820"),
    Row("number_shape", "+999 12345678"),
    Row("number_shape", "\u0000+4930901820"),
    Row("number_kind", "+49 900 1234567"),
    Row("number_kind", "0900 1234567"),
    Row("number_kind", "0180 5 123456"),
    Row("number_kind", "+870 773 111 632"),
    Row("number_kind", "+882 1611 22223"),
    Row("number_kind", "+881 612 345 678"),
    Row("country", "+1 212 555 0146"),
    Row("country", "+44 20 7946 0958"),
    Row("country", "+33 1 42 68 53 00"),
    Row(TAKEN, "+1 212 555 0146", WIDE),
    Row(TAKEN, "+44 20 7946 0958", WIDE),
    Row("country", "+33 1 42 68 53 00", WIDE),
    Row("number_kind", "+1 900 234 5678", WIDE),
    Row("blocked_prefix", "030 901820", {"blocked_prefixes": ["+4940", "+4930"]}),
    Row(TAKEN, "040 42828", {"blocked_prefixes": ["+4930"]}),
    Row(TAKEN, "030 901820", {"allowed_prefixes": ["+4930"]}),
    Row("allowed_prefix", "040 42828", {"allowed_prefixes": ["+4930"]}),
    Row("blocked_prefix", "030 901820", {"allowed_prefixes": ["+49"], "blocked_prefixes": ["+4930"]}),
]
ORIGINS = [
    Row(TAKEN, form=SHOP, origin="https://shop.example"),
    Row(TAKEN, form=SHOP, origin=OWN),
    Row("origin", form=SHOP, origin="https://evil.example"),
    Row("origin", form=SHOP, origin="http://shop.example"),
    Row("origin", form=SHOP, origin="https://shop.example.evil.example"),
    Row("origin", form=SHOP, origin="https://shop.example:8443"),
    Row("origin", form=SHOP, origin="https://shop.example@evil.example"),
    Row("origin", form=SHOP, origin="https://www.shop.example"),
    Row("origin", origin="https://shop.example"),
]
TIMES = [
    Row(TAKEN, form=OFFICE),
    Row(TAKEN, form=OFFICE, at=datetime(2026, 11, 25, 8, 0, tzinfo=UTC)),
    Row("hours", form=OFFICE, at=datetime(2026, 11, 25, 7, 59, 59, tzinfo=UTC)),
    Row("hours", form=OFFICE, at=datetime(2026, 11, 25, 17, 0, tzinfo=UTC)),
    Row("hours", form=OFFICE, at=EVENING),
    Row("hours", form=OFFICE, at=datetime(2026, 11, 29, 10, 0, tzinfo=UTC)),
    Row("hours", form=OFFICE, at=datetime(2026, 12, 25, 10, 0, tzinfo=UTC)),
    # In summer the same hour of UTC is another hour of the wall.
    Row(TAKEN, form=OFFICE, at=datetime(2027, 7, 7, 7, 0, tzinfo=UTC)),
    Row("hours", form=OFFICE, at=datetime(2027, 7, 7, 16, 0, tzinfo=UTC)),
]
# What only a real request can show.
SENT = [
    Row("origin", form=SHOP, origin=None),
    Row("origin", form=SHOP, origin="null"),
    Row(TAKEN, form=OFFICE, at=EVENING, sent={"scheduled_at": "2026-11-26T09:30:00+01:00"}),
    Row("hours", form=OFFICE, sent={"scheduled_at": "2026-11-26T03:00:00Z"}),
    Row("time", form=OFFICE, sent={"scheduled_at": "2026-11-24T10:00:00Z"}),
    Row("time", sent={"scheduled_at": "2026-11-25T09:58:00Z"}),
    Row("time", sent={"scheduled_at": "2027-11-25T10:00:00Z"}),
    Row("time", sent={"scheduled_at": "9999-12-31T23:59:59-14:00"}),
    Row("time", sent={"scheduled_at": "0001-01-01T00:00:00+14:00"}),
    # A time of the wall: in Berlin there is none such, the clock skips it.
    Row("time", at=datetime(2027, 3, 27, 10, 0, tzinfo=UTC), sent={"scheduled_at": "2027-03-28T02:30:00"}),
    # The same with an offset is a moment, which lies outside of the hours.
    Row(
        "hours",
        form=OFFICE,
        at=datetime(2027, 3, 26, 10, 0, tzinfo=UTC),
        sent={"scheduled_at": "2027-03-28T02:30:00+01:00"},
    ),
    Row("time", sent={"scheduled_at": "tomorrow"}),
    Row("time", sent={"scheduled_at": "{{ now }}"}),
    Row("time", sent={"scheduled_at": "179560160"}),
    Row(TAKEN, sent={"scheduled_at": "1795601600"}),
    Row(TAKEN, sent={"scheduled_at": 1795601600}),
    Row(TAKEN, sent={"number": 4930901820}),
    Row("shape", sent={"number": -4930901820}),
    Row("shape", sent={"number": {"$gt": ""}}),
    Row("shape", sent={"number": "9" * 300}),
    Row(TAKEN, sent={"name": ["Anna"]}),
    Row(TAKEN, sent={"name": "a" * 5000}),
    Row("fields", form=STRICT, sent={"topic": "Order"}),
    Row("fields", form=STRICT, sent={"name": "Anna"}),
    Row("fields", form=STRICT, sent={"name": " \u202e ", "topic": "Order"}),
    Row(TAKEN, form=STRICT, sent={"name": "Anna", "topic": "Anything else"}),
    Row(TAKEN, sent={"name": "a" * 200}),
    Row(TAKEN, form=STRICT, sent={"name": "Anna", "topic": "Order"}),
    Row(TAKEN, sent={"name": "<b>{{ 7 * 7 }}</b> ${x} {name} {{config}}", "topic": "{% raw %}"}),
    Row(TAKEN, sent={"page": "javascript:alert(1)"}),
    Row(TAKEN, sent={"page": "http://[::1"}),
    Row("consent", form=AGREED),
    Row("consent", form=AGREED, sent={"consent": False}),
    Row("consent", form=AGREED, sent={"consent": "no"}),
    Row(TAKEN, form=AGREED, sent={"consent": True}),
    Row(TAKEN, form=AGREED, sent={"consent": "on"}),
    Row("honeypot", sent={"leave_empty": "https://spam.example", "altcha": ""}),
    Row("honeypot", sent={"leave_empty": "x", "altcha": "bm90aGluZw=="}),
    # A browser that has done its work may have filled the field in for a person.
    Row(TAKEN, sent={"leave_empty": "https://clara.example"}),
    Row(TAKEN, sent={"website": "https://clara.example"}),
    Row("proof", sent={"altcha": ""}),
    Row("proof", sent={"altcha": "bm90aGluZw=="}),
    Row("proof", sent={"altcha": "\udcff" * 3 + "x"}),
    Row("proof", sent={"altcha": "x" * 5000}),
    Row("proof", sent={"altcha": {"challenge": {}}}),
    Row("proof", sent={"token": "forged.token"}),
    Row("fill_time", sent={"altcha": "fresh"}),
    Row("form_on", form={"is_on": False}),
]


@pytest.fixture
def make_form(manager: Actor, administrator: Actor) -> Callable[..., str]:
    administrator.opens()
    made: dict[str, str] = {}

    def make(**changes: Any) -> str:
        """The key of a form with these settings, made once."""
        name = repr(sorted(changes.items()))
        if name not in made:
            base = {
                "name": "Table",
                "default_country": "DE",
                "line_id": next(iter(administrator.portal.lines)),
                "limits": {"address_hour": 1000, "number_day": 1000, "form_hour": 1000, "form_day": 1000},
            }
            response = administrator.asks("POST", "/forms", base | changes)
            assert response.status_code == 201, response.text
            made[name] = json_of(response)["key"]
        return made[name]

    return make


def last_rule(app: Flask) -> str | None:
    with app.app_context(), reading() as session:
        return session.scalar(select(Rejection.rule).order_by(Rejection.id.desc()).limit(1))


def test_the_table_is_large_enough_and_leaves_out_no_rule_that_it_can_show() -> None:
    rows = NUMBERS + ORIGINS + TIMES + SENT
    shown = {rule.name for rule in rules.RULES} - {"portal_ready", "websites_on", "country_known", "line"}
    assert len(rows) >= 60
    assert {row.rule for row in rows} == shown | {"shape", None}


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_rule_has_its_words_and_its_line_in_the_documentation(
    app: Flask, administrator: Actor, make_form: Callable[..., str], language: str
) -> None:
    answer = json_of(administrator.asks("POST", "/rules/test", {"form_key": make_form(), "number": CUSTOMER}))
    names = [rule["rule"] for rule in answer["rules"]]
    documented = (ROOT / "docs" / "websites.md").read_text(encoding="utf-8")
    assert len(names) == len(set(names)) == 29
    with app.test_request_context(), force_locale(language):
        for name in names:
            asked, decided = (rule_words(name, inputs, is_tried=True) for inputs in ({}, {"x": 1}))
            assert len({asked, decided, name}) == 3
            assert f"`{name}`" in documented


@pytest.mark.parametrize("rows", [NUMBERS, ORIGINS + TIMES, SENT], ids=["numbers", "origins and times", "sent"])
def test_the_deciding_rule_of_every_request(
    app: Flask, environ: dict[str, str], make_form: Callable[..., str], portal: FakePortal, rows: list[Row]
) -> None:
    own, wrong, taken = environ["BX24APP_PUBLIC_URL"], [], 0
    keys = [make_form(**row.form) for row in rows]
    for key, row in zip(keys, rows, strict=True):
        visitor = Visitor(app.test_client(), key, origin=own if row.origin == OWN else row.origin or "")
        with time_machine.travel(row.at, tick=False):
            sent = {"number": row.number, **row.sent}
            if sent.get("altcha") == "fresh":
                sent["altcha"] = visitor.works(seconds_ago=1)
            response = visitor.asks(**sent)
        rule = None if response.status_code == 202 else last_rule(app)
        refused_well = response.status_code == 202 or response.status_code in (400, 403, 409, 422)
        if rule != row.rule or not refused_well or json_of(response).get("code") == "internal_error":
            wrong.append((row, response.status_code, rule, response.text[:200]))
        taken += response.status_code == 202
    assert wrong == []
    assert taken == sum(row.rule is TAKEN for row in rows) > 0
    assert portal.telephony.dials == []
    with app.app_context(), reading() as session:
        assert len(session.scalars(select(Callback)).all()) <= taken


def test_a_trial_in_the_desk_names_the_same_rule_and_takes_nothing(
    app: Flask, administrator: Actor, make_form: Callable[..., str]
) -> None:
    wrong = []
    for row in NUMBERS + ORIGINS + TIMES:
        body = {
            "form_key": make_form(**row.form),
            "number": row.number,
            "origin": None if row.origin == OWN else row.origin,
            "at": row.at.isoformat(),
        }
        answer = json_of(administrator.asks("POST", "/rules/test", body))
        verdicts = {rule["rule"]: rule["verdict"] for rule in answer["rules"]}
        reached = list(verdicts.values())
        place = reached.index("decides") if "decides" in reached else len(reached)
        in_order = reached[:place] == ["passed"] * place and set(reached[place + 1 :]) <= {"not_reached"}
        if answer["decides"] != row.rule or not in_order or not all(rule["reason"] for rule in answer["rules"]):
            wrong.append((row, answer))
    assert wrong == []
    with app.app_context(), reading() as session:
        assert session.scalars(select(Callback)).all() == []
        assert session.scalars(select(Rejection)).all() == []


@pytest.mark.parametrize("change", [{"cost": 1}, {"data": {"form": "other", "at": 0}}, {"expiresAt": 9999999999}])
def test_an_altered_proof_is_none(
    app: Flask, environ: dict[str, str], make_form: Callable[..., str], change: dict[str, Any]
) -> None:
    visitor = Visitor(app.test_client(), make_form(), origin=environ["BX24APP_PUBLIC_URL"])
    # Also beside a token that is good: whoever forges is not taken for a browser without JavaScript.
    for good in ({}, {"token": visitor.opens()}):
        response = visitor.asks(altcha=altered(visitor.works(), **change), **good)
        assert (response.status_code, json_of(response)["code"], last_rule(app)) == (400, "invalid_request", "proof")
    assert visitor.asks().status_code == 202


def test_a_proof_of_another_form_or_of_yesterday_is_none(
    app: Flask, environ: dict[str, str], make_form: Callable[..., str]
) -> None:
    own = environ["BX24APP_PUBLIC_URL"]
    first, second = (Visitor(app.test_client(), make_form(name=name), origin=own) for name in ("One", "Two"))
    assert second.asks(altcha=first.works()).status_code == 400
    with time_machine.travel(datetime.now(UTC).replace(year=2025)):
        old = first.works()
    assert first.asks(altcha=old).status_code == 400
    assert last_rule(app) == "proof"

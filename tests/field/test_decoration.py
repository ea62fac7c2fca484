"""What is only decoration of a request never costs the call. A new case is a new line in one of the tables."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Callback, Form, WebsiteRequest
from tests.support.actors import Actor, json_of
from tests.support.fuzzing import garbage
from tests.support.visitors import Visitor
from tests.support.websites import MakeBackEnd, MakeVisitor

# Whole tables meet one world.
pytestmark = pytest.mark.timeout(300)
PLENTY = dict.fromkeys(("address_hour", "number_day", "form_hour", "form_day"), 1000)
LONG_PAGE = "https://shop.example/?" + "x" * 4130 + "&utm_source=newsletter"
# What is sent beside the number; what is kept of it; and what the portal is told of the rest.
DECORATION: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = {
    "nothing": ({}, {}, {}),
    "a long page": (
        {"page": LONG_PAGE},
        {"page": LONG_PAGE[:2000], "utm": {"utm_source": "newsletter"}},
        {"cut": "page"},
    ),
    "a page of 50,000": ({"page": "https://shop.example/" + "x" * 50_000}, {}, {"cut": "page"}),
    "a page cut in an escape": (
        {"page": "https://shop.example/" + "a" * 1977 + "%D0%90%D0%91"},
        {"page": "https://shop.example/" + "a" * 1977},
        {"cut": "page"},
    ),
    "a page that is none": ({"page": "javascript:alert(1)"}, {"page": ""}, {"left_out": "page"}),
    "a page with half an address": ({"page": "http://[::1"}, {"page": ""}, {"left_out": "page"}),
    "a page in a list": ({"page": ["https://shop.example/"]}, {"page": "https://shop.example/"}, {}),
    "marks of a campaign in bytes of no charset": (
        {"page": "https://shop.example/?utm_source=%C8%E2%00x&utm_medium=mail"},
        {"utm": {"utm_source": "x", "utm_medium": "mail"}},
        {},
    ),
    "marks as fields": (
        {"utm_source": "mail", "UTM_Term": "a\x00b"},
        {"utm": {"utm_source": "mail", "utm_term": "ab"}},
        {},
    ),
    "marks that are no texts": ({"utm": {"source": ["x"]}, "utm_source": 5}, {"utm": {}}, {}),
    "a long name": ({"name": "Anna " * 50}, {"name": ("Anna " * 15).strip() + "…"}, {"cut": "name"}),
    "a name of 80": ({"name": "a" * 80}, {"name": "a" * 80}, {}),
    "a name of 12,000": ({"name": "a" * 12_000}, {"name": "a" * 79 + "…"}, {"cut": "name"}),
    "a name in a list": ({"name": ["Anna", "Berg"]}, {"name": "Anna, Berg"}, {}),
    "a name in an object": ({"name": {"first": "Anna", "more": {"x": 1}}}, {"name": "Anna"}, {}),
    "a name that is a number": ({"name": 8061}, {"name": "8061"}, {}),
    "a name that is none": ({"name": True}, {"name": ""}, {}),
    "half a character": ({"name": "Anna \ud83d"}, {"name": "Anna"}, {}),
    "control characters": ({"name": "An\x00na\x1b[31m\x7f\r\nB"}, {"name": "Anna[31m B"}, {}),
    "marks of direction": ({"name": "\u202eAn\u2066na\u200f\ufeff"}, {"name": "Anna"}, {}),
    "letters and their accents": ({"name": "Mu\u0308ller"}, {"name": "Müller"}, {}),
    "a long topic": ({"topic": "b" * 500}, {"topic": "b" * 119 + "…"}, {"cut": "topic"}),
    "a topic in a list": ({"topic": ["Order", "Return"]}, {"topic": "Order, Return"}, {}),
    "fields that nobody knows": (
        {"email": "a@b.example", "": 1, "comment\x00": None, "x" * 90: [1]},
        {},
        {"left_out": "comment, email, " + "x" * 40},
    ),
    "a hundred fields": (
        {f"f{number:03}": number for number in range(100)},
        {},
        {"left_out": ", ".join(f"f{number:03}" for number in range(10))},
    ),
    "a long key": ({"idempotency_key": "k" * 5000}, {}, {}),
    "a key that is a number": ({"idempotency_key": 8061}, {}, {}),
    "a hidden field that is no text": ({"leave_empty": {"a": [1]}}, {}, {}),
}
OF_VISITORS = {"a long key", "a key that is a number", "a hidden field that is no text"}


def last(app: Flask) -> tuple[WebsiteRequest, dict[str, str]]:
    with app.app_context(), reading() as session:
        query = select(WebsiteRequest, Callback).join(Callback, Callback.id == WebsiteRequest.callback_id)
        request, callback = session.execute(query.order_by(WebsiteRequest.id.desc()).limit(1)).one()
        return request, next((dict(one.inputs) for one in callback.decisions if one.rule == "decoration"), {})


@pytest.mark.parametrize("door", ["visitor", "key"])
def test_decoration_costs_no_call(
    app: Flask, visitor_of: MakeVisitor, back_end_of: MakeBackEnd, desk: Actor, door: str
) -> None:
    visitor = visitor_of(limits=PLENTY)
    back_end = back_end_of(visitor)
    wrong: list[object] = []
    for place, (name, (body, kept, told)) in enumerate(DECORATION.items()):
        if door == "key" and name in OF_VISITORS:
            continue
        number = f"+49309018{10 + place}"
        answer = visitor.asks(number, **body) if door == "visitor" else back_end.requests_callback(number, **body)
        if answer.status_code not in (201, 202):
            wrong.append((name, answer.status_code, answer.text))
            continue
        request, note = last(app)
        if note != told or {field: getattr(request, field) for field in kept} != kept:
            wrong.append((name, note, [getattr(request, field) for field in kept]))
    assert wrong == []
    assert garbage(app) == []


# What a visitor sends beside a page that is too long and a field that nobody knows, and the rule that decides.
REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    "a field is missing": ({"name": ""}, "fields"),
    "no consent": ({"name": "Anna", "consent": False}, "consent"),
    "no proof": ({"altcha": "", "token": ""}, "proof"),
    "a number that is none": ({"number": "12"}, "number_short"),
    "a costly number": ({"number": "+49 900 1234567"}, "number_kind"),
    "a stranger's country": ({"number": "+53 5 2345678"}, "country"),
    "a time that is none": ({"scheduled_at": "tomorrow"}, "time"),
    # Its visitor is answered by a decoy.
    "a listed number": ({"number": "+49 30 901822"}, "do_not_call"),
}
NOTE = {"cut": "page", "left_out": "...820, email"}


def test_a_rejected_request_tells_the_portal_as_much(visitor_of: MakeVisitor, desk: Actor) -> None:
    visitor = visitor_of(fields={"name": "required", "topic": "off"}, consent_text="You may call me.", limits=PLENTY)
    assert desk.asks("POST", "/do-not-call", {"number": "+49 30 901822"}).status_code == 201
    usual: dict[str, Any] = {
        "number": "+4930901820",
        "name": "Anna",
        "consent": True,
        "page": LONG_PAGE,
        "email": "a@b.example",
    }
    wrong: list[object] = []
    for name, (body, rule) in REJECTED.items():
        answer = visitor.asks(**usual | {"+49 30 901820": ""} | body)
        row = json_of(desk.asks("GET", f"/forms/{visitor.form_key}/refusals"))["refusals"][0]
        told = {what: row["inputs"].get(what) for what in NOTE}
        if (row["rule"], told) != (rule, NOTE) or "shop.example" in answer.text or "email" in answer.text:
            wrong.append((name, row, answer.text))
    assert wrong == []
    for language, words in (
        ("en", "field: consent, version: 1, network: 203.0.113.7. Shortened because of their length: page. Left out, "),
        ("ru", "field: consent, version: 1, network: 203.0.113.7. Сокращено, потому что слишком длинно: страница. "),
    ):
        panel = desk.client.get(
            "/desk/view/websites/rejected",
            headers={"Authorization": f"Bearer {desk.ticket}", "Accept-Language": language},
        )
        assert words in panel.text, panel.text


def test_a_back_end_that_is_rejected_tells_the_portal_as_much(
    visitor: Visitor, back_end_of: MakeBackEnd, desk: Actor
) -> None:
    back_end = back_end_of(visitor)
    assert desk.asks("POST", "/do-not-call", {"number": "+49 30 901822"}).status_code == 201
    for number, rule in (("12", "number_short"), ("+53 5 2345678", "country"), ("+49 30 901822", "do_not_call")):
        body: dict[str, Any] = {"page": LONG_PAGE, "email": 1, "+49 30 901820": None}
        assert back_end.requests_callback(number, **body).status_code == 422, number
        row = json_of(desk.asks("GET", f"/forms/{visitor.form_key}/refusals"))["refusals"][0]
        assert (row["rule"], {what: row["inputs"].get(what) for what in NOTE}) == (rule, NOTE)


def test_what_was_all_kept_has_no_note(visitor: Visitor, desk: Actor) -> None:
    assert visitor.asks("12", name="Anna", page="https://shop.example/").status_code == 422
    row = json_of(desk.asks("GET", f"/forms/{visitor.form_key}/refusals"))["refusals"][0]
    assert row["inputs"].keys() & NOTE.keys() == set()


def test_the_portal_reads_what_was_left_out(app: Flask, visitor: Visitor, desk: Actor) -> None:
    visitor.asks(page=LONG_PAGE, name="a" * 100, email="a@b.example")
    request, _ = last(app)
    for language, words in (
        ("en", "Shortened because of their length: name, page. Left out, because they cannot be used: email"),
        ("ru", "Сокращено, потому что слишком длинно: имя, страница. Опущено, потому что не используется: email"),
    ):
        answer = desk.asks("GET", f"/callbacks/{request.callback_id}", Accept_Language=language)
        decisions = {one["rule"]: one["words"] for one in json_of(answer)["decisions"]}
        assert decisions["decoration"] == words


def test_the_visitor_learns_nothing_of_it(visitor: Visitor) -> None:
    first, again = visitor.asks(page=LONG_PAGE), visitor.asks(page=LONG_PAGE)
    assert json_of(first).keys() == json_of(again).keys()


def test_what_a_form_requires_is_still_asked(visitor_of: MakeVisitor) -> None:
    strict = visitor_of(fields={"name": "required", "topic": "required"}, topics=["Order"], limits=PLENTY)
    for sent in (
        {},
        {"name": "Anna"},
        {"topic": "Order"},
        {"name": "\u202e", "topic": "Order"},
        {"name": 1, "topic": []},
    ):
        assert strict.asks(**sent).status_code == 400, sent
    assert strict.asks(name="Anna " * 100, topic="order").status_code == 202


def test_a_misspelt_time_is_not_taken_for_decoration(app: Flask, visitor: Visitor, back_end_of: MakeBackEnd) -> None:
    back_end = back_end_of(visitor)
    for name in ("schedule_at", "scheduledAt", "Scheduled", "reschedule"):
        answer = back_end.requests_callback("+4930901820", **{name: "2026-12-01T09:00:00Z"})
        assert (answer.status_code, json_of(answer)["code"]) == (400, "invalid_request"), name


# Topics as an administrator writes or pastes them, and as a visitor's page sends them.
TOPICS = {
    "a no-break space": ("Prices\xa0and delivery", "Prices\xa0and delivery"),
    "a no-break space that became one": ("Prices\xa0and delivery", "Prices and delivery"),
    "a space that became a no-break space": ("Prices\xa0and delivery", "Prices and\xa0delivery"),
    "two spaces": ("Prices  and delivery", "Prices and delivery"),
    "a line break": ("Prices and delivery", "Prices\r\n and delivery"),
    "a narrow space": ("1\u202f000 pieces", "1 000 pieces"),
    "a space at the end": ("Delivery ", "Delivery"),
    "a mark of direction": ("\u200fDelivery", "Delivery"),
    "a soft hyphen": ("De\xadlivery", "Delivery"),
    "other letters of the same word": ("Delivery", "DELIVERY"),
    "accents apart": ("Ru\u0308ckgabe", "Rückgabe"),
    "accents together": ("Ru\u0308ckgabe", "R\u00fcckgabe"),
    "accents apart at the visitor": ("Ru\u0308ckgabe", "RU\u0308CKGABE"),
    "a sharp s": ("Ru\u0308ckgabe", "rückgabe"),
    "a ligature": ("Office", "O\ufb03ce"),
    "a dash": ("Opening – hours", "Opening - hours"),
    "quotation marks": ("“New” customers’ orders", '"New" customers\' orders'),
    "an entity": ("Questions & answers", "Questions &amp; answers"),
    "wide letters": ("Office", "Ｏｆｆｉｃｅ"),
}
SHOWN = [
    "Prices and delivery",
    "1 000 pieces",
    "Delivery",
    "Rückgabe",
    "Office",
    "Opening – hours",
    "“New” customers’ orders",
    "Questions & answers",
]


@pytest.mark.parametrize("was_stored_before", [False, True])
@pytest.mark.parametrize("door", ["visitor", "key"])
def test_a_topic_that_was_set_can_be_chosen(
    app: Flask, desk: Actor, visitor_of: MakeVisitor, back_end_of: MakeBackEnd, door: str, was_stored_before: bool
) -> None:
    visitor = visitor_of(limits=PLENTY)
    back_end = back_end_of(visitor)
    path = f"/forms/{visitor.form_key}"
    written = [stored for stored, _ in TOPICS.values()]
    assert desk.asks("PATCH", path, {"topics": written}).status_code == 200
    assert json_of(desk.asks("GET", path))["topics"] == SHOWN
    if was_stored_before:
        with app.app_context(), writing() as session:
            session.execute(update(Form).values(topics=written))
    for place, (name, (_, sent)) in enumerate(TOPICS.items()):
        number = f"+49309018{10 + place}"
        ask = visitor.asks if door == "visitor" else back_end.requests_callback
        assert ask(number, topic=sent).status_code in (201, 202), name
        request, note = last(app)
        assert (request.topic in SHOWN, note) == (True, {}), (name, request.topic)


def test_a_topic_that_is_not_on_the_list_costs_no_call(
    app: Flask, visitor_of: MakeVisitor, back_end_of: MakeBackEnd
) -> None:
    visitor = visitor_of(fields={"name": "off", "topic": "required"}, topics=["Order"], text="About {topic}: a call")
    # The page is older than the list.
    assert visitor.asks("+4930901810", topic="Delivery").status_code == 202
    request, note = last(app)
    assert (request.topic, note) == ("", {"left_out": "topic"})
    # A back end may have topics of its own.
    assert back_end_of(visitor).requests_callback("+4930901811", topic="Delivery").status_code == 201
    request, note = last(app)
    assert (request.topic, note) == ("Delivery", {})


# Other things that are stored and compared: the field of a form, as it is written, and as it is stored.
STORED: dict[str, tuple[str, Any, Any]] = {
    "a country": ("default_country", " de ", "DE"),
    "countries": ("allowed_countries", ["de", "DE ", "gb"], ["DE", "GB"]),
    "a currency": ("budget_currency", "eur", "EUR"),
    "a prefix with spaces": ("blocked_prefixes", ["+49 30"], ["+4930"]),
    "a prefix as it is dialled": ("blocked_prefixes", ["0049 (30)"], ["+4930"]),
    "a prefix twice": ("blocked_prefixes", ["+49-30", "+4930", "\u202d+49\u00a030\u202c"], ["+4930"]),
    "a prefix in other digits": ("allowed_prefixes", ["+٤٩٣٠"], ["+4930"]),
    "languages": ("languages", ["EN", "ru_RU", "en-GB"], ["en", "ru"]),
    "topics": ("topics", [" Order", "order", "Re\u00adturn"], ["Order", "Return"]),
    "a name": ("name", " Main\x00 site ", "Main site"),
    "a colour": ("colour", " #ABCDEF\n", "#ABCDEF"),
    "a colour of three": ("colour", "#f80", "#ff8800"),
    "a colour without its sign": ("colour", "1f6feb", "#1f6feb"),
}


@pytest.mark.parametrize("case", STORED)
def test_what_is_stored_is_what_is_compared(desk: Actor, visitor: Visitor, case: str) -> None:
    field, written, stored = STORED[case]
    answer = desk.asks("PATCH", f"/forms/{visitor.form_key}", {field: written})
    assert (answer.status_code, json_of(answer).get(field)) == (200, stored), answer.text


@pytest.mark.parametrize("prefix", ["4930", "030", "+0", "+", "+49x", "DE", "+49+30", "", "++49"])
def test_what_is_no_prefix(desk: Actor, visitor: Visitor, prefix: str) -> None:
    answer = desk.asks("PATCH", f"/forms/{visitor.form_key}", {"blocked_prefixes": [prefix]})
    assert answer.status_code == 400, answer.text


def test_ids_of_lines_and_voices_are_found_as_they_are_copied(
    desk: Actor, visitor: Visitor, back_end_of: MakeBackEnd
) -> None:
    line_id, voice_id = next(iter(desk.portal.lines)), next(iter(desk.portal.voices))
    back_end = back_end_of(visitor)
    for place, (before, after) in enumerate((("", " "), ("\u00a0", "\n"), ("\ufeff", "\u200b"), ("\u200e", "\u00ad"))):
        ids: dict[str, Any] = {"line_id": f"{before}{line_id}{after}", "voice_id": f"{before}{voice_id}{after}"}
        for door, answer in {
            "ticket": desk.requests_callback(f"+493090181{place}", **ids),
            "key": back_end.requests_callback(f"+493090182{place}", **ids),
            "form": desk.asks("PATCH", f"/forms/{visitor.form_key}", ids),
        }.items():
            assert answer.status_code in (200, 201), (door, answer.text)
            assert (json_of(answer)["line_id"], json_of(answer)["voice_id"]) == (line_id, voice_id), door
        defaults = {f"default_{name}": id for name, id in ids.items()}
        assert json_of(desk.asks("PATCH", "/settings", defaults))["default_line_id"] == line_id


def test_a_line_whose_id_is_all_digits_may_come_as_a_number(desk: Actor) -> None:
    line_id = next(iter(desk.portal.lines))
    desk.portal.lines["78121234567"] = desk.portal.lines[line_id]
    assert json_of(desk.requests_callback(line_id=78121234567))["line_id"] == "78121234567"

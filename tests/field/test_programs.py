"""Bodies as other programs and browsers write them, at every door. A new case is a new line in one of the tables."""

import encodings
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from bx24app.database import reading
from bx24app.models import Callback, Form, WebsiteRequest
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor
from tests.support.websites import BackEnd, MakeVisitor

# Whole tables meet one world.
pytestmark = pytest.mark.timeout(300)
PLENTY = dict.fromkeys(("address_hour", "number_day", "form_hour", "form_day"), 1000)
NOTHING: dict[str, Any] = {
    "null": None,
    "empty": "",
    "spaces": "  ",
    "spaces of word processors": "\u00a0\u200b",
    "an empty list, PHP's empty object": [],
    "an empty object": {},
}
# Optional fields of what starts a callback, by door.
OPTIONAL = {
    "ticket": ("line_id", "voice_id", "text", "scheduled_at", "crm_entity"),
    "key": ("line_id", "voice_id", "text", "scheduled_at", "name", "topic", "page", "language", "consent"),
    "visitor": ("name", "topic", "page", "consent", "scheduled_at", "token", "idempotency_key", "leave_empty"),
}
Ask = Callable[..., TestResponse]


@pytest.fixture
def visitor(visitor_of: MakeVisitor) -> Visitor:
    return visitor_of(limits=PLENTY)


@pytest.fixture
def doors(desk: Actor, visitor: Visitor, back_end: BackEnd) -> dict[str, Ask]:
    line_id = next(iter(desk.portal.lines))
    assert desk.asks("PATCH", "/settings", {"default_line_id": line_id}).status_code == 200
    return {
        "ticket": lambda number, **body: desk.asks("POST", "/callbacks", {"to_number": number, **body}),
        "key": lambda number, **body: back_end.asks("POST", "/callbacks", {"to_number": number, **body}),
        "visitor": lambda number, **body: visitor.asks(number, altcha=visitor.works(), **body),
    }


def numbers() -> Callable[[], str]:
    taken = iter(range(10, 100))
    return lambda: f"+49309018{next(taken)}"


def requests_of(app: Flask) -> list[WebsiteRequest]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(WebsiteRequest).order_by(WebsiteRequest.id)))


@pytest.mark.parametrize("door", OPTIONAL)
def test_absent_null_and_empty_are_one_thing(app: Flask, doors: dict[str, Ask], door: str) -> None:
    new = numbers()
    plain = doors[door](new())
    assert plain.status_code in (201, 202), plain.text
    for name, nothing in NOTHING.items():
        for field in OPTIONAL[door]:
            response = doors[door](new(), **{field: nothing})
            assert response.status_code == plain.status_code, (name, field, response.text)
        response = doors[door](new(), **dict.fromkeys(OPTIONAL[door], nothing))
        assert response.status_code == plain.status_code, (name, response.text)
    with app.app_context(), reading() as session:
        rows = session.scalars(select(Callback)).all()
    assert len({(row.line_id, row.voice_id, row.text, row.scheduled_at, row.crm_entity_type) for row in rows}) == 1
    kept = {(one.name, one.topic, one.page, one.language, one.consent_at) for one in requests_of(app)}
    assert len(kept) == (door != "ticket")


def test_the_same_request_without_its_empty_fields_is_the_same_under_a_key(back_end: BackEnd) -> None:
    first = back_end.requests_callback(key="order-8061")
    again = back_end.requests_callback(key="order-8061", name=None, topic="", page=None, text="", scheduled_at=None)
    assert (first.status_code, again.status_code) == (201, 200)
    assert json_of(first)["id"] == json_of(again)["id"]


@pytest.mark.parametrize("nothing", NOTHING.values(), ids=NOTHING)
def test_a_change_with_nothing_clears_what_can_be_cleared_and_keeps_the_rest(
    desk: Actor, visitor: Visitor, nothing: object
) -> None:
    line_id, path = next(iter(desk.portal.lines)), f"/forms/{visitor.form_key}"
    cleared = {
        "line_id": line_id,
        "text": "A customer calls.",
        "default_country": "DE",
        "topics": ["Order"],
        "allowed_countries": ["DE"],
        "consent_text": "You may call me.",
        "budget_calls": 5,
    }
    kept = {
        "name": "Shop",
        "is_on": False,
        "retries": 3,
        "colour": "#123456",
        "creates_lead": True,
        "languages": ["ru"],
    }
    assert desk.asks("PATCH", path, cleared | kept).status_code == 200
    answer = desk.asks("PATCH", path, dict.fromkeys([*cleared, *kept], nothing))
    assert answer.status_code == 200, answer.text
    shown = json_of(answer)
    assert {name: shown[name] or None for name in cleared} == dict.fromkeys(cleared)
    assert {name: shown[name] for name in kept if name != "languages"} == {
        name: kept[name] for name in kept if name != "languages"
    }
    cleared = {"default_line_id": line_id, "default_country": "GB", "line_cap": 3}
    kept = {"stands_in": True, "retries": 2, "retry_minutes": 7, "websites_off": True}
    assert desk.asks("PATCH", "/settings", cleared | kept).status_code == 200
    answer = desk.asks("PATCH", "/settings", dict.fromkeys([*cleared, *kept], nothing))
    assert answer.status_code == 200, answer.text
    assert {name: json_of(answer)[name] for name in cleared | kept} == dict.fromkeys(cleared, "") | kept


def test_what_is_needed_is_not_optional(doors: dict[str, Ask], desk: Actor) -> None:
    for nothing in NOTHING.values():
        for door, ask in doors.items():
            assert ask(nothing).status_code in (400, 422), (door, nothing)
        assert desk.asks("POST", "/forms", {"name": nothing}).status_code == 400
        assert desk.asks("POST", "/api-keys", {"form_key": nothing, "name": "x"}).status_code == 400
        assert desk.asks("POST", "/webhooks", {"form_key": "k", "url": nothing}).status_code == 400


YES = (True, "true", "TRUE", "True", " yes ", "on", "1", "Y", 1, 1.0)
NO = (False, "false", "FALSE", "no", "off", "0", "n", 0)


@pytest.mark.parametrize("value", [*YES, *NO])
def test_booleans(desk: Actor, visitor: Visitor, value: object) -> None:
    meant = value in YES
    before = {"is_on": not meant, "creates_lead": not meant}
    assert desk.asks("PATCH", f"/forms/{visitor.form_key}", before).status_code == 200
    answer = desk.asks("PATCH", f"/forms/{visitor.form_key}", dict.fromkeys(before, value))
    assert answer.status_code == 200, answer.text
    assert {name: json_of(answer)[name] for name in before} == dict.fromkeys(before, meant)
    answer = desk.asks("PATCH", "/settings", {"stands_in": value})
    assert json_of(answer)["stands_in"] is meant, answer.text


@pytest.mark.parametrize("value", ["perhaps", 2, -1, ["true"], {"a": 1}])
def test_what_is_no_boolean(desk: Actor, visitor: Visitor, value: object) -> None:
    assert desk.asks("PATCH", f"/forms/{visitor.form_key}", {"is_on": value}).status_code == 400
    assert desk.asks("PATCH", "/settings", {"stands_in": value}).status_code == 400


@pytest.mark.parametrize("door", ["visitor", "key"])
def test_consent(app: Flask, visitor_of: MakeVisitor, doors: dict[str, Ask], desk: Actor, door: str) -> None:
    for form in json_of(desk.asks("GET", "/forms"))["forms"]:
        agreed = {"consent_text": "You may call me."}
        assert desk.asks("PATCH", f"/forms/{form['key']}", agreed).status_code == 200
    new = numbers()
    for value in YES:
        assert doors[door](new(), consent=value).status_code in (201, 202), value
    agreed_at = [request.consent_at for request in requests_of(app)]
    assert len(agreed_at) == len(YES)
    assert all(agreed_at)
    for other in (*NO, "perhaps", ["on"], {"on": 1}):
        assert (doors[door](new(), consent=other).status_code, door) in ((400, "visitor"), (201, "key")), other
    assert sum(request.consent_at is not None for request in requests_of(app)) == len(YES)


# As programs write a whole number, and what it means; None: it is none.
WHOLE = {
    "5": 5,
    " 5 ": 5,
    "5.0": 5,
    "\u00a05\u200e": 5,
    "+5": 5,
    5.0: 5,
    "five": None,
    "5.5": None,
    4.5: None,
    "0x5": None,
    "5e0": None,
}


def test_whole_numbers(desk: Actor, visitor: Visitor) -> None:
    for written, meant in WHOLE.items():
        answer = desk.asks("PATCH", f"/forms/{visitor.form_key}", {"retries": written, "limits": {"form_day": written}})
        assert answer.status_code == (400 if meant is None else 200), (written, answer.text)
        if meant is not None:
            assert (json_of(answer)["retries"], json_of(answer)["limits"]["form_day"]) == (meant, meant)
        status = desk.asks("PATCH", "/settings", {"retries": written, "line_cap": written}).status_code
        assert status == answer.status_code, written
    assert desk.asks("PATCH", f"/forms/{visitor.form_key}", {"retries": "11"}).status_code == 400
    entity = {"type": "LEAD", "id": "7"}
    assert json_of(desk.requests_callback(crm_entity=entity))["crm_entity"] == {"type": "LEAD", "id": 7}


# A number of JSON has lost its plus and its leading zeros; it is read like the same digits as text.
NUMBERS = (4930901820, 30901820, 4930901820.0)
NO_NUMBERS = (True, -4930901820, 4930901820.5, 10**20, ["+4930901820"], {"number": "+4930901820"}, 1e400)


@pytest.mark.parametrize("door", OPTIONAL)
def test_telephone_numbers_as_numbers(app: Flask, doors: dict[str, Ask], desk: Actor, door: str) -> None:
    assert desk.asks("PATCH", "/settings", {"default_country": "DE"}).status_code == 200
    for number in NUMBERS:
        response = doors[door](number)
        assert response.status_code in (201, 202, 409), response.text
    with app.app_context(), reading() as session:
        assert [callback.to_number for callback in session.scalars(select(Callback))] == ["+4930901820"]
    for other in NO_NUMBERS:
        assert 400 <= doors[door](other).status_code < 500, other


def test_telephone_numbers_as_numbers_in_lists(desk: Actor, visitor: Visitor) -> None:
    assert desk.asks("PATCH", "/settings", {"default_country": "DE"}).status_code == 200
    listed = desk.asks("POST", "/do-not-call", {"number": 4930901820, "note": None})
    assert json_of(listed)["number"] == "+4930901820"
    body = {"form_key": f" {visitor.form_key}\u00a0", "number": 4930901820, "origin": "", "at": None}
    assert json_of(desk.asks("POST", "/rules/test", body))["decides"] == "do_not_call"


LANGUAGES = {
    "ru": "ru",
    "RU": "ru",
    "ru_RU": "ru",
    "ru-RU": "ru",
    "EN-us": "en",
    "ru-RU,ru;q=0.9,en;q=0.8": "ru",
    " de ": "de",
    "zh-Hant-TW": "zh",
    "": "en",
    "rubbish": "en",
    "12": "en",
    "*": "en",
}


def test_language_tags(app: Flask, back_end: BackEnd, visitor: Visitor, desk: Actor) -> None:
    new = numbers()
    for tag in LANGUAGES:
        assert back_end.requests_callback(new(), language=tag).status_code == 201, tag
    for other in (5, ["ru"], {"a": "b"}, True):
        assert back_end.requests_callback(new(), language=other).status_code == 201, other
    assert [one.language for one in requests_of(app)][: len(LANGUAGES)] == list(LANGUAGES.values())
    for tag, meant in {"ru_RU": "ru", "RU": "ru", "ru-RU,ru;q=0.9": "ru", "rubbish": "en", ";;;q=x": "en"}.items():
        for headers, query in (({"Accept-Language": tag}, ""), ({}, f"?lang={quote_from_bytes(tag.encode())}")):
            page = visitor.client.get(f"/w/{visitor.form_key}{query}", headers={"Accept": "text/html", **headers})
            assert f'<html lang="{meant}"' in page.text, (tag, query)
    for tags, stored in ((["RU", "ru_RU"], ["ru"]), (["en-GB", "ru", "en"], ["en", "ru"])):
        answer = desk.asks("PATCH", f"/forms/{visitor.form_key}", {"languages": tags})
        assert json_of(answer)["languages"] == stored
    assert desk.asks("PATCH", f"/forms/{visitor.form_key}", {"languages": ["de"]}).status_code == 400


NAME = "Иван Żółć Größe"
# How a JSON body comes: its content type, and its bytes.
JSON_BODIES: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "plain": ("application/json", str.encode),
    "a mark of byte order": ("application/json", lambda text: b"\xef\xbb\xbf" + text.encode()),
    "UTF-16 with its mark": ("application/json", lambda text: text.encode("utf-16")),
    "UTF-16, least first": ("application/json; charset=utf-16le", lambda text: text.encode("utf-16-le")),
    "UTF-16, most first": ("application/json", lambda text: text.encode("utf-16-be")),
    "UTF-32": ("application/json", lambda text: text.encode("utf-32")),
    "named": ("application/json; charset=UTF-8", str.encode),
    "named wrongly": ("application/json; charset=iso-8859-1", str.encode),
    "named, but there is none such": ("application/json; charset=klingon", str.encode),
    "line breaks around": ("application/json", lambda text: f"\r\n {text}\n".encode()),
    "plain text": ("text/plain;charset=UTF-8", str.encode),
    "curl": ("application/x-www-form-urlencoded", str.encode),
    "no content type": ("", str.encode),
    "a subtype": ("application/vnd.api+json", str.encode),
}


@pytest.mark.parametrize("case", JSON_BODIES)
def test_json_in_every_wrapping(app: Flask, visitor: Visitor, back_end: BackEnd, case: str) -> None:
    kind, encode = JSON_BODIES[case]
    body = {"number": "+4930901820", "name": NAME, "altcha": visitor.works()}
    headers = {"Origin": visitor.origin, "Content-Type": kind}
    path = f"/w/{visitor.form_key}/callbacks"
    response = visitor.client.post(path, data=encode(json.dumps(body, ensure_ascii=False)), headers=headers)
    assert response.status_code == 202, response.text
    sent = encode(json.dumps({"to_number": "+4930901821", "name": NAME}, ensure_ascii=False))
    headers = {"Authorization": f"Bearer {back_end.secret}", "Content-Type": kind}
    response = back_end.client.post("/api/v1/callbacks", data=sent, headers=headers)
    assert response.status_code == 201, response.text
    assert [one.name for one in requests_of(app)] == [NAME, NAME]


# Charsets that a body names, with a name that is written in them.
CHARSETS = {
    "windows-1251": "Иван",
    "cp1251": "Ёжик",
    "koi8-r": "Иван Петров",
    "ISO-8859-1": "Jürgen Größe",
    "iso-8859-2": "Żółć",
    "windows-1252": "“Zoë”",
    "gbk": "李小龙",
    "Shift_JIS": "山田太郎",
    "big5": "陳大文",
    "euc-kr": "김철수",
}


def form_body(fields: dict[str, str], charset: str, *, is_escaped: bool = True) -> bytes:
    encoded = {name: value.encode(charset, "xmlcharrefreplace") for name, value in fields.items()}
    if is_escaped:
        return urlencode(encoded).encode()
    # What older programs send: everything but the signs of the form itself as it is.
    return b"&".join(name.encode() + b"=" + value.replace(b"+", b"%2B") for name, value in encoded.items())


def post_form(visitor: Visitor, body: bytes, kind: str = "application/x-www-form-urlencoded") -> TestResponse:
    headers = {"Origin": visitor.origin, "Content-Type": kind}
    return visitor.client.post(f"/w/{visitor.form_key}/callbacks", data=body, headers=headers)


@pytest.mark.parametrize("charset", CHARSETS)
def test_the_charset_that_a_request_names(app: Flask, visitor: Visitor, back_end: BackEnd, charset: str) -> None:
    name, new = CHARSETS[charset], numbers()

    def fields(**more: str) -> dict[str, str]:
        return {"number": new(), "name": name, "altcha": visitor.works(), **more}

    kind = f"application/x-www-form-urlencoded; charset={charset}"
    for is_escaped in (True, False):
        response = post_form(visitor, form_body(fields(), charset, is_escaped=is_escaped), kind)
        assert response.status_code == 202, response.text
    # Browsers fill in a hidden field of this name.
    assert post_form(visitor, form_body(fields(_charset_=charset), charset)).status_code == 202
    kind = f"application/json; charset={charset}"
    assert post_form(visitor, json.dumps(fields(), ensure_ascii=False).encode(charset), kind).status_code == 202
    boundary = "----x"
    parts = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields(_charset_=charset).items()
    )
    whole = f"{parts}--{boundary}--\r\n".encode(charset)
    assert post_form(visitor, whole, f"multipart/form-data; boundary={boundary}").status_code == 202
    sent = json.dumps({"to_number": new(), "name": name}, ensure_ascii=False).encode(charset)
    headers = {"Authorization": f"Bearer {back_end.secret}", "Content-Type": kind}
    assert back_end.client.post("/api/v1/callbacks", data=sent, headers=headers).status_code == 201
    assert [one.name for one in requests_of(app)] == [name] * 6


def test_a_charset_that_nobody_knows_is_not_remembered(visitor: Visitor, back_end: BackEnd, desk: Actor) -> None:
    # Python keeps each name that it has been asked for in vain, and everybody may name one.
    form, known = "application/x-www-form-urlencoded", dict(vars(encodings)["_cache"])
    unknown = (f"{begin}{'x' * length}" for length in (1, 40, 4000) for begin in ("a", "utf-", "cp.", "Ä"))
    for name in unknown:
        assert post_form(visitor, urlencode({"_charset_": name}).encode()).status_code < 500
        for kind in (form, "application/json"):
            named = f"{kind}; charset={name}"
            assert post_form(visitor, b"{}", named).status_code < 500
            headers = {"Authorization": f"Bearer {back_end.secret}", "Content-Type": named}
            assert back_end.client.post("/api/v1/callbacks", data=b"{}", headers=headers).status_code < 500
        headers = {"Authorization": f"Bearer {desk.ticket}", "Content-Type": f"text/csv; charset={name}"}
        assert desk.client.post("/api/v1/do-not-call/import", data=b"+4930901820", headers=headers).status_code == 200
    assert vars(encodings)["_cache"].keys() - known.keys() == set()


# Bytes of the field ``name`` of a form that names no charset, and the name that is understood.
UNNAMED = {
    b"%C8%E2%E0%ED": "Иван",
    "Иван".encode("cp1251"): "Иван",
    "Иван".encode(): "Иван",
    b"J%FCrgen": "Jürgen",
    b"Zo%EB": "Zoë",
    b"%26%231048%3B%26%231074%3B%26%231072%3B%26%231085%3B": "Иван",
    # Cut in the middle of a character.
    "Größe".encode() + b"%F0%9F%98": "Größe",
    b"Anna%00": "Anna",
    b"Anna%ED%A0%BD": "Anna",
}


def test_bytes_that_name_no_charset(app: Flask, visitor: Visitor) -> None:
    new = numbers()
    for sent in UNNAMED:
        proof = urlencode({"number": new(), "altcha": visitor.works()}).encode()
        response = post_form(visitor, proof + b"&name=" + sent)
        assert response.status_code == 202, (sent, response.text)
    assert [one.name for one in requests_of(app)] == list(UNNAMED.values())


def test_the_voice_says_the_name_of_a_form_in_windows_1251(app: Flask, visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(text="{name} wants a call")
    fields = {"number": "+4930901820", "name": "Иван", "altcha": visitor.works()}
    kind = "application/x-www-form-urlencoded; charset=windows-1251"
    assert post_form(visitor, form_body(fields, "cp1251"), kind).status_code == 202
    with app.app_context(), reading() as session:
        assert session.scalars(select(Callback.text)).one() == "Иван wants a call"


def test_a_form_that_comes_back_shows_what_was_typed(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(consent_text="You may call me.")
    fields = {"number": "+4930901820", "name": "Иван", "token": visitor.opens()}
    headers = {"Origin": visitor.origin, "Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
    path = f"/w/{visitor.form_key}/callbacks"
    page = visitor.client.post(path, data=form_body(fields, "cp1251"), headers=headers)
    assert (page.status_code, 'value="Иван"' in page.text) == (400, True)


def test_a_checkbox_behind_a_hidden_field_counts(visitor_of: MakeVisitor) -> None:
    visitor = visitor_of(consent_text="You may call me.")
    sent = urlencode({"number": "+4930901820", "altcha": visitor.works()}).encode()
    assert post_form(visitor, sent + b"&consent=0&consent=1").status_code == 202


def test_the_customers_page_reads_as_much(visitor: Visitor) -> None:
    for turn, (kind, encode) in enumerate(JSON_BODIES.values()):
        if turn > 4:
            break
        status_url = json_of(visitor.asks(f"+493090182{turn}"))["status_url"]
        at = json_of(visitor.client.get(f"/w/{visitor.form_key}/slots"))["slots"][-1]
        response = visitor.client.post(
            "/c/" + status_url.rpartition("/c/")[2] + "/reschedule",
            data=encode(json.dumps({"scheduled_at": at})),
            headers={"Content-Type": kind, "Accept": "application/json"},
        )
        assert (response.status_code, json_of(response)["scheduled_at"]) == (200, at), kind


UNREADABLE = (b"", b"{", b"[]", b"null", b"\xff\xfe", b"\x00" * 40, b'{"number":', b"[" * 5000, b"=" * 500, b"&" * 500)


def test_what_cannot_be_read_is_refused(desk: Actor, visitor: Visitor) -> None:
    for body in UNREADABLE:
        for kind in (
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/x",
        ):
            assert post_form(visitor, body, kind).status_code in (400, 422), (body[:20], kind)
            headers = {"Authorization": f"Bearer {desk.ticket}", "Content-Type": kind}
            response = desk.client.post("/api/v1/callbacks", data=body, headers=headers)
            assert (response.status_code, json_of(response)["code"]) == (400, "invalid_request"), body[:20]


def test_queries_without_values_are_none(desk: Actor) -> None:
    assert desk.requests_callback().status_code == 201
    answer = desk.asks("GET", "/callbacks?state=&source=&q=&from=&to=&limit=&cursor=")
    assert (answer.status_code, len(json_of(answer)["callbacks"])) == (200, 1)
    assert desk.asks("GET", "/do-not-call?limit=&cursor=").status_code == 200
    assert desk.asks("GET", "/webhooks?form_key=").status_code == 200


def test_the_description_tells_what_is_taken(desk: Actor, app: Flask) -> None:
    models: dict[str, Any] = json_of(desk.client.get("/api/v1/openapi.json"))["components"]["schemas"]
    assert {"type": "null"} in models["KeyedBody"]["properties"]["name"]["anyOf"]
    assert "null" not in json.dumps(models["KeyedBody"]["properties"]["to_number"])
    assert {"enum": [0, 1]} in models["FormSettings"]["properties"]["is_on"]["anyOf"][0]["anyOf"]
    with app.app_context(), reading() as session:
        assert session.scalars(select(Form)).all() == []

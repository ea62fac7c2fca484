"""Forms as administrators edit them: what one press proposes, their own texts, and two editors at once."""

import html
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from bx24app.database import reading
from bx24app.models import WebsiteRequest
from bx24app.services.websites.editing.contrast import readable_on
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.tables import rows_in_one_world
from tests.support.visitors import Visitor
from tests.support.websites import MakeVisitor

pytestmark = pytest.mark.usefixtures("manager")

# A Tuesday at three in the morning in Berlin.
NIGHT = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def view(desk: Actor, path: str) -> str:
    response = desk.client.get(f"/desk/view/{path}", headers={"Authorization": f"Bearer {desk.ticket}"})
    assert response.status_code == 200, response.text
    return str(response.text)


def proposed(desk: Actor) -> dict[str, Any]:
    """What the button sends, but for what is asked; and the country of the first line."""
    page = view(desk, "websites")
    found = re.search(r'data-settings="([^"]+)"', page)
    assert found is not None, page
    country = re.search(r'data-country="([^"]*)"', page)
    settings: dict[str, Any] = json.loads(html.unescape(found[1]))
    return settings | ({"default_country": country[1]} if country and country[1] else {})


def test_one_press_at_night_makes_a_form_that_offers_times_and_promises_nothing(
    administrator: Actor, client: FlaskClient
) -> None:
    administrator.user.time_zone = "Europe/Berlin"
    administrator.opens()
    settings = proposed(administrator)
    assert settings["default_country"] == "DE"
    made = administrator.asks("POST", "/forms", {"name": "Site", "line_id": "reg150907", **settings})
    assert made.status_code == 201, made.text
    form = json_of(made)
    shown = {name: form[name] for name in ("consent_text", "creates_lead", "retries", "retry_minutes", "budget_calls")}
    assert shown == {
        "consent_text": "I agree to be called back at this number.",
        "creates_lead": True,
        "retries": 2,
        "retry_minutes": 10,
        "budget_calls": 100,
    }
    assert (form["hours"]["zone"], form["hours"]["holidays"], form["languages"]) == (
        "Europe/Berlin",
        "DE",
        ["en", "ru"],
    )
    with time_machine.travel(NIGHT, tick=False):
        page = client.get(f"/w/{form['key']}", headers={"Accept": "text/html"}).text
    assert "closed now" in page
    assert "We&#39;ll call within" not in page
    times = re.findall(r'<option value="(2026[^"]+)"', page)
    assert times[0] == "2026-11-24T09:00:00+01:00", times


@rows_in_one_world(
    ("zone", "line", "country"),
    [("Europe/Moscow", "Sales line", "RU"), (None, "Sales line", ""), ("Europe/Berlin", "+44 20 7946 0018", "GB")],
)
def test_the_country_is_that_of_the_lines_number_else_of_the_zone(
    administrator: Actor, zone: str | None, line: str, country: str
) -> None:
    administrator.user.time_zone = zone or ""
    administrator.portal.lines["reg150907"].name = line
    administrator.opens()
    administrator.asks("GET", "/lines?refresh=1")
    assert proposed(administrator).get("default_country", "") == country


def test_own_texts_are_shown_in_their_language_and_as_text(
    desk: Actor, visitor_of: MakeVisitor, client: FlaskClient
) -> None:
    markup = '<b>Call</b> & "us" {{ 7 * 7 }} \u202e'
    texts = {"en": {"heading": markup, "sentence": "Within the hour", "button": "Ring me", "thanks": "Thank you!"}}
    visitor = visitor_of(texts=texts, consent_text="Yes.")
    english = client.get(f"/w/{visitor.form_key}?lang=en").text
    escaped = "&lt;b&gt;Call&lt;/b&gt; &amp; &#34;us&#34; {{ 7 * 7 }}"
    assert f'<h1 id="title">{escaped}' in english
    assert "<b>Call" not in english
    assert (">Within the hour</p>" in english, ">Ring me</button>" in english) == (True, True)
    russian = client.get(f"/w/{visitor.form_key}?lang=ru").text
    assert "Ring me" not in russian
    assert "Within the hour" not in russian
    assert '"open": "Ring me"' in client.get(f"/w/{visitor.form_key}/widget.js").text
    taken = json_of(visitor.asks(consent=True))
    page = client.get("/c/" + taken["status_url"].rpartition("/c/")[2], headers={"Accept": "text/html"}).text
    assert "<p>Thank you!</p>" in page
    # Closed, nobody can keep what the sentence promises.
    desk.asks("PATCH", f"/forms/{visitor.form_key}", {"hours": {"zone": "UTC", "week": {}}})
    assert "Within the hour" not in client.get(f"/w/{visitor.form_key}?lang=en").text


def test_each_language_has_its_consent_and_what_was_shown_is_kept(
    app: Flask, desk: Actor, visitor_of: MakeVisitor, client: FlaskClient
) -> None:
    visitor = visitor_of(consent_texts={"en": "", "ru": "Согласен."})
    path = f"/forms/{visitor.form_key}"
    form = json_of(desk.asks("GET", path))
    ours = "I agree to be called back at this number."
    assert (form["consent_texts"], form["consent_text"]) == ({"en": ours, "ru": "Согласен."}, ours)
    assert visitor.asks().status_code == 400
    pages = {language: client.get(f"/w/{visitor.form_key}?lang={language}").text for language in ("en", "ru")}
    assert (ours in pages["en"], "Согласен." in pages["ru"], ours in pages["ru"]) == (True, True, False)
    # A browser that prefers English shows the Russian page by its address, and posts from there.
    action = re.search(r'action="([^"]+)"', pages["ru"])
    assert action is not None
    sent = {"number": CUSTOMER, "consent": "yes", "altcha": visitor.works()}
    headers = {"Origin": visitor.origin, "Accept-Language": "en"}
    assert client.post(html.unescape(action[1]), json=sent, headers=headers).status_code == 202
    with app.app_context(), reading() as session:
        [kept] = session.scalars(select(WebsiteRequest))
    assert (kept.consent_text, kept.consent_version, kept.language) == ("Согласен.", 1, "ru")
    for change, version, first in (
        ({"consent_texts": {"en": ours, "ru": "Согласен."}}, 1, ours),
        ({"consent_texts": {"en": "Yes.", "ru": "Согласен."}}, 2, "Yes."),
        ({"consent_text": "Both."}, 3, "Both."),
        ({"consent_texts": None}, 4, None),
        ({"consent_texts": {"en": "", "ru": "Да."}}, 5, ours),
    ):
        told = json_of(desk.asks("PATCH", path, change))
        assert (told["consent_version"], told["consent_text"]) == (version, first), change
    assert desk.asks("PATCH", path, {"consent_texts": {"de": "Ja."}}).status_code == 400


@rows_in_one_world(
    "change",
    [
        {"texts": {"en": {"heading": "x" * 81}}},
        {"texts": {"en": {"sentence": "x" * 201}}},
        {"texts": {"ru": {"button": "x" * 41}}},
        {"texts": {"ru": {"thanks": "x" * 201}}},
        {"texts": {"de": {"heading": "Hallo"}}},
        {"texts": {"en": {"footer": "x"}}},
        {"corner": "top"},
        {"shown": "never"},
    ],
)
def test_texts_have_an_end_and_a_place(desk: Actor, visitor: Visitor, change: dict[str, Any]) -> None:
    path = f"/forms/{visitor.form_key}"
    before = desk.asks("GET", path).json
    assert desk.asks("PATCH", path, change).status_code == 400
    assert desk.asks("GET", path).json == before


def test_every_colour_has_a_readable_text_and_its_contrast_is_told(desk: Actor, visitor: Visitor) -> None:
    told = json_of(desk.asks("PATCH", f"/forms/{visitor.form_key}", {"colour": "#0075ff"}))
    assert (told["text_colour"], told["colour_contrast"]) == ("#ffffff", 4.2)
    steps = [f"{value:02x}" for value in range(0, 256, 51)]
    colours = [f"#{red}{green}{blue}" for red in steps for green in steps for blue in steps]
    assert min(readable_on(colour).contrast for colour in colours) >= 3.8


def test_where_and_when_the_button_stands(desk: Actor, visitor_of: MakeVisitor, client: FlaskClient) -> None:
    hours = {"zone": "Europe/Berlin", "week": {"tue": [["09:00", "18:00"]]}}
    visitor = visitor_of(corner="left", shown="in_hours", hours=hours)
    for moment, is_hidden in ((NIGHT, "true"), (NIGHT.replace(hour=10), "false")):
        with time_machine.travel(moment, tick=False):
            script = client.get(f"/w/{visitor.form_key}/widget.js").text
        assert f'"corner": "left", "isHidden": {is_hidden}' in script


def test_the_second_of_two_editors_is_told_and_nothing_is_overwritten(desk: Actor, visitor: Visitor) -> None:
    path = f"/forms/{visitor.form_key}"
    seen = desk.asks("GET", path).headers["ETag"]
    first = desk.asks("PATCH", path, {"name": "Anna's"}, If_Match=seen)
    assert (first.status_code, first.headers["ETag"] == seen) == (200, False)
    second = desk.asks("PATCH", path, {"retries": 5}, If_Match=seen)
    assert (second.status_code, json_of(second)["code"]) == (409, "changed_meanwhile")
    form = json_of(desk.asks("GET", path))
    assert (form["name"], form["retries"]) == ("Anna's", 2)
    again = desk.asks("PATCH", path, {"retries": 5}, If_Match=first.headers["ETag"])
    assert (again.status_code, json_of(again)["name"]) == (200, "Anna's")
    # Whoever names no version or any, such as a program, changes what it names.
    for known in ({}, {"If_Match": "*"}):
        assert desk.asks("PATCH", path, {"retries": 4}, **known).status_code == 200


def test_a_foreign_version_is_no_mistake_of_the_server(desk: Actor, visitor: Visitor) -> None:
    for odd in ('"0"', "*", "x" * 3000, "é"):
        answer = desk.asks("PATCH", f"/forms/{visitor.form_key}", {"retries": 3}, If_Match=odd)
        assert answer.status_code in (200, 409), odd


def test_a_website_that_loads_the_widget_is_seen_and_others_leave_no_trace(
    desk: Actor, visitor_of: MakeVisitor, client: FlaskClient
) -> None:
    visitor = visitor_of(allowed_origins=["https://shop.example"])
    path = f"/w/{visitor.form_key}/widget.js"
    for page in (None, "https://evil.example/", "x" * 5000, "https://[", "\u00e9"):
        headers = {"Referer": page} if page else {}
        assert client.get(path, headers=headers).status_code == 200
        assert "Not seen on your website yet" in view(desk, f"websites/{visitor.form_key}/site")
    for _ in range(2):
        assert client.get(path, headers={"Referer": "https://shop.example/prices?a=b"}).status_code == 200
    shown = view(desk, f"websites/{visitor.form_key}/site")
    assert "The button was seen on https://shop.example" in shown
    assert "prices" not in shown
    assert "Seen on shop.example" in view(desk, "websites")


def test_a_preview_shows_unsaved_markup_as_text_and_stores_nothing(administrator: Actor) -> None:
    administrator.opens()
    key = json_of(administrator.asks("POST", "/forms", {"name": "Shop", "default_country": "DE"}))["key"]
    headers = {"Authorization": f"Bearer {administrator.ticket}"}

    def previews(**settings: object) -> TestResponse:
        body = {"settings": settings, "moment": "open"}
        return administrator.client.post(f"/desk/forms/{key}/preview", json=body, headers=headers)

    marked = "<img src=x onerror=alert(1)>"
    texts = {"en": {"heading": marked, "sentence": marked, "button": marked}}
    shown = json_of(previews(texts=texts, consent_text=marked, topics=[marked]))["html"]
    assert "<img" not in shown
    assert shown.count("&lt;img") >= 3
    assert previews(colour="#fff;} body{display:none").status_code == 400
    assert json_of(administrator.asks("GET", f"/forms/{key}"))["consent_text"] is None

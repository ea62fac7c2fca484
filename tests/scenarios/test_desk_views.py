"""The sections of the desk: who has which, what a view answers, where a link leads, and what a hostile name does."""

import re
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.fake_bitrix24 import FakeBitrix24
from tests.support.actors import Actor, json_of
from tests.support.waiting import change_portal

WEBSITES = ("websites", "websites/rejected", "websites/developers")
SETTINGS = tuple(
    f"settings/{page}"
    for page in ("calls", "hours", "people", "smart-processes", "do-not-call", "log", "check", "journal", "privacy")
)
FOR_ADMINISTRATORS = (*WEBSITES, "settings", *SETTINGS)
HOSTILE = """<script>alert(1)</script>"'{{ 7 * 7 }}%(name)s"""
LOST = "This link leads to nothing you can see."

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def fetches(actor: Actor, path: str, language: str = "en") -> TestResponse:
    headers = {"Authorization": f"Bearer {actor.ticket}", "Accept-Language": language}
    return actor.client.get(f"/desk/view/{path}", headers=headers)


def tabs(page: TestResponse) -> list[str]:
    return re.findall(r'data-section="(\w+)"', page.text)


def shown_first(page: TestResponse) -> str:
    found = re.search(r'data-path="([^"]+)"', page.text)
    assert found is not None
    return found[1]


@pytest.fixture
def form(manager: Actor, administrator: Actor) -> dict[str, Any]:
    administrator.opens()
    wanted = {"name": HOSTILE, "line_id": "reg150907", "topics": [HOSTILE], "consent_text": HOSTILE}
    return json_of(
        administrator.asks("POST", "/forms", {**wanted, "fields": {"topic": "optional"}, "default_country": "DE"})
    )


def test_each_role_has_its_tabs_and_gets_nothing_else(
    client: FlaskClient, manager: Actor, administrator: Actor
) -> None:
    everything = ["callbacks", "reports", "websites", "settings"]
    assert tabs(administrator.opens()) == everything
    for path in ("callbacks", *FOR_ADMINISTRATORS):
        assert fetches(administrator, path).status_code == 200, path
        assert client.get(f"/desk/view/{path}").status_code == 401, path
    assert tabs(manager.opens()) == ["callbacks", "reports"]
    assert 'id="call-form"' in fetches(manager, "callbacks").text
    administrator.lets_call(others="view")
    page = manager.opens()
    assert tabs(page) == ["callbacks", "reports"]
    for shown in (page.text, fetches(manager, "callbacks").text):
        assert 'id="call-form"' not in shown
    for path in FOR_ADMINISTRATORS:
        assert fetches(manager, path).status_code == 403, path
    administrator.lets_call(others="none")
    assert manager.opens().status_code == 403
    assert fetches(manager, "callbacks").status_code == 401


def test_what_is_another_portals_is_not_found(administrator: Actor, form: dict[str, Any], fake: FakeBitrix24) -> None:
    callback = json_of(administrator.requests_callback())
    hook = json_of(
        administrator.asks("POST", "/webhooks", {"form_key": form["key"], "url": "https://93.184.216.34/hook"})
    )
    other = fake.add_portal("beta")
    stranger = Actor(administrator.client, other, administrator.application, other.administrator)
    stranger.installs()
    for path in (f"websites/{form['key']}", f"callbacks/{callback['id']}"):
        assert fetches(administrator, path).status_code == 200
        assert fetches(stranger, path).status_code == 404
    for path, status in (("websites/0", 404), ("callbacks/0", 404), ("nothing", 404), (f"callbacks/{uuid4()}", 404)):
        assert fetches(administrator, path).status_code == status, path
    headers = {"Authorization": f"Bearer {stranger.ticket}"}
    assert stranger.client.get(f"/desk/webhooks/{hook['id']}", headers=headers).status_code == 404
    for path in WEBSITES:
        assert form["key"] not in fetches(stranger, path).text, path


def test_a_link_leads_to_its_view_or_to_callbacks_with_a_note(
    manager: Actor, administrator: Actor, form: dict[str, Any], fake: FakeBitrix24
) -> None:
    callback = json_of(administrator.requests_callback())
    leads = {
        ("callbacks", ""): "callbacks",
        ("reports", ""): "reports",
        ("callback", callback["id"]): f"callbacks/{callback['id']}",
        ("form", form["key"]): f"websites/{form['key']}",
        ("settings", ""): "settings",
        ("settings", "people"): "settings/people",
        ("check", ""): "settings/check",
    }
    for placement in ("REST_APP_URI", "DEFAULT"):
        for (view, id), path in leads.items():
            page = administrator.opens(placement, view=view, id=id)
            assert (shown_first(page), LOST in page.text.partition("<main")[2].partition(">")[2]) == (path, False)
    # The menu of the telephony's own reports.
    assert shown_first(administrator.opens("TELEPHONY_ANALYTICS_MENU")) == "reports"
    nowhere = [("callback", str(uuid4())), ("callback", "../settings"), ("form", "x" * 99)]
    nowhere += [("settings", "nothing"), ("unknown", ""), ("settings", "<script>"), ("callback", "%2e%2e")]
    for view, id in nowhere:
        page = administrator.opens("REST_APP_URI", view=view, id=id)
        assert (page.status_code, shown_first(page)) == (200, "callbacks"), (view, id)
        assert f'role="alert">{LOST}' in page.text, (view, id)
    # A link permits nothing.
    page = manager.opens("REST_APP_URI", view="settings", id="people")
    assert (shown_first(page), f'role="alert">{LOST}' in page.text) == ("callbacks", True)


def test_names_are_text_and_nothing_else(client: FlaskClient, administrator: Actor, form: dict[str, Any]) -> None:
    administrator.asks("POST", "/api-keys", {"form_key": form["key"], "name": HOSTILE})
    administrator.asks("POST", "/do-not-call", {"number": "+4930901829", "note": HOSTILE})
    shown = [fetches(administrator, path).text for path in (*FOR_ADMINISTRATORS, f"websites/{form['key']}")]
    shown += [client.get(f"/w/{form['key']}").text]
    assert sum("alert(1)" in text for text in shown) >= 6
    for text in shown:
        assert "<script>alert" not in text
        assert "49%(name)s" not in text


def test_the_alert_strip_shows_two_and_counts_the_rest(app: Flask, manager: Actor, administrator: Actor) -> None:
    administrator.opens()
    change_portal(app, default_country="DE")
    for name in ("One", "Two", "Three"):
        administrator.asks("POST", "/forms", {"name": name, "default_country": "DE", "budget_calls": 0})
    for shown in (administrator.opens().text, fetches(administrator, "callbacks").text):
        first, _, rest = shown.partition("<summary>and 1 more</summary>")
        assert [first.count("used up today"), rest.count("used up today")] == [2, 1]
    assert "used up today" not in manager.opens().text


def test_the_views_speak_russian(administrator: Actor, form: dict[str, Any]) -> None:
    words = {
        "websites": "Создать форму",
        "websites/developers": "Создать ключ",
        "websites/rejected": "Отклонённые заявки",
        "settings/check": "Проверка настроек",
        "settings/log": "Журнал запросов",
    }
    for path, word in words.items():
        assert word in fetches(administrator, path, "ru").text
    editor = fetches(administrator, f"websites/{form['key']}", "ru").text
    assert "Понедельник" in editor
    assert "Германия" in editor


def test_a_wrong_search_is_an_empty_list(administrator: Actor, manager: Actor) -> None:
    administrator.opens()
    assert fetches(administrator, "settings/do-not-call?q=%25").status_code == 200
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    assert administrator.client.get("/desk/webhooks/99999999999", headers=headers).status_code == 404


def test_opening_the_desk_and_the_check_asks_bitrix24_nothing_for_ten_minutes(
    administrator: Actor, manager: Actor
) -> None:
    administrator.opens()
    before = len(administrator.portal.requests)
    assert "data-count" not in fetches(administrator, "settings/check").text
    assert len(administrator.portal.requests) == before
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    assert "need attention" in administrator.client.get("/desk/check", headers=headers).text
    asked = len(administrator.portal.requests)
    assert asked > before
    assert 'data-count="2"' in fetches(administrator, "settings/check").text
    assert len(administrator.portal.requests) == asked
    page = administrator.opens()
    assert len(administrator.portal.requests) == asked + 1
    assert re.search(r'data-section="settings".*?data-counter\s*>2<', page.text, re.DOTALL)


def test_pages_name_the_zone_of_their_reader_where_there_is_such_a_zone(manager: Actor) -> None:
    for said, named in (("Asia/Tokyo", "Asia/Tokyo"), ("", None), ("../etc", None), (HOSTILE, None)):
        manager.user.time_zone = said
        for page in (manager.opens(), manager.opens("CRM_LEAD_DETAIL_TAB", ID="1")):
            found = re.search(r'<html [^>]*data-zone="([^"]*)"', page.text)
            assert (found[1] if found else None) == named, said

"""Who may fetch the desk's panels, what they say in Russian, and what a hostile name does to them."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.fake_bitrix24 import FakeBitrix24
from tests.support.actors import Actor, json_of

PANELS = ("forms", "keys", "webhooks", "do_not_call", "tester", "refusals", "requests", "settings")
HOSTILE = """<script>alert(1)</script>"'{{ 7 * 7 }}%(name)s"""

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def fetches(actor: Actor, path: str, language: str = "en") -> TestResponse:
    headers = {"Authorization": f"Bearer {actor.ticket}", "Accept-Language": language}
    return actor.client.get(f"/desk/panels/{path}", headers=headers)


@pytest.fixture
def form(manager: Actor, administrator: Actor) -> dict[str, Any]:
    administrator.opens()
    wanted = {"name": HOSTILE, "line_id": "reg150907", "topics": [HOSTILE], "consent_text": HOSTILE}
    return json_of(
        administrator.asks("POST", "/forms", {**wanted, "fields": {"topic": "optional"}, "default_country": "DE"})
    )


def test_who_is_no_administrator_gets_no_panel(client: FlaskClient, manager: Actor) -> None:
    for name in PANELS:
        assert fetches(manager, name).status_code == 403, name
        assert client.get(f"/desk/panels/{name}").status_code == 401, name


def test_another_portals_forms_and_webhooks_are_not_found(
    administrator: Actor, form: dict[str, Any], fake: FakeBitrix24
) -> None:
    hook = json_of(
        administrator.asks("POST", "/webhooks", {"form_key": form["key"], "url": "https://93.184.216.34/hook"})
    )
    other = fake.add_portal("beta")
    stranger = Actor(administrator.client, other, administrator.application, other.administrator)
    stranger.installs()
    for path in (f"forms/{form['key']}", f"webhooks/{hook['id']}"):
        assert fetches(administrator, path).status_code == 200
        assert fetches(stranger, path).status_code == 404
    for name in PANELS:
        assert form["key"] not in fetches(stranger, name).text, name


def test_names_are_text_and_nothing_else(client: FlaskClient, administrator: Actor, form: dict[str, Any]) -> None:
    administrator.asks("POST", "/api-keys", {"form_key": form["key"], "name": HOSTILE})
    administrator.asks("POST", "/do-not-call", {"number": "+4930901829", "note": HOSTILE})
    shown = [fetches(administrator, name).text for name in (*PANELS, f"forms/{form['key']}")]
    shown += [client.get(f"/w/{form['key']}").text]
    assert sum("alert(1)" in text for text in shown) >= 6
    for text in shown:
        assert "<script>alert" not in text
        assert "49%(name)s" not in text


def test_the_panels_speak_russian(administrator: Actor, form: dict[str, Any]) -> None:
    words = {"forms": "Создать форму", "keys": "Создать ключ", "tester": "Проверить", "webhooks": "Добавить вебхук"}
    for name, word in words.items():
        assert word in fetches(administrator, name, "ru").text
    editor = fetches(administrator, f"forms/{form['key']}", "ru").text
    assert "Понедельник" in editor
    assert "Германия" in editor


def test_a_wrong_search_is_an_empty_list(administrator: Actor, manager: Actor) -> None:
    administrator.opens()
    assert fetches(administrator, "do_not_call?q=%25").status_code == 200
    assert fetches(administrator, "webhooks/99999999999").status_code == 404

"""The journal: whatever changes something for all is in it, with who did it, and without a secret or a number."""

import json
import re
from datetime import timedelta

from flask import Flask

from bx24app.database import writing
from bx24app.models import Portal, State, utcnow
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.sites import Site
from tests.support.waiting import accept, seen, work
from tests.support.webhook_steps import KEY, form, site

__all__ = ["form", "site"]

MUTATING = {"POST", "PUT", "PATCH", "DELETE"}
# What changes nothing that stays, what is one person's own, and what concerns one callback, whose decisions say who.
NOT_RECORDED = {
    "POST /api/v1/callbacks",
    "PATCH /api/v1/callbacks/*",
    "POST /api/v1/callbacks/*/cancel",
    "POST /api/v1/callbacks/*/retry",
    "PUT /api/v1/me/desk",
    "POST /api/v1/me/filters",
    "DELETE /api/v1/me/filters/*",
    "PUT /api/v1/me/notifications",
    "POST /api/v1/numbers/read",
    "POST /api/v1/rules/test",
    "POST /api/v1/export",
    # They send again, or a test, or read anew what Bitrix24 says.
    "POST /api/v1/webhooks/*/test",
    "POST /api/v1/webhooks/deliveries/*/redeliver",
    "POST /desk/check/bind",
    "POST /desk/company/smart-processes",
    "POST /desk/forms/*/preview",
    "POST /desk/start/text",
    # The card with first steps is a hint and no setting.
    "PUT /desk/first-run",
    "DELETE /desk/first-run",
}


def mutating_routes(app: Flask) -> set[str]:
    """The routes of desk and API that may change something, with ``*`` for what stands in the address."""
    return {
        f"{method} {re.sub('<[^>]+>', '*', rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) & MUTATING
        if rule.rule.startswith(("/api/v1/", "/desk/"))
    }


def stop_line(app: Flask) -> None:
    with app.app_context(), writing() as session:
        session.query(Portal).one().stop_line("reg150907", utcnow() + timedelta(hours=1))


def unknown_callback(app: Flask, portal: FakePortal) -> str:
    portal.faults.add("drop_before", "voximplant.callback.start")
    id = accept(app, to_number="+4930901877")
    work(app)
    assert seen(app, id).state == State.UNKNOWN
    return str(id)


def test_whatever_changes_something_for_all_is_recorded_once_with_who_did_it(
    app: Flask, manager: Actor, administrator: Actor, portal: FakePortal, site: Site, form: int
) -> None:
    administrator.opens()
    lost = unknown_callback(app, portal)
    told: set[str] = set()
    secrets: list[str] = []

    def does(method: str, path: str, body: object = None, id: object = None) -> dict[str, object]:
        """Change something; the journal has one more entry, of whoever did it."""
        before = json_of(administrator.asks("GET", "/audit"))["entries"]
        response = administrator.asks(method, path.replace("*", str(id)), body)
        assert response.status_code in (200, 201, 204), (path, response.text)
        after = json_of(administrator.asks("GET", "/audit"))["entries"]
        assert len(after) == len(before) + 1, path
        assert after[0]["user_id"] == administrator.user.id, path
        told.add(f"{method} /api/v1{path}")
        answer = response.json if isinstance(response.json, dict) else {}
        secrets.extend(filter(None, [answer.get("secret")]))
        return answer

    for change in (
        {"default_text": "A customer waits."},
        {"roles": {"operators": {"people": [1]}, "others": "none"}},
        {"websites_off": True},
        {"hours": {"zone": "Europe/Berlin", "week": {"mon": [["09:00", "18:00"]]}}},
        {"notifications": {}, "retries": 3},
    ):
        does("PATCH", "/settings", change)
    made = does("POST", "/forms", {"name": "Shop", "default_country": "DE"})
    does("PATCH", "/forms/*", {"is_on": False}, made["key"])
    does("DELETE", "/forms/*", id=made["key"])
    key = does("POST", "/api-keys", {"form_key": KEY, "name": "CRM"})
    does("DELETE", "/api-keys/*", id=key["id"])
    hook = does("POST", "/webhooks", {"form_key": KEY, "url": f"{site.url}?token=canary-in-the-address"})
    does("PATCH", "/webhooks/*", {"is_on": False}, hook["id"])
    does("POST", "/webhooks/*/rotate", id=hook["id"])
    does("DELETE", "/webhooks/*", id=hook["id"])
    number = does("POST", "/do-not-call", {"number": CUSTOMER})
    does("POST", "/do-not-call/import", {"text": "+4930901855"})
    does("DELETE", "/do-not-call/*", id=number["id"])
    does("POST", "/callbacks/*/resolve", {"outcome": "reached"}, lost)
    does("POST", "/erase", {"number": "+4930901855", "confirm": "+4930901855"})
    stop_line(app)
    does("POST", "/lines/*/resume", id="reg150907")
    # Whoever adds a route decides whether the journal tells of it.
    assert told | NOT_RECORDED == mutating_routes(app)
    assert not told & NOT_RECORDED
    journal = json.dumps(json_of(administrator.asks("GET", "/audit?limit=100")))
    assert len(secrets) == 3
    for kept_secret in (*secrets, "canary-in-the-address", CUSTOMER.lstrip("+"), "4930901855"):
        assert kept_secret not in journal

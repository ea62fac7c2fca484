"""What lasts needs a proof of a moment ago that its maker is an administrator, and is shown with their name."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from bx24app.models import utcnow
from bx24app.services.callbacks.roles import Role
from bx24app.services.security import tickets
from bx24app.web.guards import guard_of
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.remembered import remember

# What an administrator may change without a fresh proof, and why.
NEEDS_NONE = {
    "api_keys.revoke": "takes away, and has to work while Bitrix24 is silent",
    "do_not_call.add": "takes away: one number is not called any more, and a hundred a day at the most",
    "lines.resume": "does not last: the next call decides",
    "rules.test_rules": "changes nothing",
    "webhooks.test": "sends nothing of a customer, to an address that was proven",
    "webhooks.redeliver": "sends what was sent before, to an address that was proven",
    "settings.change_settings": "asks by itself, except to stop all forms",
    "form_preview.preview": "changes nothing",
    "first_run.mark": "says how far administrators have got: nobody may do more by it",
    "first_run.close": "hides a card",
    "company.read_smart_processes": "keeps the list that the portal tells this administrator",
    "setup_check.bind": "binds what the app's manifest names, which a worker does by itself within the hour",
}
READ_WITH_PROOF = {"do_not_call.export_numbers"}


def age_ticket(person: Actor, minutes: float, app: Flask) -> None:
    """Let the portal have said who has the page open so long ago; the ticket itself is valid still."""
    with app.app_context():
        ticket = tickets.read_ticket(person.ticket)
        fields = {**ticket.__dict__, "proven_at": int((utcnow() - timedelta(minutes=minutes)).timestamp())}
        person.ticket = remember(tickets.issue_ticket(tickets.Ticket(**fields))[0])


@pytest.fixture
def form_key(desk: Actor) -> str:
    return str(json_of(desk.asks("POST", "/forms", {"name": "Shop", "default_country": "DE"}))["key"])


@pytest.fixture
def webhook_id(desk: Actor, form_key: str) -> int:
    body = {"form_key": form_key, "url": "https://site.example.com/hook"}
    return int(json_of(desk.asks("POST", "/webhooks", body))["id"])


def lasting(form_key: str, webhook_id: int) -> dict[str, tuple[str, str, Any]]:
    """Everything that lasts, by its endpoint."""
    return {
        "api_keys.create": ("POST", "/api-keys", {"form_key": form_key, "name": "shop"}),
        "forms.create": ("POST", "/forms", {"name": "Another", "default_country": "DE"}),
        "forms.change": ("PATCH", f"/forms/{form_key}", {"retries": 1}),
        "webhooks.add": ("POST", "/webhooks", {"form_key": form_key, "url": "https://other.example.com/hook"}),
        "webhooks.change": ("PATCH", f"/webhooks/{webhook_id}", {"url": "https://third.example.com/hook"}),
        "webhooks.rotate": ("POST", f"/webhooks/{webhook_id}/rotate", None),
        "do_not_call.import_numbers": ("POST", "/do-not-call/import", None),
        "do_not_call.remove": ("DELETE", "/do-not-call/4711", None),
        "do_not_call.export_numbers": ("GET", "/do-not-call/export", None),
        "privacy.find": ("POST", "/export", {"number": "+4930901820"}),
        "privacy.erase": ("POST", "/erase", {"number": "+4930901820", "confirm": "+4930901820"}),
        "settings.change_settings": ("PATCH", "/settings", {"roles": {"operators": {"people": [1]}, "others": "view"}}),
        # Nobody brings them back.
        "webhooks.remove": ("DELETE", f"/webhooks/{webhook_id}", None),
        "forms.remove": ("DELETE", f"/forms/{form_key}", None),
    }


def test_every_change_by_an_administrator_needs_a_fresh_proof_or_says_why_not(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        guard = guard_of(app.view_functions[rule.endpoint])
        if guard is None or guard.role is not Role.ADMINISTRATOR:
            continue
        changes = bool((rule.methods or set()) & {"POST", "PATCH", "PUT", "DELETE"})
        expected = (changes and rule.endpoint not in NEEDS_NONE) or rule.endpoint in READ_WITH_PROOF
        assert guard.needs_proof == expected, rule.endpoint
    assert NEEDS_NONE.keys() <= app.view_functions.keys()


def test_what_lasts_is_refused_to_an_old_proof_and_taken_with_a_fresh_one(
    app: Flask, desk: Actor, form_key: str, webhook_id: int
) -> None:
    guarded = {name for name, view in app.view_functions.items() if (guard := guard_of(view)) and guard.needs_proof}
    tried = lasting(form_key, webhook_id)
    assert tried.keys() - {"settings.change_settings"} == guarded
    for name, (method, path, body) in tried.items():
        age_ticket(desk, 5, app)
        before = desk.asks("GET", "/webhooks").text, desk.asks("GET", "/forms").text, desk.asks("GET", "/api-keys").text
        refused = desk.asks(method, path, body)
        assert (refused.status_code, json_of(refused)["code"]) == (401, "ticket_expired"), name
        assert "confirm" in json_of(refused)["detail"], name
        after = desk.asks("GET", "/webhooks").text, desk.asks("GET", "/forms").text, desk.asks("GET", "/api-keys").text
        assert before == after, name
        assert desk.renews_ticket().status_code == 200
        taken = desk.asks(method, path, body)
        assert taken.status_code in (200, 201, 204, 404), (name, taken.text)


@pytest.mark.parametrize(
    "body",
    [{"stands_in": True}, {"default_country": "DE"}, {"websites_off": False}, {"retries": 2, "websites_off": True}],
)
def test_settings_need_a_fresh_proof(app: Flask, desk: Actor, body: dict[str, Any]) -> None:
    age_ticket(desk, 5, app)
    assert desk.asks("PATCH", "/settings", body).status_code == 401
    assert desk.renews_ticket().status_code == 200
    assert desk.asks("PATCH", "/settings", body).status_code == 200


def test_all_forms_are_stopped_at_any_time(app: Flask, desk: Actor) -> None:
    age_ticket(desk, 30, app)
    assert desk.asks("PATCH", "/settings", {"websites_off": True}).status_code == 200


def test_an_old_proof_stops_them_once_and_not_against_everybody_else(
    app: Flask, desk: Actor, portal: FakePortal
) -> None:
    """A demoted administrator, five times a second, would keep them stopped for an hour."""
    # With a fresh proof it does not count.
    assert desk.asks("PATCH", "/settings", {"websites_off": True}).status_code == 200
    portal.administrator.admin = False
    age_ticket(desk, 30, app)
    answers = [desk.asks("PATCH", "/settings", {"websites_off": True}).status_code for _ in range(3)]
    assert answers == [200, 401, 401]


def test_a_filter_for_everybody_needs_a_fresh_proof(app: Flask, desk: Actor) -> None:
    age_ticket(desk, 5, app)
    body = {"name": "Mine", "filters": {"quick": "all"}}
    assert desk.asks("POST", "/me/filters", body).status_code == 201
    assert desk.asks("POST", "/me/filters", {**body, "is_shared": True}).status_code == 401
    assert desk.renews_ticket().status_code == 200
    assert desk.asks("POST", "/me/filters", {**body, "is_shared": True}).status_code == 201


@pytest.mark.parametrize("how", ["demoted", "dismissed"])
def test_an_administrator_who_is_one_no_longer_makes_nothing_that_lasts(
    app: Flask, desk: Actor, portal: FakePortal, form_key: str, webhook_id: int, how: str
) -> None:
    """Their ticket of the last hour was stolen, or kept: it was issued before the portal took the rights away."""
    age_ticket(desk, 5, app)
    setattr(portal.administrator, *{"demoted": ("admin", False), "dismissed": ("dismissed", True)}[how])
    kept, tried = desk.ticket, lasting(form_key, webhook_id)
    for name, (method, path, body) in tried.items():
        assert desk.asks(method, path, body).status_code == 401, name
    # The way to a fresh ticket leads through the portal.
    assert desk.renews_ticket().status_code == (200 if how == "demoted" else 403)
    for name, (method, path, body) in tried.items():
        assert desk.asks(method, path, body).status_code == (403 if how == "demoted" else 401), name
    # What the portal said of a demoted one counts for the old ticket from then on.
    desk.ticket = kept
    assert desk.asks("GET", "/api-keys").status_code == (403 if how == "demoted" else 200)


def test_a_ticket_that_the_portal_did_not_vouch_for_proves_nothing(app: Flask, desk: Actor, portal: FakePortal) -> None:
    portal.faults.add("html_502", "batch")
    assert desk.renews_ticket().status_code == 200
    assert desk.asks("POST", "/forms", {"name": "Shop"}).status_code == 403
    assert desk.asks("GET", "/do-not-call/export").status_code == 403


def test_the_verdict_about_one_administrator_touches_no_other(
    app: Flask, desk: Actor, portal: FakePortal, form_key: str
) -> None:
    other = Actor(desk.client, portal, desk.application, portal.add_user("Olga", "Baum", admin=True))
    assert other.opens().status_code == 200
    other.user.admin = False
    assert other.renews_ticket().status_code == 200
    assert other.asks("GET", "/api-keys").status_code == 403
    other.user.dismissed = True
    assert other.renews_ticket().status_code == 403
    assert desk.asks("POST", "/api-keys", {"form_key": form_key, "name": "shop"}).status_code == 201


def test_what_lasts_is_shown_with_the_name_of_its_maker(
    desk: Actor, portal: FakePortal, form_key: str, webhook_id: int
) -> None:
    other = Actor(desk.client, portal, desk.application, portal.add_user("Olga", "Baum", admin=True))
    assert other.opens().status_code == 200
    assert desk.asks("POST", "/api-keys", {"form_key": form_key, "name": "shop"}).status_code == 201
    maker = (desk.user.id, desk.user.full_name)
    [key] = json_of(other.asks("GET", "/api-keys"))["api_keys"]
    form = json_of(other.asks("GET", f"/forms/{form_key}"))
    hook = json_of(other.asks("GET", f"/webhooks/{webhook_id}"))
    for made in (key, form, hook):
        assert (made["created_by"], made["created_by_name"]) == maker
    assert (hook["changed_by"], hook["changed_by_name"]) == (None, None)
    for panel in ("websites", "websites/developers"):
        shown = desk.client.get(f"/desk/view/{panel}", headers={"Authorization": f"Bearer {other.ticket}"})
        assert desk.user.full_name in shown.text, panel
    for changed in (
        other.asks("POST", f"/webhooks/{webhook_id}/rotate"),
        other.asks("PATCH", f"/webhooks/{webhook_id}", {"url": "https://third.example.com/hook"}),
    ):
        assert json_of(changed)["changed_by_name"] == "Olga Baum"
        assert json_of(changed)["created_by_name"] == desk.user.full_name

"""Roles inside a portal: who sees callbacks, who starts them, who manages the app; read with each request."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import writing
from bx24app.models import Callback, User, utcnow
from bx24app.services.callbacks.roles import Role
from bx24app.web.guards import guard_of
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.waiting import work

SALES, SUPPORT = 5, 7
EVERYBODY: dict[str, Any] = {"operators": {"everybody": True}, "others": "view"}
NONE, VIEWER, OPERATOR, ADMINISTRATOR = Role.NONE, Role.VIEWER, Role.OPERATOR, Role.ADMINISTRATOR
# The smallest role that each guarded route lets in. A new route has to be added here.
LEAST = {
    "me.show": NONE,
    "callback_list.show_all": VIEWER,
    "callback_list.show_counters": VIEWER,
    "callback_list.show_file": VIEWER,
    "me.show_desk": VIEWER,
    "me.keep_desk": VIEWER,
    "me.keep_filter": VIEWER,
    "me.remove_filter": VIEWER,
    "me.show_notifications": VIEWER,
    "me.keep_notifications": VIEWER,
    "fragments.list_filter": VIEWER,
    "fragments.list_tools": VIEWER,
    "one_callback.now": VIEWER,
    "one_callback.bitrix24": VIEWER,
    "start.text": OPERATOR,
    "start.later": OPERATOR,
    "callbacks.show": VIEWER,
    "callbacks.start": OPERATOR,
    "callbacks.reschedule": OPERATOR,
    "callbacks.cancel": OPERATOR,
    "callbacks.resolve": OPERATOR,
    "callbacks.retry": OPERATOR,
    "numbers.read": OPERATOR,
    "do_not_call.add": OPERATOR,
    "lines.show_lines": VIEWER,
    "lines.show_voices": VIEWER,
    "lines.resume": ADMINISTRATOR,
    "reports.show": VIEWER,
    "reports.show_csv": VIEWER,
    "fragments.rows": VIEWER,
    "fragments.requests_made": ADMINISTRATOR,
    "fragments.show_deliveries": ADMINISTRATOR,
    "sections.show_list": VIEWER,
    "sections.show_callback": VIEWER,
    "sections.show_my_notifications": VIEWER,
    "sections.show_reports": VIEWER,
}
MANAGED = (
    "forms",
    "form_preview",
    "settings",
    "api_keys",
    "do_not_call",
    "rules",
    "webhooks",
    "sections",
    "first_run",
    "setup_check",
    "company",
    "journal",
    "privacy",
)
VALUES = {"callback_id": "01990000-0000-7000-8000-000000000000", "form_key": "0" * 24, "line_id": "reg150907"}


def guarded_routes(app: Flask) -> list[tuple[str, str, str]]:
    """Endpoint, method and an address of every route that has a guard."""
    found = []
    with app.test_request_context():
        for rule in app.url_map.iter_rules():
            if guard_of(app.view_functions[rule.endpoint]) is None:
                continue
            values: dict[str, Any] = {name: VALUES.get(name, 4711) for name in rule.arguments}
            path = app.url_map.bind("").build(rule.endpoint, values)
            found += [(rule.endpoint, method, path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}]
    return found


def least_role(endpoint: str) -> Role:
    return LEAST[endpoint] if endpoint in LEAST or endpoint.partition(".")[0] not in MANAGED else ADMINISTRATOR


def ask(person: Actor, method: str, path: str) -> int:
    headers = {"Authorization": f"Bearer {person.ticket}"}
    return person.client.open(path, method=method, headers=headers, json={}).status_code


def give_role(administrator: Actor, person: Actor, role: Role) -> None:
    """Let a person have a role from now on; their ticket stays as it is."""
    people = [person.user.id] if role is OPERATOR else []
    answer = administrator.lets_call(people, others="none" if role is NONE else "view")
    assert answer.status_code == 200, answer.text


def test_the_table_knows_every_guarded_route_and_no_other(app: Flask) -> None:
    endpoints = {endpoint for endpoint, _, _ in guarded_routes(app)}
    managed = {endpoint for endpoint in endpoints if endpoint.partition(".")[0] in MANAGED}
    assert endpoints - managed <= set(LEAST) <= endpoints
    for endpoint in endpoints:
        guard = guard_of(app.view_functions[endpoint])
        assert guard is not None
        assert guard.role is least_role(endpoint), endpoint


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.name.lower())
def test_each_role_is_let_in_where_it_may_and_nowhere_else(
    app: Flask, administrator: Actor, manager: Actor, role: Role
) -> None:
    asking = administrator if role is ADMINISTRATOR else manager
    if role is not ADMINISTRATOR:
        give_role(administrator, manager, role)
    for endpoint, method, path in guarded_routes(app):
        status = ask(asking, method, path)
        if role < least_role(endpoint):
            assert status == 403, (method, path)
        else:
            assert status not in (401, 403), (method, path)
            assert status < 500, (method, path)


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.name.lower())
@pytest.mark.parametrize("place", ["DEFAULT", "CRM_LEAD_DETAIL_TAB"])
def test_each_role_opens_the_page_it_may_see(
    administrator: Actor, manager: Actor, portal: FakePortal, role: Role, place: str
) -> None:
    manager.requests_callback("+4930901899")
    asking = administrator if role is ADMINISTRATOR else manager
    if role is not ADMINISTRATOR:
        give_role(administrator, manager, role)
    options = {"ID": str(portal.crm.add_lead("Prices", phones=["+4930901899"]))} if place != "DEFAULT" else {}
    page = asking.opens(place, **options)
    assert page.status_code == (403 if role is NONE else 200)
    assert ("30 901899" in page.text) == (role > NONE)
    assert ("bx24app-ticket" in page.text) == (role > NONE)
    assert ('id="call-form"' in page.text) == (role >= OPERATOR)
    assert ('data-action="cancel"' in page.text) == (role >= OPERATOR)
    assert ('data-section="settings"' in page.text) == (role is ADMINISTRATOR and place == "DEFAULT")
    assert asking.renews_ticket().status_code == (403 if role is NONE else 200)


def test_somebody_without_a_role_is_told_whom_to_ask_and_nothing_else(
    administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    portal.users[portal.manager.id].admin = False
    give_role(administrator, manager, NONE)
    page = manager.opens()
    assert page.status_code == 403
    assert portal.administrator.full_name in page.text
    assert "You have no access to the app" in page.text
    assert "Sales line" not in page.text
    assert f"frame-ancestors {portal.url}" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/lines?refresh=1", "/voices?refresh=true"])
def test_a_viewer_reads_lists_and_makes_nobody_ask_bitrix24(
    administrator: Actor, manager: Actor, portal: FakePortal, path: str
) -> None:
    give_role(administrator, manager, VIEWER)
    asked = len(portal.requests)
    assert manager.asks("GET", path).status_code == 403
    assert len(portal.requests) == asked
    assert manager.asks("GET", path.partition("?")[0]).status_code == 200


def test_a_viewer_waits_for_no_callback(administrator: Actor, manager: Actor) -> None:
    key = "same"
    assert manager.requests_callback(key=key).status_code == 201
    give_role(administrator, manager, VIEWER)
    assert manager.requests_callback(key=key, wait=10).status_code == 403


def test_rows_of_an_open_list_lose_their_buttons_at_once(administrator: Actor, manager: Actor) -> None:
    manager.opens()
    assert manager.requests_callback().status_code == 201
    headers = {"Authorization": f"Bearer {manager.ticket}"}
    first = manager.client.get("/desk/callbacks", headers=headers)
    assert 'data-action="cancel"' in first.text
    give_role(administrator, manager, VIEWER)
    again = manager.client.get("/desk/callbacks", headers={**headers, "If-None-Match": first.headers["ETag"]})
    assert again.status_code == 200
    assert 'data-action="cancel"' not in again.text


# What the administrator chooses


def test_everybody_starts_callbacks_until_an_administrator_says_otherwise(administrator: Actor, manager: Actor) -> None:
    assert json_of(administrator.asks("GET", "/settings"))["roles"] == EVERYBODY
    assert manager.requests_callback().status_code == 201


def test_the_choice_is_kept_told_and_taken_back(administrator: Actor, manager: Actor, portal: FakePortal) -> None:
    kept = json_of(administrator.lets_call([9, 2, 9], [SALES], "none"))
    assert kept["roles"] == {"operators": {"people": [2, 9], "departments": [SALES]}, "others": "none"}
    assert (kept["rights_changed_by"], kept["rights_changed_by_name"]) == (
        portal.administrator.id,
        portal.administrator.full_name,
    )
    assert json_of(administrator.asks("PATCH", "/settings", {"retries": 1}))["roles"] == kept["roles"]
    back = administrator.asks("PATCH", "/settings", {"roles": EVERYBODY})
    assert json_of(back)["roles"] == EVERYBODY


@pytest.mark.parametrize(
    "roles",
    [
        {"operators": {"everybody": False}, "others": "view"},
        {"operators": {"everybody": True, "people": [1]}, "others": "view"},
        {"operators": {"people": ["one"]}, "others": "view"},
        {"operators": {"people": [0]}, "others": "view"},
        {"operators": {"people": [2**31]}, "others": "view"},
        {"operators": {"people": list(range(1, 502))}, "others": "view"},
        {"operators": {"departments": list(range(1, 502))}, "others": "view"},
        {"operators": {"people": [1], "more": 1}, "others": "view"},
        {"operators": {"people": [1]}, "others": "all"},
        {"operators": None, "others": "view"},
        {"others": "view"},
        "everybody",
    ],
)
def test_a_choice_that_is_none_is_refused(administrator: Actor, manager: Actor, roles: object) -> None:
    assert administrator.asks("PATCH", "/settings", {"roles": roles}).status_code == 400
    assert json_of(administrator.asks("GET", "/settings"))["roles"] == EVERYBODY


def test_an_administrator_stays_one_whoever_is_chosen(administrator: Actor, manager: Actor) -> None:
    assert administrator.lets_call([], [], "none").status_code == 200
    assert administrator.requests_callback().status_code == 201
    assert administrator.asks("GET", "/settings").status_code == 200


# Departments


def role_here(person: Actor) -> str:
    return str(json_of(person.asks("GET", "/me"))["role"])


def test_the_portal_says_who_is_in_a_department_at_each_launch(
    administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    administrator.lets_call(departments=[SALES])
    assert role_here(manager) == "viewer"
    portal.manager.departments = [1, SALES]
    # An open page knows it with its next ticket.
    assert role_here(manager) == "viewer"
    assert manager.renews_ticket().status_code == 200
    assert role_here(manager) == "operator"
    portal.manager.departments = [SUPPORT]
    manager.opens()
    assert role_here(manager) == "viewer"


@pytest.mark.parametrize("broken", ["scope", "method", "none"])
def test_departments_that_cannot_be_read_are_none(
    administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp, broken: str
) -> None:
    portal.manager.departments = [SALES]
    manager.opens()
    administrator.lets_call(departments=[SALES])
    assert role_here(manager) == "operator"
    if broken == "scope":
        application.scopes = tuple(scope for scope in application.scopes if scope != "user_brief")
    elif broken == "method":
        portal.missing_methods.add("user.current")
    else:
        portal.manager.departments = []
    assert manager.opens().status_code == 200
    assert role_here(manager) == "viewer"
    administrator.lets_call([portal.manager.id])
    assert role_here(manager) == "operator"


def test_while_the_portal_is_silent_nobody_has_what_only_it_can_say(
    administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    portal.manager.departments = [SALES]
    manager.opens()
    former = manager.ticket
    administrator.lets_call(departments=[SALES])
    portal.faults.add("html_502", "batch")
    assert manager.opens().status_code == 200
    assert role_here(manager) == "viewer"
    # What the portal has said of the page before stands until its ticket expires.
    manager.ticket = former
    assert role_here(manager) == "operator"


@pytest.mark.parametrize("others", ["view", "none"])
def test_a_newcomer_is_one_of_the_others_while_the_portal_is_silent(
    administrator: Actor, manager: Actor, portal: FakePortal, others: str
) -> None:
    administrator.lets_call(departments=[SALES], others=others)
    newcomer = Actor(manager.client, portal, manager.application, portal.add_user("Nora", "New", admin=True))
    newcomer.user.departments = [SALES]
    portal.faults.add("html_502", "batch")
    assert newcomer.opens().status_code == (200 if others == "view" else 403)
    assert newcomer.opens().status_code == 200
    assert role_here(newcomer) == "administrator"


def test_a_silent_portal_takes_nothing_from_another_page_of_an_administrator(
    administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    former = administrator.ticket
    portal.faults.add("html_502", "batch")
    assert 'data-section="settings"' not in administrator.opens().text
    assert administrator.asks("GET", "/settings").status_code == 403
    administrator.ticket = former
    assert administrator.asks("GET", "/settings").status_code == 200


def prove_earlier(app: Flask, administrator: Actor, by: timedelta) -> None:
    """Let the portal have said longer ago what somebody may do."""
    with app.app_context(), writing() as session:
        user = session.scalars(select(User).where(User.user_id == administrator.user.id)).one()
        assert user.proven_at is not None
        user.proven_at -= by


def test_a_limit_of_the_portal_takes_nothing_that_it_said_shortly_before(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    """It stands as long as in a page that was opened when it was said, and makes nobody more than they were."""
    administrator.opens()
    portal.faults.add("error", "batch", code="QUERY_LIMIT_EXCEEDED", times=99)
    prove_earlier(app, administrator, timedelta(minutes=50))
    assert 'data-section="settings"' in administrator.opens().text
    assert administrator.asks("GET", "/settings").status_code == 200
    manager.opens()
    assert manager.asks("GET", "/settings").status_code == 403
    # What lasts needs the portal's word of this moment.
    erasure = {"number": CUSTOMER, "confirm": CUSTOMER}
    assert administrator.asks("POST", "/erase", erasure).status_code == 401
    with time_machine.travel(utcnow() + timedelta(minutes=12)):
        assert administrator.asks("GET", "/settings").status_code == 403
    prove_earlier(app, administrator, timedelta(minutes=11))
    administrator.opens()
    assert administrator.asks("GET", "/settings").status_code == 403


# Who I am


def test_me_says_who_i_am_and_what_i_may_do(administrator: Actor, manager: Actor, portal: FakePortal) -> None:
    said = json_of(administrator.asks("GET", "/me", Accept_Language="ru"))
    assert said == {
        "user_id": portal.administrator.id,
        "name": portal.administrator.full_name,
        "role": "administrator",
        "zone": "Europe/Berlin",
        "language": "ru",
        "may": {"see": True, "operate": True, "administer": True},
    }
    give_role(administrator, manager, VIEWER)
    said = json_of(manager.asks("GET", "/me"))
    assert (said["role"], said["may"]) == ("viewer", {"see": True, "operate": False, "administer": False})
    give_role(administrator, manager, NONE)
    said = json_of(manager.asks("GET", "/me"))
    assert (said["role"], said["may"]) == ("none", {"see": False, "operate": False, "administer": False})


# When a callback is due


def scheduled(person: Actor, moment: datetime, number: str = "+4930901820") -> str:
    created = person.requests_callback(number, scheduled_at=moment.isoformat())
    assert created.status_code == 201, created.text
    return str(json_of(created)["id"])


def make_due(app: Flask, callback_id: str) -> None:
    with app.app_context(), writing() as session:
        due = {"due_at": utcnow(), "expires_at": utcnow() + timedelta(minutes=2)}
        session.execute(update(Callback).where(Callback.id == UUID(callback_id)).values(due))


@pytest.mark.parametrize("stands_in", [False, True])
def test_nothing_is_dialled_for_somebody_whose_role_was_taken_away(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, stands_in: bool
) -> None:
    id = scheduled(manager, utcnow() + timedelta(hours=1))
    administrator.asks("PATCH", "/settings", {"stands_in": stands_in})
    give_role(administrator, manager, VIEWER)
    make_due(app, id)
    work(app)
    told = administrator.sees(id)
    assert told["reason"] == "not_permitted"
    assert told["decisions"][-1]["rule"] == "not_permitted"
    assert portal.manager.full_name in told["decisions"][-1]["words"]
    assert portal.telephony.dials == []


def test_callbacks_of_websites_need_nobodys_role(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    administrator.lets_call([], [], "none")
    form = json_of(administrator.asks("POST", "/forms", {"name": "Shop", "default_country": "DE"}))["key"]
    key = json_of(administrator.asks("POST", "/api-keys", {"form_key": form, "name": "shop"}))["secret"]
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "o-1"}
    body = {"to_number": "+4930901821", "line_id": "reg150907"}
    created = administrator.client.post("/api/v1/callbacks", json=body, headers=headers)
    assert created.status_code == 201, created.text
    work(app)
    assert len(portal.telephony.dials) == 1


def test_the_portal_is_asked_again_what_an_old_role_rests_on(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    """The person was moved to another department days after they scheduled it, and has not opened the app since."""
    portal.manager.departments = [SALES]
    manager.opens()
    administrator.lets_call(departments=[SALES])
    kept, lost = (scheduled(manager, utcnow() + timedelta(hours=1), f"+493090182{n}") for n in (0, 1))
    asked = len(portal.requests_for("batch"))
    make_due(app, kept)
    work(app)
    assert administrator.sees(kept)["state"] == "started"
    assert len(portal.requests_for("batch")) == asked
    portal.manager.departments = [SUPPORT]
    forget_when_rights_were_proven(app)
    make_due(app, lost)
    work(app)
    assert (administrator.sees(lost)["state"], administrator.sees(lost)["reason"]) == ("failed", "not_permitted")
    assert len(portal.telephony.dials) == 1


def forget_when_rights_were_proven(app: Flask) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(User).values(proven_at=utcnow() - timedelta(hours=1, minutes=1)))


def test_an_older_answer_of_the_portal_overrides_no_newer_one() -> None:
    user, now = User(user_id=1), utcnow()
    user.keep_rights(now, is_administrator=False, departments=[SUPPORT])
    user.keep_rights(now - timedelta(seconds=1), is_administrator=True, departments=[SALES])
    assert (user.is_administrator, user.departments) == (False, str(SUPPORT))

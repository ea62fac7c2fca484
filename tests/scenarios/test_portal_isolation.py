"""Portals beside each other, and forms of one portal: none reaches anything of another, on any route that exists."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from bx24app.database import writing
from bx24app.models import Portal, utcnow
from bx24app.web.guards import guard_of
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import Actor, json_of
from tests.support.routes import (
    OF_A_PORTAL,
    OF_NOBODY,
    OF_THE_PUBLIC,
    body_for,
    filled,
    routes_with_ids,
    things_of,
    whose,
)
from tests.support.waiting import remove

# What the owner of a thing is answered where it is not 200: the callback was cancelled before it is decided about.
OWNERS = {"callbacks.resolve": 409, "callbacks.retry": 409, "webhooks.test": 202, "webhooks.redeliver": 202}
REMOVED = 204
# What is asked with a form's key in the body, and what its owner is answered.
IN_BODIES: list[tuple[str, dict[str, Any], int]] = [
    ("/api-keys", {"name": "Server"}, 201),
    ("/rules/test", {"number": "+4930901820"}, 200),
    ("/webhooks", {"url": "https://site.example.com/hook"}, 201),
]


def moved_in(portal: FakePortal, beside: Actor, application: FakeApp) -> Actor:
    actor = Actor(beside.client, portal, application, portal.administrator)
    assert actor.installs().status_code == 200
    portal.events.wait_until_idle()
    actor.opens()
    return actor


@pytest.fixture
def neighbour(app: Flask, manager: Actor, administrator: Actor, fake: FakeBitrix24, application: FakeApp) -> Actor:
    """The administrator of another portal, new where one was removed, whose ids it would have if ids came back.

    Ids differ from those of the first portal because there is more of everything.
    """
    administrator.opens()
    things_of(administrator)
    gone = moved_in(fake.add_portal("gone"), manager, application)
    things_of(gone)
    remove(app, gone.portal, application)
    return moved_in(fake.add_portal("beta"), manager, application)


def test_whoever_adds_an_id_to_an_address_says_whose_it_is(app: Flask) -> None:
    """An id that is not listed above is not tried with another portal's by the next tests."""
    for rule in app.url_map.iter_rules():
        for blueprint, argument in whose(rule):
            known = argument in OF_A_PORTAL or (blueprint, argument) in OF_NOBODY | OF_THE_PUBLIC
            assert known, f"{rule.rule}: whose is {argument}?"


def test_another_portals_ids_answer_404_on_every_route(app: Flask, administrator: Actor, neighbour: Actor) -> None:
    theirs = things_of(neighbour)
    found = routes_with_ids(app)
    assert len(found) >= 20
    assert {name for _, rule in found for name in rule.arguments} == OF_A_PORTAL
    # What removes comes last, for its owner too must find it.
    for method, rule in sorted(found, key=lambda one: one[0] == "DELETE"):
        path = filled(rule, theirs)
        body = body_for(method, path)
        headers = {"Authorization": f"Bearer {administrator.ticket}"}
        answer = administrator.client.open(path, method=method, json=body, headers=headers)
        assert answer.status_code == 404, (method, path, answer.text)
        if "line_id" not in rule.arguments:
            own = {"Authorization": f"Bearer {neighbour.ticket}"}
            answer = administrator.client.open(path, method=method, json=body, headers=own)
            status = REMOVED if method == "DELETE" else OWNERS.get(rule.endpoint, 200)
            assert answer.status_code == status, (method, path, answer.text)
    for secret_id in ("callback_id", "form_key"):
        for path in ("/callbacks", "/forms", "/api-keys", "/webhooks", "/do-not-call"):
            assert theirs[secret_id] not in administrator.asks("GET", path).text
    last = f"{'f' * 8}-ffff-7fff-bfff-{'f' * 12}"
    assert theirs["callback_id"] not in administrator.asks("GET", f"/callbacks?cursor={last}").text


def test_a_stopped_line_of_another_portal_is_not_resumed(app: Flask, administrator: Actor, neighbour: Actor) -> None:
    """Both have a line of this id; only theirs is stopped."""
    line_id = next(iter(neighbour.portal.lines))
    with app.app_context(), writing() as session:
        portal = session.scalars(select(Portal).where(Portal.member_id == neighbour.portal.member_id)).one()
        portal.stop_line(line_id, utcnow())
    assert administrator.asks("POST", f"/lines/{line_id}/resume").status_code == 404
    assert neighbour.asks("POST", f"/lines/{line_id}/resume").status_code == 200


def test_another_portals_form_is_not_found_in_any_body(administrator: Actor, neighbour: Actor) -> None:
    key = things_of(neighbour)["form_key"]
    for path, body, status in IN_BODIES:
        answer = administrator.asks("POST", path, {"form_key": key, **body})
        assert answer.status_code == 404, (path, answer.text)
        assert neighbour.asks("POST", path, {"form_key": key, **body}).status_code == status, path
    assert json_of(administrator.asks("GET", f"/webhooks?form_key={key}")) == {"webhooks": []}


def test_a_key_reaches_nothing_of_another_portal_or_another_form(
    app: Flask, administrator: Actor, neighbour: Actor
) -> None:
    first, second = (
        things_of(neighbour),
        json_of(neighbour.asks("POST", "/forms", {"name": "Two", "default_country": "DE"})),
    )
    key = json_of(neighbour.asks("POST", "/api-keys", {"form_key": second["key"], "name": "Server"}))
    sent = {"Authorization": f"Bearer {key['secret']}"}
    client = neighbour.client
    assert json_of(client.get("/api/v1/callbacks", headers=sent))["callbacks"] == []
    foreign = json_of(administrator.requests_callback("+4930901840"))["id"]
    for id in (first["callback_id"], foreign):
        things = {**first, "callback_id": id}
        for method, rule in routes_with_ids(app):
            path = filled(rule, things)
            answer = client.open(path, method=method, json=body_for(method, path), headers=sent)
            guard = guard_of(app.view_functions[rule.endpoint])
            is_for_keys = guard is not None and guard.lets_keys_in
            assert answer.status_code == (404 if is_for_keys else 401), (method, path, answer.text)
        assert id not in client.get("/api/v1/callbacks?limit=200", headers=sent).text


def test_no_page_shows_anything_of_another_portal(
    app: Flask, administrator: Actor, fake: FakeBitrix24, application: FakeApp
) -> None:
    """Both have people, lines and callbacks with the same ids."""
    other = fake.add_portal("zeta")
    other.administrator.name, other.lines["reg150907"].name = "Zebulon", "Zebra line"
    neighbour = Actor(administrator.client, other, application, other.administrator)
    for actor in (administrator, neighbour):
        actor.installs()
        actor.opens()
        actor.asks("GET", "/lines?refresh=1")
    neighbour.requests_callback("+4930909999")
    other.faults.add("error", "voximplant.line.get", code="ERROR_CORE", words="Zebra words")
    neighbour.asks("GET", "/lines?refresh=1")
    neighbour.asks("PATCH", "/settings", {"default_text": "Zebra text"})
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    pages = [administrator.opens().text]
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or set()) and not rule.arguments:
            pages.append(administrator.client.get(rule.rule, headers=headers).text)
    assert len(pages) > 10
    for page in pages:
        for theirs in ("Zebulon", "Zebra", "909999", other.domain, other.member_id):
            assert theirs not in page


@pytest.mark.parametrize("gone", ["deleted", "uninstalled"])
def test_the_ticket_of_a_portal_without_the_app_opens_nothing(app: Flask, administrator: Actor, gone: str) -> None:
    """Within its hour, whatever is left of the portal."""
    assert administrator.installs().status_code == 200
    things = things_of(administrator)
    with app.app_context(), writing() as session:
        portal = session.scalars(select(Portal)).one()
        if gone == "deleted":
            session.delete(portal)
        else:
            portal.mark_uninstalled(utcnow())
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    for rule in app.url_map.iter_rules():
        if guard_of(app.view_functions[rule.endpoint]) is not None:
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                answer = administrator.client.open(filled(rule, things), method=method, json={}, headers=headers)
                assert answer.status_code == 401, (method, rule.rule, answer.text)

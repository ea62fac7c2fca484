"""Portals beside each other: none sees or changes anything of another, on any route that exists."""

import re

from flask import Flask
from werkzeug.routing import Rule

from tests.actors import Actor, json_of
from tests.fake_bitrix24 import FakeApp, FakeBitrix24

PLACEHOLDER = re.compile(r"<[^<>]+>")
BODIES: dict[str, object] = {
    "/resolve": {"outcome": "reached"},
    "PATCH": {"scheduled_at": "2027-03-01T10:30:00Z"},
}


# What stands in addresses: ids of a portal's things, each to be tried with another portal's; or nobody's.
OF_A_PORTAL = {"callback_id"}
OF_NOBODY = {("static", "version"), ("static", "filename")}


def routes_with_ids(app: Flask) -> list[tuple[str, Rule]]:
    return [
        (method, rule)
        for rule in app.url_map.iter_rules()
        if OF_A_PORTAL & rule.arguments
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def test_whoever_adds_an_id_to_an_address_says_whose_it_is(app: Flask) -> None:
    """An id that is not listed above is not tried with another portal's by the next test."""
    for rule in app.url_map.iter_rules():
        for argument in rule.arguments - OF_A_PORTAL:
            assert (rule.endpoint, argument) in OF_NOBODY, f"{rule.rule}: whose is {argument}?"


def test_another_portals_ids_answer_404_on_every_route(
    app: Flask, manager: Actor, fake: FakeBitrix24, application: FakeApp
) -> None:
    other = fake.add_portal("beta")
    neighbour = Actor(manager.client, other, application, other.administrator)
    neighbour.installs()
    theirs = json_of(neighbour.requests_callback())["id"]
    found = routes_with_ids(app)
    assert len(found) >= 6
    for method, rule in found:
        path = PLACEHOLDER.sub(theirs, rule.rule)
        body = BODIES.get(method) or next((b for end, b in BODIES.items() if path.endswith(end)), None)
        headers = {"Authorization": f"Bearer {manager.ticket}"}
        answer = manager.client.open(path, method=method, json=body, headers=headers)
        assert answer.status_code == 404, (method, path, answer.text)
        own = {"Authorization": f"Bearer {neighbour.ticket}"}
        assert manager.client.open(path, method=method, json=body, headers=own).status_code in (200, 201, 409)
    assert theirs not in manager.asks("GET", "/callbacks").text
    assert theirs not in manager.asks("GET", f"/callbacks?cursor={'f' * 8}-ffff-7fff-bfff-{'f' * 12}").text


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

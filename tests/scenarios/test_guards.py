"""Every route has a guard, or is named here as open to anybody."""

import pytest
from flask import Flask

from bx24app.services.callbacks.roles import Role
from bx24app.services.portals.install import Installation
from bx24app.services.portals.launch import Launch
from bx24app.web.frame.guards import proven_by
from bx24app.web.guards import guard_of

# Anybody may ask for these: they tell nothing of a portal, or prove by something else than a ticket.
PUBLIC = {
    "static": "styles and scripts",
    "pages.about": "what a stray visitor reads",
    "openapi.show": "the description of the API",
    "operations": "for the operator's monitoring",
    "events.receive": "proven by the application token of the event",
    "events.receive_rule": "proven by the access token of the run",
    "legal": "pages for the marketplace",
    "website_form": "forms of websites, whose rules decide",
    "widget": "the script that a website inserts",
    "status_page": "proven by a signed link",
}
PROVEN = {"pages.install": Installation, "pages.desk": Launch, "pages.placement": Launch, "pages.session": Launch}


def is_public(endpoint: str) -> bool:
    return endpoint in PUBLIC or endpoint.partition(".")[0] in PUBLIC


def test_every_route_has_a_guard_or_is_public_on_purpose(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        guards = [guard_of(view) is not None, proven_by(view) is not None, is_public(rule.endpoint)]
        assert guards.count(True) == 1, (rule.rule, guards)


def test_no_exception_is_left_over(app: Flask) -> None:
    for name in PUBLIC:
        assert any(name in (endpoint, endpoint.partition(".")[0]) for endpoint in app.view_functions), name


def test_the_api_and_the_desk_are_asked_with_a_ticket(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(("/api", "/desk")) and rule.endpoint != "openapi.show":
            assert guard_of(app.view_functions[rule.endpoint]) is not None, rule.rule


def test_pages_of_the_frame_are_given_what_is_proven(app: Flask) -> None:
    found = {endpoint: proven for endpoint, view in app.view_functions.items() if (proven := proven_by(view))}
    assert found == PROVEN


@pytest.mark.parametrize(
    "prefix", ["/desk/view/websites", "/desk/view/settings", "/api/v1/forms", "/api/v1/api-keys", "/api/v1/webhooks"]
)
def test_what_manages_the_portal_needs_an_administrator(app: Flask, prefix: str) -> None:
    guards = {
        rule.rule: guard_of(app.view_functions[rule.endpoint])
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(prefix)
    }
    assert guards
    for path, guard in guards.items():
        assert guard is not None, path
        assert (guard.role, guard.lets_keys_in) == (Role.ADMINISTRATOR, False), path

"""Every route that exists, with one of everything that a portal has, to be tried with somebody else's rights."""

import re
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from bx24app.web.guards import Guard, guard_of
from tests.support.actors import Actor, json_of

PLACEHOLDER = re.compile(r"<(?:[^<>]*:)?(\w+)>")
# What stands in addresses: ids of a portal's things, each to be tried with another portal's; or what the public has.
OF_A_PORTAL = {"callback_id", "form_key", "key_id", "number_id", "webhook_id", "delivery_id", "line_id", "filter_id"}
OF_NOBODY = {("static", "version"), ("static", "filename"), ("reports", "report")}
OF_THE_PUBLIC = {("website_form", "form_key"), ("widget", "form_key"), ("status_page", "signed")}
LATER = {"scheduled_at": "2027-03-01T10:30:00Z"}
BODIES: dict[tuple[str, str], object] = {
    ("POST", "/resolve"): {"outcome": "reached"},
    ("POST", "/preview"): {"settings": {}},
    ("PATCH", "/callbacks"): LATER,
    ("PATCH", "/forms"): {"is_on": True},
    ("PATCH", "/webhooks"): {"is_on": True},
}


def whose(rule: Rule) -> set[tuple[str, str]]:
    """The blueprint of a route with each argument of its address."""
    return {(rule.endpoint.partition(".")[0], argument) for argument in rule.arguments}


def methods_of(rule: Rule) -> list[str]:
    """The methods of a route that do something."""
    return sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})


def routes_with_ids(app: Flask) -> list[tuple[str, Rule]]:
    """Methods and routes whose addresses name a portal's things."""
    found = [rule for rule in app.url_map.iter_rules() if OF_A_PORTAL & rule.arguments]
    return [(method, rule) for rule in found if not whose(rule) & OF_THE_PUBLIC for method in methods_of(rule)]


def guarded_routes(app: Flask) -> list[tuple[str, Rule, Guard]]:
    """Methods and routes for principals, with whom they let in; what removes comes last."""
    found = [
        (method, rule, guard)
        for rule in app.url_map.iter_rules()
        if (guard := guard_of(app.view_functions[rule.endpoint])) is not None
        for method in methods_of(rule)
    ]
    return sorted(found, key=lambda one: one[0] == "DELETE")


def body_for(method: str, path: str) -> object:
    """A body that a route takes; None where it needs none."""
    return next((body for (one, part), body in BODIES.items() if one == method and part in path), None)


def filled(rule: Rule, things: dict[str, Any]) -> str:
    """The address of a route with somebody's ids."""
    return PLACEHOLDER.sub(lambda match: str(things[match[1]]), rule.rule)


def things_of(actor: Actor, number: str = "+4930901820") -> dict[str, Any]:
    """One of everything that a portal has, by the name in addresses."""
    callback = json_of(actor.requests_callback(number))
    line_id = next(iter(actor.portal.lines))
    form = json_of(actor.asks("POST", "/forms", {"name": "Shop", "line_id": line_id, "default_country": "DE"}))
    key = json_of(actor.asks("POST", "/api-keys", {"form_key": form["key"], "name": "Server"}))
    listed = json_of(actor.asks("POST", "/do-not-call", {"number": "+4930901899"}))
    body = {"form_key": form["key"], "url": "https://site.example.com/hook"}
    hook = json_of(actor.asks("POST", "/webhooks", body))
    told = json_of(actor.asks("POST", f"/webhooks/{hook['id']}/test"))
    kept = json_of(actor.asks("POST", "/me/filters", {"name": "Missed", "filters": {"state": ["missed"]}}))
    return {
        "callback_id": callback["id"],
        "filter_id": kept["id"],
        "form_key": form["key"],
        "key_id": key["id"],
        "number_id": listed["id"],
        "webhook_id": hook["id"],
        "delivery_id": told["id"],
        # Portals may have lines of the same id: this one they have not.
        "line_id": f"{line_id}-{actor.portal.member_id}",
        "report": "summary",
    }

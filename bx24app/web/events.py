"""The portal's queue of events and of runs of our rules: answered fast, for it never repeats what we fail to take."""

import time

from flask import Blueprint, request

from bx24app import metrics
from bx24app.bitrix24.bizproc import read_rule_post
from bx24app.bitrix24.events import Event, read_event
from bx24app.bitrix24.timeline import CLICKED
from bx24app.log import name_portal
from bx24app.services.dialling import call_events
from bx24app.services.native.automation.rule_posts import receive_rule_post
from bx24app.services.native.timeline import clicks
from bx24app.services.portals import app_events, payment, uninstall
from bx24app.services.security.networks import network_of
from bx24app.web.bodies import read_posted

blueprint = Blueprint("events", __name__)


@blueprint.post("/events")
def receive() -> tuple[str, int]:
    """Take one event: 200 also for repeats and kinds that we do not use, 403 for a wrong token, 400 malformed."""
    event = read_event(read_posted().items())
    address = network_of(request.remote_addr or "")
    if event.name == "ONAPPPAYMENT":
        # It carries no proof, so it is not counted.
        payment.receive_payment_hint(event)
        return "", 200
    _take(event, address)
    metrics.count_event(event.name, time.time() - event.ts if event.ts else None)
    return "", 200


def _take(event: Event, address: str) -> None:
    if event.name in ("ONAPPINSTALL", "ONAPPUPDATE"):
        app_events.receive_install_or_update(event, address)
        return
    portal = app_events.portal_of_event(event, address)
    name_portal(portal.member_id)
    if event.name == "ONAPPUNINSTALL":
        uninstall.receive_uninstall(portal, event)
    elif event.name == CLICKED:
        clicks.receive_click(portal, event, address)
    elif event.name in call_events.TELEPHONY:
        call_events.receive_call_event(portal, event)


@blueprint.post("/robot")
def receive_rule() -> tuple[str, int]:
    """Take one run of an automation rule: 200 once it is stored, also for repeats, 403 not proven, 400 malformed."""
    receive_rule_post(read_rule_post(read_posted().items()), network_of(request.remote_addr or ""))
    return "", 200

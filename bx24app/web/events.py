"""The portal's event queue: answered fast, for it never repeats what we fail to take."""

from flask import Blueprint, request

from bx24app.bitrix24.payloads import read_event
from bx24app.services import events, life_cycle

blueprint = Blueprint("events", __name__)


@blueprint.post("/events")
def receive() -> tuple[str, int]:
    """Take one event: 200 also for repeats and kinds that we do not use, 403 for a wrong token, 400 malformed."""
    event = read_event(request.form.items())
    if event.name in ("ONAPPINSTALL", "ONAPPUPDATE"):
        life_cycle.announced(event)
        return "", 200
    if event.name == "ONAPPPAYMENT":
        life_cycle.payment_hinted(event)
        return "", 200
    portal = life_cycle.proven_portal(event)
    if event.name == "ONAPPUNINSTALL":
        life_cycle.removal_told(portal, event)
    elif event.name in events.TELEPHONY:
        events.receive(portal, event)
    return "", 200

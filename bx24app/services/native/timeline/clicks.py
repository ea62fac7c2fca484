"""Taking clicks on the buttons of our activity, which the portal tells of once.

A button stays blocked until the activity is shown anew: so it is, also where the click was refused.
"""

from sqlalchemy import select

from bx24app.bitrix24.events import Event
from bx24app.bitrix24.timeline import TimelineClick, read_click
from bx24app.database import reading, writing
from bx24app.errors import PortalUnreachable
from bx24app.models import Portal, TimelineEntry
from bx24app.services.native.timeline import click_actions, kept_clicks
from bx24app.services.runtime.local_limit import LocalLimit
from bx24app.services.security import proof_limits

# So many clicks that nobody can prove now a place may leave in the time for which they are kept.
WAITING_CLICKS = LocalLimit("waiting_clicks", 50, kept_clicks.ACTED_WITHIN.total_seconds())


def receive_click(portal: Portal, event: Event, address: str) -> None:
    """Do what a button asks for; commits. An activity that is none of this portal's does nothing.

    The application token proves nothing, for every employee knows it: the access token of the event says who clicks.
    Where nobody can say whose it is now, the click is kept for two minutes, for it would not come again.
    ``address``: of whoever sends it. Raises ``Unverified``, ``RateLimited``.
    """
    click = read_click(event.fields)
    entry = _find(portal, click) if click is not None else None
    if click is None or entry is None or entry.callback_id is None:
        return
    try:
        principal = click_actions.prove_clicker(portal, event.access_token, address)
    except PortalUnreachable as error:
        if not proof_limits.may_wait(WAITING_CLICKS, portal.member_id, address):
            raise
        kept_clicks.keep(portal, entry, click.action, event.access_token, reason=error.explanation)
        return
    notice = click_actions.act(principal, entry.callback_id, click.action)
    with writing() as session:
        click_actions.answer(session, entry.id, notice, principal.user_id)


def _find(portal: Portal, click: TimelineClick) -> TimelineEntry | None:
    """The entry of an activity of a portal; None: we know of none."""
    query = select(TimelineEntry).where(
        TimelineEntry.activity_id == click.activity_id, TimelineEntry.portal_id == portal.id
    )
    # The portal names the ids, and may name one again and again.
    with reading() as session:
        return session.scalar(query.order_by(TimelineEntry.id.desc()).limit(1))

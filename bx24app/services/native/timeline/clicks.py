"""Clicks on the buttons of our activity: they do what the desk does, under the role of whoever clicks.

A click comes once, and its button stays blocked until the activity is shown anew: so it is, also where it was refused.
"""

from collections.abc import Callable
from uuid import UUID

import structlog
from sqlalchemy import select

from bx24app.bitrix24.events import Event
from bx24app.bitrix24.timeline import ClickAction, TimelineClick, read_click
from bx24app.database import reading, writing
from bx24app.errors import NotPermitted, RateLimited, Refusal, TooLate
from bx24app.models import Callback, Portal, State, TimelineEntry, utcnow
from bx24app.services.callbacks import change
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.queries import get_shown_callback
from bx24app.services.callbacks.roles import Rights, Role, person_of_token, role_of
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.security import proof_limits, token_proof

log = structlog.get_logger(__name__)

# Of one person, by each process.
CLICKS_A_MINUTE = 60


def receive_click(portal: Portal, event: Event, address: str) -> None:
    """Do what a button asks for; commits. An activity that is none of this portal's does nothing.

    The application token proves nothing, for every employee knows it: the access token of the event says who clicks.
    ``address``: of whoever sends it. Raises ``Unverified``, ``PortalUnreachable``, ``RateLimited``.
    """
    click = read_click(event.fields)
    found = _find(portal, click) if click is not None else None
    if click is None or found is None:
        return
    with proof_limits.proving(address, event.member_id, event.access_token):
        info = token_proof.prove_token(event.access_token, event.member_id)
        if not take_local(LocalLimit("timeline_clicks", CLICKS_A_MINUTE), (portal.id, info.user_id)):
            raise RateLimited("clicks")
        # The authorization server vouches for an hour; whether they are still there the portal knows.
        profile = person_of_token(portal, event.access_token, info.user_id)
    role = role_of(portal, info.user_id, Rights(profile.ADMIN, frozenset(profile.departments)))
    entry_id, callback_id = found
    notice = _act(Principal(portal, role, info.user_id), callback_id, click.action)
    log.info("timeline_click", callback=str(callback_id), action=click.action, refused=notice)
    _answer(entry_id, notice, info.user_id)


def _find(portal: Portal, click: TimelineClick) -> tuple[int, UUID] | None:
    """The entry and the callback of an activity of a portal; None: we know of none."""
    query = select(TimelineEntry.id, TimelineEntry.callback_id).where(
        TimelineEntry.activity_id == click.activity_id, TimelineEntry.portal_id == portal.id
    )
    with reading() as session:
        found = session.execute(query).first()
    return (found.id, found.callback_id) if found is not None and found.callback_id is not None else None


def _act(principal: Principal, callback_id: UUID, action: ClickAction) -> str | None:
    """Do it; returns the code of the sentence that says why it was refused, None where it was not."""
    try:
        if principal.role < Role.OPERATOR:
            raise NotPermitted
        callback = get_shown_callback(principal, callback_id)
        try:
            _ACTIONS[action](principal, callback)
        except TooLate:
            # Two have clicked at once: what the second one wants is done.
            if get_shown_callback(principal, callback_id).state not in _DONE[action]:
                raise
    except Refusal as error:
        return error.explanation
    return None


def _call_now(principal: Principal, callback: Callback) -> None:
    change.call_now(callback.portal_id, callback.id, principal.user_id or 0)


def _cancel(principal: Principal, callback: Callback) -> None:
    change.cancel(callback.portal_id, callback.id, principal.user_id)


_ACTIONS: dict[ClickAction, Callable[[Principal, Callback], None]] = {
    ClickAction.CALL_NOW: _call_now,
    ClickAction.CANCEL: _cancel,
}
_DONE = {
    ClickAction.CALL_NOW: frozenset({State.DIALLING, State.STARTED, State.ANSWERED}),
    ClickAction.CANCEL: frozenset({State.CANCELLED}),
}


def _answer(entry_id: int, notice: str | None, user_id: int) -> None:
    """Let the activity be shown at once, with the reason of a refusal."""
    with writing() as session:
        entry = session.get(TimelineEntry, entry_id, with_for_update=True)
        if entry is not None:
            entry.answer_click(utcnow(), notice, user_id)

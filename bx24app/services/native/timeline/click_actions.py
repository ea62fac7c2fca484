"""What a click on a button of our activity does: what the desk does, under the role of whoever clicks."""

from collections.abc import Callable
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from bx24app.bitrix24.timeline import ClickAction
from bx24app.errors import NotPermitted, RateLimited, Refusal, TooLate
from bx24app.models import WAITING, Callback, Portal, State, TimelineEntry, utcnow
from bx24app.services.callbacks import change
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.queries import get_shown_callback
from bx24app.services.callbacks.roles import Rights, Role, person_of_token, role_of
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.security import proof_limits, token_proof

log = structlog.get_logger(__name__)

# Of one person, by each process. Each is a question that counts against the pace of the portal's dials.
CLICKS_A_MINUTE = 10


def prove_clicker(portal: Portal, access_token: str, address: str) -> Principal:
    """Tell who has clicked, and with which role; ``address``: of whoever has sent both tokens.

    Raises ``Unverified``, ``PortalUnreachable`` where nobody can say now, ``RateLimited``.
    """
    with proof_limits.proving(address, portal.member_id, access_token, proof_limits.insider):
        info = token_proof.prove_token(access_token, portal.member_id)
        if not take_local(LocalLimit("timeline_clicks", CLICKS_A_MINUTE), (portal.id, info.user_id)):
            raise RateLimited("clicks")
        # The authorization server vouches for an hour; whether they are still there the portal knows.
        profile = person_of_token(portal, access_token, info.user_id)
    role = role_of(portal, info.user_id, Rights(profile.ADMIN, frozenset(profile.departments)))
    return Principal(portal, role, info.user_id)


def act(principal: Principal, callback_id: UUID, action: ClickAction, *, is_outdated: bool = False) -> str | None:
    """Do what a button asks for; returns the code of the sentence that says why it was refused, else None. Commits.

    ``is_outdated``: the callback has changed since it was pressed; then nothing more is done.
    """
    notice = _refusal_of(principal, callback_id, action, is_outdated=is_outdated)
    log.info("timeline_click", callback=str(callback_id), action=action, refused=notice)
    return notice


def _refusal_of(principal: Principal, callback_id: UUID, action: ClickAction, *, is_outdated: bool) -> str | None:
    try:
        if principal.role < Role.OPERATOR:
            raise NotPermitted
        callback = get_shown_callback(principal, callback_id)
        try:
            if is_outdated:
                raise TooLate
            _ACTIONS[action](principal, callback)
        except TooLate:
            # Two have clicked at once: what the second one wants is done.
            if not _is_done(get_shown_callback(principal, callback_id), action):
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


def _is_done(callback: Callback, action: ClickAction) -> bool:
    if action == ClickAction.CANCEL:
        return callback.state == State.CANCELLED
    is_called = callback.state in (State.DIALLING, State.STARTED, State.ANSWERED)
    return is_called or (callback.state in WAITING and callback.due_at <= utcnow())


def answer(session: Session, entry_id: int, notice: str | None, user_id: int | None) -> None:
    """Let the activity be shown at once, with the reason of a refusal, inside the caller's transaction."""
    entry = session.get(TimelineEntry, entry_id, with_for_update=True)
    if entry is not None:
        entry.answer_click(utcnow(), notice, user_id)

"""What only the portal can tell of a callback: its recordings, and how its card in the CRM is called.

It is asked under the reader's own access, so that its rights decide, and nothing of it is stored.
"""

from dataclasses import dataclass
from uuid import UUID

from bx24app.bitrix24 import crm, telephony
from bx24app.bitrix24.client import BatchAnswer
from bx24app.bitrix24.crm import BatchCommands, NamedCard
from bx24app.bitrix24.errors import AccessDenied
from bx24app.errors import NotPermitted, RateLimited
from bx24app.models import Callback, utcnow
from bx24app.outgoing.deadline import ending_within
from bx24app.services.callbacks.detail.recording import FoundRecording, found_recording, has_conversation
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.queries import get_shown_callback
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import token_renewal
from bx24app.services.portals.throttle import require_spare
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.runtime.slots import Slots

ASK_SECONDS = 15.0
# Whoever asks holds a thread, and a portal may be silent.
_readers_asking = Slots[int](each=1, in_all=3)
ASK_AGAIN_AFTER = 2
# Of one employee, by each process.
QUESTIONS_A_MINUTE = 30


@dataclass(frozen=True)
class ToldByPortal:
    """The recordings, the latest first, and the card; None: there is none, or the reader may not see it."""

    recordings: list[FoundRecording]
    card: NamedCard | None = None


def ask_portal(principal: Principal, callback_id: UUID) -> ToldByPortal:
    """Ask the portal, in one request, what it tells the reader of a callback.

    Without a conversation and without a card nothing is asked. Raises ``NotFound``, ``RateLimited``, or what kept the
    portal from being asked.
    """
    callback = get_shown_callback(principal, callback_id)
    talks = [attempt for attempt in callback.attempts if has_conversation(attempt)][-telephony.MAX_CALLS :]
    call_ids = [attempt.call_id or "" for attempt in talks]
    commands = telephony.history_commands(call_ids)
    if callback.crm_entity_id and callback.crm_entity_type in crm.ENTITY_TYPES:
        commands |= crm.naming_commands(callback.crm_entity_type, callback.crm_entity_id)
    if not commands:
        return ToldByPortal([])
    answer = _in_turn(principal, callback, commands)
    found, now = _recordings(answer, call_ids), utcnow()
    return ToldByPortal(
        [found_recording(attempt, found, now) for attempt in reversed(talks)],
        crm.read_named_card(answer) if answer else None,
    )


def _in_turn(principal: Principal, callback: Callback, commands: BatchCommands) -> BatchAnswer | None:
    require_spare(callback.portal_id)
    is_seldom = take_local(LocalLimit("bitrix24", QUESTIONS_A_MINUTE), (callback.portal_id, principal.user_id))
    with _readers_asking.hold(callback.portal_id) as is_held:
        if not (is_seldom and is_held):
            refusal = RateLimited("bitrix24")
            refusal.retry_after = ASK_AGAIN_AFTER
            raise refusal
        return _ask(principal, callback, commands)


def _ask(principal: Principal, callback: Callback, commands: BatchCommands) -> BatchAnswer | None:
    """Ask it; None where the portal refuses to tell this reader of anything."""
    label = portal_api.RequestLabel("batch", {"cmd": ", ".join(sorted({method for method, _ in commands.values()}))})
    try:
        with ending_within(ASK_SECONDS):
            access = token_renewal.person_access(callback.portal_id, principal.user_id or 0)
            return portal_api.call(access, label, lambda client: client.batch(commands))
    except (AccessDenied, NotPermitted):
        return None


def _recordings(answer: BatchAnswer | None, call_ids: list[str]) -> dict[str, telephony.Recording] | None:
    """Read them; None where the portal refuses to tell this reader of any."""
    try:
        return telephony.read_recordings(answer, call_ids) if answer else None
    except AccessDenied:
        return None

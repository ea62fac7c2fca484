"""Change callbacks: cancel, reschedule, resolve and retry them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.database.errors import is_duplicate
from bx24app.errors import NotFound, NumberInHand, OwnAccessNeeded, RateLimited, TooLate
from bx24app.models import RETRIABLE, WAITING, Callback, DecoyRequest, IllegalTransition, Portal, Source, State, utcnow
from bx24app.services.callbacks.number_holder import holder_of, keep_waiting, pass_on, pass_on_unrung
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.queries import get_callback, with_history
from bx24app.services.callbacks.request import (
    CallbackRequest,
    accept_callback,
    due_time,
    prepare_callback,
    require_room,
)
from bx24app.services.callbacks.retry_policy import retry_policy_of
from bx24app.services.portals import tokens
from bx24app.services.runtime import wakeup
from bx24app.services.security.journal import JournalPage, Recorded, record

# Each move stores a decision, which is read with the callback from then on.
MAX_MOVES = 100
# Of so many calls of one callback nobody knew what came of them: another one tells no more.
MAX_REDIALS = 20
# Who changes a callback by its link.
CUSTOMER = "customer"


class BudgetStep(Protocol):
    """What a move to another day changes in the budgets of a form."""

    def count(self, session: Session) -> None:
        """Count the request for its new day, inside the transaction of the move; raises ``BudgetExhausted``."""

    def confirm(self, request: Callback | DecoyRequest) -> None:
        """Raise an error of its own, so that nothing is changed, where the request was moved meanwhile."""


@dataclass(frozen=True)
class _Change:
    """A callback that is locked for a change, and how long it may wait once it is due."""

    session: Session
    callback: Callback
    expiry: timedelta
    now: datetime

    def take_over(self, user_id: int | None) -> None:
        """Make a colleague's callback that of whoever changes when it is dialled; raises ``OwnAccessNeeded``.

        A customer and an API key (no ``user_id``) take nothing over, nor does anybody what the team has in common:
        callbacks of websites, keys and rules.
        """
        if user_id is None or not self.callback.is_colleagues_of(user_id):
            return
        if not tokens.has_own_access(self.session, self.callback.portal_id, user_id):
            raise OwnAccessNeeded
        self.callback.take_over(user_id, self.now)


@contextmanager
def _changing(portal_id: int, callback_id: UUID, step: BudgetStep | None = None) -> Iterator[_Change]:
    """Lock a callback for a change; raises ``NotFound``, and ``TooLate`` when its state does not allow the change."""
    query = with_history().where(Callback.portal_id == portal_id, Callback.id == callback_id)
    try:
        with writing() as session:
            if step is not None:
                # In the order in which the guarded write locks the day's count and the holder of a number.
                step.count(session)
            callback = session.scalar(query.with_for_update())
            if callback is None:
                raise NotFound
            if step is not None:
                step.confirm(callback)
            policy = retry_policy_of(session, session.get_one(Portal, portal_id), callback)
            yield _Change(session, callback, policy.expiry, utcnow())
    except IllegalTransition:
        raise TooLate from None


def cancel(portal_id: int, callback_id: UUID, user_id: int | None, by: str | None = None) -> Callback:
    """Withdraw a waiting callback; raises ``TooLate`` once it is being dialled. Commits.

    The caller has checked who may (``Role``). ``by`` names the caller where it is no user of the portal. Others for
    which the callback was to ring are called all the same, unless ``_is_for_all``.
    """
    with _changing(portal_id, callback_id) as change:
        change.callback.cancel(change.now)
        change.callback.decide("cancelled", change.now, user=user_id, by=by)
        heir = None if _is_for_all(change.callback, user_id) else pass_on(change.session, change.callback, change.now)
    _wake(heir)
    return change.callback


def reschedule(
    portal_id: int,
    callback_id: UUID,
    user_id: int | None,
    scheduled_at: datetime,
    by: str | None = None,
    step: BudgetStep | None = None,
) -> Callback:
    """Move a waiting callback to another time, up to one minute in the past, which means now; commits.

    ``by`` is as for ``cancel``; a colleague's is taken over. Raises ``NotFound``, ``TooLate``, ``InvalidRequest``,
    ``OwnAccessNeeded``, ``LimitReached``, ``RateLimited`` for one that was moved too often, and what ``step`` raises.
    """
    with _changing(portal_id, callback_id, step) as change:
        if change.callback.state not in WAITING:
            raise TooLate
        heir = _move(change, user_id, due_time(scheduled_at, change.now), by)
    _wake(change.callback, heir)
    return change.callback


def call_now(portal_id: int, callback_id: UUID, user_id: int) -> Callback:
    """Dial a planned callback now, as ``reschedule`` does; one that is due already stays as it is. Commits.

    So two who ask for it at once ask for one call. Raises ``TooLate`` once it is not waiting any more.
    """
    with _changing(portal_id, callback_id) as change:
        if change.callback.state not in WAITING:
            raise TooLate
        if change.callback.due_at > change.now:
            _move(change, user_id, change.now)
    wakeup.wake(row_id=callback_id)
    return change.callback


def _wake(*waiting: Callback | None) -> None:
    for callback in waiting:
        if callback is not None:
            wakeup.wake(row_id=callback.id)


def _move(change: _Change, user_id: int | None, due_at: datetime, by: str | None = None) -> Callback | None:
    """Move a callback; returns the one that takes its place for those who wait behind it, if there is one."""
    callback = change.callback
    _require_few(callback, "rescheduled", MAX_MOVES)
    change.take_over(user_id)
    if user_id is not None and due_at > change.now:
        require_room(change.session, callback)
    callback.reschedule(change.now, due_at, due_at + change.expiry)
    callback.decide("rescheduled", change.now, user=user_id, by=by, scheduled_at=due_at.isoformat())
    if due_at <= change.now or _is_for_all(callback, user_id):
        keep_waiting(change.session, callback, change.now)
        return None
    return pass_on(change.session, callback, change.now)


def _require_few(callback: Callback, rule: str, most: int) -> None:
    """Raise ``RateLimited`` for what was decided so often: each decision is stored, and read with the callback."""
    if sum(decision.rule == rule for decision in callback.decisions) >= most:
        raise RateLimited("moves")


def _is_for_all(callback: Callback, user_id: int | None) -> bool:
    """Tell whether a change is about all who asked for the number: the team decides about a customer's request.

    A link and a key speak for one of them, and so does whoever changes the call of an employee.
    """
    return user_id is not None and callback.source in (Source.WEBSITE, Source.API)


def resolve(portal_id: int, callback_id: UUID, user_id: int | None, outcome: str) -> Callback:
    """Record a person's answer about the outcome (one of ``OUTCOMES``) of an ``unknown`` callback; commits.

    A colleague's that is dialled again is taken over. Raises ``NotFound``, ``TooLate`` in any other state,
    ``OwnAccessNeeded``, ``RateLimited`` for one that was dialled again too often, and ``NumberInHand`` when the
    callback should be dialled again but another one holds its number.
    """
    try:
        with _changing(portal_id, callback_id) as change:
            callback = change.callback
            if callback.state != State.UNKNOWN:
                raise TooLate
            if outcome == "dial_again":
                _require_few(callback, "resolved", MAX_REDIALS)
                change.take_over(user_id)
            callback.decide("resolved", change.now, user=user_id, outcome=outcome)
            by = Recorded(portal_id, user_id, JournalPage.CALLBACKS, str(callback.id))
            record(change.session, by, {"outcome": "unknown"}, {"outcome": outcome})
            if outcome == "reached":
                callback.complete(change.now, "resolved_reached")
            elif outcome == "not_reached":
                callback.miss(change.now, "resolved_not_reached")
                pass_on_unrung(change.session, callback, change.now)
            else:
                callback.dial_again(change.now, change.now + change.expiry)
                keep_waiting(change.session, callback, change.now)
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
        number = get_callback(portal_id, callback_id).to_number
        with reading() as session:
            holder = holder_of(session, portal_id, number, callback_id)
        raise (NumberInHand(holder.id) if holder else TooLate()) from None
    wakeup.wake(row_id=callback_id)
    return callback


def retry(principal: Principal, old: Callback) -> Callback:
    """Request the same again as a new callback; commits. Raises as ``request_callback``.

    Raises ``TooLate`` unless the old one was missed, failed or expired.
    """
    if old.state not in RETRIABLE:
        raise TooLate
    requested = CallbackRequest(
        to_number=old.to_number,
        line_id=old.line_id,
        voice_id=old.voice_id,
        text=old.text,
        crm_entity_type=old.crm_entity_type,
        crm_entity_id=old.crm_entity_id,
        customer_name=old.customer_name or "",
    )
    callback = prepare_callback(principal, requested)
    # It was made for this customer already: nothing in it is filled in once more.
    callback.text = old.text
    callback.retry_of = old.id
    callback.decide("retried", callback.created_at, user=principal.user_id, retry_of=str(old.id))
    return accept_callback(principal, callback).callback

"""The conditions under which a callback is accepted: one table for the guarded write and for its explanation.

A request learns the first condition of the table that does not hold. Tokens and calls of the day's budget are taken
only when every condition holds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, ScalarSelect, String, and_, bindparam, exists, not_, select
from sqlalchemy.orm import Session

from bx24app.database import is_postgresql
from bx24app.errors import IdempotencyKeyReused
from bx24app.models import (
    Callback,
    DecoyRequest,
    DoNotCall,
    Form,
    Portal,
    PortalSettings,
    Rejection,
    WebsiteRequest,
)
from bx24app.services.callbacks.guarded.budget import Budget, Facts, calls_staying
from bx24app.services.callbacks.idempotency import is_same_request
from bx24app.services.callbacks.number_holder import holder_of, holds
from bx24app.services.callbacks.queries import with_history
from bx24app.services.calling import do_not_call
from bx24app.services.runtime import rate_limit
from bx24app.services.runtime.rate_limit import RateLimit

# The parameters of ``Candidate.form_revisions``.
REVISION_PARAMETERS = ("form_revision", "portal_revision", "settings_revision")

RETRIED_STORED = "retried_stored"
FORM_UNCHANGED = "form_unchanged"
KEY_UNUSED = "key_unused"
NOT_LISTED = "do_not_call"
TOKENS_LEFT = "tokens_left"
BUDGET_CALLS = "budget_calls"
BUDGET_MONEY = "budget_money"
NUMBER_DAY = "number_day"
NUMBER_NOT_IN_HAND = "number_not_in_hand"


@dataclass(frozen=True)
class Candidate:
    """A callback that may be accepted, with all that is stored, taken and checked together with it."""

    callback: Callback
    at: datetime
    # What a website sent with its request, and the public key of the form.
    website_request: WebsiteRequest | None = None
    form_key: str = ""
    # The revisions of form, portal and settings, where these came from memory; None: they were read for this request.
    form_revisions: tuple[int, int, int] | None = None
    # The digest of the number on the do-not-call list; "": the list is checked only before the dial.
    number_digest: str = field(default="", repr=False)
    rate_limits: tuple[RateLimit, ...] = ()
    budget: Budget | None = None
    # What is stored instead where a hidden condition does not hold: a decoy with the callback's id, and the rejection
    # that the portal reads when the number is listed, or asked for too often. None: nothing is stored then.
    decoy: DecoyRequest | None = None
    rejection: Rejection | None = None

    @property
    def hidden_limits(self) -> tuple[RateLimit, ...]:
        """The rate limits of which its sender must not learn that they are empty: those of a visitor's number."""
        return tuple(limit for limit in self.rate_limits if limit.is_hidden) if self.decoy is not None else ()

    @property
    def first_limits(self) -> tuple[RateLimit, ...]:
        """Those of the hidden ones that must give a token before the others do: of requests without a proof of work."""
        return tuple(limit for limit in self.hidden_limits if limit.for_no_script)

    @property
    def open_limits(self) -> tuple[RateLimit, ...]:
        """The rate limits that its sender is told of."""
        return tuple(limit for limit in self.rate_limits if limit not in self.hidden_limits)

    @property
    def has_money(self) -> bool:
        """Tell whether there is a budget of money, which must be looked up before the guarded write."""
        return self.budget is not None and self.budget.look_up is not None

    @property
    def needs_free_number(self) -> bool:
        """Tell whether its number must be free.

        A call at a time that somebody has chosen is made besides whatever goes on with the number now.
        """
        is_asked_now = self.website_request is not None and self.callback.scheduled_at is None
        return is_asked_now or self.callback.holds_number


@dataclass(frozen=True)
class Obstacle:
    """A condition that does not hold, with the ``facts`` that it checked.

    ``earlier`` is what the same request led to before; ``holder`` is the callback that holds the number.
    """

    condition: str
    facts: Facts = field(default_factory=dict)
    rate_limit: RateLimit | None = None
    earlier: Callback | DecoyRequest | None = None
    holder: Callback | None = None


@dataclass(frozen=True)
class Condition:
    """One row of the table: when it applies, how the guarded write checks it, and how it is explained afterwards.

    ``clause`` is SQL that the guarded write adds to its WHERE; None where the write itself checks the condition by
    taking a token or counting a call. ``find`` returns the obstacle, or None, and changes nothing. Whoever asks with a
    decoy must not learn whether a ``hidden`` condition holds; these are the last ones, so that everything else is told
    of any number alike.
    """

    name: str
    applies: Callable[[Candidate], bool]
    find: Callable[[Session, Candidate], Obstacle | None]
    clause: Callable[[], ColumnElement[bool]] | None = None
    hidden: bool = False


def _portal_has(model: type[Callback | DoNotCall], *wanted: ColumnElement[bool]) -> ColumnElement[bool]:
    """Make the condition that the candidate's portal has a row like this.

    PostgreSQL keeps the plan of the guarded write, perhaps one made while the table was empty. All indexes that begin
    with the portal then looked alike, and it may have taken one that leads through every callback of the portal. So
    the portal is compared afterwards: only the unique index, which begins with what is wanted, fits.
    """
    portal_id = bindparam("c_portal_id", type_=model.portal_id.type)
    if is_postgresql():
        return portal_id.in_(select(model.portal_id).where(*wanted))
    return exists().where(model.portal_id == portal_id, *wanted)


def _form_revisions(form_id: Any, portal_id: Any) -> tuple[ScalarSelect[int], ...]:
    return (
        select(Form.revision).where(Form.id == form_id).scalar_subquery(),
        select(Portal.revision).where(Portal.id == portal_id).scalar_subquery(),
        select(PortalSettings.revision).where(PortalSettings.portal_id == portal_id).scalar_subquery(),
    )


def _form_clause() -> ColumnElement[bool]:
    """Make the condition that form, portal and settings are what the rules were checked with."""
    ids = (bindparam("c_form_id", type_=Integer), bindparam("c_portal_id", type_=Integer))
    known = (bindparam(name, type_=BigInteger) for name in REVISION_PARAMETERS)
    return and_(*(read == revision for read, revision in zip(_form_revisions(*ids), known, strict=True)))


def _key_clause() -> ColumnElement[bool]:
    key = bindparam("c_idempotency_key", type_=String)
    of_decoy = exists().where(DecoyRequest.idempotency_key == key)
    return not_(_portal_has(Callback, Callback.idempotency_key == key)) & not_(of_decoy)


def _listed_clause() -> ColumnElement[bool]:
    """Make the condition that the candidate's number is on the do-not-call list."""
    return _portal_has(DoNotCall, DoNotCall.number_digest == bindparam("number_digest", type_=String))


def _in_hand_clause() -> ColumnElement[bool]:
    """Make the condition that another callback holds the candidate's number."""
    return _portal_has(Callback, holds(bindparam("c_to_number", type_=String)))


def _retried_clause() -> ColumnElement[bool]:
    """Make the condition that the callback which is tried again is still there: what was erased does not come back."""
    return exists().where(Callback.id == bindparam("c_retry_of", type_=Callback.id.type))


def _find_retried(session: Session, candidate: Candidate) -> Obstacle | None:
    is_there = session.scalar(select(Callback.id).where(Callback.id == candidate.callback.retry_of)) is not None
    return None if is_there else Obstacle(RETRIED_STORED)


def _find_change(session: Session, candidate: Candidate) -> Obstacle | None:
    callback = candidate.callback
    known = session.execute(select(*_form_revisions(callback.form_id, callback.portal_id))).one()
    return None if tuple(known) == candidate.form_revisions else Obstacle(FORM_UNCHANGED)


def _find_key(session: Session, candidate: Candidate) -> Obstacle | None:
    callback = candidate.callback
    key, digest = callback.idempotency_key, callback.request_digest
    assert key is not None
    # A visitor, who has a decoy, is shown nothing of the history.
    earlier = find_earlier(session, callback.portal_id, [key], digest, has_history=candidate.decoy is None)
    return Obstacle(KEY_UNUSED, earlier=earlier) if earlier is not None else None


def _find_listed(session: Session, candidate: Candidate) -> Obstacle | None:
    listed = do_not_call.is_listed(session, candidate.callback.portal_id, candidate.number_digest)
    return Obstacle(NOT_LISTED) if listed else None


def _find_limit(session: Session, candidate: Candidate) -> Obstacle | None:
    return _empty_limit(session, candidate, TOKENS_LEFT, candidate.open_limits)


def _find_number_limit(session: Session, candidate: Candidate) -> Obstacle | None:
    return _empty_limit(session, candidate, NUMBER_DAY, candidate.hidden_limits)


def _empty_limit(
    session: Session, candidate: Candidate, condition: str, limits: tuple[RateLimit, ...]
) -> Obstacle | None:
    now = candidate.at.timestamp()
    for limit in limits:
        left = rate_limit.tokens_left(session, limit, now)
        if left < 1:
            return Obstacle(condition, {"limit": limit.size, "left": round(left, 2)}, rate_limit=limit)
    return None


def _find_calls(session: Session, candidate: Candidate) -> Obstacle | None:
    budget = candidate.budget
    assert budget is not None
    if budget.calls is None or calls_staying(session, budget.form_id, budget.day) < budget.calls:
        return None
    return Obstacle(BUDGET_CALLS, {"budget": budget.calls, "day": budget.day.isoformat()})


def _find_money(session: Session, candidate: Candidate) -> Obstacle | None:
    assert candidate.budget is not None
    money = candidate.budget.money(session)
    return Obstacle(BUDGET_MONEY, money.overspent) if money is not None and money.overspent is not None else None


def _find_holder(session: Session, candidate: Candidate) -> Obstacle | None:
    holder = holder_of(session, candidate.callback.portal_id, candidate.callback.to_number)
    return Obstacle(NUMBER_NOT_IN_HAND, holder=holder) if holder is not None else None


CONDITIONS: tuple[Condition, ...] = (
    Condition(RETRIED_STORED, lambda c: c.callback.retry_of is not None, _find_retried, _retried_clause),
    Condition(FORM_UNCHANGED, lambda c: c.form_revisions is not None, _find_change, _form_clause),
    Condition(KEY_UNUSED, lambda c: c.callback.idempotency_key is not None, _find_key, _key_clause),
    Condition(TOKENS_LEFT, lambda c: bool(c.rate_limits), _find_limit),
    Condition(BUDGET_CALLS, lambda c: c.budget is not None, _find_calls),
    Condition(BUDGET_MONEY, lambda c: c.budget is not None, _find_money),
    Condition(NOT_LISTED, lambda c: bool(c.number_digest), _find_listed, lambda: not_(_listed_clause()), hidden=True),
    Condition(NUMBER_DAY, lambda c: bool(c.hidden_limits), _find_number_limit, hidden=True),
    Condition(
        NUMBER_NOT_IN_HAND,
        lambda c: c.needs_free_number,
        _find_holder,
        lambda: not_(_in_hand_clause()),
        hidden=True,
    ),
)


def obstacles(session: Session, candidate: Candidate, *, with_hidden: bool = True) -> Iterator[Obstacle]:
    """Find the obstacles of a candidate in the order of the table, inside the caller's transaction; takes nothing.

    Raises ``IdempotencyKeyReused``.
    """
    for condition in CONDITIONS:
        if condition.hidden and not with_hidden:
            continue
        if condition.applies(candidate) and (obstacle := condition.find(session, candidate)) is not None:
            yield obstacle


def find_earlier(
    session: Session, portal_id: int, keys: Sequence[str], digest: str | None, *, has_history: bool = True
) -> Callback | DecoyRequest | None:
    """Find what the same request led to before: its callback, with attempts and decisions, its decoy, or None.

    ``keys``: all that it may be stored under. Raises ``IdempotencyKeyReused`` when another request used one of them.
    """
    mine = (Callback.portal_id == portal_id, Callback.idempotency_key.in_(keys))
    query = (with_history() if has_history else select(Callback)).where(*mine)
    # The decoy first: it is shown instead of a callback that was left to others.
    decoy = select(DecoyRequest).where(DecoyRequest.idempotency_key.in_(keys))
    earlier = session.scalar(decoy) or session.scalar(query)
    if earlier is not None and not is_same_request(earlier.request_digest, digest):
        raise IdempotencyKeyReused
    return earlier

"""The customer's status page: see, cancel or reschedule a request; callbacks and decoys look and act alike."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy.orm import Session

from bx24app.database import purge, reading, writing
from bx24app.errors import DatabaseBusy, NotFound, RateLimited, TooLate
from bx24app.models import WAITING, Callback, DecoyRequest, Form, Portal, PortalState, utcnow
from bx24app.services.callbacks import change, decoys
from bx24app.services.callbacks.number_holder import make_own
from bx24app.services.callbacks.retry_policy import retry_policy_of_form
from bx24app.services.runtime import rate_limit, wakeup
from bx24app.services.runtime.local_limit import LocalLimit, give_back, take_local
from bx24app.services.runtime.rate_limit import DAY, HOUR, RateLimit
from bx24app.services.security import digests, signing
from bx24app.services.websites import quotas, rules
from bx24app.services.websites.changing import budget_moves
from bx24app.services.websites.changing.budget_moves import BudgetMove
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.submission import Submission
from bx24app.services.websites.submit import shown_to_visitor
from bx24app.settings import settings

CHANGES_AN_HOUR, CHANGES_EVER = 6, 24
# People mistype a time now and then. To refuse one costs as much as the page, and nothing of it is worth a row.
REFUSED_CHANGES = LocalLimit("refused_changes", 20, HOUR)


@dataclass(frozen=True)
class Link:
    """The request behind a customer's link, and its form, as they were when it was read."""

    request: Callback | DecoyRequest
    opened: OpenForm


@dataclass(frozen=True)
class RequestStatus:
    """What the customer sees; ``expected_at`` None: the call is not expected any more."""

    opened: OpenForm
    state: str
    expected_at: datetime | None
    scheduled_at: datetime | None
    slots: tuple[datetime, ...]

    @property
    def is_waiting(self) -> bool:
        """Tell whether the request may still be cancelled or rescheduled."""
        return self.state in WAITING


def read_link(signed: str) -> Link:
    """Return what a link leads to; raises ``NotFound``."""
    id = signing.read_link(signed)
    with reading() as session:
        request = _find(session, id)
        return Link(request, _opened(session, request))


def get_status(link: Link) -> RequestStatus:
    """Return the status of the request behind a link."""
    return _status(link.opened, link.request)


def cancel_request(link: Link) -> RequestStatus:
    """Cancel the request behind a link; commits.

    Raises ``NotFound``, ``RateLimited``, ``TooLate`` once it is being dialled.
    """
    request, opened = link.request, link.opened
    _count_change(request.id, "cancel")
    if isinstance(request, Callback):
        withdrawn = change.cancel(request.portal_id, request.id, None, change.CUSTOMER)
        quotas.give_back_number(opened, withdrawn)
        return _status(opened, withdrawn)
    with writing() as session:
        decoy = _waiting(session, opened, request.id)
        decoy.cancel(utcnow())
    return _status(opened, decoy)


def reschedule_request(link: Link, scheduled_at: datetime | None, unreadable: str = "") -> RequestStatus:
    """Move the request behind a link to another time; commits.

    ``unreadable`` is what was sent instead of a time. Raises ``NotFound``, ``TooLate``, a ``RuleRefused`` about the
    time or about the budget of its day, and ``RateLimited`` after a few moves, or some that were refused, in an hour.
    """
    request, opened = link.request, link.opened
    count_refused(link)
    if not _is_waiting(opened, request):
        raise TooLate
    unreadable = unreadable or ("" if scheduled_at else "none")
    submission = _submission_of(opened, scheduled_at, unreadable)
    rules.check_time_rules(submission)
    _count_change(request.id, "reschedule")
    move = _move_callback if isinstance(request, Callback) else _move_decoy
    moved = budget_moves.move(request, submission, partial(move, submission, request.id))
    give_back(REFUSED_CHANGES, request.id)
    return _status(opened, moved)


def count_refused(link: Link) -> None:
    """Count a change of a link's time that is refused, in memory; raises ``RateLimited``."""
    if not take_local(REFUSED_CHANGES, link.request.id):
        refusal = RateLimited("link_refused")
        refusal.retry_after = int(REFUSED_CHANGES.seconds / REFUSED_CHANGES.size)
        raise refusal


def _move_callback(submission: Submission, id: UUID, step: BudgetMove | None) -> Callback:
    return change.reschedule(submission.portal.id, id, None, submission.due_at, change.CUSTOMER, step)


def _move_decoy(submission: Submission, id: UUID, step: BudgetMove | None) -> Callback | DecoyRequest:
    policy = retry_policy_of_form(submission.portal, submission.form)
    with reading() as session:
        shown_before = session.get(DecoyRequest, id)
    tried = decoys.dials_shown(shown_before, policy, submission.now) if shown_before is not None else 0
    with writing() as session:
        if step is not None:
            step.count(session)
        decoy = _waiting(session, OpenForm(submission.form, submission.portal), id)
        if step is not None:
            step.confirm(decoy)
        decoy.reschedule(submission.due_at, submission.due_at + policy.expiry, tried)
        shown = _called_at_its_time(session, decoy, submission.now)
    # As for a callback, or the time would tell them apart.
    wakeup.wake(row_id=shown.id)
    return shown


def _called_at_its_time(session: Session, decoy: DecoyRequest, now: datetime) -> Callback | DecoyRequest:
    """Make a callback of a request that was moved: what rings for it now does not ring then."""
    holder = session.get(Callback, decoy.holder_id) if decoy.holder_id is not None else None
    if holder is None or decoy.due_at <= now:
        return decoy
    callback = make_own(session, decoy, holder, now)
    callback.decide("rescheduled", now, user=None, by=change.CUSTOMER, scheduled_at=callback.due_at.isoformat())
    return callback


def _count_change(id: UUID, what: str) -> None:
    """Count a change against the limits of its link, those of callbacks and decoys alike; commits.

    Raises ``RateLimited``.
    """
    limits = (
        RateLimit("link_hour", digests.digest("rate", f"link {what} {id}"), CHANGES_AN_HOUR, HOUR),
        # Each change stores a decision, which is kept with the callback.
        RateLimit("link_ever", digests.digest("rate", f"link ever {what} {id}"), CHANGES_EVER, _ever()),
    )
    now = utcnow().timestamp()
    with reading() as session:
        rate_limit.refuse_if_empty(rate_limit.first_empty(session, limits, now), int(HOUR))
    with writing() as session:
        rate_limit.refuse_if_empty(rate_limit.take_tokens(session, limits, now), int(HOUR))


def _ever() -> float:
    """Seconds after which a callback is deleted, so that its limit need not be known any longer."""
    return settings.retention_days * DAY


def _find(session: Session, id: UUID) -> Callback | DecoyRequest:
    # Both are read of every link, so that the time tells nothing.
    callback, decoy = session.get(Callback, id), session.get(DecoyRequest, id)
    request = callback or decoy
    if request is None or request.form_id is None:
        raise NotFound
    return request


def _opened(session: Session, request: Callback | DecoyRequest) -> OpenForm:
    """Return the form, also a removed one, because requests that it accepted are still called."""
    form = session.get_one(Form, request.form_id)
    portal = session.get_one(Portal, form.portal_id)
    if portal.state == PortalState.UNINSTALLED:
        raise NotFound
    return OpenForm(form, portal)


def _waiting(session: Session, opened: OpenForm, id: UUID) -> DecoyRequest:
    """Lock a decoy that may be changed; a digest was made before, by ``_count_change``."""
    decoy = session.get(DecoyRequest, id, with_for_update=True)
    if decoy is None:
        raise DatabaseBusy  # It has become a callback in this moment.
    if not _is_waiting(opened, decoy):
        raise TooLate
    return decoy


def _is_waiting(opened: OpenForm, request: Callback | DecoyRequest) -> bool:
    return shown_to_visitor(opened, request, utcnow()).state in WAITING


def _submission_of(opened: OpenForm, scheduled_at: datetime | None = None, unreadable: str = "") -> Submission:
    return Submission(
        form=opened.form,
        portal=opened.portal,
        now=utcnow(),
        scheduled_at=scheduled_at,
        unreadable_time=unreadable,
    )


def zone_of(status: RequestStatus) -> str:
    """Return the time zone in which the customer sees times."""
    return _submission_of(status.opened).hours.zone


def _status(opened: OpenForm, request: Callback | DecoyRequest) -> RequestStatus:
    submission = _submission_of(opened)
    shown = shown_to_visitor(opened, request, submission.now)
    is_waiting = shown.state in WAITING
    return RequestStatus(
        opened=opened,
        state=shown.state,
        expected_at=shown.due_at if is_waiting else None,
        scheduled_at=request.scheduled_at,
        slots=tuple(rules.free_slots(submission)) if is_waiting else (),
    )


def purge_decoys() -> int:
    """Delete decoys that are older than the retention of callbacks; returns how many."""
    limit = utcnow() - timedelta(days=settings.retention_days)
    return purge(DecoyRequest, (DecoyRequest.created_at < limit) & (DecoyRequest.due_at < limit))

"""The customer's page: where a request stands, cancelling it, another time; for callbacks and ghosts alike."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from bx24app.database import purge, reading, writing
from bx24app.errors import NotFound, TooLate
from bx24app.models import WAITING, Callback, DecoyRequest, Form, Portal, utcnow
from bx24app.services.callbacks import change
from bx24app.services.callbacks.retry_policy import expiry_of
from bx24app.services.security import signing
from bx24app.services.websites import rules
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.submission import Submission
from bx24app.services.websites.submit import decoy_state
from bx24app.settings import settings

CUSTOMER = "customer"


@dataclass(frozen=True)
class RequestStatus:
    """What the customer sees; ``expected_at`` None: it is not awaited any more."""

    opened: OpenForm
    state: str
    expected_at: datetime | None
    scheduled_at: datetime | None
    slots: tuple[datetime, ...]

    @property
    def is_waiting(self) -> bool:
        """Tell whether it may still be cancelled or moved."""
        return self.state in WAITING


def get_status(signed: str) -> RequestStatus:
    """Where the request behind a link stands; raises ``NotFound``."""
    id = signing.read_link(signed)
    with reading() as session:
        found = _find(session, id)
        opened = _opened(session, found)
    return _status(opened, found)


def cancel_request(signed: str) -> RequestStatus:
    """Withdraw the request behind a link; raises ``NotFound``, ``TooLate`` once it is being dialled."""
    found, opened = _found(signed)
    if isinstance(found, Callback):
        return _status(opened, change.cancel(found.portal_id, found.id, None, by=CUSTOMER))
    with writing() as session:
        ghost = _waiting(session, found.id)
        ghost.cancel(utcnow())
    return _status(opened, ghost)


def reschedule_request(signed: str, scheduled_at: datetime | None, unreadable: str = "") -> RequestStatus:
    """Move the request behind a link; raises ``NotFound``, ``TooLate``, or a ``RuleRefused`` about the time."""
    found, opened = _found(signed)
    if not _status(opened, found).is_waiting:
        raise TooLate
    unreadable = unreadable or ("" if scheduled_at else "none")
    case = _case(opened, scheduled_at, unreadable)
    rules.check_time_rules(case)
    if isinstance(found, Callback):
        changed = change.reschedule(found.portal_id, found.id, None, case.due_at, by=CUSTOMER)
        return _status(opened, changed)
    with writing() as session:
        ghost = _waiting(session, found.id)
        ghost.reschedule(case.due_at, case.due_at + expiry_of(case.source, opened.form))
    return _status(opened, ghost)


def _found(signed: str) -> tuple[Callback | DecoyRequest, OpenForm]:
    id = signing.read_link(signed)
    with reading() as session:
        found = _find(session, id)
        return found, _opened(session, found)


def _find(session: Session, id: UUID) -> Callback | DecoyRequest:
    found = session.get(Callback, id) or session.get(DecoyRequest, id)
    if found is None or found.form_id is None:
        raise NotFound
    return found


def _opened(session: Session, found: Callback | DecoyRequest) -> OpenForm:
    """The form, also a removed one: what it took is still to be called."""
    form = session.get_one(Form, found.form_id)
    return OpenForm(form, session.get_one(Portal, form.portal_id))


def _waiting(session: Session, id: UUID) -> DecoyRequest:
    ghost = session.get(DecoyRequest, id, with_for_update=True)
    if ghost is None:
        raise NotFound
    if decoy_state(ghost, utcnow()) not in WAITING:
        raise TooLate
    return ghost


def _case(opened: OpenForm, scheduled_at: datetime | None = None, unreadable: str = "") -> Submission:
    return Submission(
        form=opened.form,
        portal=opened.portal,
        now=utcnow(),
        scheduled_at=scheduled_at,
        unreadable_time=unreadable,
    )


def zone_of(status: RequestStatus) -> str:
    """The zone in which the customer reads times."""
    return _case(status.opened).hours.zone


def _status(opened: OpenForm, found: Callback | DecoyRequest) -> RequestStatus:
    case = _case(opened)
    state = found.state if isinstance(found, Callback) else str(decoy_state(found, case.now))
    is_waiting = state in WAITING
    return RequestStatus(
        opened=opened,
        state=state,
        expected_at=found.due_at if is_waiting else None,
        scheduled_at=found.scheduled_at,
        slots=tuple(rules.free_slots(case)) if is_waiting else (),
    )


def purge_decoys() -> int:
    """Delete decoys as old as callbacks may become; returns how many."""
    return purge(DecoyRequest, DecoyRequest.created_at < utcnow() - timedelta(days=settings.retention_days))

"""The customer's page: where a request stands, cancelling it, another time; for callbacks and ghosts alike."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.orm import Session

from bx24app.errors import NotFound, TooLate
from bx24app.extensions import reading, writing
from bx24app.models import WAITING, Callback, Form, Ghost, Portal, utcnow
from bx24app.services import callbacks, defence, links
from bx24app.services.cases import Case
from bx24app.services.forms import Open
from bx24app.services.intake import state_of
from bx24app.settings import settings

CUSTOMER = "customer"


@dataclass(frozen=True)
class Status:
    """What the customer sees; ``expected_at`` None: it is not awaited any more."""

    opened: Open
    state: str
    expected_at: datetime | None
    scheduled_at: datetime | None
    slots: tuple[datetime, ...]

    @property
    def is_waiting(self) -> bool:
        """Tell whether it may still be cancelled or moved."""
        return self.state in WAITING


def look(signed: str) -> Status:
    """Where the request behind a link stands; raises ``NotFound``."""
    id = links.read(signed)
    with reading() as session:
        found = _find(session, id)
        opened = _opened(session, found)
    return _status(opened, found)


def cancel(signed: str) -> Status:
    """Withdraw the request behind a link; raises ``NotFound``, ``TooLate`` once it is being dialled."""
    found, opened = _found(signed)
    if isinstance(found, Callback):
        return _status(opened, callbacks.cancel(found.portal_id, found.id, None, by=CUSTOMER))
    with writing() as session:
        ghost = _waiting(session, found.id)
        ghost.cancel(utcnow())
    return _status(opened, ghost)


def reschedule(signed: str, scheduled_at: datetime | None, unreadable: str = "") -> Status:
    """Move the request behind a link; raises ``NotFound``, ``TooLate``, or a ``RuleRefused`` about the time."""
    found, opened = _found(signed)
    if not _status(opened, found).is_waiting:
        raise TooLate
    unreadable = unreadable or ("" if scheduled_at else "none")
    case = _case(opened, scheduled_at, unreadable)
    defence.judge_time(case)
    if isinstance(found, Callback):
        changed = callbacks.reschedule(found.portal_id, found.id, None, case.due_at, by=CUSTOMER)
        return _status(opened, changed)
    with writing() as session:
        ghost = _waiting(session, found.id)
        ghost.reschedule(case.due_at, case.due_at + timedelta(minutes=opened.form.expiry_minutes))
    return _status(opened, ghost)


def _found(signed: str) -> tuple[Callback | Ghost, Open]:
    id = links.read(signed)
    with reading() as session:
        found = _find(session, id)
        return found, _opened(session, found)


def _find(session: Session, id: UUID) -> Callback | Ghost:
    found = session.get(Callback, id) or session.get(Ghost, id)
    if found is None or found.form_id is None:
        raise NotFound
    return found


def _opened(session: Session, found: Callback | Ghost) -> Open:
    """The form, also a removed one: what it took is still to be called."""
    form = session.get_one(Form, found.form_id)
    return Open(form, session.get_one(Portal, form.portal_id))


def _waiting(session: Session, id: UUID) -> Ghost:
    ghost = session.get(Ghost, id, with_for_update=True)
    if ghost is None:
        raise NotFound
    if state_of(ghost, utcnow()) not in WAITING:
        raise TooLate
    return ghost


def _case(opened: Open, scheduled_at: datetime | None = None, unreadable: str = "") -> Case:
    return Case(
        form=opened.form,
        portal=opened.portal,
        now=utcnow(),
        scheduled_at=scheduled_at,
        unreadable_time=unreadable,
    )


def zone_of(status: Status) -> str:
    """The zone in which the customer reads times."""
    return _case(status.opened).hours.zone


def _status(opened: Open, found: Callback | Ghost) -> Status:
    case = _case(opened)
    state = found.state if isinstance(found, Callback) else str(state_of(found, case.now))
    is_waiting = state in WAITING
    return Status(
        opened=opened,
        state=state,
        expected_at=found.due_at if is_waiting else None,
        scheduled_at=found.scheduled_at,
        slots=tuple(defence.slots(case)) if is_waiting else (),
    )


def forget_ghosts() -> int:
    """Delete ghosts as old as callbacks may become; returns how many."""
    with writing() as session:
        limit = utcnow() - timedelta(days=settings.retention_days)
        return len(session.execute(delete(Ghost).where(Ghost.created_at < limit).returning(Ghost.id)).all())

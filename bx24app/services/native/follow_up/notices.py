"""Notifications that wait: written once for each thing and person, at a time at which they may be sent."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from bx24app.database import insert_into, reading, writing
from bx24app.models import Callback, Notification, NotifiedPerson, Portal, utcnow
from bx24app.services.calling.business_hours import hours_in_force
from bx24app.services.native.follow_up.choices import URGENT, NoticeEvent

# What is taken back, and not said.
WITHDRAWN = "withdrawn"
# So many things wait for somebody: a night's are told together, and a list is where so many are worked through.
MOST_TO_TELL = 200


@dataclass(frozen=True)
class Notice:
    """Something to tell; ``tag`` names the thing, ``facts`` are what a callback does not tell."""

    event: NoticeEvent
    tag: str
    callback_id: UUID | None = None
    facts: dict[str, str] = field(default_factory=dict, repr=False)


def callback_tag(callback_id: UUID) -> str:
    """The tag of everything that is told of a callback."""
    return f"callback-{callback_id.hex}"


def tell(session: Session, portal: Portal, user_ids: Iterable[int], notice: Notice) -> None:
    """Let people be told, inside the caller's transaction; what they were told of the same thing is replaced.

    Whoever has enough waiting for them is told nothing more than that, but what is urgent.
    """
    now = utcnow()
    due_at = _quiet_until(portal, notice.event, now)
    said = {
        "event": notice.event,
        "facts": notice.facts,
        "made_at": now,
        "due_at": due_at,
        "is_held": False,
        "tries": 0,
        "reason": None,
    }
    wanted = set(user_ids)
    enough = set() if notice.event in URGENT else _told_enough(session, portal.id, wanted)
    # In the order of their numbers, in which everybody locks these rows.
    told = sorted(wanted - enough)
    if not told:
        return
    rows = [
        {"portal_id": portal.id, "user_id": id, "tag": notice.tag, "callback_id": notice.callback_id, **said}
        for id in told
    ]
    statement = insert_into(Notification, _dialect(session))
    replaced = {name: statement.excluded[name] for name in said}
    keys = ["portal_id", "user_id", "tag"]
    session.connection().execute(statement.on_conflict_do_update(index_elements=keys, set_=replaced), rows)
    _wake(session, portal.id, told, due_at)


def _told_enough(session: Session, portal_id: int, user_ids: Collection[int]) -> set[int]:
    theirs = (Notification.portal_id == portal_id, Notification.user_id.in_(user_ids))
    # What is only taken back tells nobody anything.
    waiting = select(Notification.user_id).where(
        *theirs, Notification.due_at.is_not(None), Notification.event != WITHDRAWN
    )
    full = waiting.group_by(Notification.user_id).having(func.count() >= MOST_TO_TELL)
    return set(session.scalars(full))


def _dialect(session: Session) -> str:
    return session.connection().dialect.name


def _wake(session: Session, portal_id: int, user_ids: Sequence[int], due_at: datetime) -> None:
    """Let people be looked at when this is due, or sooner."""
    if not user_ids:
        return
    statement = insert_into(NotifiedPerson, _dialect(session))
    is_later = or_(NotifiedPerson.due_at.is_(None), NotifiedPerson.due_at > statement.excluded.due_at)
    sooner = case((is_later, statement.excluded.due_at), else_=NotifiedPerson.due_at)
    rows = [{"portal_id": portal_id, "user_id": user_id, "due_at": due_at} for user_id in user_ids]
    changed = statement.on_conflict_do_update(index_elements=["portal_id", "user_id"], set_={"due_at": sooner})
    session.connection().execute(changed, rows)


def _quiet_until(portal: Portal, event: NoticeEvent, now: datetime) -> datetime:
    """Outside of the company's hours people are told at the next opening, unless it is urgent."""
    hours = hours_in_force(portal)
    if event in URGENT or hours is None:
        return now
    return hours.next_open(now) or now


def withdraw(session: Session, portal_id: int, callback_ids: Select[UUID]) -> None:
    """Take back what people were told of callbacks, inside the caller's transaction; what waits is not sent."""
    of_them = (
        Notification.portal_id == portal_id,
        Notification.callback_id.in_(callback_ids),
        Notification.event != WITHDRAWN,
    )
    # What was tried may have been shown: the answer was lost.
    waits = Notification.sent_at.is_(None), Notification.tries == 0
    session.execute(delete(Notification).where(*of_them, *waits))
    now = utcnow()
    _wake(session, portal_id, sorted(set(session.scalars(select(Notification.user_id).where(*of_them)))), now)
    # It is tried for a day from now, however long ago they were told.
    values = {"event": WITHDRAWN, "made_at": now, "due_at": now, "tries": 0, "is_held": False}
    session.execute(update(Notification).where(*of_them).values(values))


def detach(portal_id: int, condition: ColumnElement[bool]) -> None:
    """Take back what people were told of callbacks that are erased; call it before they are deleted. Commits."""
    callbacks = select(Callback.id).where(condition)
    with writing() as session:
        withdraw(session, portal_id, callbacks)
        told = Notification.portal_id == portal_id, Notification.callback_id.in_(callbacks)
        session.execute(update(Notification).where(*told).values(callback_id=None))


def is_muted(portal_id: int, user_id: int) -> bool:
    """Tell whether somebody wants to be told nothing."""
    whose = (NotifiedPerson.portal_id == portal_id, NotifiedPerson.user_id == user_id)
    with reading() as session:
        return session.scalar(select(NotifiedPerson.is_muted).where(*whose)) is True


def mute(portal_id: int, user_id: int, *, is_muted: bool) -> None:
    """Tell somebody nothing any more, or tell them again; commits."""
    with writing() as session:
        values = {"portal_id": portal_id, "user_id": user_id, "is_muted": is_muted}
        statement = insert_into(NotifiedPerson, _dialect(session)).values(values)
        changed = statement.on_conflict_do_update(index_elements=["portal_id", "user_id"], set_={"is_muted": is_muted})
        session.execute(changed)

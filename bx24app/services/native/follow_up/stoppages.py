"""What keeps a portal from calling, told when it begins: lines without money, forms without a budget, lost access.

A walk through all portals compares what holds now with what was told, so many portals at a time and no others. A
stoppage that is over is forgotten, so that the next is told again. What nobody was told is remembered all the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from bx24app.database import insert_new, reading, writing
from bx24app.models import (
    BudgetDay,
    Credential,
    CredentialState,
    Form,
    Notification,
    NotifiedPerson,
    Portal,
    PortalLine,
    PortalState,
    Rejection,
    ToldStoppage,
    User,
    utcnow,
)
from bx24app.services.callbacks.conditions import BUDGET_MONEY
from bx24app.services.callbacks.guarded.budget import CALLS_STAYING
from bx24app.services.calling.business_hours import hours_in_force
from bx24app.services.native.follow_up.choices import NoticeEvent
from bx24app.services.native.follow_up.notices import Notice, tell
from bx24app.services.native.follow_up.recipients import read_recipients
from bx24app.services.runtime.apart import apart, is_left_alone
from bx24app.services.websites.budgets import local_day

# Of a walk through all portals, in one step: whatever of these has changed is told in as many transactions as needed.
WALKED_AT_ONCE, CHANGES_AT_ONCE = 1000, 200
# In one transaction: each may be told to fifty people.
CHANGED_TOGETHER = 10
# Of money it is known that it is spent when somebody was sent away for it.
SPENT_LATELY = timedelta(days=1)
# Access that ended longer ago is no news.
ENDED_LATELY = timedelta(hours=24)


@dataclass(frozen=True)
class Stoppage:
    """Something that holds for a portal now."""

    portal_id: int
    event: NoticeEvent
    tag: str
    facts: dict[str, str] = field(default_factory=dict, repr=False)
    person: int | None = None


@dataclass(frozen=True)
class _PortalRange:
    """The portals with a greater id than ``after``, up to ``last``; None: all of them."""

    after: int
    last: int | None

    def holds(self, id: InstrumentedAttribute[int]) -> ColumnElement[bool]:
        return id > self.after if self.last is None else id.between(self.after + 1, self.last)


class StoppageWalk:
    """A worker's way through all portals in the order of their ids; where it ends it begins anew.

    Several workers may walk at the same time: what one of them has told, the others do not tell again.
    """

    def __init__(self, portals_at_once: int = WALKED_AT_ONCE, changes_at_once: int = CHANGES_AT_ONCE) -> None:
        self._portals_at_once, self._changes_at_once = portals_at_once, changes_at_once
        self._after = 0

    def go_on(self) -> int:
        """Tell what has begun at the next portals, and forget what is over there; returns how much that was. Commits.

        The database alone is asked. Where more has changed than is done at once the walk stays for the rest.
        """
        with reading() as session:
            portals = self._next_portals(session)
            holding = {(one.portal_id, one.tag): one for one in _read_holding(session, portals)}
            rows = select(ToldStoppage.portal_id, ToldStoppage.tag).where(portals.holds(ToldStoppage.portal_id))
            known = {(portal_id, tag) for portal_id, tag in session.execute(rows)}
        changed = [one for one in sorted(holding.keys() ^ known) if not is_left_alone("stoppage", one)]
        now = changed[: self._changes_at_once]
        for begin in range(0, len(now), CHANGED_TOGETHER):
            with writing() as session:
                for key in now[begin : begin + CHANGED_TOGETHER]:
                    with apart("stoppage", key), session.begin_nested():
                        _begin(session, holding[key]) if key in holding else _forget(session, *key)
        if len(now) == len(changed):
            self._after = portals.last or 0
        return len(now)

    def _next_portals(self, session: Session) -> _PortalRange:
        further = select(Portal.id).where(Portal.id > self._after).order_by(Portal.id)
        last = session.scalar(further.offset(self._portals_at_once - 1).limit(1))
        return _PortalRange(self._after, last)


def _begin(session: Session, stoppage: Stoppage) -> None:
    """Tell it, unless another worker has done so; who is told is decided now, and stays so while it lasts."""
    portal = session.get(Portal, stoppage.portal_id)
    told = ToldStoppage(portal_id=stoppage.portal_id, tag=stoppage.tag, told_at=utcnow())
    if portal is None or not insert_new(session, [told], ToldStoppage.id):
        return
    people = read_recipients(session, portal, stoppage.event, stoppage.person)
    tell(session, portal, people, Notice(stoppage.event, stoppage.tag, facts=stoppage.facts))


def _forget(session: Session, portal_id: int, tag: str) -> None:
    """It is over: it is told again when it begins again, and no more where it has not been told yet."""
    session.execute(delete(ToldStoppage).where(ToldStoppage.portal_id == portal_id, ToldStoppage.tag == tag))
    # By person, or all that the portal's people were told for a month is looked through.
    people = select(NotifiedPerson.user_id).where(NotifiedPerson.portal_id == portal_id)
    told = (Notification.portal_id == portal_id, Notification.user_id.in_(people), Notification.tag == tag)
    session.execute(delete(Notification).where(*told))


def _read_holding(session: Session, portals: _PortalRange) -> Iterator[Stoppage]:
    yield from _lines(session, portals)
    yield from _budgets(session, portals)
    yield from _access(session, portals)


def _lines(session: Session, portals: _PortalRange) -> Iterator[Stoppage]:
    stopped = select(PortalLine).join(Portal, Portal.id == PortalLine.portal_id)
    stopped = stopped.where(PortalLine.stopped_until.is_not(None), Portal.state == PortalState.INSTALLED)
    for line in session.scalars(stopped.where(portals.holds(PortalLine.portal_id))):
        facts = {"line": line.name or line.line_id}
        yield Stoppage(line.portal_id, NoticeEvent.LINE, f"line-{line.line_id}"[:64], facts)


def _budgets(session: Session, portals: _PortalRange) -> Iterator[Stoppage]:
    """Forms that have taken all the calls of today, or that send people away because its money is spent."""
    now = utcnow()
    forms = select(Form, Portal).join(Portal, Portal.id == Form.portal_id)
    forms = forms.where(Portal.state == PortalState.INSTALLED, Form.is_on, Form.removed_at.is_(None))
    forms = forms.where(portals.holds(Form.portal_id))
    counted = forms.join(BudgetDay, BudgetDay.form_id == Form.id).where(
        Form.budget_calls.is_not(None),
        Form.budget_calls <= CALLS_STAYING,
        # Those that are today somewhere: counts of later days are no news yet.
        BudgetDay.day.between((now - timedelta(days=1)).date(), (now + timedelta(days=1)).date()),
    )
    sent_away = select(func.max(Rejection.made_at)).where(
        Rejection.form_id == Form.id,
        Rejection.rule == BUDGET_MONEY,
        Rejection.made_at > now - SPENT_LATELY,
        # Others were for a later day.
        Rejection.inputs["day"].as_string().is_(None),
    )
    spent_at = sent_away.scalar_subquery()
    spent = forms.where(Form.budget_money.is_not(None), spent_at.is_not(None))
    for form, portal, day in session.execute(counted.add_columns(BudgetDay.day)):
        if day in _days(form, portal, now):
            yield _stopped(form, "calls", day)
    for form, portal, at in session.execute(spent.add_columns(spent_at)):
        if len(days := _days(form, portal, now, at)) == 1:
            yield _stopped(form, "money", *days)


def _days(form: Form, portal: Portal, *moments: datetime) -> set[date]:
    """On which days of a form some moments lie; empty where its hours cannot be read."""
    if is_left_alone("stoppage", key := f"form {form.id}"):
        return set()
    with apart("stoppage", key):
        hours = hours_in_force(portal, form)
        return {local_day(moment, hours.zone if hours else "UTC").day for moment in moments}
    return set()


def _stopped(form: Form, spent: str, day: date) -> Stoppage:
    facts = {"form": form.name, "key": form.key, "spent": spent}
    tag = f"budget-{form.id}-{day.isoformat()}"
    return Stoppage(form.portal_id, NoticeEvent.BUDGET, tag, facts, form.person)


def _access(session: Session, portals: _PortalRange) -> Iterator[Stoppage]:
    """Portals that nobody serves any more, and administrators whose access has ended while others stand by."""
    lost = select(Portal.id).where(Portal.state == PortalState.DISCONNECTED, portals.holds(Portal.id))
    for portal_id in session.scalars(lost):
        yield Stoppage(portal_id, NoticeEvent.ACCESS, "access")
    ended = (
        select(Credential.portal_id, Credential.user_id, User.name)
        .join(User, (User.portal_id == Credential.portal_id) & (User.user_id == Credential.user_id))
        .join(Portal, Portal.id == Credential.portal_id)
        .where(Credential.state == CredentialState.DEAD, Credential.used_at > utcnow() - ENDED_LATELY)
        .where(User.is_administrator, Portal.state == PortalState.INSTALLED, portals.holds(Credential.portal_id))
    )
    for portal_id, user_id, name in session.execute(ended):
        yield Stoppage(portal_id, NoticeEvent.ACCESS, f"access-{user_id}", {"name": name})

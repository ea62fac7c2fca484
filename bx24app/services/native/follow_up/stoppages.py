"""What keeps a portal from calling, told when it begins: lines without money, forms without a budget, lost access.

What holds now is compared with what was told; a stoppage that is over is forgotten, so that the next is told again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.models import (
    BudgetDay,
    Credential,
    CredentialState,
    Form,
    Notification,
    Portal,
    PortalLine,
    PortalState,
    Rejection,
    User,
    utcnow,
)
from bx24app.services.callbacks.conditions import BUDGET_MONEY
from bx24app.services.calling.business_hours import hours_in_force
from bx24app.services.native.follow_up.choices import NoticeEvent
from bx24app.services.native.follow_up.notices import Notice, tell
from bx24app.services.native.follow_up.recipients import read_recipients
from bx24app.services.websites.budgets import local_day

STOPPAGES_AT_ONCE = 500
STOPPAGES = (NoticeEvent.BUDGET, NoticeEvent.LINE, NoticeEvent.ACCESS)
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


def note_stoppages() -> int:
    """Tell what has begun, and forget what is over; returns how many have begun. The database alone. Commits."""
    with reading() as session:
        present = [*_lines(session), *_budgets(session), *_access(session)]
        told = select(Notification.portal_id, Notification.tag).where(Notification.event.in_(STOPPAGES)).distinct()
        known = {(portal_id, tag) for portal_id, tag in session.execute(told)}
    holding = {(one.portal_id, one.tag): one for one in present}
    begun = [one for key, one in holding.items() if key not in known]
    over = known - holding.keys()
    if begun or over:
        with writing() as session:
            for portal_id, tag in over:
                gone = (Notification.portal_id == portal_id, Notification.tag == tag)
                session.execute(delete(Notification).where(*gone))
            for one in begun:
                _tell(session, one)
    return len(begun)


def _tell(session: Session, stoppage: Stoppage) -> None:
    portal = session.get_one(Portal, stoppage.portal_id)
    people = read_recipients(session, portal, stoppage.event, stoppage.person)
    tell(session, portal, people, Notice(stoppage.event, stoppage.tag, facts=stoppage.facts))


def _lines(session: Session) -> Iterator[Stoppage]:
    stopped = select(PortalLine).join(Portal, Portal.id == PortalLine.portal_id)
    stopped = stopped.where(PortalLine.stopped_until.is_not(None), Portal.state == PortalState.INSTALLED)
    for line in session.scalars(stopped.limit(STOPPAGES_AT_ONCE)):
        facts = {"line": line.name or line.line_id}
        yield Stoppage(line.portal_id, NoticeEvent.LINE, f"line-{line.line_id}"[:64], facts)


def _budgets(session: Session) -> Iterator[Stoppage]:
    """Forms that have taken all the calls of their day, or that send people away because its money is spent."""
    now = utcnow()
    forms = select(Form, Portal).join(Portal, Portal.id == Form.portal_id)
    forms = forms.where(Portal.state == PortalState.INSTALLED, Form.is_on, Form.removed_at.is_(None))
    counted = forms.join(BudgetDay, BudgetDay.form_id == Form.id).where(
        Form.budget_calls.is_not(None),
        BudgetDay.calls >= Form.budget_calls,
        BudgetDay.day >= (now - timedelta(days=1)).date(),
    )
    spent = forms.join(Rejection, Rejection.form_id == Form.id).where(
        Form.budget_money.is_not(None), Rejection.rule == BUDGET_MONEY, Rejection.made_at > now - SPENT_LATELY
    )
    for form, portal, day in session.execute(counted.add_columns(BudgetDay.day).limit(STOPPAGES_AT_ONCE)):
        if day == (today := local_day(now, _zone(form, portal)).day):
            yield _stopped(form, "calls", today)
    for form, portal, at in session.execute(spent.add_columns(Rejection.made_at).limit(STOPPAGES_AT_ONCE)):
        zone = _zone(form, portal)
        if local_day(at, zone).day == (today := local_day(now, zone).day):
            yield _stopped(form, "money", today)


def _zone(form: Form, portal: Portal) -> str:
    hours = hours_in_force(portal, form)
    return hours.zone if hours else "UTC"


def _stopped(form: Form, spent: str, day: date) -> Stoppage:
    facts = {"form": form.name, "key": form.key, "spent": spent}
    tag = f"budget-{form.id}-{day.isoformat()}"
    return Stoppage(form.portal_id, NoticeEvent.BUDGET, tag, facts, form.person)


def _access(session: Session) -> Iterator[Stoppage]:
    """Portals that nobody serves any more, and administrators whose access has ended while others stand by."""
    lost = select(Portal.id).where(Portal.state == PortalState.DISCONNECTED)
    for portal_id in session.scalars(lost.limit(STOPPAGES_AT_ONCE)):
        yield Stoppage(portal_id, NoticeEvent.ACCESS, "access")
    ended = (
        select(Credential.portal_id, Credential.user_id, User.name)
        .join(User, (User.portal_id == Credential.portal_id) & (User.user_id == Credential.user_id))
        .join(Portal, Portal.id == Credential.portal_id)
        .where(Credential.state == CredentialState.DEAD, Credential.used_at > utcnow() - ENDED_LATELY)
        .where(User.is_administrator, Portal.state == PortalState.INSTALLED)
    )
    for portal_id, user_id, name in session.execute(ended.limit(STOPPAGES_AT_ONCE)):
        yield Stoppage(portal_id, NoticeEvent.ACCESS, f"access-{user_id}", {"name": name})

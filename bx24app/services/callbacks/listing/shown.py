"""What the list of a page shows: its callbacks with the names around them, the counters, and what is new meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import reading
from bx24app.errors import ListRefused
from bx24app.models import Form, Portal, User, WebsiteRequest
from bx24app.services.callbacks.listing.asked import AskedFilter, read_filter, scope_of
from bx24app.services.callbacks.listing.company_day import read_company_zone, today_in
from bx24app.services.callbacks.listing.counters import count_since, read_quick_counts
from bx24app.services.callbacks.listing.cursors import Total
from bx24app.services.callbacks.listing.filters import PLANNED, ListFilter, Order, Quick, Scope, order_of
from bx24app.services.callbacks.listing.pages import ListPage, ListRequest, read_page
from bx24app.services.callbacks.listing.periods import ChosenDays, ListPeriod
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.queries import CardFilter, NamedCallback, read_named_callbacks
from bx24app.services.callbacks.retry_policy import PlannedCall, planned_call

# More people than these are not offered as a filter, and more forms not named, of which removed ones are many.
MAX_PEOPLE, MAX_FORMS_NAMED = 200, 1000
TODAY, ANY_TIME = AskedFilter(quick=Quick.TODAY), ChosenDays()


@dataclass(frozen=True)
class ListChoice:
    """What somebody wants to see; ``seen_at``: since when what is asked for is new to them."""

    asked: AskedFilter = TODAY
    days: ChosenDays = ANY_TIME
    order: Order | None = None
    cursor: str | None = None
    limit: int = 25
    seen_at: datetime | None = None
    # Of a card: all that it lists, and not only the latest.
    is_whole: bool = False

    @property
    def effective_days(self) -> ChosenDays:
        """The period: a search that names none looks through 30 days."""
        if self.asked.q and self.days == ANY_TIME and not (self.asked.since or self.asked.until):
            return ChosenDays(ListPeriod.MONTH)
        return self.days


@dataclass(frozen=True)
class NamedForm:
    """A form of the portal, also a removed one, which still has callbacks."""

    id: int
    key: str
    name: str


@dataclass(frozen=True)
class SentWith:
    """What a callback is about, and the page it was asked for on."""

    topic: str
    page: str


@dataclass(frozen=True)
class ShownList:
    """A page of the list; ``newer`` callbacks of it were asked for since it was seen.

    ``counts`` is empty on a card, whose list has no filters. ``sent`` and ``repeats`` are by the ids of callbacks: what
    came with them from a website, and the next call of those that follows one in vain.
    """

    page: ListPage
    order: Order
    zone: str
    forms: list[NamedForm] = field(default_factory=list)
    counts: dict[Quick, int] = field(default_factory=dict)
    newer: int = 0
    sent: dict[UUID, SentWith] = field(default_factory=dict)
    repeats: dict[UUID, PlannedCall] = field(default_factory=dict)
    # All of it is planned, so that the time of the call says something.
    is_planned: bool = False

    @property
    def callbacks(self) -> list[NamedCallback]:
        """Its rows."""
        return self.page.callbacks


def load_list(principal: Principal, choice: ListChoice) -> ShownList:
    """Read a page of the list and its counters in one transaction; raises ``ListRefused``."""
    with reading() as session:
        return read_list(session, principal, choice)


def read_list(session: Session, principal: Principal, choice: ListChoice) -> ShownList:
    """The same inside the caller's transaction; the cursor of another list leads to the first page."""
    zone, scope = read_company_zone(session, principal.portal), scope_of(principal)
    wanted = read_wanted(session, principal, choice)
    page = _page(session, scope, ListRequest(wanted, choice.order, choice.cursor, choice.limit))
    return ShownList(
        page=page,
        order=order_of(wanted, choice.order),
        zone=zone,
        forms=_forms(session, principal.portal.id),
        counts=read_quick_counts(session, scope, today_in(zone)),
        newer=count_since(session, scope, wanted, choice.seen_at) if choice.seen_at else 0,
        sent=_sent_with(session, page.callbacks),
        repeats=_repeats(session, principal.portal, page.callbacks),
        is_planned=set(wanted.wanted_states) <= set(PLANNED),
    )


def _sent_with(session: Session, rows: Sequence[NamedCallback]) -> dict[UUID, SentWith]:
    ids = [row.callback.id for row in rows if row.callback.form_id is not None]
    if not ids:
        return {}
    query = select(WebsiteRequest.callback_id, WebsiteRequest.topic, WebsiteRequest.page)
    found = session.execute(query.where(WebsiteRequest.callback_id.in_(ids)))
    return {id: SentWith(topic, page) for id, topic, page in found}


def _repeats(session: Session, portal: Portal, rows: Sequence[NamedCallback]) -> dict[UUID, PlannedCall]:
    repeated = (row.callback for row in rows if row.callback.repeats_call)
    found = {callback.id: planned_call(session, portal, callback) for callback in repeated}
    return {id: planned for id, planned in found.items() if planned}


def read_wanted(session: Session, principal: Principal, choice: ListChoice) -> ListFilter:
    """The filter of a choice with its days as moments, inside the caller's transaction; raises ``ListRefused``."""
    since, until = choice.effective_days.moments(read_company_zone(session, principal.portal))
    asked = choice.asked
    return read_filter(session, principal, replace(asked, since=since or asked.since, until=until or asked.until))


def _page(session: Session, scope: Scope, request: ListRequest) -> ListPage:
    try:
        return read_page(session, scope, request)
    except ListRefused as error:
        if error.field != "cursor":
            raise
        return read_page(session, scope, replace(request, cursor=None))


def read_card_list(session: Session, principal: Principal, wanted: CardFilter) -> ShownList:
    """The list of a customer's card inside the caller's transaction, the newest first."""
    found = read_named_callbacks(session, principal.portal.id, wanted)
    total = Total(len(found), is_exact=len(found) < wanted.limit)
    return ShownList(
        page=ListPage(found, total, 1),
        order=Order.NEWEST,
        zone=read_company_zone(session, principal.portal),
        forms=_forms(session, principal.portal.id),
        sent=_sent_with(session, found),
        repeats=_repeats(session, principal.portal, found),
    )


def _forms(session: Session, portal_id: int) -> list[NamedForm]:
    query = select(Form.id, Form.key, Form.name).where(Form.portal_id == portal_id)
    newest = query.order_by(Form.id.desc()).limit(MAX_FORMS_NAMED)
    return sorted((NamedForm(*row) for row in session.execute(newest)), key=lambda form: (form.name, form.id))


@dataclass(frozen=True)
class ListChoices:
    """The forms and the people that callbacks can be asked for by; people are those who have opened the app."""

    forms: list[NamedForm]
    people: list[tuple[int, str]]


def load_choices(portal_id: int) -> ListChoices:
    """Read what a list can be filtered by."""
    query = select(User.user_id, User.name).where(User.portal_id == portal_id).order_by(User.name, User.id)
    with reading() as session:
        people = [(user_id, name) for user_id, name in session.execute(query.limit(MAX_PEOPLE))]
        return ListChoices(_forms(session, portal_id), people)

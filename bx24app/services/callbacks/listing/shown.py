"""What the list of a page shows: its callbacks with the names around them, the counters, and what is new meanwhile."""

import hashlib
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
from bx24app.services.callbacks.listing.pages import FoundPage, ListPage, ListRequest, find_page, read_found
from bx24app.services.callbacks.listing.periods import ChosenDays, ListPeriod
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.queries import CardFilter, NamedCallback, read_named_callbacks
from bx24app.services.callbacks.retry_policy import PlannedCall, planned_call

# More people than these are not offered as a filter, and more forms not named, of which removed ones are many.
MAX_PEOPLE, MAX_FORMS_NAMED = 200, 1000
# The most that a customer's card lists.
CALLBACKS_SHOWN = 50
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
class FoundList:
    """Which callbacks a page of the list has; ``newer`` callbacks of it were asked for since it was seen.

    ``counts`` is empty on a card, whose list has no filters.
    """

    page: FoundPage
    order: Order
    zone: str
    counts: dict[Quick, int] = field(default_factory=dict)
    newer: int = 0
    # All of it is planned, so that the time of the call says something.
    is_planned: bool = False

    @property
    def mark(self) -> str:
        """What changes with anything that it shows."""
        page = self.page
        seen = (page.versions, self.counts, page.total, self.newer, page.first, page.next_cursor is None)
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class ShownList(FoundList):
    """The same as it is shown.

    ``sent`` and ``repeats`` are by the ids of callbacks: what came with them from a website, and the next call of those
    that follows one in vain.
    """

    page: ListPage
    forms: list[NamedForm] = field(default_factory=list)
    sent: dict[UUID, SentWith] = field(default_factory=dict)
    repeats: dict[UUID, PlannedCall] = field(default_factory=dict)

    @property
    def callbacks(self) -> list[NamedCallback]:
        """Its rows."""
        return self.page.callbacks


def load_shown(principal: Principal, choice: ListChoice, known: str = "") -> ShownList | None:
    """What the list of an open page shows now, of the desk or of one customer; raises ``ListRefused``.

    None: what the page shows by the ``mark`` that it knows is still all. Most answers to an open page are that one, so
    it is found out without reading the callbacks.
    """
    with reading() as session:
        found = _find_shown(session, principal, choice)
        return _read_found(session, principal, found) if found.mark != known else None


def read_shown(session: Session, principal: Principal, choice: ListChoice) -> ShownList:
    """The same for a page that knows nothing, inside the caller's transaction."""
    return _read_found(session, principal, _find_shown(session, principal, choice))


def _find_shown(session: Session, principal: Principal, choice: ListChoice) -> FoundList:
    ticket = principal.ticket
    if ticket and (ticket.entity_id or ticket.numbers):
        entity = (ticket.entity_type, ticket.entity_id) if ticket.entity_id else None
        wanted = CardFilter(
            crm_entity=entity, to_numbers=ticket.numbers, own_of=principal.own_of, limit=CALLBACKS_SHOWN
        )
        return _read_card_list(session, principal, wanted)
    return _find_list(session, principal, choice)


def _find_list(session: Session, principal: Principal, choice: ListChoice) -> FoundList:
    """The cursor of another list leads to the first page."""
    zone, scope = read_company_zone(session, principal.portal), scope_of(principal)
    wanted = _wanted_in(session, principal, choice, zone)
    return FoundList(
        page=_page(session, scope, ListRequest(wanted, choice.order, choice.cursor, choice.limit)),
        order=order_of(wanted, choice.order),
        zone=zone,
        counts=read_quick_counts(session, scope, today_in(zone)),
        newer=count_since(session, scope, wanted, choice.seen_at) if choice.seen_at else 0,
        is_planned=set(wanted.wanted_states) <= set(PLANNED),
    )


def _read_found(session: Session, principal: Principal, found: FoundList) -> ShownList:
    if isinstance(found, ShownList):
        return found
    page = read_found(session, scope_of(principal), found.page)
    return ShownList(
        page=page,
        order=found.order,
        zone=found.zone,
        counts=found.counts,
        newer=found.newer,
        is_planned=found.is_planned,
        forms=_forms(session, principal.portal.id),
        sent=_sent_with(session, page.callbacks),
        repeats=_repeats(session, principal.portal, page.callbacks),
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
    return _wanted_in(session, principal, choice, read_company_zone(session, principal.portal))


def _wanted_in(session: Session, principal: Principal, choice: ListChoice, zone: str) -> ListFilter:
    since, until = choice.effective_days.moments(zone)
    asked = choice.asked
    return read_filter(session, principal, replace(asked, since=since or asked.since, until=until or asked.until))


def _page(session: Session, scope: Scope, request: ListRequest) -> FoundPage:
    try:
        return find_page(session, scope, request)
    except ListRefused as error:
        if error.field != "cursor":
            raise
        return find_page(session, scope, replace(request, cursor=None))


def _read_card_list(session: Session, principal: Principal, wanted: CardFilter) -> ShownList:
    """The newest first."""
    found = read_named_callbacks(session, principal.portal.id, wanted)
    total = Total(len(found), is_exact=len(found) < wanted.limit)
    versions = {named.callback.id: named.callback.version for named in found}
    return ShownList(
        page=ListPage(versions, total, 1, callbacks=found),
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

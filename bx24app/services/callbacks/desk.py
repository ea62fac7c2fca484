"""What a page of the app shows: the customer, the lines, the voices and the callbacks."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.bitrix24.crm import CrmEntity, CrmPhone, read_entity
from bx24app.database import reading
from bx24app.errors import Bitrix24Unavailable, Refusal
from bx24app.models import Form, Portal, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.callbacks.people import read_names
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.queries import CardFilter, NamedCallback, read_named_callbacks
from bx24app.services.callbacks.roles import Role, role_of_launch
from bx24app.services.calling import phone_numbers, spoken_text
from bx24app.services.calling.phone_numbers import ReadNumber
from bx24app.services.portals import lines, tokens
from bx24app.services.portals.launch import Launch
from bx24app.services.portals.lines import Listing
from bx24app.services.security.tickets import Ticket, ticket_of

RECENT = timedelta(hours=24)
CALLBACKS_SHOWN = 50


@dataclass(frozen=True)
class OfferedNumber:
    """A number of a card as it is kept (``text``) and as it was read; ``owner`` names another card it stands on."""

    text: str
    kind: str
    number: ReadNumber
    owner: str = ""

    @property
    def e164(self) -> str:
        """What is dialled; empty when it cannot be."""
        return self.number.e164 or "" if self.number.can_be_dialled else ""


@dataclass(frozen=True)
class Customer:
    """Whom the page was opened for; ``problem`` says why their numbers could not be read."""

    title: str
    entity_type: str
    entity_id: int
    numbers: tuple[OfferedNumber, ...]
    # Kept numbers that cannot be dialled, with the reason in ``number.problem``.
    unusable: tuple[OfferedNumber, ...] = ()
    problem: ExchangeError | Refusal | None = None


def read_customer(launch: Launch) -> Customer | None:
    """The customer of a CRM card or a call card, with every number that can be dialled, each once."""
    place = launch.place
    country = launch.portal.settings.default_country
    if not place.entity_id:
        return Customer("", "", 0, *_offer([CrmPhone(place.number, "")], country)) if place.number else None
    entity, problem = _entity(launch)
    phones = list(entity.phones) if entity else []
    if place.number:
        phones.insert(0, CrmPhone(place.number, ""))
    title = entity.title if entity else ""
    return Customer(title, place.entity_type, place.entity_id, *_offer(phones, country), problem)


def _entity(launch: Launch) -> tuple[CrmEntity | None, ExchangeError | Refusal | None]:
    if launch.batch is None:
        return None, Bitrix24Unavailable()
    try:
        return read_entity(launch.place.entity_type, launch.place.entity_id, launch.batch), None
    except ExchangeError as error:
        return None, error


def _offer(
    phones: Iterable[CrmPhone], country: str | None
) -> tuple[tuple[OfferedNumber, ...], tuple[OfferedNumber, ...]]:
    """Read the numbers of a card: those that can be dialled, each once, and the others."""
    offered: dict[str, OfferedNumber] = {}
    unusable = []
    for phone in phones:
        number = phone_numbers.read_number(phone.value, country)
        one = OfferedNumber(phone.value, phone.kind, number, phone.owner)
        if one.e164:
            offered.setdefault(one.e164, one)
        elif phone.value.strip():
            unusable.append(one)
    return tuple(offered.values()), tuple(unusable)


def ticket_for(launch: Launch, customer: Customer | None) -> Ticket:
    """The ticket of a page: who has it open, and for whom it was opened."""
    return replace(
        ticket_of(launch.portal, launch.user.user_id, launch.asked_at),
        entity_type=launch.place.entity_type,
        entity_id=launch.place.entity_id,
        numbers=tuple(number.e164 for number in customer.numbers) if customer else (),
    )


def principal_of(launch: Launch, customer: Customer | None) -> Principal:
    """Whoever opens a page, as they will ask with its ticket."""
    user = launch.user
    return Principal(
        portal=launch.portal,
        role=role_of_launch(launch),
        user_id=user.user_id,
        row_id=user.id,
        line_id=user.last_line_id,
        voice_id=user.last_voice_id,
        ticket=ticket_for(launch, customer),
    )


def load_callbacks(principal: Principal) -> list[NamedCallback]:
    """The callbacks that an open page lists, as they are now."""
    with reading() as session:
        return read_named_callbacks(session, principal.portal.id, _listed_on(principal.ticket, principal.own_of))


def _listed_on(ticket: Ticket | None, own_of: int | None) -> CardFilter:
    """What a page lists: the customer's callbacks, or outside of a card those of the last 24 hours."""
    if ticket and (ticket.entity_id or ticket.numbers):
        entity = (ticket.entity_type, ticket.entity_id) if ticket.entity_id else None
        return CardFilter(crm_entity=entity, to_numbers=ticket.numbers, own_of=own_of, limit=CALLBACKS_SHOWN)
    return CardFilter(since=utcnow() - RECENT, own_of=own_of, limit=CALLBACKS_SHOWN)


@dataclass(frozen=True)
class Choices:
    """Lines, voices and text to begin with: the person's last ones, else the portal's defaults."""

    lines: Listing
    voices: Listing
    line_id: str | None
    voice_id: str
    text: str


def _choices(principal: Principal, found: Listing, voices: Listing) -> Choices:
    """What the form offers and what it has chosen."""
    portal = principal.portal
    ours = [line_id for line_id in found.names if not portal.is_foreign(line_id)]
    line_id = next((id for id in (principal.line_id, portal.settings.default_line_id, *ours) if id in ours), None)
    remembered = principal.voice_id if principal.voice_id is not None else portal.settings.default_voice_id
    return Choices(
        lines=found,
        voices=voices,
        line_id=line_id,
        voice_id=remembered if remembered in voices.names else "",
        text=portal.settings.default_text or spoken_text.default_text(portal.language),
    )


@dataclass(frozen=True)
class AdministratorAccess:
    """An administrator's part in keeping the app connected: theirs is the access in use, or they stand by."""

    serves: bool
    serving_name: str


def administrator_access(portal_id: int, user_id: int) -> AdministratorAccess | None:
    """What an administrator is told about their access; None for one whose access is not needed."""
    with reading() as session:
        ids = tokens.read_serving_administrators(session, portal_id)
        if user_id not in ids:
            return None
        names = read_names(session, portal_id, ids[:1])
    return AdministratorAccess(ids[0] == user_id, names.get(ids[0], f"#{ids[0]}"))


def _app_retries(session: Session, portal: Portal) -> bool:
    """Tell whether the app dials again by itself for anybody on the portal."""
    repeating = select(Form.id).where(Form.portal_id == portal.id, Form.retries > 0, Form.removed_at.is_(None))
    return portal.settings.retries > 0 or session.scalar(repeating.limit(1)) is not None


@dataclass(frozen=True)
class Desk:
    """What the start bar and the list show, of the whole desk or of one customer.

    With ``app_retries`` the app dials again by itself for somebody, so that no line should.
    """

    principal: Principal
    customer: Customer | None
    choices: Choices
    callbacks: list[NamedCallback]
    app_retries: bool


def open_desk(principal: Principal, customer: Customer | None = None) -> Desk:
    """What a page opens with: one transaction, and no request to the portal while its lists are fresh."""
    portal = principal.portal
    return _load(principal, customer, _choices(principal, lines.lines_of(portal), lines.voices_of(portal)))


def load_desk(principal: Principal) -> Desk:
    """The same for a page that is open already: the portal is never asked, however old its lists are."""
    portal = principal.portal
    return _load(principal, None, _choices(principal, lines.kept_lines(portal), lines.kept_voices(portal)))


def _load(principal: Principal, customer: Customer | None, choices: Choices) -> Desk:
    portal = principal.portal
    with reading() as session:
        callbacks = read_named_callbacks(session, portal.id, _listed_on(principal.ticket, principal.own_of))
        retries = principal.role is Role.ADMINISTRATOR and customer is None and _app_retries(session, portal)
    return Desk(principal, customer, choices, callbacks, retries)

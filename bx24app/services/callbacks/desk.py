"""What a page of the app shows: the customer, the lines, the voices and the callbacks."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from bx24app.bitrix24.crm import CrmEntity, read_entity
from bx24app.database import reading
from bx24app.errors import Bitrix24Unavailable, Refusal
from bx24app.models import Callback, Form, Portal, User, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.callbacks.queries import CallbackFilter, list_callbacks
from bx24app.services.calling import phone_numbers, spoken_text
from bx24app.services.portals import lines, tokens
from bx24app.services.portals.launch import Launch
from bx24app.services.portals.lines import Listing
from bx24app.services.security.tickets import Ticket

RECENT = timedelta(hours=24)
MAX_LISTED = 50


@dataclass(frozen=True)
class OfferedNumber:
    """A number to offer: ``e164`` is what is dialled, empty for one that cannot be read."""

    e164: str
    display: str
    kind: str


@dataclass(frozen=True)
class Customer:
    """Whom the page was opened for; ``problem`` says why their numbers could not be read."""

    title: str
    entity_type: str
    entity_id: int
    numbers: tuple[OfferedNumber, ...]
    problem: ExchangeError | Refusal | None = None


def read_customer(opening: Launch) -> Customer | None:
    """The customer of a CRM card or a call card, with every number that can be dialled, each once."""
    place = opening.place
    country = opening.portal.settings.default_country
    if not place.entity_id:
        found = _offer([(place.number, "")], country) if place.number else ()
        return Customer("", "", 0, found) if place.number else None
    entity, problem = _entity(opening)
    phones = [(phone.value, phone.kind) for phone in entity.phones] if entity else []
    if place.number:
        phones.insert(0, (place.number, ""))
    title = entity.title if entity else ""
    return Customer(title, place.entity_type, place.entity_id, _offer(phones, country), problem)


def _entity(opening: Launch) -> tuple[CrmEntity | None, ExchangeError | Refusal | None]:
    if opening.batch is None:
        return None, Bitrix24Unavailable()
    try:
        return read_entity(opening.place.entity_type, opening.place.entity_id, opening.batch), None
    except ExchangeError as error:
        return None, error


def _offer(phones: Iterable[tuple[str, str]], country: str | None) -> tuple[OfferedNumber, ...]:
    offered: dict[str, OfferedNumber] = {}
    for value, kind in phones:
        try:
            e164 = phone_numbers.normalize(value, country)
        except Refusal:
            continue
        offered.setdefault(e164, OfferedNumber(e164, phone_numbers.display_number(e164), kind))
    return tuple(offered.values())


def ticket_for(opening: Launch, customer: Customer | None) -> Ticket:
    """The ticket of a page: who has it open, and for whom it was opened."""
    return Ticket(
        portal_id=opening.portal.id,
        user_id=opening.user.user_id,
        entity_type=opening.place.entity_type,
        entity_id=opening.place.entity_id,
        numbers=tuple(number.e164 for number in customer.numbers) if customer else (),
    )


def callbacks_of(portal_id: int, ticket: Ticket | None) -> list[Callback]:
    """The callbacks that a page lists: the customer's, or outside of a card those of the last 24 hours."""
    if ticket and (ticket.entity_id or ticket.numbers):
        entity = (ticket.entity_type, ticket.entity_id) if ticket.entity_id else None
        wanted = CallbackFilter(crm_entity=entity, to_numbers=ticket.numbers, limit=MAX_LISTED)
    else:
        wanted = CallbackFilter(since=utcnow() - RECENT, limit=MAX_LISTED)
    return list_callbacks(portal_id, wanted)


@dataclass(frozen=True)
class Choices:
    """Lines, voices and text to begin with: the person's last ones, else the portal's defaults."""

    lines: Listing
    voices: Listing
    line_id: str | None
    voice_id: str
    text: str


def choices_for(portal: Portal, user: User) -> Choices:
    """What the form offers and what it has chosen."""
    found = lines.get_lines(portal.id)
    voices = lines.get_voices(portal.id)
    ours = [line_id for line_id in found.names if not portal.is_foreign(line_id)]
    line_id = next((id for id in (user.last_line_id, portal.settings.default_line_id, *ours) if id in ours), None)
    remembered = user.last_voice_id if user.last_voice_id is not None else portal.settings.default_voice_id
    return Choices(
        lines=found,
        voices=voices,
        line_id=line_id,
        voice_id=remembered if remembered in voices.names else "",
        text=portal.settings.default_text or spoken_text.default_text(portal.language),
    )


def names_of(portal_id: int, user_ids: Iterable[int | None]) -> dict[int, str]:
    """The names of the people whom we know by their visits."""
    wanted = {user_id for user_id in user_ids if user_id is not None}
    if not wanted:
        return {}
    query = select(User.user_id, User.name).where(User.portal_id == portal_id, User.user_id.in_(wanted))
    with reading() as session:
        return dict(session.execute(query).all())


@dataclass(frozen=True)
class AdministratorAccess:
    """An administrator's part in keeping the app connected: theirs is the access in use, or they stand by."""

    serves: bool
    serving_name: str


def administrator_access(portal_id: int, user_id: int) -> AdministratorAccess | None:
    """What an administrator is told about their access; None for one whose access is not needed."""
    ids = tokens.serving_administrators(portal_id)
    if user_id not in ids:
        return None
    return AdministratorAccess(ids[0] == user_id, names_of(portal_id, ids[:1]).get(ids[0], f"#{ids[0]}"))


def app_retries(portal: Portal) -> bool:
    """Tell whether the app dials again by itself for anybody on the portal: then no line should do the same."""
    repeating = select(Form.id).where(Form.portal_id == portal.id, Form.retries > 0, Form.removed_at.is_(None))
    with reading() as session:
        return portal.settings.retries > 0 or session.scalar(repeating.limit(1)) is not None

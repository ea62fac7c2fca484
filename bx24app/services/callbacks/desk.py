"""What a page of the app shows: the customer, the lines, the voices and the callbacks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.bitrix24.company import cards
from bx24app.bitrix24.crm import CrmEntity, CrmPhone
from bx24app.database import reading
from bx24app.errors import Bitrix24Unavailable, Refusal
from bx24app.models import Form, Portal, State, WebsiteRequest
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.callbacks.listing.shown import ListChoice, ShownList, read_shown
from bx24app.services.callbacks.people import read_administrators, read_names
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.queries import NamedCallback
from bx24app.services.callbacks.roles import Role, role_of_launch
from bx24app.services.calling import phone_numbers, spoken_text
from bx24app.services.calling.countries import single_zone
from bx24app.services.calling.phone_numbers import ReadNumber
from bx24app.services.portals import lines, tokens
from bx24app.services.portals.launch import Launch
from bx24app.services.portals.lines import Listing
from bx24app.services.security.tickets import Ticket, ticket_of

# What the desk opens with where somebody has chosen nothing.
FIRST_LIST = ListChoice()
KINDS_FIRST = ("MOBILE", "WORK")


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

    @property
    def zone(self) -> str | None:
        """The time zone of its country, where that has one only."""
        return single_zone(self.number.country) if self.number.country else None


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
    # How they are called; "" where the card does not tell.
    name: str = ""
    # Opened beside a call that is going on.
    in_call: bool = False
    # The number of that call, or of the activity that is called again, stands first.
    keeps_order: bool = False

    def with_best_first(self, reached: str | None) -> "Customer":
        """Offer first the number that reached them last, then a mobile one, then one at work."""

        def place(number: OfferedNumber) -> tuple[bool, int]:
            kind = number.kind
            return number.e164 != reached, KINDS_FIRST.index(kind) if kind in KINDS_FIRST else len(KINDS_FIRST)

        return replace(self, numbers=tuple(sorted(self.numbers, key=place)))


def read_customer(launch: Launch) -> Customer | None:
    """The customer of a CRM card, an activity or a call card, with every number that can be dialled, each once."""
    place = launch.place
    if not (place.entity_id or place.activity_id or place.number):
        return None
    card, first, problem = _opened_card(launch)
    offered = _offer([*first, *card.phones], launch.portal.settings.default_country)
    return Customer(
        card.title, card.type, card.id, *offered, problem, card.name, place.is_call, keeps_order=bool(first)
    )


def _opened_card(launch: Launch) -> tuple[CrmEntity, Sequence[CrmPhone], ExchangeError | Refusal | None]:
    """The card, the numbers of the call beside it or of the activity, and what could not be read."""
    place, batch = launch.place, launch.batch
    kind, id = place.entity_type, place.entity_id
    first: Sequence[CrmPhone] = [CrmPhone(place.number, "")] if place.number else []
    problem: ExchangeError | Refusal | None = None
    if batch is None and (id or place.activity_id):
        problem = Bitrix24Unavailable()
    elif batch is not None:
        try:
            if place.activity_id:
                first, owner_kind, owner_id = cards.read_activity(place.activity_id, batch)
                kind, id = kind or owner_kind, id or owner_id
        except (ExchangeError, Refusal) as error:
            problem = error
        try:
            if kind and id:
                return cards.read_card(kind, id, batch, as_item=not place.entity_id), first, problem
        except (ExchangeError, Refusal) as error:
            problem = problem or error
    return CrmEntity(kind, id, "", ()), first, problem


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
        entity_type=customer.entity_type if customer else "",
        entity_id=customer.entity_id if customer else 0,
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


@dataclass(frozen=True)
class Choices:
    """Lines, voices and text to begin with: the person's last ones, else the portal's defaults."""

    lines: Listing
    voices: Listing
    line_id: str | None
    voice_id: str
    text: str
    # Of several lines the first one is chosen: nobody has said which.
    lacks_default: bool = False


def _choices(principal: Principal, found: Listing, voices: Listing) -> Choices:
    """What the form offers and what it has chosen."""
    portal = principal.portal
    ours = [line_id for line_id in found.names if not portal.is_foreign(line_id)]
    said = [id for id in (principal.line_id, portal.settings.default_line_id) if id in ours]
    remembered = principal.voice_id if principal.voice_id is not None else portal.settings.default_voice_id
    return Choices(
        lines=found,
        voices=voices,
        line_id=next(iter((*said, *ours)), None),
        voice_id=remembered if remembered in voices.names else "",
        text=portal.settings.default_text or spoken_text.default_text(portal.language),
        lacks_default=not said and len(ours) > 1,
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
    shown: ShownList
    app_retries: bool
    # Whom to ask for a line where there is none, or no default.
    administrators: Sequence[str] = ()
    # The callback behind the call beside which the page stands, and what the visitor of a website had sent with it.
    in_call: NamedCallback | None = None
    website_request: WebsiteRequest | None = None

    @property
    def customer_name(self) -> str:
        """Whom the number that is offered first belongs to; "" outside of a card."""
        if self.customer is None:
            return ""
        return next((number.owner for number in self.customer.numbers[:1]), "") or self.customer.name

    @property
    def said(self) -> spoken_text.SpokenText | None:
        """What will be said to whoever picks up, as the page opens."""
        return spoken_text.preview(self.choices.text, self.customer_name)


def open_desk(principal: Principal, customer: Customer | None = None, choice: ListChoice = FIRST_LIST) -> Desk:
    """What a page opens with: one transaction, and no request to the portal while its lists are fresh."""
    portal = principal.portal
    return _load(principal, customer, _choices(principal, lines.lines_of(portal), lines.voices_of(portal)), choice)


def load_desk(principal: Principal, choice: ListChoice = FIRST_LIST) -> Desk:
    """The same for a page that is open already: the portal is never asked, however old its lists are."""
    portal = principal.portal
    return _load(principal, None, _choices(principal, lines.kept_lines(portal), lines.kept_voices(portal)), choice)


def _website_request(session: Session, named: NamedCallback | None) -> WebsiteRequest | None:
    """Read what came with a callback from a website; None for one of another source."""
    if named is None:
        return None
    return session.scalar(select(WebsiteRequest).where(WebsiteRequest.callback_id == named.callback.id))


def _load(principal: Principal, customer: Customer | None, choices: Choices, choice: ListChoice) -> Desk:
    portal = principal.portal
    with reading() as session:
        shown = read_shown(session, principal, choice)
        retries = principal.role is Role.ADMINISTRATOR and customer is None and _app_retries(session, portal)
        is_in_call = customer is not None and customer.in_call
        in_hand = (one for one in shown.callbacks if one.callback.holds_number)
        in_call = next(in_hand, None) if is_in_call else None
        request = _website_request(session, in_call)
        asks_administrators = not choices.lines.names or choices.lacks_default
        names = read_administrators(session, portal.id) if asks_administrators else ()
    if customer is not None and not customer.keeps_order:
        done = (one.callback.to_number for one in shown.callbacks if one.callback.state == State.COMPLETED)
        customer = customer.with_best_first(next(done, None))
    return Desk(principal, customer, choices, shown, retries, names, in_call, request)

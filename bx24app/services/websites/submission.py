"""A request of the public as the rules see it."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from ipaddress import IPv6Address, ip_address

from bx24app.log import mask_number
from bx24app.models import Form, Portal, Source
from bx24app.services.calling import business_hours, do_not_call, phone_numbers
from bx24app.services.websites.challenge import FormProof
from bx24app.services.websites.forms import OpenForm

# Of an IPv6 address: a household has at least as many addresses.
IPV6_NETWORK = 64
ALWAYS = business_hours.Hours(
    zone="UTC", week={day: [("00:00", business_hours.MIDNIGHT)] for day in business_hours.DAYS}
)


@dataclass(frozen=True)
class SubmittedNumber:
    """A number as it was typed and as it was read, with the digest under which it is listed and limited."""

    text: str = ""
    typed: phone_numbers.ParsedNumber = field(default_factory=phone_numbers.ParsedNumber)
    digest: str = field(default="", repr=False)


def read_number(text: str, opened: OpenForm) -> SubmittedNumber:
    """Read a number with the country of the form; call it outside of transactions."""
    typed = phone_numbers.parse_number(text, opened.form.default_country or opened.portal.settings.default_country)
    return SubmittedNumber(text, typed, do_not_call.number_digest(typed.e164) if typed.e164 else "")


@dataclass(frozen=True)
class Submission:
    """A request as the rules see it; ``now`` is the time for which they judge."""

    form: Form
    portal: Portal
    now: datetime
    number: SubmittedNumber = field(default_factory=SubmittedNumber)
    source: Source = Source.WEBSITE
    origin: str | None = None
    address: str | None = None
    name: str = ""
    topic: str = ""
    consents: bool = False
    honeypot: str = ""
    proof: FormProof | None = None
    # It brought something that is no proof.
    forged: bool = False
    token: FormProof | None = None
    scheduled_at: datetime | None = None
    # Times of the wall or other nonsense where a moment was expected.
    unreadable_time: str = ""
    # The idempotency key, as it is stored; None: every request is a new one.
    key: str | None = None

    @property
    def country(self) -> str | None:
        """Whose national numbers are read."""
        return self.form.default_country or self.portal.settings.default_country

    @property
    def typed(self) -> phone_numbers.ParsedNumber:
        """The number as it was read."""
        return self.number.typed

    @property
    def masked(self) -> str:
        """The number for people who may not need it whole."""
        return mask_number(self.typed.e164 or phone_numbers.digits(self.number.text)[: phone_numbers.MAX_NUMBER_LENGTH])

    @cached_property
    def hours(self) -> business_hours.Hours:
        """When somebody is there."""
        return business_hours.hours_in_force(self.portal, self.form) or ALWAYS

    @property
    def due_at(self) -> datetime:
        """When it would be dialled."""
        return max(self.scheduled_at or self.now, self.now)

    @property
    def network(self) -> str:
        """The address that limits count: an IPv4 address, or the /64 of an IPv6 one."""
        return network_of(self.address or "")

    @property
    def shown(self) -> FormProof | None:
        """What is spent when the request is accepted: the proof, else the token."""
        return self.proof or self.token

    @property
    def has_script(self) -> bool:
        """Tell whether the browser has worked for it."""
        return self.proof is not None or self.source != Source.WEBSITE


def network_of(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 one; anything else as it stands."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> IPV6_NETWORK << IPV6_NETWORK)}/{IPV6_NETWORK}"

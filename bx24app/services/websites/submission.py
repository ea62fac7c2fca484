"""A submission: a request from a website as the rules see it."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from bx24app.log import mask_number
from bx24app.models import Form, Portal, Source
from bx24app.services.calling import business_hours, do_not_call, phone_numbers
from bx24app.services.calling.decoration import Decoration
from bx24app.services.calling.phone_numbers import NOTHING_READ, ReadNumber
from bx24app.services.security.networks import network_of
from bx24app.services.websites.challenge import FormProof
from bx24app.services.websites.forms import OpenForm, form_country

# So much is shown, masked, of what is no number.
MASKED_LENGTH = 64
ALWAYS = business_hours.Hours(
    zone="UTC", week={day: [("00:00", business_hours.MIDNIGHT)] for day in business_hours.DAYS}
)


@dataclass(frozen=True)
class SubmittedNumber:
    """A number as it was typed (``text``) and as it was read (``parsed``).

    ``digest`` is the key of the number for the do-not-call list and for limits.
    """

    text: str = ""
    parsed: ReadNumber = NOTHING_READ
    digest: str = field(default="", repr=False)


def read_number(text: str, opened: OpenForm) -> SubmittedNumber:
    """Read a number with the default country of the form, else of the portal; call it outside of transactions."""
    parsed = phone_numbers.read_number(text, form_country(opened.form, opened.portal))
    return SubmittedNumber(text, parsed, do_not_call.number_digest(parsed.e164) if parsed.e164 else "")


@dataclass(frozen=True)
class Submission:
    """A request as the rules see it; they decide for the time ``now``."""

    form: Form
    portal: Portal
    now: datetime
    number: SubmittedNumber = field(default_factory=SubmittedNumber)
    source: Source = Source.WEBSITE
    origin: str | None = None
    address: str | None = None
    decoration: Decoration = field(default_factory=Decoration)
    consents: bool = False
    honeypot: str = ""
    proof: FormProof | None = None
    # True when the request brought a proof that is not valid.
    forged: bool = False
    token: FormProof | None = None
    scheduled_at: datetime | None = None
    # What was sent as the time, when it cannot be read or has no time zone; empty when all is well.
    unreadable_time: str = ""
    # The idempotency key as it is stored; None: every request counts as a new one.
    key: str | None = None

    @property
    def country(self) -> str | None:
        """The country as whose national numbers the number is read; None: nobody has named it."""
        return form_country(self.form, self.portal)

    @property
    def name(self) -> str:
        """The name of the visitor."""
        return self.decoration.name

    @property
    def topic(self) -> str:
        """What it is about."""
        return self.decoration.topic

    @property
    def parsed(self) -> ReadNumber:
        """The number as it was read."""
        return self.number.parsed

    @property
    def masked(self) -> str:
        """The number with all but its last digits hidden."""
        return mask_number(self.parsed.e164 or phone_numbers.digits(self.number.text)[:MASKED_LENGTH])

    @cached_property
    def hours(self) -> business_hours.Hours:
        """The business hours that apply; always open where neither form nor portal has hours."""
        return business_hours.hours_in_force(self.portal, self.form) or ALWAYS

    @property
    def due_at(self) -> datetime:
        """When the callback would be due."""
        return max(self.scheduled_at or self.now, self.now)

    @property
    def network(self) -> str:
        """The address that limits count: an IPv4 address, or the /64 network of an IPv6 address."""
        return network_of(self.address or "")

    @property
    def proof_or_token(self) -> FormProof | None:
        """What is used up when the request is accepted: the proof, else the token."""
        return self.proof or self.token

    @property
    def has_script(self) -> bool:
        """Tell whether the request brought a proof of work, or came from a back end, which needs none."""
        return self.proof is not None or self.source != Source.WEBSITE

"""Tickets: the signed proof of a launch, valid for one hour; the page sends it in a header, never in a cookie."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from itsdangerous import BadSignature
from pydantic import TypeAdapter, ValidationError

from bx24app.errors import TicketExpired
from bx24app.models import Portal, utcnow
from bx24app.services.security import signing

TICKET_LIFETIME = timedelta(hours=1)
# What lasts is granted to those of whom the portal itself has said so late that they are administrators.
FRESH_PROOF = timedelta(minutes=3)
# Between the portal's answer and the ticket.
ISSUED_WITHIN = timedelta(minutes=1)
TICKET_SALT = "bx24app.ticket"


@dataclass(frozen=True)
class Ticket:
    """The user who has a page open, and the CRM card it was opened in; ``entity_id`` is 0 outside a CRM card.

    ``member_id`` and ``installed_at`` (seconds since 1970) name the installation, which a row id does not do for ever.
    """

    portal_id: int
    member_id: str
    installed_at: int
    user_id: int
    # When the portal was asked who has the page open, and what they may (seconds since 1970); 0: it was silent.
    proven_at: int = 0
    entity_type: str = ""
    entity_id: int = 0
    numbers: tuple[str, ...] = ()
    """The customer's numbers in E.164; the page lists all callbacks to them, wherever these were requested."""

    @property
    def is_proven(self) -> bool:
        """Tell whether the portal itself has said who has the page open, no longer ago than a ticket lives."""
        return utcnow().timestamp() - self.proven_at <= (TICKET_LIFETIME + ISSUED_WITHIN).total_seconds()

    @property
    def is_fresh_proof(self) -> bool:
        """Tell whether it has said so a moment ago."""
        return utcnow().timestamp() - self.proven_at <= FRESH_PROOF.total_seconds()

    def is_of(self, portal: Portal) -> bool:
        """Tell whether it was issued for this installation of the app: what was issued before a removal is void."""
        return (self.member_id, self.installed_at) == (portal.member_id, int(portal.installed_at.timestamp()))


def ticket_of(portal: Portal, user_id: int, asked_at: datetime | None) -> Ticket:
    """The ticket of an employee of a portal, outside a CRM card; ``asked_at`` is as in ``launch.Launch``."""
    proven_at = int(asked_at.timestamp()) if asked_at else 0
    return Ticket(portal.id, portal.member_id, int(portal.installed_at.timestamp()), user_id, proven_at)


_READER = TypeAdapter(Ticket)


def issue_ticket(ticket: Ticket) -> tuple[str, datetime]:
    """Sign a ticket; returns it with the time at which it expires."""
    return signing.serializer(TICKET_SALT).dumps(asdict(ticket)), utcnow() + TICKET_LIFETIME


def read_ticket(signed: str) -> Ticket:
    """Read a ticket; raises ``TicketExpired`` when it is missing, altered or older than an hour."""
    try:
        return _READER.validate_python(signing.read_timed(TICKET_SALT, signed, TICKET_LIFETIME)[0])
    except (BadSignature, ValidationError):
        raise TicketExpired from None

"""Tickets: the signed proof of a launch, valid for one hour; the page sends it in a header, never in a cookie."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from itsdangerous import BadSignature
from pydantic import TypeAdapter, ValidationError

from bx24app.errors import TicketExpired
from bx24app.models import Portal, utcnow
from bx24app.services.security import signing

TICKET_LIFETIME = timedelta(hours=1)
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
    entity_type: str = ""
    entity_id: int = 0
    numbers: tuple[str, ...] = ()
    """The customer's numbers in E.164; the page lists all callbacks to them, wherever these were requested."""

    def is_of(self, portal: Portal) -> bool:
        """Tell whether it was issued for this installation of the app: what was issued before a removal is void."""
        return (self.member_id, self.installed_at) == (portal.member_id, int(portal.installed_at.timestamp()))


def ticket_of(portal: Portal, user_id: int) -> Ticket:
    """The ticket of an employee of a portal, outside a CRM card."""
    return Ticket(portal.id, portal.member_id, int(portal.installed_at.timestamp()), user_id)


_READER = TypeAdapter(Ticket)


def issue_ticket(ticket: Ticket) -> tuple[str, datetime]:
    """Sign a ticket; returns it with the time at which it expires."""
    return signing.serializer(TICKET_SALT).dumps(asdict(ticket)), utcnow() + TICKET_LIFETIME


def read_ticket(signed: str) -> Ticket:
    """Read a ticket; raises ``TicketExpired`` when it is missing, altered or older than an hour."""
    try:
        return _READER.validate_python(
            signing.serializer(TICKET_SALT).loads(signed, max_age=int(TICKET_LIFETIME.total_seconds()))
        )
    except (BadSignature, ValidationError):
        raise TicketExpired from None

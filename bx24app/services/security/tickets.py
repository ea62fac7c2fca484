"""Tickets: the frame's signed session of one hour, carried in a header and never in a cookie."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from itsdangerous import BadSignature
from pydantic import TypeAdapter, ValidationError

from bx24app.errors import TicketExpired
from bx24app.models import utcnow
from bx24app.services.security import signing

TICKET_LIFETIME = timedelta(hours=1)
TICKET_SALT = "bx24app.ticket"


@dataclass(frozen=True)
class Ticket:
    """Who has a page of the app open, and for whom it was opened; ``entity_id`` is 0 outside a CRM card."""

    portal_id: int
    user_id: int
    entity_type: str = ""
    entity_id: int = 0
    numbers: tuple[str, ...] = ()
    """The customer's numbers in E.164: their callbacks are listed wherever they were asked for."""


_READER = TypeAdapter(Ticket)


def issue_ticket(ticket: Ticket) -> tuple[str, datetime]:
    """Sign a ticket; returns it with the time it expires."""
    return signing.serializer(TICKET_SALT).dumps(asdict(ticket)), utcnow() + TICKET_LIFETIME


def read_ticket(signed: str) -> Ticket:
    """Read a ticket; raises ``TicketExpired`` when it is missing, altered or older than an hour."""
    try:
        return _READER.validate_python(
            signing.serializer(TICKET_SALT).loads(signed, max_age=int(TICKET_LIFETIME.total_seconds()))
        )
    except (BadSignature, ValidationError):
        raise TicketExpired from None

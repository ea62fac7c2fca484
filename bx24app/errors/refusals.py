"""What a use case may refuse."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from bx24app.errors.known import KnownError, Retry


class Refusal(KnownError):
    """The use case did nothing; ``code`` is one of the promised codes, ``words`` the portal's own text."""

    code = "invalid_request"
    status: int = 409
    # What may be done instead: the thing in the way, other times, seconds to wait, what is wrong with which field.
    open_id: UUID | None = None
    slots: Sequence[datetime] | None = None
    retry_after: int | None = None
    errors: Sequence[tuple[str, str]] = ()

    def __init__(self, field: str | None = None, words: str | None = None) -> None:
        super().__init__(self.code)
        self.field = field
        self.words = words


class InvalidRequest(Refusal):
    """A field is missing or has a wrong type or value; ``errors`` are (field, message) pairs."""

    status = 400


class InvalidNumber(InvalidRequest):
    """The text is not a telephone number that can be dialled."""

    code = "invalid_number"
    status = 422


class NumberNotAllowed(InvalidRequest):
    """A number of a kind that is never dialled: premium, shared cost, personal, pager, satellite."""

    code = "number_not_allowed"
    status = 422


class UnknownLine(InvalidRequest):
    """The portal has no such line, or the line is our own external one."""

    code = "unknown_line"
    status = 422


class UnknownVoice(InvalidRequest):
    """The portal has no such voice."""

    code = "unknown_voice"
    status = 422


class TextInvalid(InvalidRequest):
    """The text to pronounce is empty or too long."""

    code = "text_invalid"
    status = 422


class UnknownVariable(TextInvalid):
    """A template names a variable that nobody fills; ``words`` is that variable."""

    reason = "unknown_variable"


class AddressRefused(InvalidRequest):
    """An address of a site that is not public, or not https."""

    reason = "address_refused"


class DuplicateOpenCallback(Refusal):
    """Another callback for this number is in hand: ``open_id``, None where the caller may not know it."""

    code = "duplicate_open_callback"

    def __init__(self, open_id: UUID | None) -> None:
        super().__init__("to_number")
        self.open_id = open_id


class IdempotencyKeyReused(Refusal):
    """The same key came before with another body."""

    code = "idempotency_key_reused"
    status = 422


class TooLate(Refusal):
    """The callback has left the state in which this was possible."""

    code = "too_late"


class NotFound(Refusal):
    """There is no such thing, or it belongs to another portal."""

    code = "not_found"
    status = 404


class NotPermitted(Refusal):
    """The caller's role does not allow it."""

    code = "not_permitted"
    status = 403


class TicketExpired(Refusal):
    """The ticket is missing, altered, or older than an hour."""

    code = "ticket_expired"
    status = 401


class KeyRefused(TicketExpired):
    """An API key that is not known, or was revoked."""

    reason = "key_refused"


class PortalDisconnected(Refusal):
    """No live credential of an administrator is left, or the app was uninstalled."""

    code = "portal_disconnected"


class PortalUnpaid(PortalDisconnected):
    """The paid period of the app or of the portal is over."""

    reason = "payment_required"


class Bitrix24Unavailable(Refusal):
    """The portal could not be asked; nothing was dialled."""

    code = "bitrix24_unavailable"
    status = 503
    retry = Retry.LATER

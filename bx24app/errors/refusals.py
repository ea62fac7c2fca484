"""The refusals of use cases."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from bx24app.errors.known import KnownError, Retry


class Refusal(KnownError):
    """The use case did nothing; ``code`` is one of the promised codes, ``words`` the portal's own explanation."""

    code = "invalid_request"
    status: int = 409
    # What may help: the callback in the way, other times, seconds to wait, and (field, message) pairs.
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


class ListRefused(InvalidRequest):
    """A list or a report cannot be made as it was asked for; ``sentence`` names what says why."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(field)
        self.sentence = sentence

    @property
    def explanation(self) -> str:
        """The code of the sentence that explains the problem to people."""
        return self.sentence


class LimitReached(InvalidRequest):
    """There are as many forms, keys, webhooks or numbers as there may be."""

    reason = "limit_reached"
    status = 422


class CrmUnreadable(Refusal):
    """Something of the CRM, such as a card, is gone or closed to its reader; ``sentence`` names what says so."""

    def __init__(self, sentence: str, words: str | None = None) -> None:
        super().__init__(words=words)
        self.sentence = sentence

    @property
    def explanation(self) -> str:
        """The code of the sentence that explains the problem to people."""
        return self.sentence


class InvalidNumber(InvalidRequest):
    """The text is not a telephone number that can be dialled; ``sentence`` names what says why."""

    code = "invalid_number"
    status = 422

    def __init__(self, field: str | None = None, sentence: str = "number_invalid") -> None:
        super().__init__(field)
        self.sentence = sentence

    @property
    def explanation(self) -> str:
        """The code of the sentence that explains the problem to people."""
        return self.sentence


class NumberNotAllowed(InvalidRequest):
    """A number of a kind that is never dialled: premium, shared cost, personal, pager, satellite."""

    code = "number_not_allowed"
    status = 422


class UnknownLine(InvalidRequest):
    """The portal has no such line, or it is an external line of our own app."""

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
    """A template names a variable that does not exist; ``words`` is that variable."""

    reason = "unknown_variable"


class CountryUnknown(InvalidRequest):
    """A website form would not know which countries it may call: neither it nor its portal names one."""

    reason = "country_unknown"


class AddressRefused(InvalidRequest):
    """The address of a site is not public, or not https."""

    reason = "address_refused"


class NumberInHand(Refusal):
    """Another callback holds this number: ``open_id`` is its id, None where the caller may not know it."""

    code = "duplicate_open_callback"

    def __init__(self, open_id: UUID | None) -> None:
        super().__init__("to_number")
        self.open_id = open_id


class IdempotencyKeyReused(Refusal):
    """The idempotency key was used before with another request."""

    code = "idempotency_key_reused"
    status = 422


class TooLate(Refusal):
    """The callback is no longer in a state in which this is possible."""

    code = "too_late"


class ChangedMeanwhile(Refusal):
    """Somebody else has changed it since the caller read it (``If-Match``); nothing was stored."""

    code = "changed_meanwhile"


class NotFound(Refusal):
    """The thing does not exist, or it belongs to another portal."""

    code = "not_found"
    status = 404


class NotPermitted(Refusal):
    """The role of the principal does not allow it."""

    code = "not_permitted"
    status = 403


class TicketExpired(Refusal):
    """The ticket is missing, altered, or older than an hour."""

    code = "ticket_expired"
    status = 401


class ProofTooOld(TicketExpired):
    """What lasts needs a newer proof than the ticket is: that the portal says who the caller is, and what they may."""

    reason = "proof_too_old"


class OwnAccessNeeded(NotPermitted):
    """A colleague's callback would be dialled under the caller's own access, but the app has none."""

    reason = "own_access_needed"


class KeyRefused(TicketExpired):
    """The API key is unknown, or it was revoked."""

    reason = "key_refused"


class PortalDisconnected(Refusal):
    """No valid credential of an administrator is left, or the app was uninstalled."""

    code = "portal_disconnected"


class PortalUnpaid(PortalDisconnected):
    """The paid period of the app or of the portal is over."""

    reason = "payment_required"


class Bitrix24Unavailable(Refusal):
    """The portal could not be reached; no call was made."""

    code = "bitrix24_unavailable"
    status = 503
    retry = Retry.LATER

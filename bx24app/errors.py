"""What a use case may refuse, as types that know what they mean; those of requests to others: ``outgoing/errors.py``.

KnownError                 what may be done about it, as attributes
Refusal
 +-- InvalidRequest        a field has the wrong shape
 |    +-- InvalidNumber, NumberNotAllowed, UnknownLine, UnknownVoice, TextInvalid (UnknownVariable), AddressRefused
 +-- DuplicateOpenCallback, IdempotencyKeyReused, TooLate     the state does not allow it
 +-- NotFound, NotPermitted, TicketExpired (KeyRefused)       the caller may not
 +-- PortalDisconnected (PortalUnpaid), Bitrix24Unavailable   the portal cannot be used now
 +-- RuleRefused            a rule that guards a website form decided
 |    +-- FormClosed, OriginRefused, NotHuman, FieldRefused, PublicNumberInvalid, PublicNumberRefused
 |    +-- OnDoNotCallList, OutsideHours, RateLimited, BudgetExhausted
Unverified                 a post that does not prove who sends it
 +-- Malformed             it is not even a post of Bitrix24
 +-- NotInstalled, AdministratorNeeded, VisitorRefused        known, but not let in
 +-- PortalUnreachable     nobody could be asked
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID


class Retry(StrEnum):
    """When the same request may succeed."""

    NEVER = "never"
    LATER = "later"
    AFTER_RENEWAL = "after_renewal"
    AFTER_MOVE = "after_move"


class Executed(StrEnum):
    """Whether what was asked for has been done."""

    NO = "no"
    UNKNOWN = "unknown"


class KnownError(Exception):
    """An error that says what it means: callers read its attributes, and list no classes."""

    # For states, logs and programs: stored and promised.
    code: ClassVar[str]
    # Which sentence explains it to people, where one code has several.
    reason: ClassVar[str] = ""
    retry: ClassVar[Retry] = Retry.NEVER
    executed: ClassVar[Executed] = Executed.NO
    # The access that was used is of no use any more: ``tokens.invalidate`` marks it, and perhaps its portal.
    revokes_credential: ClassVar[bool] = False
    # The HTTP status that came, or for our own refusals the one to answer with; None: there was none.
    status: int | None = None
    # What the other side said to people.
    words: str | None = None

    @property
    def explanation(self) -> str:
        """The code of the sentence that explains it to people."""
        return self.reason or self.code

    @property
    def callback_reason(self) -> str:
        """The promised reason of a callback that fails by it."""
        return self.explanation


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
    """A number, but of a kind that is never dialled: premium, shared-cost, short."""

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


class RuleRefused(Refusal):
    """A rule of a form decided against a request; what it looked at is for the portal, not for the visitor."""

    status = 400

    def __init__(self, rule: str, field: str | None = None, inputs: Mapping[str, object] | None = None) -> None:
        super().__init__(field)
        self.rule = rule
        self.inputs = dict(inputs or {})


class FormClosed(RuleRefused):
    """The form takes no requests now, whoever asks."""

    code = "not_permitted"
    reason = "form_closed"
    status = 403


class OriginRefused(RuleRefused):
    """The request comes from a page that may not send it."""

    code = "not_permitted"
    reason = "origin_refused"
    status = 403


class NotHuman(RuleRefused):
    """Nothing shows that a person has filled in the form."""

    reason = "not_human"


class FieldRefused(RuleRefused):
    """A field is missing or cannot be what it is."""

    reason = "field_refused"


class PublicNumberInvalid(RuleRefused):
    """A visitor's text is not a telephone number."""

    code = "invalid_number"
    reason = "public_number"
    status = 422


class PublicNumberRefused(RuleRefused):
    """A telephone number, but not one that this form calls."""

    code = "number_not_allowed"
    reason = "number_refused"
    status = 422


class OnDoNotCallList(RuleRefused):
    """The number must not be called. For the site's own back end: a visitor is told ``PublicNumberRefused``."""

    code = "do_not_call"
    status = 422


class OutsideHours(RuleRefused):
    """Nobody is there at that time; ``slots`` are offered instead."""

    code = "outside_hours"
    reason = "public_hours"
    status = 409
    slots: Sequence[datetime] | None = ()


class RateLimited(RuleRefused):
    """Too many requests; ``retry_after`` seconds later there may be room again."""

    code = "rate_limited"
    reason = "public_limit"
    status = 429
    retry = Retry.LATER


class BudgetExhausted(RuleRefused):
    """The form's calls of today are used up."""

    code = "budget_exhausted"
    reason = "public_budget"
    status = 429
    retry = Retry.LATER


class Unverified(KnownError):
    """A post does not prove its portal, application or user; the text is for the log only."""

    code = "not_permitted"
    reason = "unverified"
    status: int = 403


class Malformed(Unverified):
    """A post lacks fields that every Bitrix24 portal sends, or they have the wrong shape."""

    code = "invalid_request"
    reason = "malformed"
    status = 400


class NotInstalled(Unverified):
    """Bitrix24 vouches for the post, but an administrator has not installed the app on this portal."""

    reason = "not_installed"


class AdministratorNeeded(Unverified):
    """The user is known, but only an administrator of the portal may do this."""

    reason = "administrator_needed"


class VisitorRefused(Unverified):
    """The portal itself does not let this visitor use the app; ``cause`` and ``words`` say why."""

    reason = "visitor_refused"

    def __init__(self, text: str, cause: str, words: str | None) -> None:
        super().__init__(text)
        self.cause = cause
        self.words = words


class PortalUnreachable(Unverified):
    """Neither the portal nor the authorization server could be asked who the user is."""

    code = "bitrix24_unavailable"
    reason = "portal_unreachable"
    status = 503
    retry = Retry.LATER

"""What a use case may refuse, as types; the doors map them once to a status or a next step.

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
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID


class Refusal(Exception):
    """The use case did nothing; ``code`` is one of the promised codes, ``words`` the portal's own text."""

    code: ClassVar[str] = "invalid_request"
    # Which sentence explains it, where one code has several.
    reason: ClassVar[str] = ""

    def __init__(self, field: str | None = None, words: str | None = None) -> None:
        super().__init__(self.code)
        self.field = field
        self.words = words

    @property
    def explanation(self) -> str:
        """The code of the sentence that explains it to people."""
        return self.reason or self.code


class InvalidRequest(Refusal):
    """A field is missing or has a wrong type or value."""


class InvalidNumber(InvalidRequest):
    """The text is not a telephone number that can be dialled."""

    code = "invalid_number"


class NumberNotAllowed(InvalidRequest):
    """A number, but of a kind that is never dialled: premium, shared-cost, short."""

    code = "number_not_allowed"


class UnknownLine(InvalidRequest):
    """The portal has no such line, or the line is our own external one."""

    code = "unknown_line"


class UnknownVoice(InvalidRequest):
    """The portal has no such voice."""

    code = "unknown_voice"


class TextInvalid(InvalidRequest):
    """The text to pronounce is empty or too long."""

    code = "text_invalid"


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


class TooLate(Refusal):
    """The callback has left the state in which this was possible."""

    code = "too_late"


class NotFound(Refusal):
    """There is no such thing, or it belongs to another portal."""

    code = "not_found"


class NotPermitted(Refusal):
    """The caller's role does not allow it."""

    code = "not_permitted"


class TicketExpired(Refusal):
    """The ticket is missing, altered, or older than an hour."""

    code = "ticket_expired"


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


class RuleRefused(Refusal):
    """A rule of a form decided against a request; what it looked at is for the portal, not for the visitor."""

    def __init__(self, rule: str, field: str | None = None, inputs: Mapping[str, object] | None = None) -> None:
        super().__init__(field)
        self.rule = rule
        self.inputs = dict(inputs or {})
        self.slots: Sequence[datetime] = ()
        self.retry_after: int | None = None


class FormClosed(RuleRefused):
    """The form takes no requests now, whoever asks."""

    code = "not_permitted"
    reason = "form_closed"


class OriginRefused(RuleRefused):
    """The request comes from a page that may not send it."""

    code = "not_permitted"
    reason = "origin_refused"


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


class PublicNumberRefused(RuleRefused):
    """A telephone number, but not one that this form calls."""

    code = "number_not_allowed"
    reason = "number_refused"


class OnDoNotCallList(RuleRefused):
    """The number must not be called. For the site's own back end: a visitor is told ``PublicNumberRefused``."""

    code = "do_not_call"


class OutsideHours(RuleRefused):
    """Nobody is there at that time; ``slots`` are offered instead."""

    code = "outside_hours"
    reason = "public_hours"


class RateLimited(RuleRefused):
    """Too many requests; ``retry_after`` seconds later there may be room again."""

    code = "rate_limited"
    reason = "public_limit"


class BudgetExhausted(RuleRefused):
    """The form's calls of today are used up."""

    code = "budget_exhausted"
    reason = "public_budget"


@dataclass
class Unverified(Exception):
    """A post does not prove its portal, application or user; ``reason`` is for the log only."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class Malformed(Unverified):
    """A post lacks fields that every Bitrix24 portal sends, or they have the wrong shape."""


class NotInstalled(Unverified):
    """Bitrix24 vouches for the post, but an administrator has not installed the app on this portal."""


class AdministratorNeeded(Unverified):
    """The user is known, but only an administrator of the portal may do this."""


@dataclass
class VisitorRefused(Unverified):
    """The portal itself does not let this visitor use the app; ``code`` and ``words`` say why."""

    code: str
    words: str


class PortalUnreachable(Unverified):
    """Neither the portal nor the authorization server could be asked who the user is."""

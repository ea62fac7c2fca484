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
      +-- TooManyLaunches  the portal's other launches have to be answered first
"""

from bx24app.errors.known import Executed, KnownError, Retry
from bx24app.errors.refusals import (
    AddressRefused,
    Bitrix24Unavailable,
    DuplicateOpenCallback,
    IdempotencyKeyReused,
    InvalidNumber,
    InvalidRequest,
    KeyRefused,
    NotFound,
    NotPermitted,
    NumberNotAllowed,
    PortalDisconnected,
    PortalUnpaid,
    Refusal,
    TextInvalid,
    TicketExpired,
    TooLate,
    UnknownLine,
    UnknownVariable,
    UnknownVoice,
)
from bx24app.errors.rules import (
    BudgetExhausted,
    FieldRefused,
    FormClosed,
    NotHuman,
    OnDoNotCallList,
    OriginRefused,
    OutsideHours,
    PublicNumberInvalid,
    PublicNumberRefused,
    RateLimited,
    RuleRefused,
)
from bx24app.errors.unverified import (
    AdministratorNeeded,
    Malformed,
    NotInstalled,
    PortalUnreachable,
    TooManyLaunches,
    Unverified,
    VisitorRefused,
)

__all__ = [
    "AddressRefused",
    "AdministratorNeeded",
    "Bitrix24Unavailable",
    "BudgetExhausted",
    "DuplicateOpenCallback",
    "Executed",
    "FieldRefused",
    "FormClosed",
    "IdempotencyKeyReused",
    "InvalidNumber",
    "InvalidRequest",
    "KeyRefused",
    "KnownError",
    "Malformed",
    "NotFound",
    "NotHuman",
    "NotInstalled",
    "NotPermitted",
    "NumberNotAllowed",
    "OnDoNotCallList",
    "OriginRefused",
    "OutsideHours",
    "PortalDisconnected",
    "PortalUnpaid",
    "PortalUnreachable",
    "PublicNumberInvalid",
    "PublicNumberRefused",
    "RateLimited",
    "Refusal",
    "Retry",
    "RuleRefused",
    "TextInvalid",
    "TicketExpired",
    "TooLate",
    "TooManyLaunches",
    "UnknownLine",
    "UnknownVariable",
    "UnknownVoice",
    "Unverified",
    "VisitorRefused",
]

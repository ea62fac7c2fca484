"""The errors of use cases and guards; the errors of requests to others are in ``outgoing/errors.py``.

KnownError                 says by its attributes what may be done about it
Refusal                    the use case did nothing
 +-- InvalidRequest        a field has the wrong shape
 |    +-- InvalidNumber, NumberNotAllowed, UnknownLine, UnknownVoice, TextInvalid (UnknownVariable), AddressRefused,
 |         CountryUnknown, LimitReached, ListRefused
 +-- NumberInHand, IdempotencyKeyReused, TooLate, ChangedMeanwhile    the state does not allow it
 +-- NotFound, NotPermitted (OwnAccessNeeded)                 the caller may not do it
 +-- TicketExpired (ProofTooOld, KeyRefused)                  the caller has to prove who they are
 +-- CrmUnreadable          something of the CRM is gone, or closed to whoever asks
 +-- PortalDisconnected (PortalUnpaid), Bitrix24Unavailable   the portal cannot be used now
 +-- RuleRefused            a rule of a website form rejects the submission
 |    +-- FormClosed, OriginRefused, NotHuman, FieldRefused, PublicNumberInvalid, PublicNumberRefused
 |    +-- OnDoNotCallList (NumberListed), OutsideHours, RateLimited,
 |         BudgetExhausted (LaterBudgetExhausted)
DatabaseBusy               other writers kept the database for too long; nothing was written
CommandRefused             a command of the operator is not done (DatabaseInUse: while the app runs)
Unverified                 a post does not prove who sends it
 +-- Malformed             it does not look like a post of Bitrix24
 +-- NotInstalled, AdministratorNeeded, VisitorRefused        the sender is known, but may not open the page
 +-- PortalUnreachable     nobody could be asked who sends it
      +-- TooManyLaunches  the portal's other launches have to be answered first
      +-- StillRemoving     what a removal takes away has to be deleted first
"""

from bx24app.errors.database import DatabaseBusy
from bx24app.errors.known import Executed, KnownError, Retry
from bx24app.errors.operator import CommandRefused, DatabaseInUse
from bx24app.errors.refusals import (
    AddressRefused,
    Bitrix24Unavailable,
    ChangedMeanwhile,
    CountryUnknown,
    CrmUnreadable,
    IdempotencyKeyReused,
    InvalidNumber,
    InvalidRequest,
    KeyRefused,
    LimitReached,
    ListRefused,
    NotFound,
    NotPermitted,
    NumberInHand,
    NumberNotAllowed,
    OwnAccessNeeded,
    PortalDisconnected,
    PortalUnpaid,
    ProofTooOld,
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
    LaterBudgetExhausted,
    NotHuman,
    NumberListed,
    OnDoNotCallList,
    OriginRefused,
    OutsideHours,
    PublicNumberInvalid,
    PublicNumberRefused,
    RateLimited,
    RuleRefused,
    TooManyErasures,
    TooManyFiles,
    TooManyListed,
    TrapFilled,
)
from bx24app.errors.unverified import (
    AdministratorNeeded,
    Malformed,
    NotInstalled,
    OpenedElsewhere,
    PortalUnreachable,
    StillRemoving,
    TooManyLaunches,
    Unverified,
    VisitorRefused,
)

__all__ = [
    "AddressRefused",
    "AdministratorNeeded",
    "Bitrix24Unavailable",
    "BudgetExhausted",
    "ChangedMeanwhile",
    "CommandRefused",
    "CountryUnknown",
    "CrmUnreadable",
    "DatabaseBusy",
    "DatabaseInUse",
    "Executed",
    "FieldRefused",
    "FormClosed",
    "IdempotencyKeyReused",
    "InvalidNumber",
    "InvalidRequest",
    "KeyRefused",
    "KnownError",
    "LaterBudgetExhausted",
    "LimitReached",
    "ListRefused",
    "Malformed",
    "NotFound",
    "NotHuman",
    "NotInstalled",
    "NotPermitted",
    "NumberInHand",
    "NumberListed",
    "NumberNotAllowed",
    "OnDoNotCallList",
    "OpenedElsewhere",
    "OriginRefused",
    "OutsideHours",
    "OwnAccessNeeded",
    "PortalDisconnected",
    "PortalUnpaid",
    "PortalUnreachable",
    "ProofTooOld",
    "PublicNumberInvalid",
    "PublicNumberRefused",
    "RateLimited",
    "Refusal",
    "Retry",
    "RuleRefused",
    "StillRemoving",
    "TextInvalid",
    "TicketExpired",
    "TooLate",
    "TooManyErasures",
    "TooManyFiles",
    "TooManyLaunches",
    "TooManyListed",
    "TrapFilled",
    "UnknownLine",
    "UnknownVariable",
    "UnknownVoice",
    "Unverified",
    "VisitorRefused",
]

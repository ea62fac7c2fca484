"""A call report: what an event or a row of the call history says about a call."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from bx24app.bitrix24 import telephony
from bx24app.bitrix24.events import CallEvent
from bx24app.bitrix24.telephony import HistoryRow
from bx24app.models import ReceivedEvent
from bx24app.services.calling.phone_numbers import digits
from bx24app.services.security import digests

# A portal may list more calls of a number that nobody here began, but no number has more within a day.
MOST_ROWS_OF_NUMBER = 50


class ReportKind(StrEnum):
    """What a report is: an event that somebody picked up, or that a call ended, or a row of the history.

    Only the history proves that a call has ended, and how: who once opened the app can make up any event.
    """

    START = "ONVOXIMPLANTCALLSTART"
    END = "ONVOXIMPLANTCALLEND"
    HISTORY = "HISTORY"


@dataclass(frozen=True)
class CallReport:
    """What is known of a call. None: Bitrix24 did not say. Of the number only the keyed digest is kept."""

    kind: ReportKind
    call_id: str
    call_type: int | None = None
    line_id: str | None = None
    number_digest: str | None = field(default=None, repr=False)
    user_id: int | None = None
    duration_seconds: int | None = None
    cost: Decimal | None = None
    currency: str | None = None
    failed_code: str | None = None
    # In the portal's own words.
    failed_reason: str | None = None
    began_at: datetime | None = None
    # The portal's own activity of the call in the CRM.
    activity_id: int | None = None
    # The id of its row, if it came from the history.
    history_id: int | None = None

    @property
    def is_success(self) -> bool:
        """Tell whether somebody talked with the customer."""
        return self.failed_code == telephony.SUCCESS

    @property
    def may_be_callback(self) -> bool:
        """Tell whether it can be of a call that the app started; an event may leave the type out."""
        return self.call_type in (None, telephony.CALLBACK)


def report_of_event(name: str, call: CallEvent) -> CallReport:
    """Make a report of a telephony event; call it outside of transactions, because ``digests.digest`` opens one."""
    return CallReport(
        kind=ReportKind(name),
        call_id=call.CALL_ID,
        call_type=call.CALL_TYPE,
        number_digest=_number_digest(call.PHONE_NUMBER),
        user_id=call.USER_ID,
        failed_code=call.CALL_FAILED_CODE or None,
    )


def report_of_row(row: HistoryRow) -> CallReport:
    """Make a report of a row of the call history; call it outside of transactions too."""
    return CallReport(
        kind=ReportKind.HISTORY,
        call_id=row.CALL_ID,
        call_type=row.CALL_TYPE,
        line_id=row.PORTAL_NUMBER or None,
        number_digest=_number_digest(row.PHONE_NUMBER),
        user_id=row.PORTAL_USER_ID,
        duration_seconds=row.CALL_DURATION,
        cost=row.COST,
        currency=row.COST_CURRENCY or None,
        failed_code=row.CALL_FAILED_CODE or None,
        failed_reason=row.CALL_FAILED_REASON or None,
        began_at=row.CALL_START_DATE,
        activity_id=row.CRM_ACTIVITY_ID,
        history_id=row.ID,
    )


def _number_digest(text: str) -> str | None:
    number = digits(text)
    return digests.digest("number", number) if number else None


def row_of_report(portal_id: int, report: CallReport, digest: str) -> ReceivedEvent:
    """Make the row that keeps a report until it is applied; ``digest`` is another one for everything that is said."""
    said: dict[str, str | int | None] = {
        "row": report.history_id,
        "user_id": report.user_id,
        "duration": report.duration_seconds,
        "cost": None if report.cost is None else str(report.cost),
        "currency": report.currency,
        "code": report.failed_code,
        "words": report.failed_reason,
        "activity": report.activity_id,
        "began_at": report.began_at.isoformat() if report.began_at else None,
    }
    return ReceivedEvent(
        portal_id=portal_id,
        digest=digest,
        event=report.kind,
        call_id=report.call_id,
        call_type=report.call_type,
        line_id=report.line_id,
        number_digest=report.number_digest,
        fields={name: value for name, value in said.items() if value is not None},
    )


def stored_report(row: ReceivedEvent) -> CallReport:
    """Read the report that a row keeps."""
    said: dict[str, Any] = row.fields
    return CallReport(
        kind=ReportKind(row.event),
        call_id=row.call_id,
        call_type=row.call_type,
        line_id=row.line_id,
        number_digest=row.number_digest,
        user_id=said.get("user_id"),
        duration_seconds=said.get("duration"),
        cost=Decimal(said["cost"]) if "cost" in said else None,
        currency=said.get("currency"),
        failed_code=said.get("code"),
        failed_reason=said.get("words"),
        began_at=datetime.fromisoformat(said["began_at"]) if "began_at" in said else None,
        activity_id=said.get("activity"),
        history_id=said.get("row"),
    )

"""Call reports are kept in rows and come back as they were."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bx24app.models import ReceivedEvent
from bx24app.services.dialling.call_report import CallReport, ReportKind, row_of_report, stored_report

FULL = CallReport(
    kind=ReportKind.HISTORY,
    call_id="call.1",
    call_type=4,
    line_id="reg150907",
    number_digest="d" * 64,
    user_id=0,
    duration_seconds=0,
    cost=Decimal("0.0000"),
    currency="EUR",
    failed_code="603-S",
    failed_reason="Declined",
    began_at=datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
    history_id=7,
)


@pytest.mark.parametrize("report", [FULL, CallReport(ReportKind.END, "call.2")], ids=["full", "bare"])
def test_what_a_row_keeps_is_read_back(report: CallReport) -> None:
    assert stored_report(row_of_report(1, report, "digest")) == report


def test_what_was_not_said_is_not_kept() -> None:
    assert row_of_report(1, CallReport(ReportKind.START, "call.2", user_id=2), "digest").fields == {"user_id": 2}


def test_rows_of_earlier_versions_are_read() -> None:
    fields = {"row": 7, "duration": 12, "cost": "0.15", "currency": "EUR", "code": "200", "words": "Success"}
    row = ReceivedEvent(
        event="HISTORY", call_id="call.1", fields=fields | {"user_id": 2, "began_at": "2026-11-23T12:00:00+03:00"}
    )
    report = stored_report(row)
    assert (report.user_id, report.duration_seconds, report.cost, report.history_id) == (2, 12, Decimal("0.15"), 7)
    assert report.began_at == datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    assert report.is_success
    assert report.may_be_callback

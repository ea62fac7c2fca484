"""The app with one safeguard taken out, to prove that the checks bite.

The one place where tests replace our own code: what is tested here is the test.
"""

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from bx24app import database
from bx24app.bitrix24 import timeline
from bx24app.bitrix24.events import CallEvent
from bx24app.bitrix24.people.reminders import LookedAtCard, look_at_card
from bx24app.database import writing
from bx24app.models import Callback, RuleRun, RuleStage, State, TimelineEntry
from bx24app.services.dialling import call_events, deadlines, queue
from bx24app.services.dialling import dial as dialling
from bx24app.services.dialling.call_report import CallReport, ReportKind, report_of_event
from bx24app.services.dialling.dial import FencedAttempt
from bx24app.services.dialling.queue import DialLease
from bx24app.services.native.automation import rule_posts, rule_results, rule_runs, unproven_runs
from bx24app.services.native.automation.rule_results import RunResult
from bx24app.services.native.follow_up import to_dos
from bx24app.services.native.timeline import erasing
from bx24app.services.native.timeline import queue as entries

ENDLESS = timedelta(days=3650)


class _NotCommitted(Exception):
    """Takes everything back that a transaction has done."""


@contextmanager
def _replaced(module: ModuleType, name: str, by: object) -> Iterator[None]:
    genuine = getattr(module, name)
    setattr(module, name, by)
    try:
        yield
    finally:
        setattr(module, name, genuine)


@contextmanager
def no_fence() -> Iterator[None]:
    """The attempt is written down only after the portal has answered."""
    genuine_fence, genuine_record = dialling._fence, dialling._record
    claims: dict[Any, tuple[DialLease, str]] = {}

    def fence(claim: DialLease, number_digest: str) -> FencedAttempt | None:
        found: list[FencedAttempt] = []

        @contextmanager
        def taken_back() -> Iterator[Session]:
            with contextlib.suppress(_NotCommitted), writing() as session:
                yield session
                raise _NotCommitted

        with _replaced(dialling, "writing", taken_back):
            if dial := genuine_fence(claim, number_digest):
                found.append(dial)
                claims[dial.callback_id] = claim, number_digest
        return found[0] if found else None

    def record(dial: FencedAttempt, outcome: Any) -> None:
        if fenced := genuine_fence(*claims.pop(dial.callback_id)):
            genuine_record(fenced, outcome)

    with _replaced(dialling, "_fence", fence), _replaced(dialling, "_record", record):
        yield


@contextmanager
def lease_unheeded() -> Iterator[None]:
    """A worker dials a callback that it once claimed, whoever has it now."""

    def claimed(session: Session, claim: DialLease) -> Callback | None:
        callback = session.get(Callback, claim.callback_id, with_for_update=True)
        return callback if callback is not None and callback.state == State.QUEUED else None

    with _replaced(dialling, "leased_callback", claimed):
        yield


@contextmanager
def lease_without_end() -> Iterator[None]:
    """What a dead worker had claimed stays its own."""
    with (
        _replaced(queue, "DIAL_LEASE", ENDLESS),
        _replaced(dialling, "DIAL_LEASE", ENDLESS),
    ):
        yield


@contextmanager
def no_settling() -> Iterator[None]:
    """Nothing is decided when no report can be awaited any more."""
    with _replaced(deadlines, "apply_deadlines", lambda: 0):
        yield


@contextmanager
def forgetful_unknown() -> Iterator[None]:
    """A lost answer counts as a refusal: the callback waits for another attempt at once."""

    def mark_unknown(self: Callback, attempt: Any, at: Any, reason: str) -> None:
        attempt.mark_unknown()
        self.due_at = at
        self._go(State.QUEUED, at, reason)

    genuine = Callback.mark_unknown
    Callback.mark_unknown = mark_unknown  # type: ignore[method-assign]
    try:
        yield
    finally:
        Callback.mark_unknown = genuine  # type: ignore[method-assign]


@contextmanager
def believed_events() -> Iterator[None]:
    """What the event of an end says counts like a row of the history."""
    genuine_report, genuine_concerns = report_of_event, call_events._concerns_callback

    def believing(name: str, call: CallEvent) -> CallReport:
        report = genuine_report(name, call)
        is_end = report.kind == ReportKind.END
        return replace(report, kind=ReportKind.HISTORY, history_id=2**40) if is_end else report

    def concerning(session: Session, portal_id: int, report: CallReport, number: str) -> bool:
        told = replace(report, kind=ReportKind.END) if report.kind == ReportKind.HISTORY else report
        return genuine_concerns(session, portal_id, told, number)

    with _replaced(call_events, "report_of_event", believing), _replaced(call_events, "_concerns_callback", concerning):
        yield


@contextmanager
def rule_repeated() -> Iterator[None]:
    """A post that comes again is another run."""
    genuine = database.insert_new

    def insert(session: Session, rows: Sequence[RuleRun], returning: Any) -> set[Any]:
        inserted = genuine(session, rows, returning)
        if not inserted:
            rows[0].token_digest = secrets.token_hex(32)
            inserted = genuine(session, rows, returning)
        return inserted

    with _replaced(rule_posts, "insert_new", insert), _replaced(unproven_runs, "insert_new", insert):
        yield


@contextmanager
def rule_lease_without_end() -> Iterator[None]:
    """The run of a dead worker stays its own."""
    with _replaced(rule_runs, "RULE_LEASE", ENDLESS):
        yield


@contextmanager
def result_sent_once() -> Iterator[None]:
    """A result that the portal has not taken is not sent again."""
    with _replaced(rule_results, "_is_final", lambda *_: True):
        yield


@contextmanager
def result_unawaited() -> Iterator[None]:
    """The automation goes on as soon as the callback is made."""
    genuine = rule_results._read_result

    def read(session: Session, run: RuleRun) -> RunResult | None:
        callback = session.get(Callback, run.callback_id) if run.callback_id else None
        return genuine(session, run) or (RunResult(callback.state) if callback else None)

    over = RuleRun.stage == RuleStage.CALLING
    with _replaced(rule_results, "is_over", lambda: over), _replaced(rule_results, "_read_result", read):
        yield


@contextmanager
def entry_not_looked_for() -> Iterator[None]:
    """An activity whose answer was lost is not there."""
    with _replaced(timeline, "find_activity", lambda *_: None):
        yield


@contextmanager
def entry_lease_without_end() -> Iterator[None]:
    """The entry of a dead worker stays its own."""
    with _replaced(entries, "ENTRY_LEASE", ENDLESS):
        yield


@contextmanager
def erased_unnoticed() -> Iterator[None]:
    """Whoever shows a callback in the moment in which it is erased does not look again."""

    def detach(condition: ColumnElement[bool]) -> None:
        theirs = TimelineEntry.changes
        genuine(condition)
        with writing() as session:
            session.execute(update(TimelineEntry).where(TimelineEntry.callback_id.is_(None)).values(changes=theirs - 1))

    genuine = erasing.detach_entries
    with _replaced(erasing, "detach_entries", detach):
        yield


@contextmanager
def to_do_not_looked_for() -> Iterator[None]:
    """A to-do whose answer was lost is not there."""

    def look(*given: Any) -> LookedAtCard:
        return replace(look_at_card(*given), to_do=None)

    with _replaced(to_dos, "look_at_card", look):
        yield


@contextmanager
def to_do_lease_without_end() -> Iterator[None]:
    """The to-do of a dead worker stays its own."""
    with _replaced(to_dos, "TODO_LEASE", ENDLESS):
        yield


MUTANTS = {
    "entry_not_looked_for": entry_not_looked_for,
    "entry_lease_without_end": entry_lease_without_end,
    "erased_unnoticed": erased_unnoticed,
    "to_do_not_looked_for": to_do_not_looked_for,
    "to_do_lease_without_end": to_do_lease_without_end,
    "rule_repeated": rule_repeated,
    "rule_lease_without_end": rule_lease_without_end,
    "result_sent_once": result_sent_once,
    "result_unawaited": result_unawaited,
    "believed_events": believed_events,
    "no_fence": no_fence,
    "lease_unheeded": lease_unheeded,
    "lease_without_end": lease_without_end,
    "no_settling": no_settling,
    "forgetful_unknown": forgetful_unknown,
}


@contextmanager
def applied(name: str) -> Iterator[None]:
    """Take out what is named; "" takes nothing out."""
    with MUTANTS[name]() if name else contextlib.nullcontext():
        yield

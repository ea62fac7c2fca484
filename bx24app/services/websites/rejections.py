"""Rejections: the portal sees what was rejected and why; a flood is only counted, and rows are kept for 30 days.

Whoever may post to a form may have rows written, so their number has an end: for a rule of a form in an hour, for a
form in a day, for a portal in a day. Beyond it they are counted, and each rule of a form still has a row a day. Whoever
writes makes others wait, so a visitor whose requests are rejected one after the other is counted in memory first.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import cast

import structlog
from flask import current_app
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bx24app.database import purge, reading, writing
from bx24app.database.errors import is_missing_reference
from bx24app.errors import DatabaseBusy, RuleRefused
from bx24app.models import Rejection, Source, utcnow
from bx24app.services.runtime import rate_limit
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.runtime.rate_limit import DAY, HOUR, RateLimit
from bx24app.services.security import digests
from bx24app.services.websites.submission import Submission

log = structlog.get_logger(__name__)

REJECTIONS_KEPT = timedelta(days=30)
# How many rows are stored: for one rule of a form in an hour, for a form in a day, for a portal in a day.
ROWS_AN_HOUR = 100
FORM_ROWS_A_DAY = 1000
PORTAL_ROWS_A_DAY = 5000
ONE_ROW_EACH = timedelta(days=1)
# How many rejections a process writes in a minute: for one visitor of a form, for a form, for all forms. The others are
# counted in memory, and their counts are written together.
WRITES_FOR_ADDRESS, WRITES_FOR_FORM, WRITES_IN_ALL = 30, 100, 300
COUNTS_WRITTEN_EVERY = 10.0
COUNTS_STATE = "bx24app.rejection_counts"


@dataclass
class _Counts:
    """Rejections that are counted and not written yet, by portal, form and rule."""

    lock: Lock = field(default_factory=Lock)
    waiting: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    written_at: float = field(default_factory=time.monotonic)

    def add(self, counted: Mapping[tuple[int, int, str], int]) -> None:
        with self.lock:
            self.waiting.update(counted)

    def take(self) -> Counter[tuple[int, int, str]]:
        with self.lock:
            taken, self.waiting, self.written_at = self.waiting, Counter(), time.monotonic()
        return taken


def _counts() -> _Counts:
    return cast("_Counts", current_app.extensions.setdefault(COUNTS_STATE, _Counts()))


def record(submission: Submission, refusal: RuleRefused) -> None:
    """Keep the rule that decided, with what it looked at; commits, or counts in memory what is too much."""
    row, counts = rejection_row(submission, refusal), _counts()
    if submission.source != Source.WEBSITE or all(take_local(limit, key) for limit, key in _local_limits(submission)):
        _write([row], _buckets(submission.portal.member_id, submission.form.key, refusal.rule))
        log.info("submission_rejected", form=submission.form.key, rule=refusal.rule)
    else:
        counts.add({(row.portal_id, row.form_id, row.rule): 1})
    if time.monotonic() - counts.written_at > COUNTS_WRITTEN_EVERY:
        write_counts()


def write_counts() -> None:
    """Write what was counted in memory; commits."""
    counts = _counts()
    taken = counts.take()
    if not taken:
        return
    now = utcnow()
    rows = [
        Rejection(portal_id=portal_id, form_id=form_id, rule=rule, inputs={}, made_at=now, count=count)
        for (portal_id, form_id, rule), count in taken.items()
    ]
    try:
        _write(rows, None)
    except DatabaseBusy:
        counts.add(taken)
        raise
    log.info("submissions_rejected", count=taken.total())


def _write(rows: list[Rejection], buckets: list[RateLimit] | None) -> None:
    """Store each row if every bucket has a token; else, and without buckets, count it at the last of its rule."""
    try:
        with writing() as session:
            for row in rows:
                is_stored = buckets is not None and _take(session, buckets, row.made_at.timestamp())
                if is_stored or not _count(session, row):
                    session.add(row)
    except IntegrityError as error:
        # A portal was deleted in this moment, with all its rejections.
        if not is_missing_reference(error):
            raise


def _take(session: Session, buckets: list[RateLimit], at: float) -> bool:
    # One after the other, the narrowest first: a flood against one rule leaves the tokens of the others alone.
    return all(rate_limit.take_tokens(session, [bucket], at) is None for bucket in buckets)


def rejection_row(submission: Submission, refusal: RuleRefused) -> Rejection:
    """Make the row of a rejection, without storing it."""
    inputs = {name: value for name, value in refusal.inputs.items() if value is not None}
    inputs |= submission.decoration.note
    if submission.parsed.e164:
        inputs["number_digest"] = submission.number.digest
    if submission.address:
        inputs["network"] = submission.network
    return Rejection(
        portal_id=submission.portal.id,
        form_id=submission.form.id,
        rule=refusal.rule,
        inputs=inputs,
        made_at=submission.now,
        count=1,
    )


def _local_limits(submission: Submission) -> list[tuple[LocalLimit, str]]:
    """The narrowest first: a visitor who floods takes only a few of the others' tokens."""
    return [
        (LocalLimit("rejections_of_address", WRITES_FOR_ADDRESS), f"{submission.form.key} {submission.network}"),
        (LocalLimit("rejections_of_form", WRITES_FOR_FORM), submission.form.key),
        (LocalLimit("rejections", WRITES_IN_ALL), ""),
    ]


def _buckets(member_id: str, form_key: str, rule: str) -> list[RateLimit]:
    bounds = (
        (f"{form_key} refusal {rule}", ROWS_AN_HOUR, HOUR),
        (f"{form_key} refusals", FORM_ROWS_A_DAY, DAY),
        (f"{member_id} refusals of the portal", PORTAL_ROWS_A_DAY, DAY),
    )
    return [RateLimit("refusal", digests.digest("rate", what), rows, seconds) for what, rows, seconds in bounds]


def _count(session: Session, row: Rejection) -> bool:
    """Count a rejection at the last row of its form and rule; False where there is none of the last day."""
    last = select(Rejection.id).where(
        Rejection.form_id == row.form_id, Rejection.rule == row.rule, Rejection.made_at > row.made_at - ONE_ROW_EACH
    )
    last = last.order_by(Rejection.made_at.desc()).limit(1)
    change = update(Rejection).where(Rejection.id == last.scalar_subquery()).values(count=Rejection.count + row.count)
    return session.execute(change.returning(Rejection.id)).first() is not None


@dataclass(frozen=True)
class RejectionSummary:
    """The latest rejections of a form, and the number of rejections by rule."""

    latest: list[Rejection]
    counts: dict[str, int]


def summarize_rejections(form_id: int, since: datetime, limit: int, until: datetime | None = None) -> RejectionSummary:
    """Read the rejections of a form since a time: the ``limit`` newest, the newest first, and all counts by rule."""
    write_counts()
    query = select(Rejection).where(Rejection.form_id == form_id, Rejection.made_at >= since)
    if until is not None:
        query = query.where(Rejection.made_at < until)
    counted = query.with_only_columns(Rejection.rule, func.sum(Rejection.count)).group_by(Rejection.rule)
    with reading() as session:
        latest = list(session.scalars(query.order_by(Rejection.made_at.desc(), Rejection.id.desc()).limit(limit)))
        counts = {rule: int(count) for rule, count in session.execute(counted)}
    return RejectionSummary(latest, counts)


def purge_rejections() -> int:
    """Delete rejections older than 30 days; returns how many."""
    return purge(Rejection, Rejection.made_at < utcnow() - REJECTIONS_KEPT)

"""Rejections: the portal sees what was rejected and why; a flood is only counted, and rows are kept for 30 days.

Whoever may post to a form may have rows written, so their number has an end: for a rule of a form in an hour, for a
form in a day, for a portal in a day. Beyond it they are counted, and each rule of a form still has a row a day.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from bx24app.database import purge, reading, writing
from bx24app.errors import RuleRefused
from bx24app.models import Rejection, utcnow
from bx24app.services.runtime import rate_limit
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


def record(submission: Submission, refusal: RuleRefused) -> None:
    """Store the rule that decided, with what it looked at; commits."""
    row = rejection_row(submission, refusal)
    buckets = _buckets(submission.portal.member_id, submission.form.key, refusal.rule)
    with writing() as session:
        # One after the other, the narrowest first: a flood against one rule leaves the tokens of the others alone.
        at = row.made_at.timestamp()
        is_stored = all(rate_limit.take_tokens(session, [bucket], at) is None for bucket in buckets)
        if is_stored or not _count(session, row):
            session.add(row)
    log.info("submission_rejected", form=submission.form.key, rule=refusal.rule)


def rejection_row(submission: Submission, refusal: RuleRefused) -> Rejection:
    """Make the row of a rejection, without storing it."""
    inputs = {name: value for name, value in refusal.inputs.items() if value is not None}
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
    )


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
    change = update(Rejection).where(Rejection.id == last.scalar_subquery()).values(count=Rejection.count + 1)
    return session.execute(change.returning(Rejection.id)).first() is not None


@dataclass(frozen=True)
class RejectionSummary:
    """The latest rejections of a form, and the number of rejections by rule."""

    latest: list[Rejection]
    counts: dict[str, int]


def summarize_rejections(form_id: int, since: datetime, limit: int) -> RejectionSummary:
    """Read the rejections of a form since a time: the ``limit`` newest, the newest first, and all counts by rule."""
    query = select(Rejection).where(Rejection.form_id == form_id, Rejection.made_at >= since)
    counted = query.with_only_columns(Rejection.rule, func.sum(Rejection.count)).group_by(Rejection.rule)
    with reading() as session:
        latest = list(session.scalars(query.order_by(Rejection.made_at.desc(), Rejection.id.desc()).limit(limit)))
        counts = {rule: int(count) for rule, count in session.execute(counted)}
    return RejectionSummary(latest, counts)


def purge_rejections() -> int:
    """Delete rejections older than 30 days; returns how many."""
    return purge(Rejection, Rejection.made_at < utcnow() - REJECTIONS_KEPT)

"""Rejections: the portal sees what was rejected and why; a flood is only counted, and rows are kept for 30 days."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from bx24app.database import purge, reading, writing
from bx24app.errors import RuleRefused
from bx24app.models import Rejection, utcnow
from bx24app.services.runtime import rate_limit
from bx24app.services.runtime.rate_limit import HOUR, RateLimit
from bx24app.services.security import digests
from bx24app.services.websites.submission import Submission

log = structlog.get_logger(__name__)

REJECTIONS_KEPT = timedelta(days=30)
# So many rows are stored for one rule of a form in an hour; further rejections are only counted.
ROWS_AN_HOUR = 100


def record(submission: Submission, refusal: RuleRefused) -> None:
    """Store the rule that decided, with what it looked at; commits."""
    digest = digests.digest("rate", f"{submission.form.key} refusal {refusal.rule}")
    bucket = RateLimit("refusal", digest, ROWS_AN_HOUR, HOUR)
    row = rejection_row(submission, refusal)
    with writing() as session:
        if rate_limit.take_tokens(session, [bucket], row.made_at.timestamp()) is None:
            session.add(row)
        else:
            _count(session, row)
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


def _count(session: Session, row: Rejection) -> None:
    last = select(func.max(Rejection.id)).where(Rejection.form_id == row.form_id, Rejection.rule == row.rule)
    session.execute(update(Rejection).where(Rejection.id == last.scalar_subquery()).values(count=Rejection.count + 1))


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
        latest = list(session.scalars(query.order_by(Rejection.id.desc()).limit(limit)))
        counts = {rule: int(count) for rule, count in session.execute(counted)}
    return RejectionSummary(latest, counts)


def purge_rejections() -> int:
    """Delete rejections older than 30 days; returns how many."""
    return purge(Rejection, Rejection.made_at < utcnow() - REJECTIONS_KEPT)

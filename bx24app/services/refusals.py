"""What was not taken, and why: for the portal's eyes, bounded in a flood, forgotten after a month."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from bx24app.errors import RuleRefused
from bx24app.extensions import reading, writing
from bx24app.models import Refusal, utcnow
from bx24app.services import digests, limits
from bx24app.services.cases import Case
from bx24app.services.limits import HOUR, Bucket

log = structlog.get_logger(__name__)

KEPT = timedelta(days=30)
# Rows of one rule and form an hour; more are only counted.
ROWS_AN_HOUR = 100


def note(case: Case, refusal: RuleRefused) -> None:
    """Keep the rule that decided, with what it looked at; commits."""
    inputs = {name: value for name, value in refusal.inputs.items() if value is not None}
    if case.typed.e164:
        inputs["number_digest"] = case.number.digest
    if case.address:
        inputs["network"] = case.network
    digest = digests.digest("rate", f"{case.form.id} refusal {refusal.rule}")
    bucket = Bucket("refusal", digest, ROWS_AN_HOUR, HOUR)
    row = Refusal(portal_id=case.portal.id, form_id=case.form.id, rule=refusal.rule, inputs=inputs)
    row.made_at = utcnow()
    with writing() as session:
        if limits.take(session, [bucket], row.made_at.timestamp()) is None:
            session.add(row)
        else:
            _count(session, row)
    log.info("request_refused", form=case.form.key, rule=refusal.rule)


def _count(session: Session, row: Refusal) -> None:
    last = select(func.max(Refusal.id)).where(Refusal.form_id == row.form_id, Refusal.rule == row.rule)
    session.execute(update(Refusal).where(Refusal.id == last.scalar_subquery()).values(count=Refusal.count + 1))


@dataclass(frozen=True)
class Refused:
    """The latest refusals of a form, and how many there were by rule."""

    latest: list[Refusal]
    counts: dict[str, int]


def of_form(form_id: int, since: datetime, limit: int) -> Refused:
    """Refusals of one form, newest first."""
    query = select(Refusal).where(Refusal.form_id == form_id, Refusal.made_at >= since)
    counted = query.with_only_columns(Refusal.rule, func.sum(Refusal.count)).group_by(Refusal.rule)
    with reading() as session:
        latest = list(session.scalars(query.order_by(Refusal.id.desc()).limit(limit)))
        counts = {rule: int(count) for rule, count in session.execute(counted)}
    return Refused(latest, counts)


def forget_old() -> int:
    """Delete refusals older than a month; returns how many."""
    with writing() as session:
        query = delete(Refusal).where(Refusal.made_at < utcnow() - KEPT).returning(Refusal.id)
        return len(session.execute(query).all())

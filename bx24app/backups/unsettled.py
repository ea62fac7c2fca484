"""What was not over at the time of a backup: since then anything may have become of it, and nobody may act as if not.

What waits or is under way may have been dialled: it becomes ``unknown``, and the portal's call history or a person says
what happened (docs/operating.md, "After a restore"). What was about to be written into the CRM may stand there: it is
looked for first, as after a lost answer. What is told twice without harm is told again: deliveries of webhooks keep
their id, notifications replace each other, and a rule's automation takes one result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session, selectinload

from bx24app.models import (
    IS_OPEN,
    IS_UNRELEASED,
    IS_WAITING,
    RESTORED,
    Callback,
    DecoyRequest,
    Portal,
    RuleRun,
    RuleStage,
    State,
    TimelineEntry,
)
from bx24app.services.calling.do_not_call import number_digest


@dataclass(frozen=True)
class Unsettled:
    """How many callbacks are unknown now, in all and by the portal's domain, and how many rules' runs led to none."""

    callbacks: int
    by_portal: Mapping[str, int]
    rule_runs: int


def forget_certainties(session: Session, made_at: datetime, now: datetime) -> Unsettled:
    """Change what was not over when the backup was made (``made_at``); inside the caller's transaction."""
    counts = _lose_callbacks(session, made_at, now)
    _lose_decoys(session, now)
    runs = _end_runs(session, now)
    _doubt_entries(session, now)
    return Unsettled(sum(counts.values()), counts, runs)


def _lose_callbacks(session: Session, made_at: datetime, now: datetime) -> dict[str, int]:
    portals = {portal.id: portal for portal in session.scalars(select(Portal))}
    query = (
        select(Callback)
        .where(or_(IS_WAITING, IS_OPEN))
        .options(selectinload(Callback.attempts), selectinload(Callback.decisions))
        # Of several with one number the one that had it in hand keeps it, else the one that was due first.
        .order_by(Callback.holds_number.desc(), Callback.due_at)
    )
    held: set[tuple[int, str]] = set()
    counts: dict[str, int] = {}
    for callback in session.scalars(query):
        portal = portals[callback.portal_id]
        former = callback.state
        callback.restore(made_at, now, number_digest(callback.to_number), portal.history_cursor)
        callback.decide(RESTORED, now, state=former, backup=made_at.isoformat())
        number = (callback.portal_id, callback.to_number)
        if number in held:
            # The history cannot tell calls of one number apart.
            callback.free_number(now)
            callback.ask_person(now)
        held.add(number)
        counts[portal.domain] = counts.get(portal.domain, 0) + 1
        # Its history is read at once.
        portal.history_due_at = None
    return counts


def _lose_decoys(session: Session, now: datetime) -> None:
    """Show of decoys that wait what is shown of callbacks: the links of before would tell them apart."""
    lost = update(DecoyRequest).where(IS_UNRELEASED).values(released_at=now, ended_as=State.UNKNOWN)
    session.execute(lost, execution_options={"synchronize_session": False})


def _end_runs(session: Session, now: datetime) -> int:
    """End the runs of rules that had led to no callback yet: the callback that was made since is lost."""
    begun = select(RuleRun).where(RuleRun.stage.in_((RuleStage.UNPROVEN, RuleStage.RECEIVED)))
    runs = session.scalars(begun).all()
    for run in runs:
        run.end(now, RESTORED)
    return len(runs)


def _doubt_entries(session: Session, now: datetime) -> None:
    """Look for an activity in the timeline before another one is made."""
    missing = select(TimelineEntry).where(TimelineEntry.activity_id.is_(None), TimelineEntry.asked_at.is_(None))
    for entry in session.scalars(missing.where(TimelineEntry.ended_at.is_(None))):
        entry.ask(now)

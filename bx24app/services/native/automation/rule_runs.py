"""Runs of rules: leasing the next one for which something is to be done, and forgetting them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ScalarSelect, Select, func, select, update
from sqlalchemy.orm import Session, aliased

from bx24app.database import purge, reading, writing
from bx24app.models import Portal, PortalState, RuleRun, RuleStage, utcnow
from bx24app.models.callbacks.rule_run import BEHIND_ALL, OPEN_SQL
from bx24app.models.lease import is_lasting
from bx24app.services.calling.phone_numbers import read_number
from bx24app.services.native.automation.properties import first_number
from bx24app.services.portals.throttle import without_spare
from bx24app.services.runtime.rate_limit import HOUR, RateLimit
from bx24app.services.security import digests
from bx24app.settings import settings

RULE_LEASE = timedelta(seconds=90)
RUNS_AT_ONCE = 8
FORGED_AN_HOUR = 20
# The digest of a run that has led to no call is kept longer than its token could prove the same post again.
WITHOUT_CALL_KEPT = timedelta(days=1)
# Nobody works for a portal that is not installed, or has not paid; what has waited so long starts nothing any more.
LEFT_WAITING_KEPT = timedelta(days=2)


@dataclass(frozen=True)
class RuleLease:
    """A run for which only this thread does something."""

    run_id: int
    portal_id: int
    lease_fence: int
    stage: str


def due_runs(now: datetime, besides: Collection[int] = ()) -> Select[RuleRun]:
    """Select the run that is due longest of all, of a portal for whose runs nothing is being done."""
    busy = aliased(RuleRun)
    under_way = select(busy.portal_id).where(busy.due_at.is_not(None), is_lasting(busy.leased_until, now, RULE_LEASE))
    # Of a portal that is unpaid or gone nobody can be asked now.
    return (
        select(RuleRun)
        .join(Portal, Portal.id == RuleRun.portal_id)
        .where(RuleRun.due_at <= now, Portal.state == PortalState.INSTALLED)
        .where(RuleRun.portal_id.not_in(under_way), RuleRun.portal_id.not_in(besides))
        .where(RuleRun.portal_id.not_in(without_spare(now)))
        .order_by(RuleRun.due_at, RuleRun.id)
        .limit(1)
    )


def next_run(now: datetime, portal_id: int, besides: Collection[int] = ()) -> Select[RuleRun]:
    """Select the due run of a portal whose turn it is, if nothing is being done for the portal."""
    due = due_runs(now, besides).where(RuleRun.portal_id == portal_id)
    return due.order_by(None).order_by(RuleRun.turn, RuleRun.due_at, RuleRun.id)


def lease_rule_run(besides: Collection[int] = ()) -> RuleLease | None:
    """Lease the next due run, or return None; commits. The lease ends by itself when its worker dies.

    Portals ``besides``, and those whose pace dialling needs now, are passed over.
    """
    passed = [*besides]
    while (portal_id := _due_portal(passed)) is not None:
        with writing() as session:
            now = utcnow()
            run = session.scalar(next_run(now, portal_id, passed).with_for_update(of=RuleRun, skip_locked=True))
            if run is not None:
                return RuleLease(run.id, run.portal_id, run.lease(now, RULE_LEASE), run.stage)
        # Another one was faster; other portals have runs too.
        passed.append(portal_id)
    return None


def _due_portal(besides: Collection[int]) -> int | None:
    """The portal whose run is due longest, besides those that are named."""
    # Reading first takes no lock, and most of the time there is nothing to lease.
    with reading() as session:
        portal_id: int | None = session.scalar(due_runs(utcnow(), besides).with_only_columns(RuleRun.portal_id))
        return portal_id


def open_runs(session: Session, portal_id: int) -> dict[int, int]:
    """Count the runs of a portal for which something is to be done, or whose call is under way, by their person."""
    waiting = select(RuleRun.user_id, func.count()).where(RuleRun.portal_id == portal_id, OPEN_SQL)
    return dict[int, int](session.execute(waiting.group_by(RuleRun.user_id)).all())


def waiting_runs(portal_id: int, user_id: int) -> ScalarSelect[int]:
    """Count the runs of a person that nobody has looked at."""
    mine = select(func.count()).select_from(RuleRun).where(RuleRun.portal_id == portal_id, RuleRun.user_id == user_id)
    return mine.where(OPEN_SQL, RuleRun.stage == RuleStage.RECEIVED).scalar_subquery()


def turn_after(session: Session, portal_id: int, before: int | ScalarSelect[int], *, is_behind: bool = False) -> int:
    """Return the turn of a run that has ``before`` turns of its own person before it.

    It is counted from the turn that the portal has come to: from the first one, whoever sends one run after another
    would always go before what others have sent at once. ``is_behind``: its turn is among those behind all others.
    """
    lowest = BEHIND_ALL if is_behind else 0
    now_at = select(RuleRun.turn).where(RuleRun.portal_id == portal_id, RuleRun.due_at <= utcnow())
    now_at = now_at.where(RuleRun.stage == RuleStage.RECEIVED, RuleRun.turn.between(lowest, lowest + BEHIND_ALL - 1))
    now_at = now_at.order_by(RuleRun.turn).limit(1)
    turn: int = session.scalars(select(func.coalesce(now_at.scalar_subquery(), lowest) + before)).one()
    return turn


def line_up_again(session: Session, run: RuleRun) -> None:
    """Let the result of a run wait behind what of its person has come before: customers are called first."""
    before = waiting_runs(run.portal_id, run.user_id)
    run.turn = turn_after(session, run.portal_id, before, is_behind=run.turn >= BEHIND_ALL)


def put_behind(session: Session, portal_id: int, user_id: int) -> None:
    """Put what waits of somebody behind the runs of all others."""
    waiting = select(RuleRun.id).where(RuleRun.portal_id == portal_id, RuleRun.user_id == user_id, OPEN_SQL)
    waiting = waiting.where(RuleRun.stage == RuleStage.RECEIVED, RuleRun.turn < BEHIND_ALL)
    moved = update(RuleRun).where(RuleRun.id.in_(waiting.with_for_update(skip_locked=True)))
    session.execute(moved.values(turn=RuleRun.turn + BEHIND_ALL), execution_options={"synchronize_session": False})


def forged_by(portal: Portal, user_id: int) -> RateLimit:
    """What may come with somebody's access, and the portal does not know."""
    person = digests.digest("rate", f"{portal.member_id} forged_runs {user_id}")
    return RateLimit("rule", person, FORGED_AN_HOUR, HOUR)


def leased_run(session: Session, lease: RuleLease) -> RuleRun | None:
    """Lock and return the leased run; None when the lease has ended."""
    run = session.get(RuleRun, lease.run_id, with_for_update=True)
    return run if run is not None and run.holds(lease.lease_fence) else None


def forget_number(portal: Portal, number: str) -> None:
    """End the runs that wait and in whose rule a number (E.164) stands; commits. A callback is a number's no more."""
    waiting = RuleRun.portal_id == portal.id, RuleRun.due_at.is_not(None)
    country = portal.settings.default_country
    with reading() as session:
        runs = session.execute(select(RuleRun.id, RuleRun.properties).where(*waiting)).all()
    # Reading numbers takes its time: nobody who writes waits for it.
    texts = {id: str(properties.get("number", "")) for id, properties in runs}
    theirs = [
        id for id, text in texts.items() if text and read_number(first_number(text, country), country).e164 == number
    ]
    with writing() as session:
        for run in session.scalars(select(RuleRun).where(RuleRun.id.in_(theirs), *waiting).with_for_update()):
            run.end(utcnow(), "erased")


def purge_runs() -> int:
    """Delete runs that ended longer ago than the operator keeps callbacks, or without one; returns how many.

    Those for which nobody works are deleted too, once it is too late for them.
    """
    now = utcnow()
    is_left = RuleRun.stage.in_((RuleStage.UNPROVEN, RuleStage.RECEIVED)) & (RuleRun.due_at < now - LEFT_WAITING_KEPT)
    is_old = RuleRun.ended_at < now - timedelta(days=settings.retention_days)
    is_without = RuleRun.callback_id.is_(None) & RuleRun.due_at.is_(None) & (RuleRun.ended_at < now - WITHOUT_CALL_KEPT)
    return purge(RuleRun, is_left) + purge(RuleRun, (RuleRun.stage == RuleStage.ENDED) & (is_old | is_without))

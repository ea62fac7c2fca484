"""Runs of which nobody can say now whose they are: they wait, for they would not come again, and each place has room.

A place is where posts of a portal come from: somebody of the portal has proven a token there. All addresses where the
portal has proven nothing are one place together, for there strangers make runs up.
"""

from collections.abc import Iterable
from datetime import timedelta

import structlog
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from bx24app.crypto import SealError, keyring
from bx24app.database import insert_new, reading, writing
from bx24app.errors import KnownError, PortalUnreachable, RateLimited, Retry, Unverified
from bx24app.models import Portal, PostedTokens, RuleRun, RuleStage, utcnow
from bx24app.models.callbacks.rule_run import OPEN_SQL
from bx24app.services.native.automation.rule_runs import RuleLease, leased_run, turn_after
from bx24app.services.runtime.local_limit import LocalLimit
from bx24app.services.security import digests, proof_limits
from bx24app.services.security.proof_limits import TooManyAttempts

log = structlog.get_logger(__name__)

# So many of a portal. One place has at most as many of them as are left free: 1,000 of one place, 666 of each of two.
MAX_UNPROVEN_RUNS = 2_000
# So many of them an address may leave in an hour; a portal may send all of its own from one, hundreds at once.
WAITING_RUNS = LocalLimit("waiting_runs", 600, 3600.0)
# The same where nobody was asked, because too much was refused, or the portal has proven nothing there: there somebody
# makes them up.
WAITING_UNASKED = LocalLimit("waiting_unasked", 60, 3600.0)
# One of those of a place has its turn for so many of each person.
UNPROVEN_TURNS = 4
# As long as an access token lives: afterwards nobody can say any more whose it was.
PROVEN_WITHIN = timedelta(hours=1)
PROVE_AGAIN_FIRST, PROVE_AGAIN_LAST = timedelta(seconds=15), timedelta(minutes=10)
NOT_PROVEN = "rule_not_proven"


class OthersAsked(PortalUnreachable):
    """Nobody was asked whose run it is: the same token, or too many other runs, are being asked about."""

    reason = "others_asked"


def keep(
    portal: Portal, run: RuleRun, posted: PostedTokens, address: str, error: PortalUnreachable | TooManyAttempts
) -> None:
    """Store a run that could not be proven because of ``error``; commits.

    Raises ``RateLimited``, ``TooManyAttempts``.
    """
    place = proof_limits.proven_place(portal.member_id, address)
    if not proof_limits.may_wait(_limit(error, place), portal.member_id, address):
        raise TooManyAttempts("too many unproven runs from here") from None
    log.info("rule_waits_unproven", reason=error.explanation)
    run.keep_posted(keyring, portal.member_id, posted)
    run.access_digest, run.place_digest = _digest(posted.access_token), place
    # Twice, because what is refused by reading keeps no other writer waiting.
    with reading() as session:
        _check_room(session, run)
    with writing() as session:
        _check_room(session, run)
        _line_up(session, run)
        insert_new(session, [run], RuleRun.id)


def _limit(error: PortalUnreachable | TooManyAttempts, place: str | None) -> LocalLimit:
    """What an address may leave: little where nobody was asked, unless the portal sends its bursts from there."""
    if isinstance(error, TooManyAttempts) or (isinstance(error, OthersAsked) and place is None):
        return WAITING_UNASKED
    return WAITING_RUNS


def _digest(access_token: str) -> str:
    return digests.digest("posted_token", access_token)


def _check_room(session: Session, run: RuleRun) -> None:
    """Raise ``RateLimited`` where there is no room for one more run of the same place.

    Those that were refused, and of which the automation is to be told, take room too: their results wait for long.
    """
    of_nobody = select(RuleRun.place_digest, func.count()).where(RuleRun.portal_id == run.portal_id, OPEN_SQL)
    found = session.execute(of_nobody.where(RuleRun.user_id == 0).group_by(RuleRun.place_digest))
    by_place = dict[str | None, int](found.all())
    left = MAX_UNPROVEN_RUNS - sum(by_place.values())
    if by_place.get(run.place_digest, 0) >= left:
        raise RateLimited("rule")


def _line_up(session: Session, run: RuleRun) -> None:
    """Give a run its turn: places take turns as people do, but seldom."""
    same_place = RuleRun.place_digest.is_not_distinct_from(run.place_digest)
    waiting = select(func.count()).select_from(RuleRun).where(RuleRun.portal_id == run.portal_id, RuleRun.user_id == 0)
    others = waiting.where(
        OPEN_SQL, RuleRun.stage == RuleStage.UNPROVEN, same_place, RuleRun.id.is_distinct_from(run.id)
    )
    before = UNPROVEN_TURNS * (session.scalars(others).one() + 1)
    run.turn = turn_after(session, run.portal_id, before)


def end_refused(portal_id: int, access_token: str) -> None:
    """End all runs that wait with a token that was refused; commits where there are any."""
    _end_all(portal_id, _digest(access_token))


def _end_all(portal_id: int, access_digest: str) -> None:
    waiting = _waiting_with(portal_id, access_digest)
    with reading() as session:
        if session.scalar(waiting.limit(1)) is None:
            return
    with writing() as session:
        locked = waiting.order_by(RuleRun.id).with_for_update(skip_locked=True)
        _end(session, portal_id, session.scalars(locked).all())


def _waiting_with(portal_id: int, access_digest: str) -> Select[RuleRun]:
    same = select(RuleRun).where(RuleRun.portal_id == portal_id, RuleRun.access_digest == access_digest)
    return same.where(RuleRun.stage == RuleStage.UNPROVEN)


def _end(session: Session, portal_id: int, runs: Iterable[RuleRun]) -> None:
    # That the automation goes on is less urgent than that a customer is called.
    now, turn = utcnow(), turn_after(session, portal_id, 0, is_behind=True)
    for run in runs:
        run.turn = turn
        run.end(now, NOT_PROVEN)


def not_proven(lease: RuleLease, access_digest: str | None, error: Unverified | SealError) -> None:
    """Try a leased run again later, or end it; commits. Where its token was refused, all that wait with it end too."""
    now = utcnow()
    may_pass = isinstance(error, KnownError) and error.retry is Retry.LATER
    log.info("rule_not_proven", run=lease.run_id, may_pass=may_pass)
    if access_digest and isinstance(error, Unverified) and not may_pass:
        _end_all(lease.portal_id, access_digest)
    with writing() as session:
        mine = leased_run(session, lease)
        if mine is None or mine.stage != RuleStage.UNPROVEN:
            return
        if may_pass and now - mine.made_at < PROVEN_WITHIN:
            _line_up(session, mine)
            mine.put_off(now + max(PROVE_AGAIN_FIRST, min((now - mine.made_at) / 2, PROVE_AGAIN_LAST)))
        else:
            _end(session, mine.portal_id, [mine])

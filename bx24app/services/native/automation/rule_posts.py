"""Taking what a portal posts when a rule runs, and asking whose access it came with: at once, or later.

A post comes once and is not repeated, so that taking it is one short write; everything that may take time or fail is
done by jobs, which find the run by its row.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.bitrix24.authorization import Tokens
from bx24app.bitrix24.bizproc import RulePost
from bx24app.crypto import SealError, keyring
from bx24app.database import insert_new, reading, writing
from bx24app.errors import PortalUnreachable, RateLimited, Unverified
from bx24app.log import name_portal
from bx24app.models import Portal, PostedTokens, RuleRun, RuleStage, utcnow
from bx24app.services.callbacks.roles import Role, person_of_token, role_of_token
from bx24app.services.native.automation import unproven_runs
from bx24app.services.native.automation.properties import kept_properties, wants_hours, wants_person
from bx24app.services.native.automation.rule_runs import (
    RuleLease,
    forged_by,
    leased_run,
    open_runs,
    turn_after,
    waiting_runs,
)
from bx24app.services.native.automation.unproven_runs import PROVEN_WITHIN, OthersAsked
from bx24app.services.portals import app_events, tokens
from bx24app.services.runtime import wakeup
from bx24app.services.runtime.local_limit import LocalLimit
from bx24app.services.runtime.local_memory import recall, remember
from bx24app.services.runtime.rate_limit import DAY, RateLimit, first_empty, refuse_if_empty, take_tokens
from bx24app.services.runtime.slots import Slots
from bx24app.services.security import digests, proof_limits, token_proof
from bx24app.services.security.proof_limits import TooManyAttempts

log = structlog.get_logger(__name__)

# So many runs of a portal may wait: to be started, for the end of their calls, or to be told of it. One person has at
# most as many of them as are left free, so that some room is always free for the next one: 10,000 of one person, 6,666
# of each of two.
MAX_OPEN_OF_PORTAL = 20_000
# So many of somebody wait of whom ``FORGED_AN_HOUR`` came within the hour that the portal does not know, and none under
# way that it knows.
MAX_OPEN_OF_FORGER = 100
# With one person's access.
RUNS_A_DAY = 20_000
# Bitrix24 has said of a token whose it is, and the portal what that person may do: hundreds of runs come with the same.
PROVEN_SECONDS = 600.0
# What a portal's runs may ask of the authorization server, beside what its pages may.
PROVEN_FOR_RUNS = LocalLimit("proven_for_runs", 300)
# One of the runs that come with the same token asks about it, and none waits for another.
_asked_about = Slots[str](each=1, in_all=1_000)
# A process has few exchanges with the authorization server at once, and everybody but a run has to be answered now.
_questions = Slots[str](each=1, in_all=2)
# A worker's threads wait for their turn to ask.
QUESTION_PATIENCE = 5.0
NOT_PERMITTED = "rule_not_permitted"


@dataclass(frozen=True)
class _Proof:
    """Whose access a run came with, and whether they may start callbacks."""

    user_id: int
    may_start: bool


def receive_rule_post(post: RulePost, address: str) -> None:
    """Store a run, once for each token; commits. ``address``: of whoever sends it.

    The application token proves nothing, for every employee knows it, and the access token says only whose it is: each
    employee's page has one. Before anything is done for the run the portal must own its ``event_token``
    (``rule_start.py``). Where nobody can say now whose access it is, the run waits, for it would not come again.
    Raises ``Unverified``, ``PortalUnreachable``, ``RateLimited``.
    """
    portal = app_events.portal_of_event(post.event, address)
    name_portal(portal.member_id)
    posted = PostedTokens(post.event_token, post.event.access_token, post.refresh_token)
    run = _run_of(portal, post)
    try:
        proof = _prove(portal, posted, address)
    except (PortalUnreachable, TooManyAttempts) as error:
        unproven_runs.keep(portal, run, posted, address, error)
        return
    except Unverified:
        unproven_runs.end_refused(portal.id, posted.access_token)
        raise
    if not proof.may_start and not post.waits:
        log.info("rule_not_permitted", member_id=portal.member_id)
        return
    if proof.may_start:
        _keep_access(portal, run, posted, proof.user_id)
    run.user_id, run.reason = proof.user_id, None if proof.may_start else NOT_PERMITTED
    run.keep_token(keyring, portal.member_id, post.event_token)
    _store(portal, run)
    wakeup.wake(wakeup.WORK_ON_RULES)


def _run_of(portal: Portal, post: RulePost) -> RuleRun:
    now, document = utcnow(), post.document
    return RuleRun(
        portal_id=portal.id,
        token_digest=digests.digest("rule_run", post.event_token),
        user_id=0,
        properties=kept_properties(post.properties),
        waits=post.waits,
        entity_type=document.kind if document else None,
        entity_id=document.id if document else None,
        type_id=document.type_id if document else 0,
        in_hours=wants_hours(post.properties),
        stage=RuleStage.RECEIVED,
        made_at=now,
        due_at=now,
        tries=0,
    )


def _store(portal: Portal, run: RuleRun) -> None:
    person = digests.digest("rate", f"{portal.member_id} rule_runs {run.user_id}")
    a_day, at = [RateLimit("rule", person, RUNS_A_DAY, DAY)], run.made_at.timestamp()
    # Twice, because what is refused by reading keeps no other writer waiting.
    with reading() as session:
        _check_room(session, portal, run)
        refuse_if_empty(first_empty(session, a_day, at))
    with writing() as session:
        _check_room(session, portal, run)
        run.turn = _turn(session, portal, run.user_id)
        refuse_if_empty(take_tokens(session, a_day, at))
        insert_new(session, [run], RuleRun.id)


def _check_room(session: Session, portal: Portal, run: RuleRun) -> None:
    """Raise ``RateLimited`` where there is no room for one more run with the same access."""
    by_person = open_runs(session, portal.id)
    mine, left = by_person.get(run.user_id, 0), MAX_OPEN_OF_PORTAL - sum(by_person.values())
    if mine >= left:
        raise RateLimited("rule")
    # Where the portal has signed one of them, somebody else may have copied the token: genuine ones are not lost.
    nothing_signed = select(waiting_runs(portal.id, run.user_id) == mine)
    if mine >= MAX_OPEN_OF_FORGER and _has_forged(session, portal, run.user_id) and session.scalar(nothing_signed):
        raise RateLimited("rule")


def _has_forged(session: Session, portal: Portal, user_id: int) -> bool:
    return first_empty(session, [forged_by(portal, user_id)], utcnow().timestamp()) is not None


def _turn(session: Session, portal: Portal, user_id: int) -> int:
    is_behind = _has_forged(session, portal, user_id)
    return turn_after(session, portal.id, waiting_runs(portal.id, user_id), is_behind=is_behind)


def _keep_access(portal: Portal, run: RuleRun, posted: PostedTokens, user_id: int) -> None:
    """Keep the tokens of a person under whose access the callback is dialled, where the app has none of them; commits.

    The portal must name them now: else whoever kept a token would come to life again after it has refused them. Where
    it does not, the callback is not dialled under their access.
    """
    if not wants_person(run.properties) or not posted.refresh_token:
        return
    with reading() as session:
        if tokens.has_own_access(session, portal.id, user_id):
            return
    try:
        proof_limits.take_question(portal.member_id, posted.access_token)
        person_of_token(portal, posted.access_token, user_id)
    except Unverified as error:
        log.info("rule_access_not_kept", member_id=portal.member_id, reason=error.code)
        return
    given = Tokens(
        access_token=posted.access_token,
        refresh_token=posted.refresh_token,
        expires_at=run.made_at + PROVEN_WITHIN,
        member_id=portal.member_id,
        client_endpoint=portal.client_endpoint,
        user_id=user_id,
    )
    with writing() as session:
        row = session.get_one(Portal, portal.id, with_for_update=True)
        tokens.store_tokens(session, row, given, administrator=None)


def _prove(portal: Portal, posted: PostedTokens, address: str, patience: float = 0.0) -> _Proof:
    """Ask whose access the run came with; raises ``Unverified``, ``PortalUnreachable``.

    The verdict is remembered by the token alone, for a run may lie about its person, and each event changes the row of
    the portal. What it depends on beside the token are the installation and the roles. ``patience``: how many seconds
    it may wait until other runs have been asked about.
    """
    digest = digests.digest("posted_token", posted.access_token)
    known = f"{digest} {portal.id} {portal.installed_at.timestamp()} {portal.settings.revision}"
    if isinstance(proof := recall("rule_proof", known), _Proof):
        return proof
    proof_limits.check_token(portal.member_id, posted.access_token)
    with _asked_about.hold(known) as is_first, ExitStack() as question:
        if not (is_first and question.enter_context(_questions.hold(portal.member_id, patience))):
            raise OthersAsked("authorization server: other runs are being asked about")
        proof_limits.take_question(portal.member_id, posted.access_token)
        with proof_limits.proving(address, portal.member_id, posted.access_token, proof_limits.insider):
            info = token_proof.read_owner(posted.access_token, portal.member_id, PROVEN_FOR_RUNS)
            # The portal may be slow, and keeps no other one's runs waiting.
            question.close()
            may_start = role_of_token(portal, posted.access_token, info.user_id) >= Role.OPERATOR
        proof = _Proof(info.user_id, may_start)
        remember("rule_proof", known, PROVEN_SECONDS, proof)
        return proof


def prove(lease: RuleLease) -> None:
    """Prove a leased run of which nobody could say anything when it came; commits.

    One that is refused, or stays unproven until its token has expired, starts nothing. Where the automation waits it
    is told: whether the run is genuine, the portal sees by its own signature.
    """
    with reading() as session:
        run, portal = session.get(RuleRun, lease.run_id), session.get(Portal, lease.portal_id)
    if run is None or portal is None:
        return
    try:
        posted = run.posted(keyring, portal.member_id)
        # Questions of jobs come from no address. What was refused of one place keeps none of another place waiting.
        address = f"rules of {portal.member_id} {run.place_digest}"
        proof = _prove(portal, posted, address, QUESTION_PATIENCE)
    except (Unverified, SealError) as error:
        unproven_runs.not_proven(lease, run.access_digest, error)
        return
    if proof.may_start:
        _keep_access(portal, run, posted, proof.user_id)
    with writing() as session:
        mine = leased_run(session, lease)
        if mine is None or mine.stage != RuleStage.UNPROVEN:
            return
        mine.keep_token(keyring, portal.member_id, posted.event_token)
        mine.reason = None if proof.may_start else NOT_PERMITTED
        mine.prove(proof.user_id, utcnow(), _turn(session, portal, proof.user_id))

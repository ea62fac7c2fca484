"""Results of rules: noticing that a callback has ended, and telling the automation that waits for it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session

from bx24app.bitrix24.bizproc import send_result
from bx24app.bitrix24.errors import AccessDenied, ClosedToUser, MethodRefused
from bx24app.crypto import SealBroken, keyring
from bx24app.database import reading, writing
from bx24app.errors import Refusal
from bx24app.i18n import speaking_to
from bx24app.models import FINAL, Callback, Outcome, Portal, RuleRun, RuleStage, utcnow
from bx24app.models.callbacks.rule_run import CALLING_SQL
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.callbacks.people import read_names
from bx24app.services.callbacks.queries import with_history
from bx24app.services.native.automation.rule_runs import RuleLease, leased_run
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import token_renewal, tokens

log = structlog.get_logger(__name__)

ENDED_AT_ONCE = 200
RESULT_BACKOFF = (5, 15, 60, 300, 900, 3600)
# A portal that refuses for so long is not asked any more.
SENT_WITHIN = timedelta(days=7)
NOT_CALLED = "not_called"


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    ``state`` is that of the callback, ``not_called`` where there was none; ``reason`` says why, "" where there is
    nothing to say. ``duration`` is how long the last call took, in seconds; ``answered_by`` is a name, "" unknown.
    """

    state: str
    reason: str = ""
    duration: int = 0
    attempts: int = 0
    answered_by: str = ""

    def values(self) -> dict[str, str | int]:
        """Return the values by the names of ``return_properties`` in manifest/app.json."""
        return {
            "state": self.state,
            "reason": self.reason,
            "duration": self.duration,
            "attempts": self.attempts,
            "answered_by": self.answered_by,
        }


Describe = Callable[[RunResult], str]


def is_over() -> ColumnElement[bool]:
    """Make the condition that the callback of a run has ended, waits for a person, or was erased."""
    is_gone = RuleRun.callback_id.is_(None)
    return and_(CALLING_SQL, or_(is_gone, Callback.state.in_(FINAL), Callback.asks_since.is_not(None)))


def runs_to_end(_: datetime) -> Select[int]:
    """Select runs whose callback is over."""
    over = select(RuleRun.id).outerjoin(Callback, Callback.id == RuleRun.callback_id).where(is_over())
    return over.limit(ENDED_AT_ONCE)


def end_runs() -> int:
    """End the runs whose callback is over; returns how many. Commits."""
    with reading() as session:
        ids = session.scalars(runs_to_end(utcnow())).all()
    if not ids:
        return 0
    with writing() as session:
        locked = select(RuleRun).where(RuleRun.id.in_(ids), RuleRun.stage == RuleStage.CALLING)
        runs = session.scalars(locked.with_for_update(skip_locked=True)).all()
        for run in runs:
            run.end(utcnow(), "erased" if run.callback_id is None else None)
    return len(runs)


def send(lease: RuleLease, describe: Describe) -> None:
    """Send the result of a leased run, with ``describe`` for the words in the rule's log; commits.

    A result that the portal did not take is sent again, for a week.
    """
    with reading() as session:
        run, portal = session.get(RuleRun, lease.run_id), session.get(Portal, lease.portal_id)
        if run is None or portal is None:
            return
        result = _read_result(session, run)
    if result is None:
        _wait_on(lease)
        return
    with speaking_to(portal.language):
        words = describe(result)
    try:
        if token := run.token(keyring, portal.member_id):
            _send(portal.id, token, result, words)
    except (ExchangeError, Refusal, SealBroken) as error:
        _not_sent(lease, run, error)
        return
    with writing() as session:
        if (mine := leased_run(session, lease)) is not None:
            mine.settle()
    log.info("rule_result_sent", run=lease.run_id, state=result.state)


def _send(portal_id: int, token: str, result: RunResult, words: str) -> None:
    label = portal_api.RequestLabel("bizproc.event.send", {"state": result.state})
    # Access is denied to a token that the portal does not know, so it says nothing about the administrator.
    access = token_renewal.service_access(portal_id)
    try:
        portal_api.call(access, label, lambda client: send_result(client, token, result.values(), words))
    except ClosedToUser:
        tokens.demote(access.credential_id)  # The next one is asked as another administrator.
        raise


def _wait_on(lease: RuleLease) -> None:
    """Wait again for a callback that had ended, or waited for a person, and is to be dialled again."""
    with writing() as session:
        mine = leased_run(session, lease)
        if mine is not None and mine.callback_id is not None:
            mine.follow(mine.callback_id)


def _not_sent(lease: RuleLease, run: RuleRun, error: ExchangeError | Refusal | SealBroken) -> None:
    """Try later, unless that is in vain. A portal that was unpaid for weeks is still asked a few times."""
    now = utcnow()
    is_late = now - (run.ended_at or run.made_at) > SENT_WITHIN and run.tries >= len(RESULT_BACKOFF)
    reason = "secret_unreadable" if isinstance(error, SealBroken) else error.code
    log.warning("rule_result_not_sent", run=lease.run_id, reason=reason)
    with writing() as session:
        mine = leased_run(session, lease)
        if mine is None:
            return
        if is_late or _is_final(error, run.tries):
            mine.settle()
        else:
            mine.put_off(now + timedelta(seconds=RESULT_BACKOFF[min(mine.tries, len(RESULT_BACKOFF) - 1)]))


def _is_final(error: ExchangeError | Refusal | SealBroken, tries: int) -> bool:
    """Tell whether no later try can succeed.

    ``ACCESS_DENIED`` means that the portal knows no such run; codes that are listed nowhere come from the workflow,
    which may be locked for a moment. All others speak of access, plan or scope, which may come back.
    """
    if isinstance(error, MethodRefused):
        return tries >= len(RESULT_BACKOFF)
    return isinstance(error, SealBroken) or type(error) is AccessDenied


def _read_result(session: Session, run: RuleRun) -> RunResult | None:
    """Read what came of a run; None: its callback goes on."""
    callback = session.scalar(with_history().where(Callback.id == run.callback_id)) if run.callback_id else None
    if callback is None:
        return RunResult(NOT_CALLED, run.reason or "erased")
    if callback.state not in FINAL and callback.asks_since is None:
        return None
    dialled = [attempt for attempt in callback.attempts if attempt.outcome != Outcome.NOT_EXECUTED]
    last = dialled[-1] if dialled else None
    person = last.answered_by if last else None
    return RunResult(
        state=callback.state,
        reason=callback.reason or "",
        duration=(last.duration_seconds if last else None) or 0,
        attempts=len(dialled),
        answered_by=read_names(session, run.portal_id, [person]).get(person or 0, ""),
    )

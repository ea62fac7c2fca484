"""What must be true at the end of a run; each thing that is not is one line."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from bx24app.database import reading
from bx24app.models import Callback, State, utcnow
from tests.soak.load import Answered, Load
from tests.soak.plan import Fault
from tests.soak.stack import Stack
from tests.support.leaks import found_in
from tests.support.remembered import MADE

GOOD = {
    "list": {200, 304},
    "event": {200},
    "status page": {200},
    "form": {200},
    "website post": {202},
    "staff call": {201},
    "launch": {200},
}
# The part of the requests that has to be sent for a run to count.
ENOUGH = 0.9
ERRORS = {"error", "critical"}
# What the app may log as an error while the database restarts; a request is never a failure of ours.
EXCUSED = "job_failed"
WAITING = {State.SCHEDULED, State.QUEUED, State.DIALLING}
DIALLED = {State.STARTED, State.ANSWERED, State.COMPLETED, State.MISSED}
# What may become of a request that a fault has met, without anybody having talked.
HURT = {State.UNKNOWN, State.EXPIRED, State.FAILED}


@dataclass(frozen=True)
class Logged:
    """A line of a process's log: seconds since the begin (None: it does not say), its event, and whether it is bad."""

    at: float | None
    event: str
    is_error: bool
    text: str


def unplanned_answers(answers: Iterable[Answered], faults: Sequence[Fault]) -> list[str]:
    """Answers that are neither good nor explained by a fault, counted by kind and status."""
    wrong = Counter(
        (answer.kind, answer.status)
        for answer in answers
        if answer.status not in GOOD[answer.kind]
        and not any(fault.excuses(moment, answer.status) for fault in faults for moment in _moments(answer))
    )
    return [
        f"{count} x {kind} was answered {status or 'not at all'}" for (kind, status), count in sorted(wrong.items())
    ]


def _moments(answer: Answered) -> tuple[float, float]:
    """When it was asked, and when it was answered."""
    return answer.at, answer.at + answer.seconds


def planned_errors(answers: Iterable[Answered], faults: Sequence[Fault]) -> Counter[str]:
    """The answers that a fault explains, counted by fault and status."""
    found: Counter[str] = Counter()
    for answer in answers:
        if answer.status in GOOD[answer.kind]:
            continue
        why = [f for f in faults if any(f.excuses(moment, answer.status) for moment in _moments(answer))]
        if why:
            found[f"{answer.status or 'no answer'} ({why[-1].kind})"] += 1
    return found


def read_log(lines: Iterable[str], began: datetime) -> list[Logged]:
    """Read what processes have logged."""
    found = []
    for line in lines:
        try:
            told = json.loads(line)
            at = (datetime.fromisoformat(told["timestamp"]) - began).total_seconds()
            bad = told.get("level") in ERRORS
            found.append(Logged(at, str(told.get("event")), bad, line))
        except (ValueError, TypeError, KeyError):
            found.append(Logged(None, line, "[ERROR]" in line or "Traceback" in line, line))
    return found


def unplanned_errors(logged: Iterable[Logged], faults: Sequence[Fault]) -> list[str]:
    """Errors in the log while no database was restarted, counted by their event, with the first of each."""
    restarts = [fault for fault in faults if fault.kind == "database restarted"]
    wrong = [
        line
        for line in logged
        if line.is_error and not (line.event == EXCUSED and any(_is_during(fault, line) for fault in restarts))
    ]
    counted = Counter(line.event[:80] for line in wrong)
    first = {line.event[:80]: line.text for line in reversed(wrong)}
    return [f"{count} x logged {event}: {first[event][:1500]}" for event, count in counted.items()]


def _is_during(fault: Fault, line: Logged) -> bool:
    return line.at is not None and fault.at <= line.at <= fault.until


def unkept_promises(stack: Stack, load: Load) -> tuple[list[str], Counter[str]]:
    """Requests that were lost, dialled twice, or left lying; and the state of all that was accepted."""
    dialled = Counter(dial["number"] for house in stack.houses for dial in house.portal.telephony.dials)
    query = select(Callback.to_number, Callback.state, Callback.reason, Callback.leased_until)
    with stack.app.app_context(), reading() as session:
        rows = session.execute(query).all()
    stored = {row.to_number: row for row in rows}
    wrong = [f"{number} was stored twice" for number, count in Counter(r.to_number for r in rows).items() if count > 1]
    wrong += [f"{number} was accepted and is not there" for number in load.accepted - stored.keys()]
    wrong += [f"{number} was dialled {count} times" for number, count in dialled.items() if count > 1]
    wrong += [f"{number} was dialled and nobody has asked for it" for number in dialled.keys() - stored.keys()]
    now = utcnow()
    for number, row in stored.items():
        leased = row.leased_until is not None and row.leased_until > now
        if row.state in WAITING and not leased:
            wrong.append(f"{number} is still {row.state}, reason {row.reason}")
        elif row.state in DIALLED and dialled[number] != 1:
            wrong.append(f"{number} is {row.state} and was dialled {dialled[number]} times")
        elif row.state not in WAITING | DIALLED | HURT:
            wrong.append(f"{number} is {row.state}, reason {row.reason}")
    states = Counter(f"{row.state} {row.reason or ''}".strip() for row in stored.values())
    return wrong, states


def waiting(stack: Stack) -> int:
    """How many callbacks wait to be dialled; not what a worker has leased, be it a dead one."""
    is_free = Callback.leased_until.is_(None) | (Callback.leased_until < utcnow())
    with stack.app.app_context(), reading() as session:
        return session.scalar(select(func.count()).where(Callback.state.in_(WAITING), is_free)) or 0


def leaked(stack: Stack) -> list[str]:
    """Secrets and numbers in the logs."""
    said = "\n".join(stack.said())
    return ["a secret is in the log"] * bool(found_in(said, MADE)) + ["a number is in the log"] * ("+49301" in said)


def too_slow(load: Load, seconds: float) -> list[str]:
    """Whether fewer requests were sent than were to be: then the run says little."""
    if len(load.answers) >= load.rate * seconds * ENOUGH:
        return []
    return [f"only {len(load.answers)} of {load.rate * seconds:.0f} requests were sent"]

"""A backup that is an hour old comes back: what was dialled since is not dialled again, and everything is settled."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import time_machine
from flask import Flask
from sqlalchemy import update

from bx24app.database import writing
from bx24app.models import FINAL, RESTORED, Callback, State, Throttle, utcnow
from bx24app.services.callbacks import change
from bx24app.services.dialling import call_history, deadlines
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakePortal
from tests.fake_bitrix24.faults import Fault
from tests.support.actors import Actor
from tests.support.operating import Operate, operate, programs
from tests.support.processes import Process, Spawn, kill
from tests.support.waiting import accept, add_form, pass_time, rules, seen, work

__all__ = ["operate", "programs"]

START = "voximplant.callback.start"
NAMES = ("queued", "due", "cancelled", "dialling", "started", "answered", "unknown", "repeats", "now", "later", "twin")
NUMBERS = {name: f"+493090180{number}" for number, name in enumerate(NAMES, 10)}
HOUR = timedelta(hours=1)
TOMORROW = timedelta(days=1)
# What is dialled in the hour that is lost, and what is on the phone when it begins.
DIALLED = frozenset({"queued", "due", "unknown", "repeats", "now"})
UNDER_WAY = frozenset({"started", "answered", "dialling"})


def end_call(portal: FakePortal, name: str, how: str = "hang_up") -> None:
    """The last call of a number ends."""
    call = [call for call in portal.telephony.calls if call.number.lstrip("+") == NUMBERS[name].lstrip("+")][-1]
    getattr(call, how)()


def dials(portal: FakePortal) -> Counter[str]:
    return Counter(f"+{dial['number'].lstrip('+')}" for dial in portal.telephony.dials)


def let_dial_at(app: Flask, at: datetime | None) -> None:
    """Let no dial begin before a moment."""
    with app.app_context(), writing() as session:
        session.execute(update(Throttle).values(dial_at=at))


def stand(app: Flask, ids: dict[str, UUID]) -> dict[str, tuple[str, str | None, bool]]:
    found = {name: seen(app, id) for name, id in ids.items()}
    return {name: (one.state, one.reason, one.asks_since is not None) for name, one in found.items()}


Ids = dict[str, UUID]


def leave_open(app: Flask, portal: FakePortal, spawn: Spawn) -> tuple[Ids, Fault, Process]:
    """Make one callback in each state that is not over; a worker is in the middle of a dial."""
    form = add_form(app, retries=2, retry_minutes=1, unknown_policy="dial_again")

    def ask(name: str, after: timedelta = timedelta()) -> UUID:
        return accept(app, to_number=NUMBERS[name], form_id=form, due_at=utcnow() + after)

    ids = {"unknown": ask("unknown")}
    portal.faults.add("drop_before", START)
    work(app)
    ids |= {name: ask(name) for name in ("started", "answered", "repeats")}
    work(app)
    end_call(portal, "repeats", "manager_refuses")
    with app.app_context():
        call_history.read_next_history()
    with app.app_context(), writing() as session:
        answered = session.get_one(Callback, ids["answered"])
        answered.answer(answered.attempts[-1], 1, utcnow())
    ids["dialling"] = ask("dialling")
    hanging = portal.faults.add("hang_after", START, seconds=30)
    worker = spawn("worker")
    assert hanging.received.wait(20)
    let_dial_at(app, utcnow() + HOUR / 6)
    ids |= {name: ask(name) for name in ("queued", "cancelled")}
    ids |= {"due": ask("due", timedelta(minutes=5))}
    ids |= {name: ask(name, TOMORROW) for name in ("now", "later", "twin")}
    ids["twin again"] = ask("twin", TOMORROW * 2)
    assert {seen(app, id).state for id in ids.values()} == set(State) - FINAL
    return ids, hanging, worker


def live_the_lost_hour(app: Flask, portal: FakePortal, ids: Ids, eventually: Eventually) -> None:
    """People decide, the worker dials what is due, and the calls end."""
    before = dials(portal)
    with app.app_context():
        change.cancel(1, ids["cancelled"], None)
        change.resolve(1, ids["unknown"], None, "dial_again")
        change.reschedule(1, ids["now"], None, utcnow())
    with app.app_context(), writing() as session:
        waiting = (ids["due"], ids["repeats"])
        session.execute(update(Callback).where(Callback.id.in_(waiting)).values(due_at=utcnow()))
    let_dial_at(app, None)
    eventually(lambda: {NUMBERS[name] for name in DIALLED} <= set((dials(portal) - before).keys()))
    eventually(lambda: all(seen(app, ids[name]).state == State.STARTED for name in DIALLED))
    for name in (*DIALLED - {"due"}, *UNDER_WAY):
        end_call(portal, name)
    end_call(portal, "due", "manager_refuses")


def test_nothing_is_dialled_twice_after_an_hour_old_backup_is_restored(
    app: Flask,
    manager: Actor,
    portal: FakePortal,
    operate: Operate,
    spawn: Spawn,
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    portal.events.pause()
    ids, hanging, worker = leave_open(app, portal, spawn)
    with time_machine.travel(utcnow() - HOUR):
        operate("backup", backup := tmp_path / "hour-old")
    hanging.released.set()
    live_the_lost_hour(app, portal, ids, eventually)
    kill(worker)
    at_the_crash = dials(portal)

    told = operate("restore", backup, "--replace")
    assert f"{len(ids)} callbacks were not over then." in told
    assert {one[:2] for one in stand(app, ids).values()} == {(State.UNKNOWN, RESTORED)}
    worker = spawn("worker")
    settled = DIALLED | UNDER_WAY
    eventually(lambda: all(seen(app, ids[name]).state in FINAL for name in settled))
    found = stand(app, ids)
    assert {name for name, one in found.items() if one[0] == State.COMPLETED} == settled - {"due"}
    # Its form would repeat the call, which may have been done before the crash.
    assert found["due"][:2] == (State.MISSED, "code_304")
    assert found["twin again"] == (State.UNKNOWN, RESTORED, True)
    kill(worker)
    # After the longest talk: what the history shows as never called is kept for its time, the rest is for people.
    pass_time(app, deadlines.REPORTS_EXPECTED_WITHIN + HOUR)
    worker = spawn("worker")
    eventually(lambda: all(one[2] or one[0] in {*FINAL, State.SCHEDULED} for one in stand(app, ids).values()))
    found = stand(app, ids)
    assert {name for name, one in found.items() if one[0] == State.SCHEDULED} == {"later", "twin"}
    assert {name for name, one in found.items() if one[2]} == {"cancelled", "twin again"}
    assert rules(app, ids["later"])[-2:] == ["restored", "deadline_waits_on"]
    assert dials(portal) == at_the_crash
    # At its time it is called, once.
    with app.app_context(), writing() as session:
        session.execute(update(Callback).where(Callback.id == ids["later"]).values(due_at=utcnow()))
    eventually(lambda: seen(app, ids["later"]).state == State.STARTED)
    kill(worker)
    assert dials(portal) == at_the_crash + Counter({NUMBERS["later"]: 1})

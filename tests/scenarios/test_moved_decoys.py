"""Decoys that are moved between two tries, or restored from a backup, go on as callbacks do."""

from datetime import timedelta
from itertools import pairwise

import time_machine
from flask import Flask
from sqlalchemy import select

from bx24app.backups.unsettled import forget_certainties
from bx24app.database import writing
from bx24app.models import Callback, DecoyRequest, State
from bx24app.models.ids import new_id
from bx24app.services.callbacks import decoys
from bx24app.services.callbacks.number_holder import pass_on
from bx24app.services.callbacks.retry_policy import RetryPolicy
from tests.scenarios.test_decoys import FREE, IN_HAND, LISTED, NOON, acts, asks, form, goes_on, looks, rows
from tests.support.visitors import Visitor

__all__ = ["form"]

LATER = timedelta(hours=2)


def calls(request: DecoyRequest, policy: RetryPolicy) -> list[list[float]]:
    """How long each step of each call of a decoy takes, in seconds."""
    found: list[list[float]] = []
    for step, following in pairwise(decoys._way(request, policy)):
        if step.state == State.DIALLING:
            found.append([])
        if found and step.state in (State.DIALLING, State.STARTED, State.ANSWERED):
            found[-1].append((following.begins_at - step.begins_at).total_seconds())
    return found


def test_as_many_tries_are_left_to_it_as_to_a_callback(app: Flask) -> None:
    """Before, it called in vain exactly as it had, and once more than the form allows: so no callback does."""
    policy, seen = RetryPolicy(retries=1, retry_after=timedelta(minutes=10), unknown="", expiry=LATER, hours=None), 0
    with app.app_context():
        for _ in range(60):
            decoy = DecoyRequest(id=new_id(), created_at=NOON, due_at=NOON, released_at=NOON, line_id="reg", tried=0)
            before = calls(decoy, policy)
            missed = [step for step in decoys._way(decoy, policy) if step.state == State.SCHEDULED]
            if not missed:
                continue
            at = missed[0].begins_at
            decoy.reschedule(at + LATER, at + 2 * LATER, decoys.dials_shown(decoy, policy, at))
            decoy.release(at + LATER)
            after = calls(decoy, policy)
            assert (decoy.tried, len(before), len(after)) == (1, 2, 1)
            assert after[0] not in before[:1]
            # Moved once more before that call, nothing changes; after it nothing may be moved.
            assert decoys.dials_shown(decoy, policy, at) == 1
            seen += 1
    assert seen > 3


def test_how_often_it_looked_dialled_is_kept_when_it_is_moved(app: Flask, form: Visitor) -> None:
    answer = asks(form, LISTED)
    goes_on(app, NOON + timedelta(milliseconds=20))
    [decoy] = rows(app, DecoyRequest)
    # As if its first call had reached nobody, whatever chance says.
    with app.app_context(), writing() as session:
        row = session.get_one(DecoyRequest, decoy.id)
        row.reschedule(NOON + LATER, NOON + 2 * LATER, 1)
    with time_machine.travel(NOON + timedelta(minutes=5), tick=False):
        assert acts(form, answer, "reschedule", scheduled_at=(NOON + 2 * LATER).isoformat())[0] == 200
    [decoy] = rows(app, DecoyRequest)
    assert decoy.tried == 1


def test_after_a_restore_a_decoy_is_as_unknown_as_a_callback(app: Flask, form: Visitor) -> None:
    """Whoever held a link of before saw which numbers are listed: theirs alone went on as planned."""
    planned = {"scheduled_at": (NOON + LATER).isoformat()}
    true, decoy = asks(form, FREE, **planned), asks(form, LISTED, **planned)
    with app.app_context(), writing() as session:
        forget_certainties(session, NOON, NOON + timedelta(minutes=20))
    with time_machine.travel(NOON + timedelta(minutes=21), tick=False):
        shown, page = looks(form, true)
        assert shown["state"] == State.UNKNOWN
        assert looks(form, decoy) == (shown, page)


def test_who_waits_behind_a_restored_callback_still_follows_it(app: Flask, form: Visitor) -> None:
    """Whatever their link shows, their request is not lost: what is unknown has not ended."""
    asks(form, IN_HAND)
    with app.app_context(), writing() as session:
        forget_certainties(session, NOON, NOON + timedelta(minutes=1))
    with app.app_context(), writing() as session:
        holder = session.scalars(select(Callback).with_for_update()).one()
        [decoy] = session.scalars(select(DecoyRequest)).all()
        assert (holder.state, decoy.ended_as) == (State.UNKNOWN, State.UNKNOWN)
        holder.free_number(NOON + timedelta(minutes=2))
        heir = pass_on(session, holder, NOON + timedelta(minutes=2))
        assert heir is not None
        assert (heir.id, heir.state) == (decoy.id, State.QUEUED)

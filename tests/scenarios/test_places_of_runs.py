"""Runs that nobody can prove now: places have their own room, and what somebody makes up is ended all at once."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from bx24app.database import writing
from bx24app.models import RuleRun, RuleStage
from bx24app.models.callbacks.rule_run import BEHIND_ALL
from bx24app.services.callbacks import roles
from bx24app.services.native.automation import rule_posts, unproven_runs
from bx24app.services.runtime import local_limit
from bx24app.services.runtime.local_limit import LocalLimit
from bx24app.services.security import token_proof
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.scenarios.test_proof_limits import AT_HOME, SHARED, made_up, roomy, runs, still
from tests.scenarios.test_rule_runs_taken import asked_of, token
from tests.support.rule_steps import make_runs_due, registered, runs_of, stored, worked

__all__ = ["registered", "roomy", "still", "token"]
Posts = Callable[..., int]
Meanwhile = Callable[[Callable[[], int]], list[int]]


@pytest.fixture
def posts(client: FlaskClient, registered: FakePortal, application: FakeApp, token: str) -> Posts:
    """Post a run from an address, with an administrator's token if nothing else is said."""

    def post(address: str = AT_HOME, access_token: str = token) -> int:
        return runs(client, registered, application, address, access_token=access_token)

    return post


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Let something be done while the next token is being asked about; returns what came of it, once it was done."""
    ask, said = token_proof.read_owner, list[int]()

    def let(do: Callable[[], int]) -> list[int]:
        def asks(*given: object) -> object:
            monkeypatch.setattr(token_proof, "read_owner", ask)
            said.append(do())
            return ask(*given)  # type: ignore[arg-type]

        monkeypatch.setattr(token_proof, "read_owner", asks)
        return said

    return let


def stages(app: Flask) -> Counter[str]:
    return Counter(run.stage for run in runs_of(app))


def test_made_up_runs_with_a_token_that_is_being_asked_about_are_few_and_end_with_it(
    app: Flask, posts: Posts, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unproven_runs, "WAITING_UNASKED", LocalLimit("waiting_unasked", 3, 3600.0))
    one, told = made_up(), list[int]()

    def others() -> int:
        told.extend(posts(SHARED, one) for _ in range(5))
        return stages(app)[RuleStage.UNPROVEN]

    left = meanwhile(others)
    assert posts(SHARED, one) == 403
    assert (told, left) == ([200] * 3 + [429] * 2, [3])
    assert {(run.stage, run.reason) for run in runs_of(app)} == {(RuleStage.ENDED, "rule_not_proven")}
    assert all(run.due_at is None for run in runs_of(app))


def test_a_burst_with_one_token_from_a_place_of_the_portal_is_taken_as_a_whole(
    app: Flask,
    fake: FakeBitrix24,
    application: FakeApp,
    registered: FakePortal,
    posts: Posts,
    meanwhile: Meanwhile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unproven_runs, "WAITING_UNASKED", LocalLimit("waiting_unasked", 3, 3600.0))
    assert posts() == 200
    fresh = fake.registry.issue(application.client_id, registered.member_id, registered.administrator.id).access
    told = list[int]()

    def others() -> int:
        told.extend(posts(AT_HOME, fresh) for _ in range(63))
        return len(told)

    meanwhile(others)
    assert posts(AT_HOME, fresh) == 200
    assert told == [200] * 63
    assert stages(app) == {RuleStage.UNPROVEN: 63, RuleStage.RECEIVED: 2}


def test_strangers_leave_room_for_a_place_of_the_portal(
    app: Flask, fake: FakeBitrix24, posts: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unproven_runs, "MAX_UNPROVEN_RUNS", 8)
    assert posts() == 200
    fake.auth_server.faults.add("html_502", "app.info", times=99)
    strangers = [posts(f"203.0.113.{number}", made_up()) for number in range(10)]
    assert Counter(strangers) == {200: 4, 429: 6}
    assert Counter(posts(AT_HOME, made_up()) for _ in range(5)) == {200: 2, 429: 3}
    # Its first one does not wait for all that strangers have sent.
    waiting = [run for run in runs_of(app) if run.stage == RuleStage.UNPROVEN]
    assert [run.turn for run in waiting if run.place_digest] == [4, 8]


def test_a_token_that_is_refused_later_ends_all_that_wait_with_it(app: Flask, fake: FakeBitrix24, posts: Posts) -> None:
    silent = fake.auth_server.faults.add("html_502", "app.info", times=99)
    one, other = made_up(), made_up()
    assert [posts(SHARED, one) for _ in range(5)] + [posts(SHARED, other)] == [200] * 6
    silent.times = 0
    assert worked(app, most=1) == 1
    assert stages(app) == {RuleStage.ENDED: 5, RuleStage.UNPROVEN: 1}
    ended = [run for run in runs_of(app) if run.stage == RuleStage.ENDED]
    assert {(run.reason, run.turn, run.access_digest) for run in ended} == {("rule_not_proven", BEHIND_ALL, None)}


def test_what_strangers_made_up_keeps_no_run_from_a_place_of_the_portal_waiting(
    app: Flask, fake: FakeBitrix24, application: FakeApp, registered: FakePortal, posts: Posts
) -> None:
    assert posts() == 200
    silent = fake.auth_server.faults.add("html_502", "app.info", times=10_000)
    fresh = fake.registry.issue(application.client_id, registered.member_id, registered.administrator.id).access
    strangers = [posts(f"203.0.113.{number % 10}", made_up()) for number in range(100)]
    assert (set(strangers), posts(AT_HOME, fresh)) == ({200}, 200)
    with app.app_context(), writing() as session:
        # The last one that is looked at.
        session.execute(update(RuleRun).where(RuleRun.place_digest.is_not(None)).values(turn=10_000))
    silent.times = 0
    # A worker has limits of its own.
    app.extensions.pop(local_limit.LIMITS_STATE)
    assert worked(app, most=102) == 102
    assert RuleStage.UNPROVEN not in {run.stage for run in runs_of(app) if run.place_digest}


def test_a_token_that_was_refused_a_moment_ago_leaves_nothing_while_others_are_asked_about(
    app: Flask, registered: FakePortal, posts: Posts
) -> None:
    one = made_up()
    assert posts(SHARED, one) == 403
    with rule_posts._questions.hold(registered.member_id):
        assert posts(SHARED, one) == 403
    assert runs_of(app) == []


def test_one_run_of_a_portal_is_asked_about_at_once_and_those_of_two_portals(
    app: Flask, fake: FakeBitrix24, posts: Posts, meanwhile: Meanwhile, token: str
) -> None:
    asked, fresh = asked_of(fake), made_up()
    said = meanwhile(lambda: posts(AT_HOME, fresh))
    assert posts() == 200
    assert (said, asked_of(fake) - asked) == ([200], 1)
    assert stages(app) == {RuleStage.UNPROVEN: 1, RuleStage.RECEIVED: 1}
    with rule_posts._questions.hold("another"), rule_posts._questions.hold("a third one"):
        assert posts(AT_HOME, made_up()) == 200
    assert asked_of(fake) - asked == 1


def test_a_portal_that_is_slow_to_say_what_somebody_may_keeps_no_other_one_from_asking(
    posts: Posts, registered: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[set[str]] = []
    said = roles.role_of_token

    def looks(*given: object) -> object:
        held.append(rule_posts._questions.held())
        return said(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("bx24app.services.native.automation.rule_posts.role_of_token", looks)
    assert posts() == 200
    assert held == [set()]


@pytest.mark.parametrize("patience", [5.0, 0.0])
def test_a_worker_waits_for_its_turn_to_ask(
    app: Flask, registered: FakePortal, posts: Posts, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr(rule_posts, "QUESTION_PATIENCE", patience)
    with rule_posts._questions.hold(registered.member_id):
        assert posts() == 200
    assert stages(app) == {RuleStage.UNPROVEN: 1}
    begun = threading.Event()

    def hold() -> None:
        with rule_posts._questions.hold(registered.member_id):
            begun.set()
            time.sleep(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait()
    assert worked(app, most=1) == 1
    holder.join()
    assert stages(app) == {RuleStage.RECEIVED if patience else RuleStage.UNPROVEN: 1}
    make_runs_due(app)
    worked(app)
    assert len(stored(app)) == 1

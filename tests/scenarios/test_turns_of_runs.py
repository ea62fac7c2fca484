"""Whose run of a rule is worked on next: nobody makes those of others wait, or leaves no room for them."""

from collections import Counter
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert, select, text

from bx24app.database import db, is_postgresql, reading, writing
from bx24app.models import Portal, RuleRun, RuleStage, utcnow
from bx24app.models.callbacks.rule_run import BEHIND_ALL
from bx24app.services.native.automation import rule_posts, rule_runs, unproven_runs
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.scenarios.test_proof_limits import AT_HOME, roomy, runs, still
from tests.scenarios.test_query_plans import plans
from tests.scenarios.test_rule_runs_taken import Forges, forges, token
from tests.support.rule_steps import make_runs_due, registered, runs_of, worked
from tests.support.waiting import pass_time

INDEXES = (
    "ix_rule_run_turn",
    "ix_rule_run_turn",
    "ix_rule_run_turn",
    "ix_rule_run_open",
    "ix_rule_run_open",
    "ix_rule_run_access",
)
__all__ = ["forges", "registered", "roomy", "still", "token"]


class Genuine:
    """Runs that the portal has signed, with an administrator's access."""

    def __init__(self, app: Flask, client: FlaskClient, portal: FakePortal, application: FakeApp, token: str) -> None:
        self.app, self.client, self.portal, self.application, self.token = app, client, portal, application, token

    def come(self, count: int) -> list[int]:
        """Post so many; returns what is answered."""
        given = self.client, self.portal, self.application, AT_HOME
        return [runs(*given, access_token=self.token) for _ in range(count)]

    @property
    def started(self) -> int:
        """How many have been looked at, and were found genuine."""
        return sum(run.stage == RuleStage.CALLING for run in runs_of(self.app))


@pytest.fixture
def genuine(app: Flask, client: FlaskClient, registered: FakePortal, application: FakeApp, token: str) -> Genuine:
    """An administrator's rules."""
    return Genuine(app, client, registered, application, token)


def looked_at(app: Flask, most: int) -> int:
    """Work on so many runs, however long the pace of the portal lets that take; returns how many there were."""
    done = 0
    while done < most:
        if not worked(app, most=1):
            pass_time(app, timedelta(seconds=10))
            if not worked(app, most=1):
                break
        done += 1
    return done


def test_who_sends_one_run_after_another_is_not_always_the_first(
    app: Flask, genuine: Genuine, forges: Forges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_runs, "FORGED_AN_HOUR", 100)
    assert genuine.come(10) == [200] * 10
    for _ in range(10):
        assert forges(1) == [200]
        assert looked_at(app, most=1) == 1
    assert genuine.started >= 5


def test_calls_under_way_put_nobody_s_next_run_back(
    app: Flask, genuine: Genuine, forges: Forges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_runs, "FORGED_AN_HOUR", 100)
    assert genuine.come(10) == [200] * 10
    assert looked_at(app, most=10) == 10
    assert forges(10) == [200] * 10
    assert genuine.come(1) == [200]
    looked_at(app, most=2)
    assert genuine.started == 11


def test_whose_runs_the_portal_does_not_know_waits_behind_all_others(
    app: Flask, genuine: Genuine, forges: Forges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_runs, "FORGED_AN_HOUR", 3)
    assert forges(10) == [200] * 10
    assert looked_at(app, most=3) == 3
    assert genuine.come(6) == [200] * 6
    # Those that were there already, and those that come.
    assert forges(2) == [200] * 2
    assert looked_at(app, most=6) == 6
    assert genuine.started == 6
    assert looked_at(app, most=20) == 9


def test_whose_token_somebody_else_makes_runs_up_with_loses_none(
    app: Flask, client: FlaskClient, genuine: Genuine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_runs, "FORGED_AN_HOUR", 3)
    monkeypatch.setattr(rule_posts, "MAX_OPEN_OF_FORGER", 5)
    assert genuine.come(1) == [200]
    given = client, genuine.portal, genuine.application, AT_HOME
    made_up = [runs(*given, access_token=genuine.token, event_token=f"made up {number}") for number in range(12)]
    assert made_up == [200] * 12
    assert looked_at(app, most=4) == 4
    assert genuine.come(3) == [200] * 3
    looked_at(app, most=20)
    assert genuine.started == 4


def test_nobody_takes_all_the_room_of_a_portal(
    genuine: Genuine, forges: Forges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_posts, "MAX_OPEN_OF_PORTAL", 9)
    assert Counter(forges(9)) == {200: 5, 429: 4}
    assert genuine.come(3) == [200, 200, 429]


def test_runs_of_which_nobody_can_say_whose_they_are_slow_others_little(
    app: Flask, genuine: Genuine, forges: Forges, fake: FakeBitrix24
) -> None:
    assert genuine.come(1) == [200]
    fake.auth_server.faults.add("html_502", "app.info", times=10_000)
    assert forges(30) == [200] * 30
    # The token of these was proven before.
    assert genuine.come(15) == [200] * 15
    looked_at(app, most=20)
    assert genuine.started >= 15
    # Nor are they the first when they are tried again.
    make_runs_due(app)
    assert genuine.come(15) == [200] * 15
    looked_at(app, most=20)
    assert genuine.started >= 28


def test_the_result_of_a_run_that_nobody_has_proven_waits_behind_all_others(
    app: Flask, genuine: Genuine, forges: Forges, fake: FakeBitrix24
) -> None:
    refused = fake.auth_server.faults.add("html_502", "app.info", times=10_000)
    assert forges(1) == [200]
    refused.times = 0
    fake.auth_server.faults.add("error", "app.info", code="expired_token", times=1)
    looked_at(app, most=1)
    [run] = runs_of(app)
    assert (run.reason, run.turn) == ("rule_not_proven", BEHIND_ALL)


def test_the_turns_of_a_portal_are_found_by_their_index(app: Flask, token: str) -> None:
    with app.app_context(), reading() as session:
        portal_id = session.scalars(select(Portal.id)).one()
    made = [
        {
            "portal_id": portal_id,
            "token_digest": f"{number:064}",
            "user_id": number % 3,
            "properties": {},
            "made_at": utcnow(),
            "due_at": utcnow(),
            "turn": number,
            "access_digest": f"{number % 50:064}",
        }
        for number in range(2_000)
    ]
    with app.app_context(), writing() as session:
        session.execute(insert(RuleRun), made)
    with app.app_context():
        if is_postgresql():
            with db.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
    found: list[str] = []
    with app.app_context(), reading() as session, plans(found, is_large=True):
        session.scalar(rule_runs.next_run(utcnow(), portal_id))
        assert rule_runs.turn_after(session, portal_id, 5) == 5
        assert rule_runs.turn_after(session, portal_id, 5, is_behind=True) == BEHIND_ALL + 5
        assert session.scalar(select(rule_runs.waiting_runs(portal_id, 1))) == 667
        unproven_runs._check_room(session, RuleRun(portal_id=portal_id, place_digest=None))
        assert session.scalar(unproven_runs._waiting_with(portal_id, f"{5:064}")) is None
    assert [name in plan for name, plan in zip(INDEXES, found, strict=True)] == [True] * len(INDEXES), found


def test_a_portal_that_another_worker_has_taken_a_moment_before_hides_no_other(
    app: Flask, token: str, fake: FakeBitrix24, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context(), writing() as session:
        first = session.scalars(select(Portal)).one()
        kept = ("member_id", "domain", "client_endpoint", "app_code", "app_id", "language", "installed_at")
        second = Portal(**{name: getattr(first, name) for name in kept} | {"member_id": "f" * 32})
        session.add(second)
        session.flush()
        ids = first.id, second.id
        for number, portal_id in enumerate(ids):
            at = utcnow() - timedelta(seconds=60 - number)
            whose = {"portal_id": portal_id, "token_digest": f"{number:064}", "user_id": 1}
            session.add(RuleRun(**whose, properties={}, made_at=at, due_at=at))
    look = rule_runs._due_portal
    taken: list[int | None] = []

    def another_is_faster(full: list[int]) -> int | None:
        found = look(full)
        if not taken:
            taken.append(found)
            with writing() as session:
                run = session.scalars(select(RuleRun).where(RuleRun.portal_id == found)).one()
                run.lease(utcnow(), rule_runs.RULE_LEASE)
        return found

    monkeypatch.setattr(rule_runs, "_due_portal", another_is_faster)
    with app.app_context():
        lease = rule_runs.lease_rule_run()
    assert lease is not None
    assert lease.portal_id == ids[1]

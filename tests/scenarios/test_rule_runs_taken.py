"""Genuine runs of rules are taken whatever else happens: each comes once, and a lost one is a customer nobody calls."""

import secrets
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bx24app.models import RuleStage, utcnow
from bx24app.services.native.automation import rule_posts, rule_runs
from bx24app.services.runtime.local_limit import LocalLimit
from bx24app.services.security import proof_limits, token_proof
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.scenarios.test_proof_limits import AT_HOME, SHARED, posts, roomy, runs, still
from tests.support.actors import Actor
from tests.support.rule_steps import make_runs_due, registered, runs_of, stored, worked
from tests.support.waiting import change_portal, pass_time

__all__ = ["registered", "roomy", "still"]
Forges = Callable[[int], list[int]]


def asked_of(fake: FakeBitrix24) -> int:
    """How often the authorization server was asked whose a token is."""
    return Counter(request.path for request in fake.auth_server.server.requests)["app.info"]


@pytest.fixture
def token(administrator: Actor, registered: FakePortal, application: FakeApp, fake: FakeBitrix24) -> str:
    """An access token of an administrator, of which nobody was asked yet."""
    administrator.opens()
    registry = fake.registry
    return registry.issue(application.client_id, registered.member_id, registered.administrator.id).access


def test_runs_with_one_token_are_one_question_whatever_happens_to_the_portal(
    app: Flask, client: FlaskClient, registered: FakePortal, application: FakeApp, fake: FakeBitrix24, token: str
) -> None:
    asked = asked_of(fake)
    for number in range(20):
        # As each event does that somebody makes up with the application token.
        change_portal(app, payment_hinted_at=utcnow())
        assert runs(client, registered, application, SHARED, access_token=token, user_id=str(number)) == 200
    assert asked_of(fake) - asked == 1
    assert {run.user_id for run in runs_of(app)} == {registered.administrator.id}


def test_runs_that_come_while_their_token_is_being_asked_about_are_all_taken(
    app: Flask,
    client: FlaskClient,
    registered: FakePortal,
    application: FakeApp,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[int] = []
    ask = token_proof.read_owner

    def asks(*given: object) -> object:
        said.extend(runs(client, registered, application, SHARED, access_token=token) for _ in range(15))
        return ask(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(token_proof, "read_owner", asks)
    assert runs(client, registered, application, SHARED, access_token=token) == 200
    monkeypatch.setattr(token_proof, "read_owner", ask)
    assert said == [200] * 15
    assert Counter(run.stage for run in runs_of(app)) == {RuleStage.UNPROVEN: 15, RuleStage.RECEIVED: 1}
    for _ in range(20):
        make_runs_due(app)
        worked(app)
        pass_time(app, timedelta(seconds=10))
    assert len(stored(app)) == 1
    assert RuleStage.UNPROVEN not in {run.stage for run in runs_of(app)}


def test_the_runs_of_a_portal_have_a_share_of_the_authorization_server_and_the_rest_waits(
    app: Flask,
    client: FlaskClient,
    manager: Actor,
    registered: FakePortal,
    application: FakeApp,
    fake: FakeBitrix24,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rule_posts, "PROVEN_FOR_RUNS", LocalLimit("proven_for_runs", 3))
    asked = asked_of(fake)
    # Each comes with a token of its own.
    assert [runs(client, registered, application, SHARED) for _ in range(10)] == [200] * 10
    assert asked_of(fake) - asked == 3
    assert Counter(run.stage for run in runs_of(app)) == {RuleStage.RECEIVED: 3, RuleStage.UNPROVEN: 7}
    # Pages have their own share.
    assert posts(client, "/install", registered.launch(application, manager.user), AT_HOME) == 403


def test_a_role_that_is_taken_away_ends_what_was_remembered(
    app: Flask,
    client: FlaskClient,
    manager: Actor,
    administrator: Actor,
    registered: FakePortal,
    application: FakeApp,
    fake: FakeBitrix24,
) -> None:
    administrator.opens()
    theirs = fake.registry.issue(application.client_id, registered.member_id, manager.user.id).access
    assert runs(client, registered, application, SHARED, access_token=theirs) == 200
    assert administrator.lets_call(people=[registered.administrator.id]).status_code == 200
    assert runs(client, registered, application, SHARED, access_token=theirs) == 200
    assert len(runs_of(app)) == 1


@pytest.fixture
def forges(app: Flask, client: FlaskClient, manager: Actor, registered: FakePortal, application: FakeApp) -> Forges:
    """Posts runs that the portal does not know, with an employee's own access."""
    theirs = manager.portal.cloud.registry.issue(application.client_id, registered.member_id, manager.user.id).access

    def forge(count: int) -> list[int]:
        made_up = (secrets.token_hex(20) for _ in range(count))
        own = {"access_token": theirs, "user_id": str(manager.user.id)}
        return [runs(client, registered, application, SHARED, event_token=one, **own) for one in made_up]

    return forge


@pytest.mark.parametrize("is_proven", [True, False])
def test_nobody_s_runs_wait_for_all_that_somebody_else_has_made_up(
    app: Flask,
    client: FlaskClient,
    registered: FakePortal,
    application: FakeApp,
    fake: FakeBitrix24,
    token: str,
    forges: Forges,
    is_proven: bool,
) -> None:
    if not is_proven:
        fake.auth_server.faults.add("html_502", "app.info", times=int(proof_limits.QUESTIONS_OF_TOKEN.size))
    assert forges(30) == [200] * 30
    assert runs(client, registered, application, AT_HOME, access_token=token) == 200
    # The first of each of them.
    assert worked(app, most=2) == 2
    assert len(stored(app)) == 1


def test_whose_runs_the_portal_does_not_know_has_little_room(
    app: Flask,
    client: FlaskClient,
    registered: FakePortal,
    application: FakeApp,
    token: str,
    forges: Forges,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rule_runs, "FORGED_AN_HOUR", 3)
    monkeypatch.setattr(rule_posts, "MAX_OPEN_OF_FORGER", 5)
    assert forges(10) == [200] * 10
    assert worked(app, most=3) == 3
    assert forges(2) == [429] * 2
    assert runs(client, registered, application, SHARED, access_token=token) == 200
    assert worked(app, most=5) == 5
    assert forges(3) == [200, 200, 429]

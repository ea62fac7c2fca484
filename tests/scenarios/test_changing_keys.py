"""Half-way through a change of the encryption keys: values are sealed under a key that a running process has not yet.

``app`` is that process, ``newer`` one that was started anew. Nothing is lost by it: what the first cannot open the
second does, and what is due to both is left alone by the first.
"""

from datetime import timedelta
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.backups.renewal import renew_every_portal
from bx24app.crypto import UnknownKey, keyring
from bx24app.database import reading, writing
from bx24app.models import Callback, Credential, CredentialState, KeptClick, Portal, RuleStage, utcnow
from bx24app.services import diagnostics
from bx24app.services.dialling import queue
from bx24app.services.portals import token_renewal, uninstall
from bx24app.services.security import key_rotation
from tests.conftest import OtherApp, encryption_key
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.scenarios.test_kept_clicks import kept, silence
from tests.scenarios.test_kept_clicks import worked as clicks_worked
from tests.support.actors import Actor, json_of
from tests.support.rule_steps import LINE, WAITS, Runs, make_runs_due, runs_of, stored, worked
from tests.support.sites import Site
from tests.support.timeline_steps import Plans, clicks, state_of
from tests.support.waiting import NUMBER, change_portal, seen, work
from tests.support.webhook_steps import added, form, hurry, listed, site, told_all

__all__ = ["form", "site"]  # Fixtures.


@pytest.fixture
def newer(other_app: OtherApp, environ: dict[str, str]) -> Flask:
    """A process that has the new key too, and seals with it."""
    return other_app(ENCRYPTION_KEYS=f"{encryption_key()},{environ['BX24APP_ENCRYPTION_KEYS']}")


def seal_anew(newer: Flask) -> None:
    """Everything that is stored is sealed under the new key."""
    with newer.app_context():
        assert key_rotation.rotate_keys() > 0


def requested(manager: Actor) -> UUID:
    """A callback that somebody asks for in the desk."""
    return UUID(json_of(manager.requests_callback(NUMBER))["id"])


def make_dials_due(app: Flask) -> None:
    """What waits for its next try is due now; the leases stand."""
    with app.app_context(), writing() as session:
        session.execute(update(Callback).values(due_at=utcnow()))


@pytest.mark.parametrize("is_persons", [False, True])
def test_a_callback_whose_access_opens_elsewhere_is_given_back_at_once_and_dialled_there(
    app: Flask, newer: Flask, manager: Actor, portal: FakePortal, is_persons: bool
) -> None:
    change_portal(app, stands_in=not is_persons)
    id = requested(manager)
    seal_anew(newer)
    for _ in range(3):
        assert work(app) == 1
        waiting = seen(app, id)
        assert (waiting.state, waiting.leased_until, waiting.attempts) == ("queued", None, [])
        assert utcnow() < waiting.due_at < utcnow() + timedelta(seconds=5)
        # So that it is not tried without a pause.
        assert work(app) == 0
        make_dials_due(app)
    assert work(newer) == 1
    assert [dial["number"] for dial in portal.telephony.dials] == [NUMBER]


def test_a_callback_whose_number_cannot_be_recognised_here_is_given_back_at_once(
    other_app: OtherApp, newer: Flask, manager: Actor, portal: FakePortal
) -> None:
    """A process that has just been started with the old key alone cannot look into the do-not-call list."""
    id = requested(manager)
    with newer.app_context():
        assert key_rotation._rotate_digest_key() == 1
    older = other_app()
    assert work(older) == 1
    waiting = seen(older, id)
    assert (waiting.state, waiting.leased_until, waiting.attempts) == ("queued", None, [])
    make_dials_due(newer)
    assert work(newer) == len(portal.telephony.dials) == 1


def test_a_callback_that_nobody_can_dial_in_time_expires_as_on_a_silent_portal(
    app: Flask, newer: Flask, manager: Actor, portal: FakePortal
) -> None:
    id = requested(manager)
    seal_anew(newer)
    assert work(app) == 1
    with app.app_context(), writing() as session:
        session.execute(update(Callback).values(due_at=utcnow(), expires_at=utcnow() - timedelta(seconds=1)))
    with app.app_context():
        assert queue.lease_due() == []
    assert (seen(app, id).state, portal.telephony.dials) == ("expired", [])


def test_a_run_that_opens_elsewhere_is_started_there(
    app: Flask, newer: Flask, registered: FakePortal, runs: Runs
) -> None:
    step = runs(WAITS, "DEAL_1", number=NUMBER, line=LINE)
    seal_anew(newer)
    for _ in range(3):
        assert worked(app) == 1
        [run] = runs_of(app)
        assert (run.stage, run.reason, run.leased_until) == (RuleStage.RECEIVED, None, None)
        assert worked(app) == 0
        make_runs_due(app)
    assert worked(newer) == 1
    assert [callback.to_number for callback in stored(newer)] == [NUMBER]
    assert step.results == []


def test_a_run_that_waits_under_the_old_key_keeps_it_from_being_taken_out(
    newer: Flask, registered: FakePortal, runs: Runs
) -> None:
    seal_anew(newer)
    runs(WAITS, "DEAL_1", number=NUMBER, line=LINE)
    with newer.app_context():
        [keys] = [one for one in diagnostics.examine_installation() if one.check == "keys"]
        assert (keys.about, keys.facts["count"]) == ("old", "1")
        assert key_rotation.rotate_keys() == 1
        assert "old" not in [one.about for one in diagnostics.examine_installation()]


def test_the_doctor_names_the_key_and_not_the_portal(app: Flask, newer: Flask, manager: Actor) -> None:
    seal_anew(newer)
    result = app.test_cli_runner().invoke(args=["doctor", manager.portal.member_id])
    assert (result.exit_code, "ENCRYPTION_KEYS" in result.output) == (1, True)


def test_a_run_that_opens_elsewhere_is_proven_there(
    app: Flask, newer: Flask, fake: FakeBitrix24, registered: FakePortal, runs: Runs
) -> None:
    fake.auth_server.faults.add("error", "app.info", code="QUERY_LIMIT_EXCEEDED")
    runs(WAITS, "DEAL_1", number=NUMBER, line=LINE)
    seal_anew(newer)
    make_runs_due(app)
    assert worked(app) == 1
    assert runs_of(app)[0].stage == RuleStage.UNPROVEN
    make_runs_due(app)
    assert worked(newer) == 2
    assert [callback.to_number for callback in stored(newer)] == [NUMBER]


def test_a_result_that_opens_elsewhere_is_sent_from_there(
    app: Flask, newer: Flask, registered: FakePortal, runs: Runs
) -> None:
    step = runs(WAITS, "DEAL_1", number=NUMBER, line=LINE)
    assert worked(app) == 1
    with app.app_context(), writing() as session:
        session.scalars(select(Callback)).one().cancel(utcnow())
    seal_anew(newer)
    assert worked(app) == 1
    assert step.results == []
    make_runs_due(app)
    assert worked(newer) == 1
    assert [result["state"] for result in step.results] == ["cancelled"]


def test_a_click_that_opens_elsewhere_is_done_there_however_often_it_was_tried_here(
    app: Flask, newer: Flask, plans: Plans, fake: FakeBitrix24, portal: FakePortal
) -> None:
    activity = plans()
    silence(fake, 1)
    assert clicks(app, portal, activity, "Cancel", portal.manager) == 200
    with newer.app_context(), writing() as session:
        click, member_id = session.scalars(select(KeptClick)).one(), session.scalars(select(Portal.member_id)).one()
        click.keep_token(keyring, member_id, click.token(keyring, member_id))
    for _ in range(10):
        assert clicks_worked(app) == 1
    assert kept(app)[0].due_at > utcnow()
    assert (state_of(app, activity), "Not done" in activity.texts()) == ("scheduled", False)
    assert clicks_worked(newer) == 1
    assert (state_of(app, activity), kept(app)) == ("cancelled", [])


def test_a_delivery_whose_secret_opens_elsewhere_is_made_there(
    app: Flask, newer: Flask, administrator: Actor, form: int, site: Site
) -> None:
    webhook = added(administrator, site)
    seal_anew(newer)
    assert administrator.asks("POST", f"/webhooks/{webhook['id']}/test").status_code == 202
    told_all(app)
    assert site.told == []
    hurry(newer)
    told_all(newer)
    assert (len(site.told), listed(administrator, webhook)[0]["last_error"]) == (1, None)


def test_an_access_that_opens_elsewhere_stays_alive_and_is_renewed_there(
    app: Flask, newer: Flask, manager: Actor
) -> None:
    seal_anew(newer)
    with app.app_context():
        for _ in range(2):
            with pytest.raises(UnknownKey):
                token_renewal.renew(1, 1)
        with reading() as session:
            credential = session.get_one(Credential, 1)
        assert (credential.state, credential.leased_until) == (CredentialState.ALIVE, None)
        # After a restore nobody is told that Bitrix24 has refused it.
        assert [one.refused for one in renew_every_portal()] == [0]
    with newer.app_context():
        assert token_renewal.renew(1, credential.generation).generation == credential.generation + 1


def test_a_removal_that_is_told_meanwhile_is_confirmed_where_the_tokens_open(
    app: Flask, newer: Flask, manager: Actor, application: FakeApp, portal: FakePortal
) -> None:
    with app.app_context(), writing() as session:
        for credential in session.scalars(select(Credential)):
            credential.die("refused")
    seal_anew(newer)
    portal.uninstall(application)
    portal.events.wait_until_idle()
    with app.app_context():
        assert uninstall.confirm_removals() == 1
        with writing() as session:
            session.scalars(select(Portal)).one().removal_due_at = utcnow()
    with newer.app_context():
        assert uninstall.confirm_removals() == 1
        with reading() as session:
            assert session.scalars(select(Portal)).all() == []


def test_a_page_asks_to_try_again_where_the_access_does_not_open(app: Flask, newer: Flask, manager: Actor) -> None:
    seal_anew(newer)
    refused = manager.asks("GET", "/lines?refresh=1")
    assert (refused.status_code, json_of(refused)["code"]) == (503, "bitrix24_unavailable")

"""A verdict about tokens counts for what they were about: who came with fresh ones since is not touched by it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.bitrix24.errors import ApplicationRemoved, Bitrix24Error, CredentialRefused, PaymentRequired
from bx24app.database import reading, writing
from bx24app.models import Credential, CredentialState, Portal, PortalState, utcnow
from bx24app.services.portals import payment, token_renewal, tokens, uninstall
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.faults import Fault
from tests.support.actors import Actor, post_frame


@pytest.fixture
def deputy(app: Flask, administrator: Actor, portal: FakePortal, application: FakeApp) -> Actor:
    """Another administrator, who has opened the app before."""
    administrator.installs()
    second = Actor(app.test_client(), portal, application, portal.add_user("Dora", "Deputy", admin=True))
    assert second.opens().status_code == 200
    portal.events.wait_until_idle()
    return second


def row(app: Flask) -> Portal:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal)).one()


def change(app: Flask, model: type[Portal] | type[Credential], **values: Any) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(model).values(**values))


def in_between(app: Flask, fault: Fault, work: Callable[[], object], meanwhile: Callable[[], object]) -> None:
    """Do something while the answer that some work waits for is on its way."""

    def do() -> None:
        with app.app_context():
            work()

    thread = threading.Thread(target=do)
    thread.start()
    assert fault.executed.wait(10)
    meanwhile()
    fault.released.set()
    thread.join()


@pytest.mark.parametrize("error", [PaymentRequired, CredentialRefused, ApplicationRemoved])
def test_one_about_one_administrators_token_does_not_touch_anothers(
    app: Flask, administrator: Actor, deputy: Actor, error: type[Bitrix24Error]
) -> None:
    with app.app_context():
        access = token_renewal.service_access(1)
    assert access.user_id == administrator.user.id
    deputy.opens()
    with app.app_context():
        tokens.invalidate(access, error("late"))
        assert row(app).state == PortalState.INSTALLED
        assert deputy.user.id in tokens.serving_administrators(1)
    assert (row(app).payment_hinted_at is not None) == (error is PaymentRequired)


@pytest.mark.parametrize(
    ("error", "state"), [(PaymentRequired, PortalState.UNPAID), (ApplicationRemoved, PortalState.UNINSTALLED)]
)
def test_one_that_is_not_late_counts_for_the_portal(
    app: Flask, deputy: Actor, error: type[Bitrix24Error], state: PortalState
) -> None:
    with app.app_context():
        tokens.invalidate(token_renewal.service_access(1), error("now"))
    assert row(app).state == state


def test_a_launch_that_is_told_late_of_a_payment_makes_us_ask(
    app: Flask, administrator: Actor, deputy: Actor, portal: FakePortal
) -> None:
    """The portal's answer to the first launch says what was true before the second one."""
    portal.paid = False
    fault = portal.faults.add("hang_after", "batch", seconds=30)

    def paid_meanwhile() -> None:
        portal.paid = True
        assert deputy.opens().status_code == 200

    employee = Actor(app.test_client(), portal, administrator.application, portal.manager)
    in_between(app, fault, lambda: post_frame(employee.client, "/", employee.launches()), paid_meanwhile)
    assert row(app).state == PortalState.INSTALLED
    assert row(app).payment_hinted_at is not None


def test_a_launch_that_is_told_now_says_so(app: Flask, deputy: Actor, portal: FakePortal) -> None:
    portal.paid = False
    deputy.opens()
    assert row(app).state == PortalState.UNPAID


def test_a_renewal_that_is_told_late_of_a_payment_makes_us_ask(
    app: Flask, deputy: Actor, fake: FakeBitrix24, portal: FakePortal
) -> None:
    with app.app_context():
        access = token_renewal.service_access(1)
    portal.paid = False
    fault = fake.auth_server.faults.add("hang_after", "oauth/token", seconds=30)

    def paid_meanwhile() -> None:
        portal.paid = True
        assert deputy.opens().status_code == 200

    def renew() -> None:
        with pytest.raises(PaymentRequired):
            token_renewal.renew(access.credential_id, access.generation)

    in_between(app, fault, renew, paid_meanwhile)
    assert row(app).state == PortalState.INSTALLED
    assert row(app).payment_hinted_at is not None


def test_a_payment_check_that_is_answered_late_makes_us_ask_again(
    app: Flask, deputy: Actor, portal: FakePortal
) -> None:
    change(app, Portal, payment_hinted_at=utcnow())
    portal.paid = False
    fault = portal.faults.add("hang_after", "app.info", seconds=30)

    def paid_meanwhile() -> None:
        portal.paid = True
        assert deputy.opens().status_code == 200

    in_between(app, fault, payment.check_payments, paid_meanwhile)
    assert row(app).state == PortalState.INSTALLED
    assert row(app).payment_hinted_at is not None


def test_a_payment_check_that_is_answered_late_hides_no_newer_verdict(
    app: Flask, deputy: Actor, portal: FakePortal
) -> None:
    change(app, Portal, payment_hinted_at=utcnow())
    fault = portal.faults.add("hang_after", "app.info", seconds=30)
    in_between(app, fault, payment.check_payments, lambda: change(app, Portal, state=PortalState.UNPAID))
    assert row(app).state == PortalState.UNPAID


def test_a_removal_that_is_confirmed_late_deletes_nothing_of_a_portal_that_came_back(
    app: Flask, administrator: Actor, deputy: Actor
) -> None:
    before, asked_at = row(app), utcnow()
    change(app, Portal, removal_told_at=utcnow(), removal_due_at=utcnow(), state=PortalState.UNINSTALLED)
    administrator.opens()  # It is installed again.
    assert row(app).removal_told_at is None
    change(app, Portal, removal_told_at=utcnow(), removal_due_at=utcnow())  # Told once more.
    with app.app_context():
        uninstall._settle(before, False, asked_at)
    after = row(app)
    assert after.removal_told_at is not None
    assert after.removal_due_at is not None
    assert after.removal_due_at > utcnow()


def test_a_token_that_is_refused_late_lets_the_next_administrator_serve(
    app: Flask, administrator: Actor, deputy: Actor, fake: FakeBitrix24
) -> None:
    with app.app_context():
        access = token_renewal.service_access(1)
    fault = fake.auth_server.faults.add("error", "oauth/token", code="invalid_grant", status=400)
    with app.app_context(), pytest.raises(CredentialRefused):
        token_renewal.renew(access.credential_id, access.generation)
    assert fault.received.is_set()
    assert row(app).state == PortalState.INSTALLED
    with app.app_context(), reading() as session:
        states = dict(session.execute(select(Credential.user_id, Credential.state)).all())
    assert states == {administrator.user.id: CredentialState.DEAD, deputy.user.id: CredentialState.ALIVE}


def test_an_application_token_that_is_proven_late_does_not_replace_a_newer_one(
    app: Flask, deputy: Actor, portal: FakePortal, application: FakeApp, eventually: Eventually
) -> None:
    fault = portal.faults.add("hang_after", "profile", seconds=30)
    token = portal.cloud.registry.issue(application.client_id, portal.member_id, deputy.user.id)
    portal.send_event(application, "ONCRMLEADADD", {}, application_token="e" * 32, access_token=token.access)
    eventually(fault.received.is_set)
    change(app, Portal, application_token_digest="f" * 64)
    fault.released.set()
    portal.events.wait_until_idle()
    assert row(app).application_token_digest == "f" * 64


class TestBusy:
    """Whoever is busy has refused nothing: people and events may come again."""

    @pytest.mark.parametrize("code", ["QUERY_LIMIT_EXCEEDED", "OPERATION_TIME_LIMIT", "OVERLOAD_LIMIT"])
    def test_a_busy_portal_refuses_no_installation(
        self, app: Flask, administrator: Actor, portal: FakePortal, code: str
    ) -> None:
        portal.faults.add("error", "batch", code=code, status=503)
        assert administrator.installs().status_code == 503
        assert administrator.installs().status_code == 200

    def test_a_busy_authorization_server_refuses_nobody(
        self, app: Flask, administrator: Actor, fake: FakeBitrix24
    ) -> None:
        fake.auth_server.faults.add("error", "app.info", code="QUERY_LIMIT_EXCEEDED", status=503)
        assert administrator.installs().status_code == 503
        assert administrator.installs().status_code == 200

    def test_a_busy_portal_refuses_no_announcement(
        self, app: Flask, deputy: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        portal.faults.add("error", "profile", code="QUERY_LIMIT_EXCEEDED", status=503)
        portal.update(application)
        portal.events.wait_until_idle()
        assert portal.events.deliveries[-1].status == 503

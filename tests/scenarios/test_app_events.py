"""An installation's life after the first day: updated, paid for, renamed, removed, and installed again."""

from collections.abc import Iterable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update

from bx24app.bitrix24.errors import ApplicationRemoved, Bitrix24Error, CredentialRefused, PaymentRequired
from bx24app.database import Base, reading, writing
from bx24app.models import Credential, Portal, PortalState, RestCall, User, utcnow
from bx24app.services.portals import bindings, payment, token_renewal, tokens, uninstall
from bx24app.services.portals.manifest import manifest
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.fake_bitrix24.events import Delivery, http_build_query
from tests.support.actors import Actor, json_of, post_frame

KEPT_FOR_EVER = {"digest_key", "alembic_version"}


def portals(app: Flask) -> list[Portal]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(Portal).order_by(Portal.id)))


def filled_tables(app: Flask) -> set[str]:
    with app.app_context(), reading() as session:
        counted = {
            name: session.scalars(select(func.count()).select_from(table)).one()
            for name, table in Base.metadata.tables.items()
        }
    return {name for name, count in counted.items() if count} - KEPT_FOR_EVER


def change(app: Flask, **values: object) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(Portal).values(values))


def told(app: Flask, portal: FakePortal, delivery: Delivery | None) -> None:
    """Let the event arrive and the worker's errands of that minute be done."""
    assert delivery is not None
    portal.events.wait_until_idle()
    assert delivery.status == 200
    with app.app_context():
        uninstall.confirm_removals()
        bindings.rebind_due()
        payment.check_payments()


def bound_events(portal: FakePortal, application: FakeApp) -> list[str]:
    return [row["event"] for row in portal.bindings_of(application.client_id).events]


@pytest.fixture
def called(manager: Actor) -> Actor:
    """A portal with people, a callback, lines and a REST log."""
    assert manager.requests_callback().status_code == 201
    return manager


class TestUninstalling:
    def test_nothing_of_the_portal_is_left(
        self, app: Flask, called: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        assert {"callback", "credential", "portal_user", "rest_call"} <= filled_tables(app)
        told(app, portal, portal.uninstall(application))
        assert filled_tables(app) == set()

    def test_without_cleaning_the_settings_stay_for_thirty_days(
        self, app: Flask, called: Actor, administrator: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        administrator.opens()
        administrator.asks("PATCH", "/settings", {"default_text": "Callback from the website"})
        told(app, portal, portal.uninstall(application, clean=False))
        [row] = portals(app)
        assert filled_tables(app) == {"portal", "portal_settings", "journal_entry"}
        assert (row.state, row.application_token_digest, row.lines) == (PortalState.UNINSTALLED, None, {})
        assert (row.lines_fetched_at, row.voices) == (None, None)
        assert row.settings.default_text == "Callback from the website"
        with app.app_context():
            assert uninstall.purge_uninstalled() == 0
            change(app, uninstalled_at=utcnow() - timedelta(days=31))
            assert uninstall.purge_uninstalled() == 1
        assert filled_tables(app) == set()

    def test_an_event_of_before_the_last_installation_removes_nothing(
        self, app: Flask, called: Actor, administrator: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        token = portal.bindings_of(application.client_id).application_token
        portal.events.pause()
        late = portal.uninstall(application)
        portal.cloud.clock.advance(5)
        administrator.installs()
        # The reinstallation has the same token, so that only the time tells.
        portal.bindings_of(application.client_id).application_token = token
        administrator.opens()
        change(app, installed_at=utcnow() + timedelta(seconds=5))
        portal.events.resume()
        portal.events.wait_until_idle()
        assert late is not None
        assert late.status == 200
        with app.app_context():
            assert uninstall.confirm_removals() == 0
        assert "credential" in filled_tables(app)

    def test_one_with_the_right_token_removes_nothing_while_bitrix24_vouches_for_ours(
        self, app: Flask, called: Actor, client: FlaskClient, portal: FakePortal, application: FakeApp
    ) -> None:
        """Somebody who has seen our application token, or an event that a reinstallation has overtaken."""
        told(app, portal, portal.send_event(application, "ONAPPUNINSTALL", {"CLEAN": 1}))
        assert "callback" in filled_tables(app)
        assert called.opens().status_code == 200
        with app.app_context():
            assert uninstall.confirm_removals() == 0

    def test_one_that_is_no_news_writes_nothing(
        self, app: Flask, called: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        """Everybody who ever opened the app can send one, as often as they like."""

        def tells(clean: int) -> int:
            portal.send_event(application, "ONAPPUNINSTALL", {"CLEAN": clean})
            portal.events.wait_until_idle()
            with app.app_context(), reading() as session:
                return session.scalars(select(Portal.revision)).one()

        first = tells(1)
        assert tells(1) == tells(1) == first
        assert tells(0) != first

    def test_while_nobody_can_be_asked_nothing_is_deleted_and_nothing_is_shown(
        self, app: Flask, fake: FakeBitrix24, called: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        silent = fake.auth_server.faults.add("html_502", times=100)
        told(app, portal, portal.uninstall(application))
        assert "callback" in filled_tables(app)
        assert called.asks("GET", "/callbacks").status_code == 401
        silent.times = 0
        change(app, removal_due_at=utcnow())
        with app.app_context():
            assert uninstall.confirm_removals() == 1
        assert filled_tables(app) == set()

    def test_a_lost_event_is_concluded_and_the_data_go_after_three_days(
        self, app: Flask, called: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        portal.events.pause()
        portal.uninstall(application)
        called.asks("GET", "/lines?refresh=1")
        [row] = portals(app)
        assert row.state == PortalState.UNINSTALLED
        with app.app_context():
            assert uninstall.purge_uninstalled() == 0
            change(app, uninstalled_at=utcnow() - timedelta(days=4))
            assert uninstall.purge_uninstalled() == 1
            assert uninstall.purge_uninstalled() == 0
        assert filled_tables(app) == {"portal", "portal_settings"}


class TestReinstalling:
    @pytest.mark.parametrize("event", ["before", "late", "lost"])
    @pytest.mark.parametrize("same_token", [True, False])
    def test_it_works_again_whatever_became_of_the_event(
        self, app: Flask, administrator: Actor, portal: FakePortal, application: FakeApp, event: str, same_token: bool
    ) -> None:
        administrator.installs()
        portal.events.wait_until_idle()
        token = portal.bindings_of(application.client_id).application_token
        if event != "before":
            portal.events.pause()
        delivery = portal.uninstall(application)
        if event == "before":
            told(app, portal, delivery)
        if event == "lost":
            portal.events.drop_all()
        assert administrator.installs().status_code == 200
        if same_token:
            portal.bindings_of(application.client_id).application_token = token
            administrator.opens()
        portal.events.resume()
        portal.events.wait_until_idle()
        with app.app_context():
            uninstall.confirm_removals()
        [row] = portals(app)
        assert row.state == PortalState.INSTALLED
        assert administrator.opens().status_code == 200
        assert json_of(administrator.requests_callback())["state"] == "queued"
        assert portal.send_event(application, "ONCRMLEADADD", {}).event
        portal.events.wait_until_idle()
        assert portal.events.deliveries[-1].status == 200


class TestUpdating:
    def test_handlers_are_bound_again_and_the_new_token_is_taken(
        self, app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        delivery = portal.update(application)
        assert bound_events(portal, application) == []
        told(app, portal, delivery)
        assert bound_events(portal, application) == list(manifest().events)
        portal.send_event(application, "ONCRMLEADADD", {})
        portal.events.wait_until_idle()
        assert portal.events.deliveries[-1].status == 200

    def test_placements_that_nobody_can_have_bound_are_left_alone(
        self, app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        """A portal's own server may list anything, and refuse to unbind it: nothing of that is kept or told."""
        rows = portal.bindings_of(application.client_id).placements
        rows += [{**rows[0], "placement": f"{number}" + "X" * 14_000} for number in range(5)]
        before = len(rows)
        rows.append({**rows[0], "placement": "FORMER_PLACE"})
        change(app, bound_at=utcnow() - timedelta(days=2))
        with app.app_context():
            assert bindings.rebind_due() == 1
        assert len(portal.bindings_of(application.client_id).placements) == before

    def test_a_stranger_s_update_changes_nothing(
        self, app: Flask, manager: Actor, client: FlaskClient, portal: FakePortal, application: FakeApp
    ) -> None:
        before = portals(app)[0].application_token_digest
        other = portal.cloud.register_app("app.other", "s", "other", application.install_url, application.app_url, ())
        foreign = portal.cloud.registry.issue(other.client_id, portal.member_id, 1)
        auth = {"member_id": portal.member_id, "application_token": "f" * 32, "access_token": foreign.access}
        fields: dict[str, object] = {"event": "ONAPPUPDATE", "data": {"VERSION": "2"}, "ts": "1795470751", "auth": auth}
        assert client.post("/events", data=dict(http_build_query(fields))).status_code == 403
        auth.pop("access_token")
        assert client.post("/events", data=dict(http_build_query(fields))).status_code == 403
        [row] = portals(app)
        assert row.application_token_digest == before
        assert row.bound_manifest is not None

    def test_one_that_cannot_be_proven_now_still_makes_us_look_at_our_handlers(
        self, app: Flask, fake: FakeBitrix24, manager: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        fake.auth_server.faults.add("html_502", "app.info")
        delivery = portal.update(application)
        portal.events.wait_until_idle()
        assert delivery.status == 503
        change(app, bound_at=utcnow() - timedelta(hours=1))
        with app.app_context():
            assert bindings.rebind_due() == 1
        assert bound_events(portal, application) == list(manifest().events)

    def test_handlers_lost_without_any_word_are_bound_again_within_a_day(
        self, app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        portal.bindings_of(application.client_id).events.clear()
        with app.app_context():
            assert bindings.rebind_due() == 0
            change(app, bound_at=utcnow() - timedelta(hours=25))
            assert bindings.rebind_due() == 1
        assert bound_events(portal, application) == list(manifest().events)

    @pytest.mark.parametrize(("opens", "status"), [("administrator", 200), ("manager", 403)])
    def test_an_administrators_opening_with_another_token_heals_it_and_nobody_elses_does(
        self,
        administrator: Actor,
        manager: Actor,
        portal: FakePortal,
        application: FakeApp,
        opens: str,
        status: int,
    ) -> None:
        portal.bindings_of(application.client_id).application_token = "a" * 32
        {"administrator": administrator, "manager": manager}[opens].opens()
        portal.send_event(application, "ONCRMLEADADD", {})
        portal.events.wait_until_idle()
        assert portal.events.deliveries[-1].status == status

    @pytest.mark.parametrize(("owner", "statuses"), [(1, [200, 200]), (2, [403, 403])])
    def test_an_event_with_another_token_heals_it_when_an_administrators_access_token_proves_it(
        self, manager: Actor, portal: FakePortal, application: FakeApp, owner: int, statuses: list[int]
    ) -> None:
        portal.bindings_of(application.client_id).application_token = "b" * 32
        token = portal.cloud.registry.issue(application.client_id, portal.member_id, owner)
        portal.send_event(application, "ONCRMLEADADD", {}, access_token=token.access)
        portal.send_event(application, "ONCRMLEADADD", {})
        portal.events.wait_until_idle()
        assert [delivery.status for delivery in portal.events.deliveries[-2:]] == statuses

    def test_a_demoted_administrators_token_plants_no_application_token(
        self, app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        before = portals(app)[0].application_token_digest
        portal.administrator.admin = False
        token = portal.cloud.registry.issue(application.client_id, portal.member_id, portal.administrator.id)
        forged = {"application_token": "d" * 32, "access_token": token.access}
        portal.send_event(application, "ONAPPUPDATE", {"VERSION": 2}, **forged)
        portal.events.wait_until_idle()
        assert portal.events.deliveries[-1].status == 403
        assert portals(app)[0].application_token_digest == before

    def test_while_the_portal_cannot_be_asked_no_application_token_is_replaced(
        self, app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        before = portals(app)[0].application_token_digest
        portal.faults.add("html_502", "profile")
        portal.update(application)
        portal.events.wait_until_idle()
        assert portal.events.deliveries[-1].status == 503
        assert portals(app)[0].application_token_digest == before

    @pytest.mark.parametrize("error", [PaymentRequired, CredentialRefused, ApplicationRemoved])
    def test_a_verdict_about_tokens_that_a_launch_has_replaced_changes_nothing(
        self, app: Flask, manager: Actor, administrator: Actor, error: type[Bitrix24Error]
    ) -> None:
        with app.app_context():
            old = token_renewal.service_access(portals(app)[0].id)
        administrator.opens()
        with app.app_context():
            tokens.invalidate(old, error("late"))
        assert portals(app)[0].state == PortalState.INSTALLED
        assert manager.asks("GET", "/lines?refresh=1").json["problem"] is None  # type: ignore[index]

    def test_an_employees_token_announces_no_update(
        self, app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        token = portal.cloud.registry.issue(application.client_id, portal.member_id, portal.manager.id)
        forged = {"application_token": "c" * 32, "access_token": token.access}
        portal.send_event(application, "ONAPPUPDATE", {"VERSION": 2}, **forged)
        portal.events.wait_until_idle()
        assert portal.events.deliveries[-1].status == 403


class TestPaying:
    def test_the_event_is_a_hint_that_makes_us_ask(
        self, app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        portal.paid = False
        told(app, portal, portal.tell_payment(application))
        assert [row.state for row in portals(app)] == [PortalState.UNPAID]
        assert json_of(manager.requests_callback())["code"] == "portal_disconnected"
        portal.paid, portal.status = True, "P"
        change(app, payment_asked_at=utcnow() - timedelta(minutes=2))
        told(app, portal, portal.tell_payment(application))
        assert [(row.state, row.status) for row in portals(app)] == [(PortalState.INSTALLED, "P")]
        assert manager.requests_callback().status_code == 201

    def test_hints_by_strangers_cost_one_request_a_minute(
        self, app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        before = len(portal.requests_for("app.info"))
        for _ in range(3):
            told(app, portal, portal.tell_payment(application))
        assert len(portal.requests_for("app.info")) == before + 1

    def test_an_unpaid_portal_is_asked_again_every_hour(self, app: Flask, manager: Actor, portal: FakePortal) -> None:
        portal.paid = False
        manager.asks("GET", "/lines?refresh=1")
        assert [row.state for row in portals(app)] == [PortalState.UNPAID]
        portal.paid = True
        change(app, payment_asked_at=utcnow() - timedelta(hours=2))
        with app.app_context():
            assert payment.check_payments() == 1
            assert payment.check_payments() == 0
        assert [row.state for row in portals(app)] == [PortalState.INSTALLED]


class TestRenaming:
    def test_an_opening_a_read_and_a_dial_find_the_new_address(
        self, app: Flask, manager: Actor, portal: FakePortal
    ) -> None:
        old = portal.client_endpoint
        portal.rename()
        assert portal.client_endpoint != old
        assert manager.asks("GET", "/lines?refresh=1").json["problem"] is None  # type: ignore[index]
        assert [row.client_endpoint for row in portals(app)] == [portal.client_endpoint]
        portal.rename()
        response = manager.opens()
        assert response.status_code == 200
        assert portal.url in response.headers["Content-Security-Policy"]
        assert [row.client_endpoint for row in portals(app)] == [portal.client_endpoint]

    def test_a_renewal_tells_the_new_address(self, app: Flask, manager: Actor, portal: FakePortal) -> None:
        portal.rename()
        portal.cloud.registry.expire_access(portal.member_id)
        with app.app_context(), writing() as session:
            session.execute(update(Credential).values(expires_at=utcnow() - timedelta(seconds=1)))
        asked = len(portal.cloud.auth_server.server.requests)
        assert manager.asks("GET", "/lines?refresh=1").json["problem"] is None  # type: ignore[index]
        assert [row.client_endpoint for row in portals(app)] == [portal.client_endpoint]
        assert len(portal.cloud.auth_server.server.requests) == asked + 1


class TestOnPremise:
    def test_no_application_token_in_posts_and_methods_missing(
        self, app: Flask, administrator: Actor, portal: FakePortal, application: FakeApp
    ) -> None:
        portal.sends_application_token = False
        portal.missing_methods |= {"placement.bind", "voximplant.tts.voices.get", "crm.lead.get"}
        response = administrator.installs()
        assert "Some things could not be set up yet" in response.text
        portal.events.wait_until_idle()
        lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
        portal.bindings_of(application.client_id).placements.append(
            {"placement": "CRM_LEAD_DETAIL_TAB", "handler": application.app_url + "placement"}
        )
        page = administrator.opens("CRM_LEAD_DETAIL_TAB", ID=str(lead))
        assert page.status_code == 200
        assert "This Bitrix24 does not offer the function" in page.text
        assert administrator.requests_callback().status_code == 201


def test_two_portals_do_not_touch_each_other(
    app: Flask, manager: Actor, fake: FakeBitrix24, portal: FakePortal, application: FakeApp
) -> None:
    other = fake.add_portal("beta")
    neighbour = Actor(manager.client, other, application, other.administrator)
    neighbour.installs()
    other.events.wait_until_idle()
    neighbour.requests_callback()
    manager.requests_callback()
    # The neighbour's application token does not remove the first portal.
    token = other.bindings_of(application.client_id).application_token
    portal.send_event(application, "ONAPPUNINSTALL", {"CLEAN": 1}, application_token=token)
    portal.events.wait_until_idle()
    assert portal.events.deliveries[-1].status == 403
    told(app, portal, portal.uninstall(application))
    [left] = portals(app)
    assert left.member_id == other.member_id
    for model in (Credential, User, RestCall):
        assert owners(app, model) == {left.id}
    assert post_frame(manager.client, "/", neighbour.launches()).status_code == 200
    assert json_of(neighbour.requests_callback())["code"] == "duplicate_open_callback"


def owners(app: Flask, model: type[Credential] | type[User] | type[RestCall]) -> set[int]:
    with app.app_context(), reading() as session:
        found: Iterable[int] = session.scalars(select(model.portal_id))
        return set(found)

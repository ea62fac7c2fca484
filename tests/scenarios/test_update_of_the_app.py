"""A new version with more scopes on a portal that has granted fewer: what works, what is said, and what comes later."""

from collections.abc import Iterable

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.messages import diagnostics as messages
from bx24app.models import Portal, utcnow
from bx24app.services import diagnostics
from bx24app.services.native.automation import registration
from bx24app.services.portals import bindings
from bx24app.services.portals.manifest import manifest, manifest_digest, needed_scope
from bx24app.services.portals.places.parts import PartKind, missing_parts
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import Actor

OLD_SCOPES = ("placement", "telephony", "call")
OF_CRM = {one.code for one in manifest().placements if one.code.startswith("CRM_")}


def codes(portal: FakePortal, application: FakeApp) -> set[str]:
    return {row["placement"] for row in portal.bindings_of(application.client_id).placements}


def of_portal(app: Flask) -> Portal:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal)).one()


def worked(app: Flask) -> None:
    with app.app_context():
        bindings.rebind_due()
        registration.register_due()


def lacking(app: Flask) -> dict[str, set[str]]:
    """The scopes that parts lack, by the kind of part, as they are kept with the portal."""
    portal = of_portal(app)
    return {kind: {part.lacks for part in missing_parts(portal, kind)} for kind in PartKind}


def said(app: Flask, checks: Iterable[str] = ("scopes", "rules", "notifications", "bound")) -> list[str]:
    with app.test_request_context():
        found = diagnostics.examine_portal(1)
        return [f"{one.title}: {one.sentence}" for one in messages.describe(found) if one.check in checks]


@pytest.fixture
def updated(app: Flask, manager: Actor, portal: FakePortal, application: FakeApp) -> FakePortal:
    """A portal of the version before, which was updated and has granted no more than it had."""
    application.scopes = OLD_SCOPES
    bound = portal.bindings_of(application.client_id)
    bound.placements = [row for row in bound.placements if not row["placement"].startswith("CRM_")]
    with app.app_context(), writing() as session:
        session.execute(update(Portal).values(bound_manifest="0" * 64, bound_at=utcnow(), granted_scopes=None))
    portal.update(application)
    portal.events.wait_until_idle()
    worked(app)
    return portal


def test_nothing_breaks_the_list_is_right_and_after_granting_all_is_there(
    app: Flask, administrator: Actor, manager: Actor, updated: FakePortal, application: FakeApp
) -> None:
    # What it has granted is there, again after the update, and calls are made.
    granted = {event for event in manifest().events if needed_scope(event) != "crm"}
    assert {row["event"] for row in updated.bindings_of(application.client_id).events} == granted
    assert codes(updated, application) == {one.code for one in manifest().placements} - OF_CRM
    assert updated.bindings_of(application.client_id).rules == {}
    assert manager.requests_callback().status_code == 201
    # Nothing is tried over and over.
    assert of_portal(app).bound_manifest == manifest_digest()
    asked = len(updated.requests)
    worked(app)
    administrator.opens()
    assert [one.path for one in updated.requests[asked:]] == ["batch"]
    assert lacking(app) == {PartKind.PLACES: {"crm"}, PartKind.RULES: {"bizproc"}}
    told = said(app)
    assert [one for one in told if "Automation rules" in one] == [
        "Automation rules: This Bitrix24 has not granted “bizproc”. Callbacks from deals' automation do not start."
    ]
    assert sum("has not granted “crm”. Cards show no tabs" in one for one in told) == 1
    assert sum("has not granted “user_brief”" in one for one in told) == 1
    assert [one for one in told if "Tabs and menus" in one] == [
        "Tabs and menus: All tabs and event handlers are in place."
    ]
    # An administrator grants the rest and opens the app.
    application.scopes = manifest().scopes
    administrator.opens()
    assert codes(updated, application) == {one.code for one in manifest().placements}
    worked(app)
    assert set(updated.bindings_of(application.client_id).rules) == {rule.code for rule in manifest().rules}
    assert lacking(app) == {PartKind.PLACES: set(), PartKind.RULES: set()}
    assert said(app, ["scopes"]) == ["Permissions (scopes): All are granted."]


@pytest.mark.parametrize("scope", manifest().scopes)
def test_without_any_one_scope_everything_else_is_set_up_and_its_price_is_said(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp, scope: str
) -> None:
    application.scopes = tuple(one for one in manifest().scopes if one != scope)
    portal.update(application)
    portal.bindings_of(application.client_id).placements = []
    portal.events.wait_until_idle()
    worked(app)
    told = [one for one in said(app) if f"“{scope}”" in one]
    assert len(told) == 1
    assert len(told[0]) > 60
    bound = portal.bindings_of(application.client_id)
    assert {"ONAPPUNINSTALL", "ONAPPUPDATE"} <= {row["event"] for row in bound.events}
    assert (codes(portal, application) == set()) == (scope == "placement")
    assert (bound.rules == {}) == (scope == "bizproc")
    assert all(part.lacks in ("", scope) for kind in PartKind for part in missing_parts(of_portal(app), kind))
    assert of_portal(app).bound_manifest == manifest_digest()


def test_what_was_refused_is_kept_with_the_portals_words_and_tried_again(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    portal.bindings_of(application.client_id).placements = []
    portal.faults.add("error", "batch:placement.bind", code="ERROR_PLACEMENT_MAX_COUNT", words="Only <one>")
    with app.app_context():
        bindings.bind_missing_for_portal(1)
    [part] = missing_parts(of_portal(app), PartKind.PLACES)
    assert (part.lacks, part.words, part.is_refused) == ("", "Only <one>", True)
    [told] = said(app, ["bound"])[:1]
    assert "Bitrix24 does not take: CRM_LEAD_DETAIL_TAB. Bitrix24 says: “Only <one>”" in told
    assert of_portal(app).bound_manifest is None
    with app.app_context():
        assert bindings.bind_missing_for_portal(1) == []
    assert missing_parts(of_portal(app), PartKind.PLACES) == []


def test_a_portal_that_does_not_say_what_it_has_granted_is_told_everything(
    app: Flask, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    portal.bindings_of(application.client_id).placements = []
    portal.missing_methods.add("scope")
    with app.app_context():
        assert bindings.bind_missing_for_portal(1) == []
    assert codes(portal, application) == {one.code for one in manifest().placements}
    assert of_portal(app).granted_scopes is None


def test_an_opening_by_nobody_of_importance_changes_nothing(
    app: Flask, manager: Actor, updated: FakePortal, application: FakeApp
) -> None:
    application.scopes = manifest().scopes
    manager.opens()
    assert codes(updated, application) == {one.code for one in manifest().placements} - OF_CRM

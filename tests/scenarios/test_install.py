"""Installing the app on a portal."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Portal, PortalSettings, PortalState
from bx24app.services.portals.manifest import manifest
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import Actor, json_of, post_frame


def portals(app: Flask) -> list[Portal]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(Portal)))


def test_an_administrator_installs_in_one_page(app: Flask, administrator: Actor, portal: FakePortal) -> None:
    response = administrator.installs()
    assert response.status_code == 200
    assert administrator.ticket
    assert "Some things could not be set up" not in response.text
    [row] = portals(app)
    assert (row.member_id, row.state) == (portal.member_id, PortalState.INSTALLED)
    assert row.client_endpoint == portal.client_endpoint
    bindings = portal.bindings_of(administrator.application.client_id)
    assert [b["placement"] for b in bindings.placements] == [p.code for p in manifest().placements]
    assert [b["event"] for b in bindings.events] == list(manifest().events)
    assert f"frame-ancestors {portal.url}" in response.headers["Content-Security-Policy"]


def test_a_repeated_installation_changes_nothing(app: Flask, administrator: Actor, portal: FakePortal) -> None:
    administrator.installs()
    before = portal.bindings_of(administrator.application.client_id)
    counted = len(before.placements), len(before.events)
    assert administrator.installs().status_code == 200
    after = portal.bindings_of(administrator.application.client_id)
    assert (len(after.placements), len(after.events)) == counted
    assert len(portals(app)) == 1


def test_a_new_portal_that_is_installed_many_times_at_once_is_installed(
    app: Flask, administrator: Actor, portal: FakePortal
) -> None:
    """An administrator presses twice, or two of them do."""
    posts = [portal.install(administrator.application, by=administrator.user) for _ in range(4)]
    held = [portal.faults.add("hang_after", "batch", seconds=30) for _ in posts]
    with ThreadPoolExecutor(len(posts)) as pool:
        said = pool.map(lambda post: post_frame(app.test_client(), "/install", post).status_code, posts)
        assert all(one.executed.wait(30) for one in held)
        for one in held:
            one.released.set()
    assert set(said) == {200}
    assert len(portals(app)) == 1


def test_what_cannot_be_bound_is_said_and_does_not_block(administrator: Actor, portal: FakePortal) -> None:
    portal.missing_methods.add("placement.bind")
    response = administrator.installs()
    assert response.status_code == 200
    assert "Some things could not be set up yet" in response.text
    assert "CRM_LEAD_DETAIL_TAB" in response.text


def test_what_was_missing_is_bound_when_an_administrator_opens_the_app_later(
    app: Flask, administrator: Actor, portal: FakePortal
) -> None:
    portal.missing_methods.add("placement.bind")
    administrator.installs()
    portal.missing_methods.clear()
    administrator.opens()
    assert portal.bindings_of(administrator.application.client_id).placements == []  # Tried a moment ago.
    with app.app_context(), writing() as session:
        session.execute(update(Portal).values(bound_at=None))
    administrator.opens()
    bound = portal.bindings_of(administrator.application.client_id).placements
    assert len(bound) == len(manifest().placements)


def hours_of(app: Flask) -> dict[str, Any] | None:
    [row] = portals(app)
    return row.settings.hours


def test_a_new_portal_gets_working_hours_in_the_zone_of_whoever_installs(app: Flask, administrator: Actor) -> None:
    administrator.user.time_zone = "Asia/Tokyo"
    assert administrator.installs(keeps_hours=True).status_code == 200
    week = {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
    assert hours_of(app) == {"zone": "Asia/Tokyo", "week": week, "holidays": "JP", "closed": []}
    assert json_of(administrator.asks("GET", "/settings"))["hours"]["week"] == week
    # One that is there already keeps what it has, also none.
    for kept in (None, {"zone": "UTC", "week": {}}):
        with app.app_context(), writing() as session:
            session.scalars(select(PortalSettings)).one().hours = kept
        assert administrator.installs(keeps_hours=True).status_code == 200
        assert hours_of(app) == kept


@pytest.mark.parametrize("zone", ["", "Nowhere/At all", "../etc/passwd", "Z" * 70_000])
def test_without_a_zone_a_new_portal_gets_no_hours(app: Flask, administrator: Actor, zone: str) -> None:
    administrator.user.time_zone = zone
    assert administrator.installs(keeps_hours=True).status_code == 200
    assert hours_of(app) is None


def test_only_an_administrator_installs(app: Flask, administrator: Actor, portal: FakePortal) -> None:
    post = portal.install(administrator.application, by=portal.manager)
    response = post_frame(administrator.client, "/install", post)
    assert response.status_code == 403
    assert "administrator has to install" in response.text
    assert portals(app) == []


def test_the_platform_tells_the_application_token(app: Flask, administrator: Actor, portal: FakePortal) -> None:
    portal.sends_application_token = False
    administrator.installs()
    portal.events.wait_until_idle()
    assert [(d.event, d.status) for d in portal.events.deliveries] == [("ONAPPINSTALL", 200)]
    [row] = portals(app)
    assert row.application_token_digest is not None


def test_two_portals_stay_apart(app: Flask, administrator: Actor, fake: FakeBitrix24) -> None:
    other = fake.add_portal("beta")
    stranger = Actor(administrator.client, other, administrator.application, other.administrator)
    administrator.installs()
    stranger.installs()
    assert len(portals(app)) == 2
    created = json_of(administrator.requests_callback())
    response = stranger.asks("GET", f"/callbacks/{created['id']}")
    assert response.status_code == 404


def test_a_token_of_another_application_installs_nothing(
    app: Flask, fake: FakeBitrix24, administrator: Actor, application: FakeApp, portal: FakePortal
) -> None:
    other = fake.register_app("app.other", "s", "other.app", application.install_url, application.app_url, ())
    response = post_frame(administrator.client, "/install", portal.install(other))
    assert response.status_code == 403
    assert portals(app) == []

"""Refresh tokens that somebody posts who they do not belong to: nobody loses theirs, and no portal its app.

The portal vouches for the access token beside it, and nobody for the refresh token before it is exchanged.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import delete, select, update

from bx24app.crypto import keyring
from bx24app.database import reading, writing
from bx24app.models import Callback, Credential, Portal, PortalState, utcnow
from bx24app.services.portals import payment, uninstall
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal, FakeUser
from tests.support.actors import Actor, json_of, post_frame
from tests.support.waiting import accept, pass_time, remove, work


def shown_to(actor: Actor) -> str:
    """Open the desk; returns the refresh token that the browser has then."""
    post = actor.launches()
    assert post_frame(actor.client, "/", post).status_code == 200
    return post.form["REFRESH_ID"]


def posts_foreign(actor: Actor, refresh_token: str) -> None:
    """Open the desk with one's own access token, whose hour is over soon, and somebody else's refresh token."""
    answer = post_frame(actor.client, "/", actor.launches(), REFRESH_ID=refresh_token)
    assert answer.status_code == 200
    actor._keep_ticket(answer)
    with actor.client.application.app_context(), writing() as session:
        portal_id = select(Portal.id).where(Portal.member_id == actor.portal.member_id).scalar_subquery()
        theirs = (Credential.portal_id == portal_id, Credential.user_id == actor.user.id)
        session.execute(update(Credential).where(*theirs).values(expires_at=utcnow()))


def state_of(app: Flask, portal: FakePortal) -> str:
    with app.app_context(), reading() as session:
        return session.scalars(select(Portal.state).where(Portal.member_id == portal.member_id)).one()


def first_holds(app: Flask, portal: FakePortal, refresh_token: str) -> None:
    """The person whose access serves the portal has posted it, and the access token beside it is over."""
    holds(app, portal, portal.administrator, refresh_token)


def holds(app: Flask, portal: FakePortal, user: FakeUser, refresh_token: str, access_token: str = "over") -> None:
    """Somebody has."""
    with app.app_context(), writing() as session:
        query = select(Credential).where(Credential.portal_id == 1, Credential.user_id == user.id)
        session.scalars(query).one().keep_tokens(keyring, portal.member_id, access_token, refresh_token, utcnow())


@pytest.fixture
def second(manager: Actor, portal: FakePortal) -> Actor:
    """Another administrator of the portal, who has not opened the app yet."""
    return Actor(manager.client, portal, manager.application, portal.add_user("Ada", "Second", admin=True))


@pytest.fixture
def beta(manager: Actor, fake: FakeBitrix24) -> Actor:
    """The administrator of another portal with the app."""
    portal = fake.add_portal("beta")
    actor = Actor(manager.client, portal, manager.application, portal.administrator)
    assert actor.installs().status_code == 200
    portal.events.wait_until_idle()
    return actor


@pytest.fixture
def elsewhere(app: Flask, beta: Actor, application: FakeApp) -> str:
    """A refresh token of a portal that has removed the app since."""
    found = shown_to(beta)
    remove(app, beta.portal, application)
    return found


@pytest.fixture
def unpaid_elsewhere(beta: Actor) -> str:
    """A refresh token of a portal that has not paid."""
    found = shown_to(beta)
    beta.portal.paid = False
    return found


@pytest.fixture
def demoted(app: Flask, administrator: Actor, manager: Actor, portal: FakePortal) -> Actor:
    """Who has installed the app, and is no administrator any more; the portal is served by their access alone."""
    portal.administrator.admin = False
    return administrator


def asks_lines(actor: Actor) -> str | None:
    """Have the portal asked under its own access; returns what was wrong."""
    actor.opens() if not actor.ticket else None
    problem: str | None = json_of(actor.asks("GET", "/lines?refresh=1")).get("problem", "refused")
    return problem


def asks_after_the_hour(app: Flask, portal: FakePortal, asks: Callable[[], object]) -> None:
    """Have something asked when all access tokens of a portal are over."""
    portal.cloud.registry.expire_access(portal.member_id)
    with app.app_context(), writing() as session:
        ids = select(Portal.id).where(Portal.member_id == portal.member_id).scalar_subquery()
        session.execute(update(Credential).where(Credential.portal_id == ids).values(expires_at=utcnow()))
    asks()


def test_another_tenant_takes_nobodys_access_away(
    app: Flask, administrator: Actor, beta: Actor, portal: FakePortal
) -> None:
    posts_foreign(beta, shown_to(administrator))
    beta.asks("GET", "/lines?refresh=1")
    ticket = administrator.ticket
    asks_after_the_hour(app, portal, lambda: None)
    administrator.ticket = ticket
    assert asks_lines(administrator) is None
    assert state_of(app, portal) == PortalState.INSTALLED


def test_nor_does_a_colleague(app: Flask, administrator: Actor, manager: Actor, portal: FakePortal) -> None:
    posts_foreign(manager, shown_to(administrator))
    manager.requests_callback()
    work(app)
    asks_after_the_hour(app, portal, lambda: None)
    assert asks_lines(administrator) is None
    assert state_of(app, portal) == PortalState.INSTALLED


@pytest.mark.parametrize("others", ["have the app open", "have gone home"])
def test_what_is_said_of_elsewhere_removes_the_app_of_nobody(
    app: Flask, demoted: Actor, manager: Actor, elsewhere: str, portal: FakePortal, others: str
) -> None:
    manager.requests_callback()
    posts_foreign(demoted, elsewhere)
    if others == "have gone home":
        with app.app_context(), writing() as session:
            session.execute(delete(Credential).where(Credential.user_id == portal.manager.id))
    assert asks_lines(demoted)
    assert state_of(app, portal) == PortalState.DISCONNECTED
    assert manager.asks("GET", "/callbacks").status_code == 200
    pass_time(app, uninstall.UNCONFIRMED_KEPT * 1.1)
    with app.app_context():
        assert (uninstall.confirm_removals(), uninstall.purge_uninstalled()) == (0, 0)
        with reading() as session:
            assert session.scalars(select(Callback.id)).all()


def test_nor_does_it_prove_a_removal_that_was_forged(
    app: Flask, demoted: Actor, manager: Actor, elsewhere: str, portal: FakePortal, application: FakeApp
) -> None:
    """Even where nobody else has the app open."""
    manager.requests_callback()
    posts_foreign(demoted, elsewhere)
    with app.app_context(), writing() as session:
        session.execute(delete(Credential).where(Credential.user_id == portal.manager.id))
    portal.send_event(application, "ONAPPUNINSTALL", {"CLEAN": 1})
    portal.events.wait_until_idle()
    with app.app_context():
        assert uninstall.confirm_removals() == 1
        with reading() as session:
            assert session.scalars(select(Callback.id)).all()


def test_nobody_acts_as_the_colleague_whose_token_they_have_posted(
    app: Flask, demoted: Actor, manager: Actor, portal: FakePortal
) -> None:
    """The colleague would count as the system user who serves the portal, and could plant an application token."""
    theirs = shown_to(manager)
    shown_to(manager)  # The app holds a newer one.
    posts_foreign(demoted, theirs)
    assert asks_lines(demoted)
    with app.app_context(), reading() as session:
        serving = session.scalars(select(Credential).where(Credential.user_id == demoted.user.id)).one()
        assert (serving.acting_as, serving.is_refresh_trusted) == (demoted.user.id, False)


def test_another_administrator_takes_over_at_once(
    app: Flask, demoted: Actor, second: Actor, elsewhere: str, portal: FakePortal
) -> None:
    with app.app_context(), writing() as session:
        # They came when the first one was one still.
        session.execute(update(Credential).values(service_since=utcnow() - timedelta(days=1)))
    second.opens()
    first_holds(app, portal, elsewhere)
    assert asks_lines(second) is None
    assert state_of(app, portal) == PortalState.INSTALLED


def test_an_unpaid_portal_elsewhere_stops_nobody_for_long(
    app: Flask, manager: Actor, second: Actor, unpaid_elsewhere: str, portal: FakePortal
) -> None:
    second.opens()
    first_holds(app, portal, unpaid_elsewhere)
    asks_lines(second)
    with app.app_context():
        payment.check_payments()
    assert asks_lines(second) is None
    assert state_of(app, portal) == PortalState.INSTALLED


def states_of_calls(app: Flask) -> set[tuple[str, str | None]]:
    with app.app_context(), reading() as session:
        return {(call.state, call.reason) for call in session.scalars(select(Callback))}


def test_nor_does_it_fail_a_call_while_somebody_stands_by(
    app: Flask, manager: Actor, second: Actor, unpaid_elsewhere: str, portal: FakePortal
) -> None:
    second.opens()
    first_holds(app, portal, unpaid_elsewhere)
    for number in range(3):
        accept(app, to_number=f"+493090182{number}")
    work(app)
    assert states_of_calls(app) == {("started", None)}
    assert state_of(app, portal) == PortalState.INSTALLED
    with app.app_context():
        assert payment.check_payments() == 1


def test_nor_is_anything_refused_when_the_portal_says_that_their_hour_is_over(
    app: Flask, manager: Actor, second: Actor, unpaid_elsewhere: str, portal: FakePortal
) -> None:
    second.opens()
    posted = portal.launch(second.application, portal.administrator).form["AUTH_ID"]
    holds(app, portal, portal.administrator, unpaid_elsewhere, posted)
    portal.cloud.registry.expire_access(portal.member_id)
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(expires_at=utcnow() + timedelta(minutes=30)))
    assert asks_lines(second) is None
    assert state_of(app, portal) == PortalState.INSTALLED


def test_where_nobody_stands_by_it_counts_until_the_portal_is_asked(
    app: Flask, administrator: Actor, manager: Actor, unpaid_elsewhere: str, portal: FakePortal
) -> None:
    administrator.opens()
    first_holds(app, portal, unpaid_elsewhere)
    assert asks_lines(manager)
    assert state_of(app, portal) == PortalState.UNPAID


def test_where_all_hold_such_a_token_each_is_tried_once(
    app: Flask, manager: Actor, second: Actor, unpaid_elsewhere: str, portal: FakePortal, fake: FakeBitrix24
) -> None:
    second.opens()
    for user in (portal.administrator, second.user):
        holds(app, portal, user, unpaid_elsewhere)
    for number in range(3):
        accept(app, to_number=f"+493090182{number}")
    work(app)
    assert fake.auth_server.renewals == 2
    assert state_of(app, portal) == PortalState.UNPAID


def test_of_an_administrators_it_is_said_of_their_portal(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, application: FakeApp
) -> None:
    """They may remove the app as well."""
    administrator.opens()
    portal.events.pause()
    portal.uninstall(application)
    asks_after_the_hour(app, portal, lambda: None)
    assert asks_lines(administrator)
    assert state_of(app, portal) == PortalState.UNINSTALLED

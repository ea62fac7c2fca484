"""Identities: what was given to one installation opens nothing of another, whatever ids the database gives."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text, update

from bx24app.database import Base, db, reading, writing
from bx24app.models import Credential, Portal, utcnow
from bx24app.models.columns import NEVER_REUSED
from tests.fake_bitrix24 import FakeApp, FakeBitrix24
from tests.support.actors import Actor, json_of
from tests.support.waiting import remove


@pytest.fixture
def beside(client: FlaskClient, fake: FakeBitrix24, application: FakeApp) -> Iterator[Actor]:
    """The administrator of a portal that was there before and stays: nothing of it changes."""
    portal = fake.add_portal("beside")
    actor = Actor(client, portal, application, portal.administrator)
    assert actor.installs().status_code == 200
    portal.events.wait_until_idle()
    actor.opens()
    callback = json_of(actor.requests_callback())
    yield actor
    assert [one["id"] for one in json_of(actor.asks("GET", "/callbacks"))["callbacks"]] == [callback["id"]]


def test_the_ticket_of_a_removed_portal_opens_nothing_of_the_next_one(
    app: Flask, client: FlaskClient, beside: Actor, administrator: Actor, fake: FakeBitrix24, application: FakeApp
) -> None:
    administrator.installs()
    administrator.portal.events.wait_until_idle()
    old_ticket = administrator.ticket
    remove(app, administrator.portal, application)
    other = fake.add_portal("beta")
    newcomer = Actor(client, other, application, other.administrator)
    assert newcomer.installs().status_code == 200
    newcomer.opens()
    callback = json_of(newcomer.requests_callback())
    for method, path in (
        ("GET", "/callbacks"),
        ("GET", f"/callbacks/{callback['id']}"),
        ("GET", "/settings"),
        ("POST", "/forms"),
        ("GET", "/do-not-call/export"),
    ):
        administrator.ticket = old_ticket
        assert administrator.asks(method, path, {"name": "Shop"} if method == "POST" else None).status_code == 401


def ids_of(app: Flask, actor: Actor) -> tuple[int, set[int]]:
    """The ids of a portal's row, and of its credentials'."""
    with app.app_context(), reading() as session:
        portal_id = session.scalars(select(Portal.id).where(Portal.member_id == actor.portal.member_id)).one()
        return portal_id, {*session.scalars(select(Credential.id).where(Credential.portal_id == portal_id))}


def test_no_row_gets_the_id_of_a_removed_one(
    app: Flask, client: FlaskClient, beside: Actor, administrator: Actor, fake: FakeBitrix24, application: FakeApp
) -> None:
    administrator.installs()
    administrator.portal.events.wait_until_idle()
    old_portal, old_credentials = ids_of(app, administrator)
    remove(app, administrator.portal, application)
    other = fake.add_portal("beta")
    newcomer = Actor(client, other, application, other.administrator)
    newcomer.installs()
    new_portal, new_credentials = ids_of(app, newcomer)
    assert new_portal > old_portal
    assert not old_credentials & new_credentials


def test_tables_whose_ids_are_named_elsewhere_never_give_one_twice(app: Flask) -> None:
    """In the database as the migrations make it, not only in the models."""
    named = {
        table.name
        for table in Base.metadata.tables.values()
        if table.dialect_options["sqlite"]["autoincrement"] == NEVER_REUSED["sqlite_autoincrement"]
    }
    assert {"portal", "credential", "form", "api_key", "webhook", "webhook_delivery", "portal_user"} <= named
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            with db.engine.connect() as connection:
                made = connection.execute(
                    text("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")
                ).scalars()
                assert {*made} == named


def test_a_ticket_of_before_the_app_was_installed_again_opens_nothing(
    app: Flask, beside: Actor, manager: Actor
) -> None:
    assert manager.asks("GET", "/callbacks").status_code == 200
    with app.app_context(), writing() as session:
        own = update(Portal).where(Portal.member_id == manager.portal.member_id)
        session.execute(own.values(installed_at=utcnow() + timedelta(minutes=1)))
    assert manager.asks("GET", "/callbacks").status_code == 401
    assert manager.opens().status_code == 200
    assert manager.asks("GET", "/callbacks").status_code == 200

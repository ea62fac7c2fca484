"""Identities: what was given to one installation opens nothing of another, whatever ids the database gives."""

from datetime import timedelta

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text, update

from bx24app.database import Base, db, reading, writing
from bx24app.models import Credential, Portal, utcnow
from bx24app.models.columns import NEVER_REUSED
from bx24app.services.portals import uninstall
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import Actor, json_of


def remove(app: Flask, portal: FakePortal, application: FakeApp) -> None:
    """Uninstall with CLEAN=1, confirmed."""
    portal.uninstall(application)
    portal.events.wait_until_idle()
    with app.app_context():
        uninstall.confirm_removals()


def test_the_ticket_of_a_removed_portal_opens_nothing_of_the_next_one(
    app: Flask, client: FlaskClient, administrator: Actor, fake: FakeBitrix24, application: FakeApp
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


def test_no_row_gets_the_id_of_a_removed_one(
    app: Flask, client: FlaskClient, administrator: Actor, fake: FakeBitrix24, application: FakeApp
) -> None:
    administrator.installs()
    administrator.portal.events.wait_until_idle()
    with app.app_context():
        with reading() as session:
            [old_portal], old_credentials = (
                session.scalars(select(Portal.id)).all(),
                {*session.scalars(select(Credential.id))},
            )
        with writing() as session:
            session.delete(session.get_one(Portal, old_portal))
    other = fake.add_portal("beta")
    Actor(client, other, application, other.administrator).installs()
    with app.app_context(), reading() as session:
        assert session.scalars(select(Portal.id)).one() != old_portal
        assert not old_credentials & {*session.scalars(select(Credential.id))}


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


def test_a_ticket_of_before_the_app_was_installed_again_opens_nothing(app: Flask, manager: Actor) -> None:
    assert manager.asks("GET", "/callbacks").status_code == 200
    with app.app_context(), writing() as session:
        session.execute(update(Portal).values(installed_at=utcnow() + timedelta(minutes=1)))
    assert manager.asks("GET", "/callbacks").status_code == 401
    assert manager.opens().status_code == 200
    assert manager.asks("GET", "/callbacks").status_code == 200

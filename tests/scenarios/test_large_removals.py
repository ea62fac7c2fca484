"""A large portal is removed at once for everybody who looks, and its rows go a few at a time, so that nobody waits."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, event, func, select

from bx24app.database import Base, db, purge, reading, writing
from bx24app.models import Callback, Credential, DoNotCall, Form, Portal, PortalState, Throttle, User, utcnow
from bx24app.services.portals import uninstall
from bx24app.services.runtime import portal_rows
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor
from tests.support.waiting import accept

LARGE = 20


@pytest.fixture
def large(app: Flask, desk: Actor, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> Actor:
    """An administrator of a portal with more rows than go in three transactions."""
    monkeypatch.setattr(portal_rows, "DELETED_AT_ONCE", 6)
    for number in range(LARGE):
        accept(app, to_number=f"+49309018{number:02}")
    with app.app_context(), writing() as session:
        listed = [DoNotCall(portal_id=1, number_digest=f"d{n}", number="+4930901820", note="x") for n in range(LARGE)]
        session.add_all(listed)
    return desk


def rows(app: Flask, model: type[Any]) -> int:
    with app.app_context(), reading() as session:
        return session.scalars(select(func.count()).select_from(model)).one()


def told(app: Flask, portal: FakePortal, application: FakeApp, *, clean: bool) -> None:
    portal.uninstall(application, clean=clean)
    portal.events.wait_until_idle()


def confirm(app: Flask) -> None:
    with app.app_context():
        assert uninstall.confirm_removals() == 1


@pytest.mark.parametrize("clean", [True, False])
def test_no_statement_takes_a_large_portal_away(
    app: Flask, large: Actor, portal: FakePortal, application: FakeApp, monkeypatch: pytest.MonkeyPatch, clean: bool
) -> None:
    # Two more statements after each take longer than a removal stays at a time.
    monkeypatch.setattr(uninstall, "CONFIRMER_STAYS_SECONDS", 60.0)
    left = {"callback": LARGE, "do_not_call WHERE number IS NOT NULL": LARGE}
    most = 0

    def look(conn: Connection, *_: object) -> None:
        nonlocal most
        for name, before in left.items():
            with_count = conn.connection.cursor()
            with_count.execute(f"SELECT count(*) FROM {name}")
            [left[name]] = with_count.fetchone() or [0]
            most = max(most, before - left[name])

    told(app, portal, application, clean=clean)
    with app.app_context():
        event.listen(db.engine, "after_cursor_execute", look)
        try:
            uninstall.confirm_removals()
        finally:
            event.remove(db.engine, "after_cursor_execute", look)
    assert (set(left.values()), rows(app, Portal)) == ({0}, 0 if clean else 1)
    # The list of numbers is changed by ``change_many``, in its own batches.
    assert most <= (6 if clean else LARGE)


def test_a_removal_that_ends_in_the_middle_shows_nothing_and_goes_on(
    app: Flask, large: Actor, portal: FakePortal, application: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uninstall, "CONFIRMER_STAYS_SECONDS", -1.0)
    told(app, portal, application, clean=True)
    confirm(app)
    assert 0 < rows(app, Callback) < LARGE + 1
    assert large.asks("GET", "/callbacks").status_code == 401
    # Who installs again has a portal of their own, and sees nothing of before.
    assert large.installs().status_code == 200
    assert large.opens().status_code == 200
    assert json_of(large.asks("GET", "/callbacks"))["callbacks"] == []
    assert json_of(large.asks("GET", "/do-not-call"))["numbers"] == []
    assert json_of(large.asks("GET", "/forms"))["forms"] == []
    assert large.requests_callback().status_code == 201
    monkeypatch.undo()
    with app.app_context():
        assert uninstall.purge_uninstalled() == 1
        assert uninstall.purge_uninstalled() == 0
    assert (rows(app, Portal), rows(app, Callback), rows(app, DoNotCall), rows(app, Form)) == (1, 1, 0, 0)
    assert large.opens().status_code == 200


def test_whoever_is_late_deletes_nothing_of_what_is_installed_again(
    app: Flask, large: Actor, portal: FakePortal, application: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes are at the removal, and one stands still until the other is done and somebody has installed."""
    is_first = True

    def purge_late(model: type[Base], *arguments: Any, **options: Any) -> int:
        nonlocal is_first
        if model is Callback and is_first:
            is_first = False
            assert large.installs().status_code == 200
            assert large.opens().status_code == 200
            assert large.requests_callback().status_code == 201
        return purge(model, *arguments, **options)

    told(app, portal, application, clean=False)
    monkeypatch.setattr(portal_rows, "purge", purge_late)
    confirm(app)
    assert not is_first
    found = {model.__tablename__: rows(app, model) for model in (Throttle, Credential, User, Callback)}
    assert found == {"pace": 1, "credential": 1, "portal_user": 1, "callback": 1}
    assert large.asks("GET", "/callbacks").status_code == 200


def test_settings_come_back_only_when_all_else_is_gone(
    app: Flask, large: Actor, portal: FakePortal, application: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uninstall, "CONFIRMER_STAYS_SECONDS", -1.0)
    told(app, portal, application, clean=False)
    confirm(app)
    assert rows(app, Callback) > 0
    # Another event of it changes nothing any more, and nobody is asked.
    with app.app_context(), writing() as session:
        row = session.scalars(select(Portal)).one()
        row.tell_removal(utcnow(), keeps_settings=False)
        assert (row.is_being_removed, row.removal_keeps_settings) == (True, True)
    monkeypatch.setattr(uninstall, "INSTALLER_WAITS_SECONDS", -1.0)
    refused = large.installs()
    assert (refused.status_code, "still being removed" in refused.text) == (503, True)
    with app.app_context(), reading() as session:
        assert session.scalars(select(Portal.state)).one() == PortalState.UNINSTALLED
    monkeypatch.setattr(uninstall, "INSTALLER_WAITS_SECONDS", 10.0)
    assert large.installs().status_code == 200
    assert large.opens().status_code == 200
    assert json_of(large.asks("GET", "/callbacks"))["callbacks"] == []
    assert (rows(app, Callback), rows(app, Form), rows(app, DoNotCall)) == (0, 1, LARGE)
    with app.app_context(), reading() as session:
        assert session.scalar(select(DoNotCall.id).where(DoNotCall.number.is_not(None)).limit(1)) is None

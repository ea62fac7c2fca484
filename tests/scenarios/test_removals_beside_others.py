"""A removal that is told while something else goes on in the portal."""

from contextlib import suppress
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from bx24app.database import reading
from bx24app.errors import Refusal
from bx24app.models import Credential, Portal, PortalState, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.portals import token_renewal, uninstall
from bx24app.services.portals.tokens import Access
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.scenarios.test_removals import asked, confirm, forge, row
from tests.support.actors import Actor
from tests.support.visitors import Visitor

__all__ = ["asked"]


def test_one_that_somebody_else_has_met_first_is_carried_out_at_once(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    administrator: Actor,
    visitor: Visitor,
    asked: str,
    portal: FakePortal,
    application: FakeApp,
) -> None:
    """A dial had its renewal refused in that moment: nobody could say for a minute, in which everything came back."""
    opens = token_renewal.open_access

    def refused_meanwhile(credential_id: int) -> Access:
        with reading() as session:
            generation = session.get_one(Credential, credential_id).generation
        with suppress(ExchangeError, Refusal):
            token_renewal.renew(credential_id, generation)
        return opens(credential_id)

    portal.uninstall(application, clean=True)
    portal.events.wait_until_idle()
    monkeypatch.setattr(token_renewal, "open_access", refused_meanwhile)
    assert confirm(app) == 1
    monkeypatch.undo()
    with app.app_context(), reading() as session:
        assert session.scalars(select(Portal)).all() == []
    assert administrator.installs().status_code == 200
    assert visitor.looks(asked).status_code == 404


def test_one_that_is_overtaken_by_an_installation_closes_nothing(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    manager: Actor,
    administrator: Actor,
    portal: FakePortal,
    application: FakeApp,
) -> None:
    judges, installed = uninstall._is_known, list[int]()

    def judge(*given: object, **named: object) -> bool:
        is_known = judges(*given, **named)  # type: ignore[arg-type]  # As it is called.
        if not installed:
            installed.append(administrator.installs().status_code)
        return is_known

    monkeypatch.setattr(uninstall, "_is_known", judge)
    assert forge(portal, application, ts=utcnow() - timedelta(seconds=5)) == 200
    assert installed == [200]
    assert (row(app).state, row(app).removal_told_at) == (PortalState.INSTALLED, None)

"""Somebody whom the portal has dismissed: what they ask for with the ticket of their last hour is never dialled."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import writing
from bx24app.models import Callback, Credential, utcnow
from bx24app.services.dialling import dial, queue
from bx24app.services.portals import tokens
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of

SOON = timedelta(hours=1)


def dials_all(app: Flask) -> None:
    """Everything that waits is due, and is dialled until nothing is left to do."""
    with app.app_context():
        for _ in range(4):
            with writing() as session:
                due = {"due_at": utcnow(), "expires_at": utcnow() + SOON}
                session.execute(update(Callback).where(Callback.state.in_(("scheduled", "queued"))).values(due))
            for lease in queue.lease_due():
                dial.dial(lease)


def sets_stands_in(administrator: Actor, value: bool) -> None:
    administrator.opens()
    assert administrator.asks("PATCH", "/settings", {"stands_in": value}).status_code == 200


def plans(person: Actor, number: str = "+4930901820", after: timedelta = SOON) -> str:
    created = person.requests_callback(number, scheduled_at=(utcnow() + after).isoformat())
    assert created.status_code == 201, created.text
    return str(json_of(created)["id"])


def moves_to_now(person: Actor, id: str) -> int:
    now = {"scheduled_at": utcnow().isoformat()}
    return person.asks("PATCH", f"/callbacks/{id}", now).status_code


@pytest.mark.parametrize("named", [False, True], ids=["no roles", "named"])
@pytest.mark.parametrize("stands_in", [False, True])
def test_what_a_dismissed_person_asks_for_is_never_dialled(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, stands_in: bool, named: bool
) -> None:
    sets_stands_in(administrator, stands_in)
    if named:
        administrator.lets_call([manager.user.id])
    manager.user.dismissed = True
    assert manager.renews_ticket().status_code == 403
    ids = [str(json_of(manager.requests_callback())["id"]), plans(manager, "+4930901821")]
    dials_all(app)
    assert portal.telephony.dials == []
    assert [administrator.sees(id)["reason"] for id in ids] == ["not_permitted"] * 2


@pytest.mark.parametrize("after", [False, True], ids=["before they left", "after they left"])
def test_the_app_stands_in_only_for_what_was_asked_for_before(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, after: bool
) -> None:
    sets_stands_in(administrator, True)
    id = plans(manager)
    assert manager.renews_ticket().status_code == 200
    manager.user.dismissed = True
    if after:
        assert moves_to_now(manager, id) == 200
    dials_all(app)
    assert len(portal.telephony.dials) == (0 if after else 1)
    assert administrator.sees(id)["reason"] == ("not_permitted" if after else None)


def test_a_ticket_of_before_a_refusal_opens_nothing(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal
) -> None:
    sets_stands_in(administrator, True)
    manager.user.dismissed = True
    manager.requests_callback()
    dials_all(app)
    for answer in (manager.asks("GET", "/me"), manager.requests_callback("+4930901821")):
        assert (answer.status_code, json_of(answer)["code"]) == (401, "ticket_expired")
    manager.user.dismissed = False
    assert manager.renews_ticket().status_code == 200
    assert manager.requests_callback("+4930901821").status_code == 201


def test_whom_the_portal_has_refused_comes_not_back_while_it_is_silent(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    with app.app_context(), writing() as session:
        row = session.scalars(select(Credential).where(Credential.user_id == manager.user.id)).one()
        row.die("credential_refused")
    former = manager.ticket
    portal.faults.add("html_502", "batch")
    assert manager.opens().status_code == 200
    for ticket in (manager.ticket, former):
        manager.ticket = ticket
        assert manager.asks("GET", "/me").status_code == 401


def test_a_ticket_of_before_its_owner_became_a_system_user_opens_nothing(app: Flask, manager: Actor) -> None:
    with app.app_context(), writing() as session:
        row = session.scalars(select(Credential).where(Credential.user_id == manager.user.id)).one()
        row.acting_as, row.used_at = 999, utcnow()
    assert manager.asks("GET", "/me").status_code == 401


def test_a_refusal_is_remembered_as_long_as_a_ticket_lives(app: Flask, manager: Actor) -> None:
    with app.app_context():
        with writing() as session:
            row = session.scalars(select(Credential).where(Credential.user_id == manager.user.id)).one()
            row.used_at = utcnow() - timedelta(hours=3)
            row.die("credential_refused")
        assert tokens.purge_idle() == 0
    assert manager.asks("GET", "/me").status_code == 401

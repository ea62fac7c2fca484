"""Changing what a colleague asked for makes it one's own: dialled under one's own access, and the record says so."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import delete, update

from bx24app.database import writing
from bx24app.models import Callback, Credential, State, utcnow
from bx24app.services.dialling import dial, queue
from bx24app.services.portals import tokens
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.waiting import accept, pass_time, rules, seen, work

START = "voximplant.callback.start"
Change = Callable[[Actor, str], Any]


@pytest.fixture
def intern(manager: Actor, portal: FakePortal) -> Actor:
    """An employee of the portal without any right in telephony, with the app open."""
    user = portal.add_user("Ivo", "Klein")
    user.rights.clear()
    return opened(manager, user)


@pytest.fixture
def colleague(manager: Actor, portal: FakePortal) -> Actor:
    """Another manager with the app open."""
    return opened(manager, portal.add_user("Lena", "Vogt"))


def opened(manager: Actor, user: Any) -> Actor:
    actor = Actor(manager.client, manager.portal, manager.application, user)
    assert actor.opens().status_code == 200
    return actor


def planned(person: Actor) -> str:
    created = person.requests_callback(scheduled_at=(utcnow() + timedelta(hours=1)).isoformat())
    assert created.status_code == 201, created.text
    return str(json_of(created)["id"])


def move_to_now(person: Actor, id: str) -> Any:
    return person.asks("PATCH", f"/callbacks/{id}", {"scheduled_at": utcnow().isoformat()})


def move(person: Actor, id: str) -> Any:
    later = (utcnow() + timedelta(hours=2)).isoformat()
    return person.asks("PATCH", f"/callbacks/{id}", {"scheduled_at": later})


def dial_again(person: Actor, id: str) -> Any:
    return person.asks("POST", f"/callbacks/{id}/resolve", {"outcome": "dial_again"})


def make_unknown(app: Flask, id: str) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(Callback).where(Callback.id == UUID(id)).values(state=State.UNKNOWN))


def dialled_by(portal: FakePortal) -> list[int | None]:
    return [request.user_id for request in portal.requests_for(START)]


def test_what_a_colleague_planned_is_dialled_under_the_access_of_whoever_moves_it_to_now(
    app: Flask, manager: Actor, colleague: Actor, portal: FakePortal
) -> None:
    id = planned(manager)
    assert move_to_now(colleague, id).status_code == 200
    work(app)
    assert dialled_by(portal) == [colleague.user.id]
    told = manager.sees(id)
    assert told["state"] == "started"
    by_rule = {decision["rule"]: decision for decision in told["decisions"]}
    assert by_rule["taken_over"]["inputs"] == {"user": str(colleague.user.id), "former": str(manager.user.id)}
    assert manager.user.full_name in by_rule["taken_over"]["words"]
    assert colleague.user.full_name in by_rule["taken_over"]["words"]
    # Who had asked for it stays what it was.
    assert by_rule["requested"]["inputs"]["user"] == str(manager.user.id)
    assert manager.user.full_name in by_rule["requested"]["words"]


def test_a_worker_that_is_about_to_dial_for_the_colleague_does_not(
    app: Flask, manager: Actor, colleague: Actor, portal: FakePortal
) -> None:
    id = json_of(manager.requests_callback())["id"]
    with app.app_context():
        [lease] = queue.lease_due(4)
    assert move_to_now(colleague, id).status_code == 200
    with app.app_context():
        dial.dial(lease)
    assert dialled_by(portal) == []
    work(app)
    assert dialled_by(portal) == [colleague.user.id]


def test_an_intern_without_rights_dials_nothing_under_a_colleagues_access(
    app: Flask, manager: Actor, intern: Actor, portal: FakePortal
) -> None:
    id = planned(manager)
    assert move_to_now(intern, id).status_code == 200
    work(app)
    # The portal enforces the intern's own rights.
    assert dialled_by(portal) == [intern.user.id]
    assert manager.sees(id)["reason"] == "bitrix24_access_denied"
    assert portal.telephony.dials == []


@pytest.mark.parametrize("others", ["view", "none"])
def test_an_intern_who_is_no_operator_reads_moves_and_cancels_nothing(
    app: Flask, administrator: Actor, manager: Actor, intern: Actor, portal: FakePortal, others: str
) -> None:
    id, lost = planned(manager), str(accept(app, source="staff", requested_by=portal.manager.id))
    make_unknown(app, lost)
    administrator.lets_call([portal.manager.id], others=others)
    assert intern.asks("GET", "/callbacks").status_code == (200 if others == "view" else 403)
    assert move_to_now(intern, id).status_code == 403
    assert dial_again(intern, lost).status_code == 403
    assert intern.asks("POST", f"/callbacks/{id}/cancel").status_code == 403
    work(app)
    assert manager.sees(id)["state"] == "scheduled"
    assert dialled_by(portal) == []


@pytest.mark.parametrize("change", [move_to_now, move, dial_again])
def test_one_without_an_access_of_their_own_takes_nothing_over(
    app: Flask, manager: Actor, colleague: Actor, change: Change
) -> None:
    id = planned(manager)
    if change is dial_again:
        make_unknown(app, id)
    with app.app_context(), writing() as session:
        session.execute(delete(Credential).where(Credential.user_id == colleague.user.id))
    before = (seen(app, UUID(id)).state, rules(app, UUID(id)))
    answer = change(colleague, id)
    assert (answer.status_code, json_of(answer)["code"]) == (403, "not_permitted")
    assert "open the app again" in json_of(answer)["detail"]
    assert (seen(app, UUID(id)).state, rules(app, UUID(id))) == before
    assert seen(app, UUID(id)).requested_by == manager.user.id
    colleague.opens()
    assert change(colleague, id).status_code == 200


def test_a_person_takes_over_what_is_dialled_again_after_an_unknown_outcome(
    app: Flask, manager: Actor, colleague: Actor, portal: FakePortal
) -> None:
    id = planned(manager)
    make_unknown(app, id)
    assert dial_again(colleague, id).status_code == 200
    assert rules(app, UUID(id))[-2:] == ["taken_over", "resolved"]
    work(app)
    assert dialled_by(portal) == [colleague.user.id]


@pytest.mark.parametrize("outcome", ["reached", "not_reached"])
def test_saying_what_became_of_a_colleagues_takes_nothing_over(
    app: Flask, manager: Actor, colleague: Actor, outcome: str
) -> None:
    id = planned(manager)
    make_unknown(app, id)
    assert colleague.asks("POST", f"/callbacks/{id}/resolve", {"outcome": outcome}).status_code == 200
    assert seen(app, UUID(id)).requested_by == manager.user.id
    assert "taken_over" not in rules(app, UUID(id))


def test_calling_a_colleagues_customer_again_is_ones_own(
    app: Flask, manager: Actor, colleague: Actor, portal: FakePortal
) -> None:
    id = planned(manager)
    with app.app_context(), writing() as session:
        session.execute(update(Callback).values(state=State.EXPIRED, holds_number=False))
    again = colleague.asks("POST", f"/callbacks/{id}/retry")
    assert again.status_code == 201
    work(app)
    assert dialled_by(portal) == [colleague.user.id]
    first, second = colleague.sees(json_of(again)["id"])["decisions"][:2]
    assert (first["inputs"]["user"], second["rule"]) == (str(colleague.user.id), "retried")


def test_who_cancelled_a_colleagues_is_recorded(app: Flask, manager: Actor, colleague: Actor) -> None:
    id = planned(manager)
    assert colleague.asks("POST", f"/callbacks/{id}/cancel").status_code == 200
    last = manager.sees(id)["decisions"][-1]
    assert (last["rule"], last["inputs"]) == ("cancelled", {"user": str(colleague.user.id)})
    assert colleague.user.full_name in last["words"]
    assert seen(app, UUID(id)).requested_by == manager.user.id


def test_ones_own_and_the_teams_change_hands_to_nobody(app: Flask, manager: Actor, portal: FakePortal) -> None:
    own, team = planned(manager), str(accept(app, to_number="+4930901821", due_at=utcnow() + timedelta(hours=1)))
    for id in (own, team):
        assert move_to_now(manager, id).status_code == 200
        assert "taken_over" not in rules(app, UUID(id))
    work(app)
    assert set(dialled_by(portal)) == {manager.user.id, portal.administrator.id}


def test_the_access_of_whoever_took_it_over_is_kept_until_it_has_ended(
    app: Flask, manager: Actor, colleague: Actor
) -> None:
    id = planned(manager)
    assert move(colleague, id).status_code == 200
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(used_at=utcnow() - timedelta(hours=3)))
    with app.app_context():
        # Nothing needs the manager's any more.
        assert tokens.purge_idle() == 1
    pass_time(app, timedelta(hours=2))
    work(app)
    assert manager.sees(id)["state"] == "started"


def test_taken_over_twice_it_says_so_twice_and_who_asked_first(
    app: Flask, administrator: Actor, manager: Actor, colleague: Actor
) -> None:
    id = planned(manager)
    administrator.opens()
    for person in (colleague, administrator, administrator):
        assert move(person, id).status_code == 200
    told = manager.sees(id)["decisions"]
    handed = [(d["inputs"]["former"], d["inputs"]["user"]) for d in told if d["rule"] == "taken_over"]
    ids = [str(person.user.id) for person in (manager, colleague, administrator)]
    assert handed == [(ids[0], ids[1]), (ids[1], ids[2])]
    assert told[0]["inputs"]["user"] == ids[0]

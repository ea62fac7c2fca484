"""Cards of smart processes show callbacks in their timeline as leads and deals do."""

from datetime import timedelta

import pytest
from flask import Flask

from bx24app.models import utcnow
from tests.fake_bitrix24 import FakePortal
from tests.fake_bitrix24.timeline import Activity
from tests.support import rule_steps
from tests.support.actors import CUSTOMER, Actor
from tests.support.rule_steps import LINE, ONCE, Runs
from tests.support.timeline_steps import brought_up_to_date, clicks, entries
from tests.support.waiting import change_portal, follow_calls, work

REPAIRS, KIND = 1042, "DYNAMIC_1042"
ADD = "crm.activity.configurable.add"


@pytest.fixture
def repair(app: Flask, manager: Actor, portal: FakePortal) -> int:
    """A card of the company's own kind, on a portal that shows callbacks of staff and of rules."""
    change_portal(app, shows_in_crm=True)
    contact = portal.crm.add_contact("Anna", phones=[CUSTOMER])
    portal.crm.add_type(REPAIRS, "Repairs")
    return portal.crm.add_item(REPAIRS, "Boiler", (contact,))


def planned(app: Flask, manager: Actor, kind: str, id: int) -> None:
    """A callback of staff for a card."""
    later = (utcnow() + timedelta(hours=2)).isoformat()
    asked = manager.requests_callback(scheduled_at=later, crm_entity={"type": kind, "id": id})
    assert asked.status_code == 201, asked.text
    brought_up_to_date(app)


def shown(portal: FakePortal, id: int) -> Activity:
    """The only activity in the card."""
    [activity] = portal.timeline.of_card(KIND, id)
    return activity


def test_a_callback_of_staff_is_shown_decided_about_and_erased(
    app: Flask, manager: Actor, administrator: Actor, portal: FakePortal, repair: int
) -> None:
    planned(app, manager, KIND, repair)
    activity = shown(portal, repair)
    assert (activity.type_id, activity.tag.split()[0]) == (REPAIRS, "Scheduled")
    assert activity.fields["responsibleId"] == portal.manager.id
    assert clicks(app, portal, activity, "Call now", portal.manager) == 200
    work(app)
    portal.telephony.calls[0].manager_refuses()
    follow_calls(app, portal)
    brought_up_to_date(app)
    assert (activity.tag, activity.is_completed) == ("Nobody answered", True)
    administrator.opens()
    erased = administrator.asks("POST", "/erase", {"number": CUSTOMER, "confirm": CUSTOMER})
    assert erased.status_code == 200, erased.text
    brought_up_to_date(app)
    assert portal.timeline.of_card(KIND, repair) == []
    assert entries(app) == []


def test_a_rules_callback_is_that_of_whoever_is_responsible_for_the_card(
    app: Flask, portal: FakePortal, runs: Runs, repair: int
) -> None:
    portal.crm.items[REPAIRS][repair]["assignedById"] = portal.manager.id
    runs(ONCE, f"{KIND}_{repair}", line=LINE, delay="60")
    assert rule_steps.worked(app) == 1
    brought_up_to_date(app)
    activity = shown(portal, repair)
    assert activity.fields["responsibleId"] == portal.manager.id
    assert "An automation rule" in activity.texts()["Requested by"]


@pytest.mark.parametrize(("kind", "id"), [(KIND, 77), ("DYNAMIC_77", 1)])
def test_a_card_or_a_kind_that_is_gone_is_asked_for_once(
    app: Flask, manager: Actor, portal: FakePortal, repair: int, kind: str, id: int
) -> None:
    """The portal refuses both as it refuses a lead that was deleted."""
    planned(app, manager, kind, id)
    brought_up_to_date(app)
    assert len(portal.requests_for(ADD)) == 1
    [entry] = entries(app)
    assert (entry.reason, entry.due_at) == ("deleted", None)
    assert portal.timeline.of_app() == []

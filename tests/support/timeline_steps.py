"""Steps of callbacks in the timeline of CRM cards."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.messages.card_entries import entry_words
from bx24app.models import Throttle, TimelineEntry, utcnow
from bx24app.services.native.timeline import queue, work
from tests.fake_bitrix24 import FakePortal, FakeUser
from tests.fake_bitrix24.timeline import Activity
from tests.support.actors import CUSTOMER, Actor
from tests.support.waiting import seen

Plans = Callable[..., Activity]


@pytest.fixture
def shows(app: Flask, manager: Actor, administrator: Actor) -> Actor:
    """A manager of a portal that shows callbacks of staff in their cards."""
    administrator.opens()
    assert administrator.asks("PATCH", "/settings", {"shows_in_crm": True}).status_code == 200
    return manager


@pytest.fixture
def plans(app: Flask, shows: Actor, portal: FakePortal) -> Plans:
    """Plan a callback of a new lead; returns the activity in its card."""

    def plan(number: str = CUSTOMER, **body: Any) -> Activity:
        lead = portal.crm.add_lead("Roof", phones=[number])
        later = (utcnow() + timedelta(hours=2)).isoformat()
        entity = {"type": "LEAD", "id": lead}
        asked = shows.requests_callback(number, scheduled_at=later, crm_entity=entity, **body)
        assert asked.status_code == 201, asked.text
        brought_up_to_date(app)
        return portal.timeline.of_card("LEAD", lead)[0]

    return plan


def state_of(app: Flask, activity: Activity) -> str:
    """The state of the callback that an activity shows."""
    [callback_id] = (one.callback_id for one in entries(app) if one.activity_id == activity.id)
    assert callback_id is not None
    return seen(app, callback_id).state


def brought_up_to_date(app: Flask) -> int:
    """Everything that will be due is done, here and now; returns how many entries were worked on."""
    worked = 0
    with app.app_context():
        with writing() as session:
            due = {"due_at": utcnow() - timedelta(seconds=1), "leased_until": None}
            session.execute(update(TimelineEntry).where(TimelineEntry.due_at.is_not(None)).values(**due))
            session.execute(
                update(Throttle).values(level=0, dial_at=None, extras_at=None, half_free_at=None, spare_at=None)
            )
        while (lease := queue.lease_entry()) is not None:
            work.work_on_entry(lease, entry_words)
            worked += 1
    return worked


def lost_for_long(app: Flask) -> None:
    """The platform must have finished with whatever was asked of it."""
    with app.app_context(), writing() as session:
        session.execute(update(TimelineEntry).values(asked_at=utcnow() - work.LOST_ADD_PAUSE))


def entries(app: Flask) -> list[TimelineEntry]:
    with app.app_context(), reading() as session:
        return list(session.scalars(select(TimelineEntry).order_by(TimelineEntry.id)))


def clicks(app: Flask, portal: FakePortal, activity: Activity, label: str, by: FakeUser) -> int:
    """Somebody presses a button, and what it leads to is shown; returns how the event was answered."""
    delivery = portal.timeline.press(activity.id, label, by)
    portal.events.wait_until_idle()
    brought_up_to_date(app)
    return delivery.status or 0

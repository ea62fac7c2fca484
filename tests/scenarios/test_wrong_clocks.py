"""What a process has written whose clock was days ahead holds nothing back when one comes whose clock is right."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import InstrumentedAttribute

from bx24app.database import reading, writing
from bx24app.errors import Bitrix24Unavailable
from bx24app.models import (
    Callback,
    Credential,
    KeptClick,
    Notification,
    NotifiedPerson,
    Portal,
    PortalState,
    RuleRun,
    Throttle,
    TimelineEntry,
    ToDo,
    Webhook,
    WebhookDelivery,
    WebsiteRequest,
    utcnow,
)
from bx24app.models.portals.notification import NOTIFICATIONS_AN_HOUR
from bx24app.services.dialling import call_history, queue
from bx24app.services.native.automation import registration
from bx24app.services.native.timeline import kept_clicks
from bx24app.services.portals import api, bindings, lines, payment, token_renewal
from bx24app.services.runtime.overlong_waits import end_overlong_waits
from bx24app.worker.guarded import run_guarded
from bx24app.worker.jobs import background_jobs
from bx24app.worker.look import Look
from tests.support.actors import Actor
from tests.support.leases import LEASES, due_everywhere
from tests.support.tables import rows_in_one_world
from tests.support.waiting import accept, change_portal

AHEAD = timedelta(days=3)
A_MINUTE = timedelta(minutes=1)
NOW = utcnow()

Column = InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None]
LEASING: dict[str, Callable[[], object]] = {
    "dial": lambda: queue.lease_due() or None,
    **{name: lambda lease=lease: lease(()) for name, lease in LEASES.items()},  # type: ignore[misc]
}


@pytest.fixture
def due(app: Flask, manager: Actor) -> Flask:
    """An app with something to do for every job that leases rows."""
    due_everywhere(app)
    return app


def looked(name: str) -> set[str]:
    return Look([job for job in background_jobs() if job.name == name]).due_jobs()


def set_column(column: Column, value: datetime | None) -> None:
    with writing() as session:
        session.execute(update(column.class_).values({column.key: value}))


@rows_in_one_world("job", LEASING)
def test_a_lease_of_a_clock_that_was_ahead_is_taken_over_and_a_true_one_is_not(due: Flask, job: str) -> None:
    with due.app_context():
        with time_machine.travel(utcnow() + AHEAD):
            assert LEASING[job]() is not None
        assert looked(job) == {job}
        assert LEASING[job]() is not None
        assert looked(job) == set()
        assert LEASING[job]() is None


def renewed(credential_id: int) -> bool:
    try:
        return bool(token_renewal.open_access(credential_id))
    except Bitrix24Unavailable:
        return False


@pytest.mark.parametrize(("ahead", "is_taken_over"), [(AHEAD, True), (timedelta(), False)])
def test_the_renewal_that_a_dead_process_has_begun_is_taken_over_when_its_clock_was_ahead(
    app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch, *, ahead: timedelta, is_taken_over: bool
) -> None:
    monkeypatch.setattr(token_renewal, "RENEWAL_WAIT_SECONDS", 0.5)
    with app.app_context():
        with writing() as session:
            credential = session.scalars(select(Credential).limit(1)).one()
            credential.lease(utcnow() + ahead, token_renewal.RENEWAL_LEASE)
            credential.expires_at = utcnow() - A_MINUTE
        assert renewed(credential.id) is is_taken_over


WAITS: dict[str, tuple[Column, str]] = {
    "pause of a webhook": (Webhook.waits_until, "deliver_webhooks"),
    "delivery": (WebhookDelivery.due_at, "deliver_webhooks"),
    "pause of the timeline": (Throttle.extras_at, "show_in_timeline"),
    "entry": (TimelineEntry.due_at, "show_in_timeline"),
    "search in the CRM": (WebsiteRequest.crm_due_at, "find_crm_customers"),
    "to-do": (ToDo.due_at, "make_to_dos"),
    "run": (RuleRun.due_at, "work_on_rules"),
    "click": (KeptClick.due_at, "prove_clicks"),
    "pause of dials": (Throttle.dial_at, "dial"),
}


@rows_in_one_world(("wait", "column", "job"), [(name, *wait) for name, wait in WAITS.items()])
def test_a_wait_that_is_longer_than_any_ends_and_a_true_one_does_not(
    due: Flask, wait: str, column: Column, job: str
) -> None:
    with due.app_context():
        set_column(column, utcnow() + A_MINUTE)
        end_overlong_waits()
        assert LEASING[job]() is None, wait
        set_column(column, utcnow() + AHEAD)
        end_overlong_waits()
        assert LEASING[job]() is not None, wait
        for leased in (Webhook, TimelineEntry, WebsiteRequest, ToDo, RuleRun, KeptClick, Callback):
            set_column(leased.leased_until, None)
        set_column(column, utcnow() if column in (WebhookDelivery.due_at, KeptClick.due_at) else None)
        for again in (WebsiteRequest.crm_due_at, TimelineEntry.due_at, ToDo.due_at, RuleRun.due_at):
            set_column(again, utcnow())


def test_a_full_bucket_of_a_clock_that_was_ahead_drains_and_a_true_pause_counts_beside_a_wrong_one(
    app: Flask, manager: Actor
) -> None:
    accept(app, expires_at=utcnow() + 3 * AHEAD)
    with app.app_context():
        with writing() as session:
            session.execute(update(Throttle).values(level=50, level_at=utcnow() + AHEAD, dial_at=None))
        assert end_overlong_waits() == 1
        assert queue.lease_due() == []
        with time_machine.travel(utcnow() + A_MINUTE):
            assert len(queue.lease_due()) == 1
    pace = Throttle(portal_id=1, level=0.0, level_at=NOW, dial_at=NOW + AHEAD)
    pace.wait(NOW, A_MINUTE)
    assert pace.dial_at == NOW + A_MINUTE


def test_a_line_that_was_stopped_by_a_clock_that_was_ahead_is_tried(app: Flask, manager: Actor) -> None:
    id = accept(app)
    with app.app_context():
        with writing() as session:
            line_id = session.get_one(Callback, id).line_id
            session.scalars(select(Portal)).one().stop_line(line_id, utcnow() + AHEAD)
        assert len(queue.lease_due()) == 1


def tell(**fields: Any) -> None:
    """Something is to be told to somebody in three days."""
    told = {"portal_id": 1, "user_id": 1, "event": "missed", "facts": {}, "made_at": utcnow()}
    with writing() as session:
        session.add(Notification(due_at=utcnow() + AHEAD, **told | fields))


def test_what_is_held_for_days_is_told_now_and_what_waits_for_the_next_opening_is_not(
    app: Flask, manager: Actor
) -> None:
    with app.app_context():
        with writing() as session:
            session.add(NotifiedPerson(portal_id=1, user_id=1, due_at=utcnow() + AHEAD))
        tell(tag="opening")
        assert (end_overlong_waits(), LEASING["send_notifications"]()) == (0, None)
        tell(tag="held", is_held=True)
        tell(tag="tried", tries=1)
        tell(tag="made", made_at=utcnow() + AHEAD)
        assert end_overlong_waits() == 4
        assert LEASING["send_notifications"]() is not None


def test_an_hour_that_has_not_begun_yet_counts_no_notifications() -> None:
    full = {"portal_id": 1, "user_id": 1, "sent": NOTIFICATIONS_AN_HOUR}
    assert NotifiedPerson(hour_at=NOW - A_MINUTE, **full).room(NOW) == 0
    assert NotifiedPerson(hour_at=NOW + AHEAD, **full).room(NOW) == NOTIFICATIONS_AN_HOUR


def test_a_click_that_was_kept_in_three_days_is_not_done(app: Flask) -> None:
    assert not kept_clicks._is_too_old(KeptClick(made_at=utcnow() - A_MINUTE))
    assert kept_clicks._is_too_old(KeptClick(made_at=utcnow() + AHEAD))


def test_a_list_that_was_read_in_three_days_is_read_again() -> None:
    assert lines._is_fresh(lines.Listing({"reg1": "Sales"}, utcnow()))
    assert not lines._is_fresh(lines.Listing({"reg1": "Sales"}, utcnow() + AHEAD))


def next_unchecked() -> int | None:
    end_overlong_waits()
    return api._next_unchecked(())


LOOKED_AT: dict[str, tuple[Column, Callable[[], object]]] = {
    "history": (Portal.history_due_at, call_history._lease_portal),
    "address": (Portal.address_due_at, next_unchecked),
    "bindings": (Portal.bound_at, lambda: bindings._next_due(())),
    "rules": (Portal.rules_at, lambda: registration._next_due(())),
    "payment": (Portal.payment_asked_at, lambda: payment._next_due(())),
}


@rows_in_one_world("name", LOOKED_AT)
def test_a_portal_that_was_looked_at_in_three_days_is_looked_at_again(app: Flask, manager: Actor, name: str) -> None:
    column, look = LOOKED_AT[name]
    state = PortalState.UNPAID if name == "payment" else PortalState.INSTALLED
    change_portal(app, bound_manifest=None, rules_digest=None, state=state)
    with app.app_context():
        if name == "history":
            with writing() as session:
                for callback in session.scalars(select(Callback)):
                    session.delete(callback)
            id = accept(app)
            with writing() as session:
                callback = session.get_one(Callback, id)
                callback.start(callback.fence(utcnow(), utcnow(), "", None), "call.1", utcnow())
        set_column(column, utcnow() + A_MINUTE if column.key.endswith("due_at") else utcnow() - A_MINUTE)
        assert look() is None
        set_column(column, utcnow() + AHEAD)
        assert look() is not None


def test_by_a_clock_that_is_behind_no_wait_is_overlong(due: Flask) -> None:
    def works() -> int | None:
        return run_guarded(due, "end_overlong_waits", "work", end_overlong_waits, lambda: None)

    with due.app_context():
        set_column(WebsiteRequest.crm_due_at, utcnow() + A_MINUTE)
        assert works() == 0
        with time_machine.travel(utcnow() - AHEAD):
            assert works() is None
        with reading() as session:
            [due_at] = session.scalars(select(WebsiteRequest.crm_due_at))
            assert due_at is not None
            assert due_at > utcnow()

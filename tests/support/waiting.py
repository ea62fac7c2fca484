"""Callbacks put straight into the database, as if they had been accepted some time ago, and one worker's steps."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Callback, DecoyRequest, Form, Portal, PortalLine, PortalSettings, Source, Throttle, utcnow
from bx24app.models.portals.throttle import STANDARD_LIMIT
from bx24app.services.callbacks import queries as callback_queries
from bx24app.services.callbacks.retry_policy import expiry_of
from bx24app.services.dialling import call_history, dial, queue
from bx24app.services.portals import uninstall
from bx24app.services.runtime.portal_rows import delete_rows
from tests.fake_bitrix24 import FakeApp, FakePortal

NUMBER = "+4930901820"


def accept(app: Flask, portal_id: int = 1, **fields: Any) -> UUID:
    """A callback of a website, due now unless said otherwise."""
    now = utcnow()
    source = fields.get("source", Source.WEBSITE)
    due_at = fields.pop("due_at", now)
    values: dict[str, Any] = {
        "to_number": NUMBER,
        "line_id": "reg150907",
        "line_name": "Sales line",
        "text": "Callback request.",
        "source": source,
        "due_at": due_at,
        "expires_at": due_at + expiry_of(source),
        "created_at": now,
        "updated_at": now,
        "attempts": [],
        "decisions": [],
    }
    callback = Callback(portal_id=portal_id, **(values | fields))
    with app.app_context(), writing() as session:
        callback.accept(now)
        session.add(callback)
    return callback.id


def remove(app: Flask, portal: FakePortal, application: FakeApp) -> None:
    """Remove the app from a portal with ``CLEAN`` 1; Bitrix24 has confirmed it, and its rows are gone."""
    portal.uninstall(application)
    portal.events.wait_until_idle()
    with app.app_context():
        uninstall.confirm_removals()


def remove_portal(app: Flask, *, keeps_settings: bool) -> None:
    """Remove the only portal as if Bitrix24 had confirmed it; its rows are gone."""
    with app.app_context():
        with writing() as session:
            row = session.scalars(select(Portal)).one()
            uninstall._remove(session, row, keeps_settings=keeps_settings)
        assert delete_rows(row.id, 60)


def add_form(app: Flask, portal_id: int = 1, **fields: Any) -> int:
    """A form with the given policy."""
    with app.app_context(), writing() as session:
        form = Form(portal_id=portal_id, key=f"form{utcnow().timestamp():.6f}".replace(".", ""), name="Site", **fields)
        session.add(form)
        session.flush()
        return form.id


def change_portal(app: Flask, **fields: Any) -> None:
    """What every portal is, or what its administrators have chosen."""
    own = {name: value for name, value in fields.items() if name in Portal.__table__.columns}
    chosen = {name: value for name, value in fields.items() if name not in own}
    with app.app_context(), writing() as session:
        for model, values in ((Portal, own), (PortalSettings, chosen)):
            if values:
                session.execute(update(model).values(**values))


def change_line(app: Flask, line_id: str, **fields: Any) -> None:
    """What is known of a line, on every portal."""
    with app.app_context(), writing() as session:
        session.execute(update(PortalLine).where(PortalLine.line_id == line_id).values(**fields))


def seen(app: Flask, callback_id: UUID, portal_id: int = 1) -> Callback:
    """A callback with its attempts and decisions."""
    with app.app_context():
        return callback_queries.get_callback(portal_id, callback_id)


def rules(app: Flask, callback_id: UUID) -> list[str]:
    """The rules of its decisions, in order."""
    return [decision.rule for decision in seen(app, callback_id).why]


def work(app: Flask) -> int:
    """Dial everything that may be dialled now; returns how many were."""
    dialled = 0
    with app.app_context():
        while claims := queue.lease_due(4):
            for claim in claims:
                dial.dial(claim)
            dialled += len(claims)
    return dialled


def follow_calls(app: Flask, portal: FakePortal) -> None:
    """Deliver what the portal tells of its calls, and read the history, as a worker does then."""
    portal.events.wait_until_idle()
    with app.app_context():
        call_history.read_next_history()


def pass_time(app: Flask, by: timedelta) -> None:
    """Let everything that is noted in the database have happened earlier."""
    times = ("scheduled_at", "due_at", "expires_at", "created_at")
    with app.app_context(), writing() as session:
        for callback in session.query(Callback):
            _move_back(callback, by, *times, "updated_at", "leased_until", "ended_at", "asks_since")
            for attempt in callback.attempts:
                _move_back(attempt, by, "started_at", "began_by", "answered_at", "ended_at")
            for decision in callback.decisions:
                _move_back(decision, by, "made_at")
        for decoy in session.query(DecoyRequest):
            _move_back(decoy, by, *times, "released_at", "cancelled_at")
        for pace in session.query(Throttle):
            _move_back(pace, by, "level_at", "dial_at", "half_free_at", "spare_at")
        for portal in session.query(Portal):
            _move_back(portal, by, "history_due_at", "history_read_at")


def _move_back(row: object, by: timedelta, *names: str) -> None:
    for name in names:
        if (moment := getattr(row, name)) is not None:
            setattr(row, name, moment - by)


def fill_pace(app: Flask, requests: int) -> None:
    """Let portals have been asked so often just now, and nothing else be known of their pace."""
    with app.app_context(), writing() as session:
        for pace in session.query(Throttle):
            pace.level, pace.level_at = 0.0, utcnow()
            pace.dial_at = pace.paused_for = pace.spare_at = None
            pace.count_requests(utcnow(), STANDARD_LIMIT, requests)


def pace_of(app: Flask, portal_id: int = 1) -> Throttle:
    with app.app_context(), reading() as session:
        return session.get_one(Throttle, portal_id)

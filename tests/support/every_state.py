"""A portal's callbacks in every state and of every source, as its desk may show them on one day."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Flask

from bx24app.database import writing
from bx24app.models import (
    RETRIABLE,
    Attempt,
    Callback,
    Form,
    Outcome,
    Source,
    State,
    WebsiteRequest,
    first_id,
    utcnow,
)


@dataclass(frozen=True)
class Kind:
    """A callback that was asked for ``ago`` and is due ``due_in`` from then."""

    state: State
    source: Source = Source.WEBSITE
    reason: str | None = None
    name: str = ""
    ago: timedelta = timedelta(minutes=1)
    due_in: timedelta = timedelta()


DAY = timedelta(days=1)
KINDS = (
    Kind(State.STARTED, name="Clara Meyer"),
    Kind(State.UNKNOWN, Source.STAFF, "dial_lost_answer"),
    Kind(State.SCHEDULED, Source.STAFF, name="Igor", due_in=2 * DAY),
    Kind(State.SCHEDULED, reason="retry_code_304", name="Jean Petit", due_in=timedelta(minutes=30)),
    Kind(State.COMPLETED, Source.API, name="Marta Keller"),
    Kind(State.QUEUED, name="=1+1"),
    Kind(State.DIALLING, Source.API),
    Kind(State.ANSWERED, Source.STAFF, name="عائشة"),
    Kind(State.MISSED, Source.STAFF, "code_486"),
    Kind(State.MISSED, reason="code_304", ago=3 * DAY),
    Kind(State.FAILED, reason="outside_hours", name="Łukasz Öztürk", ago=2 * DAY),
    Kind(State.FAILED, Source.STAFF, "not_permitted", ago=2 * DAY),
    Kind(State.EXPIRED, Source.API, "due_too_late", ago=2 * DAY),
    Kind(State.EXPIRED, Source.ROBOT, "due_too_late", ago=9 * DAY),
    Kind(State.CANCELLED, ago=4 * DAY),
)


def insert_every_state(app: Flask, user_id: int, portal_id: int = 1) -> dict[int, UUID]:
    """Insert one callback of each kind; returns their ids by their places in ``KINDS``."""
    with app.app_context(), writing() as session:
        form = Form(portal_id=portal_id, key="f" * 24, name="Shop form", retries=2)
        session.add(form)
        session.flush()
        ids = {}
        for place, kind in enumerate(KINDS):
            callback = _callback(kind, f"+49309018{place:02}", portal_id, user_id, form.id)
            _came(callback, timedelta(seconds=place))
            session.add(callback)
            ids[place] = callback.id
            if callback.form_id:
                session.flush()
                session.add(
                    WebsiteRequest(
                        callback_id=callback.id,
                        form_id=form.id,
                        name=kind.name,
                        topic="Prices",
                        page="https://example.com/roof",
                        number_digest=f"{place:064}",
                    )
                )
        return ids


def _came(callback: Callback, later: timedelta) -> None:
    """Let each come after the one before: ids of one millisecond have no order."""
    callback.created_at += later
    callback.id = UUID(int=first_id(callback.created_at).int | random.getrandbits(70))


def insert_unknown(app: Flask, count: int, portal_id: int = 1) -> None:
    """Insert so many whose outcome nobody knows, of some days ago."""
    with app.app_context(), writing() as session:
        for place in range(count):
            kind = Kind(State.UNKNOWN, Source.STAFF, "dial_lost_answer", ago=3 * DAY)
            session.add(_callback(kind, f"+4940428{place:03}", portal_id, 1, None))


def _callback(kind: Kind, number: str, portal_id: int, user_id: int, form_id: int | None) -> Callback:
    at = utcnow() - kind.ago
    attempts = []
    if kind.state not in (State.QUEUED, State.CANCELLED, State.EXPIRED) and (
        kind.state != State.SCHEDULED or kind.reason
    ):
        attempts.append(_attempt(kind, number, portal_id, user_id, at))
    staff = kind.source == Source.STAFF
    values: dict[str, Any] = {
        "id": UUID(int=first_id(at).int | random.getrandbits(70)),
        "portal_id": portal_id,
        "state": kind.state,
        "reason": kind.reason,
        "to_number": number,
        "customer_name": kind.name or None,
        "line_id": "reg150907",
        "line_name": "Sales line",
        "text": "Callback request.",
        "source": kind.source,
        "form_id": None if staff or kind.source == Source.ROBOT else form_id,
        "requested_by": user_id if staff else None,
        "crm_entity_type": "LEAD" if staff and kind.name else None,
        "crm_entity_id": 12 if staff and kind.name else None,
        "due_at": at + kind.due_in,
        "expires_at": utcnow() + 7 * DAY,
        "created_at": at,
        "updated_at": at,
        "needs_follow_up": kind.state in RETRIABLE,
        "attempts": attempts,
        "decisions": [],
    }
    return Callback(**values)


def _attempt(kind: Kind, number: str, portal_id: int, user_id: int, at: datetime) -> Attempt:
    talked = kind.state in (State.COMPLETED, State.ANSWERED)
    return Attempt(
        portal_id=portal_id,
        number=1,
        line_id="reg150907",
        to_number=number,
        outcome=Outcome.COMPLETED if talked else Outcome.MISSED,
        answered_by=user_id if talked else None,
        answered_at=at + timedelta(seconds=40) if talked else None,
        duration_seconds=192 if kind.state == State.COMPLETED else None,
        started_at=at,
    )

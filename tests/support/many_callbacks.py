"""Callbacks of every kind in any number, as a portal has them after months: for lists, plans and measurements."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table, insert
from sqlalchemy.orm import Session

from bx24app.database import Base
from bx24app.models import RETRIABLE, Attempt, Callback, CallbackWord, Source, State, first_id
from bx24app.services.calling.name_words import words_of

FIRST_NAMES = ("Clara", "Márta", "Jean", "Igor", "Żaneta", "Ольга", "Max", "Łukasz", "Anna", "Søren")
LAST_NAMES = ("Meyer", "Kéller", "Petit", "Müller", "Öztürk", "Иванова", "Weber", "O’Neil", "=1+1", "Martin")
LINES = ("reg150907", "sip7", "reg150908")
FINAL_STATES = (State.COMPLETED,) * 12 + (State.MISSED,) * 3 + (State.FAILED, State.CANCELLED, State.EXPIRED)
OPEN_STATES = (State.SCHEDULED, State.QUEUED, State.DIALLING, State.STARTED, State.ANSWERED, State.UNKNOWN)
_BATCH = 5000


@dataclass(frozen=True)
class Crowd:
    """How many callbacks of one portal, from when to when, and whose; the same seed makes the same ones."""

    portal_id: int
    form_ids: Sequence[int]
    count: int
    begins: datetime
    ends: datetime
    people: int = 9
    # Every so many is not over.
    open_every: int = 9
    seed: int = 1
    first_number: int = field(default=4_930_10_000_000)


def rows_of(crowd: Crowd) -> Iterator[dict[type[Base], list[dict[str, Any]]]]:
    """Make rows by table, some thousand callbacks at a time, the oldest first."""
    rng = random.Random(crowd.seed)
    step = (crowd.ends - crowd.begins) / max(crowd.count, 1)
    for begin in range(0, crowd.count, _BATCH):
        made: dict[type[Base], list[dict[str, Any]]] = {Callback: [], Attempt: [], CallbackWord: []}
        for number in range(begin, min(begin + _BATCH, crowd.count)):
            _add(made, rng, crowd, crowd.begins + step * number)
        yield made


def _add(made: dict[type[Base], list[dict[str, Any]]], rng: random.Random, crowd: Crowd, at: datetime) -> None:
    is_open = rng.randrange(crowd.open_every) == 0
    state = rng.choice(OPEN_STATES if is_open else FINAL_STATES)
    form_id = rng.choice([None, *crowd.form_ids])
    id = UUID(int=first_id(at).int | rng.getrandbits(70))
    name = f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}" if form_id and rng.random() < 0.8 else None
    # Some numbers come back.
    number = f"+{crowd.first_number + rng.randrange(crowd.count * 9 // 10 + 1)}"
    due_at = at + timedelta(hours=rng.choice((0, 0, 0, 30)))
    made[Callback].append(
        {
            "id": id,
            "portal_id": crowd.portal_id,
            "state": state,
            "to_number": number,
            "number_reversed": number[:0:-1],
            "customer_name": name,
            "line_id": rng.choice(LINES[:2]) if rng.random() < 0.98 else LINES[2],
            "line_name": "Sales line",
            "text": "Callback request.",
            "source": Source.STAFF if form_id is None else rng.choice((Source.WEBSITE, Source.WEBSITE, Source.API)),
            "form_id": form_id,
            "requested_by": rng.randrange(1, crowd.people + 1) if form_id is None else None,
            "due_at": due_at,
            "expires_at": due_at + timedelta(hours=1),
            "needs_follow_up": state in RETRIABLE,
            "version": 1,
            "created_at": at,
            "updated_at": at,
            "ended_at": None if is_open else at,
        }
    )
    made[CallbackWord] += [
        {"callback_id": id, "portal_id": crowd.portal_id, "word": word, "stem": word[:2]}
        for word in words_of(name or "")
    ]
    dialled = state not in (State.SCHEDULED, State.QUEUED, State.CANCELLED, State.EXPIRED)
    for attempt in range(1, rng.choice((1, 1, 1, 2)) + 1 if dialled else 1):
        made[Attempt].append(
            {
                "portal_id": crowd.portal_id,
                "callback_id": id,
                "number": attempt,
                "line_id": "reg150907",
                "to_number": number,
                "outcome": "completed",
                "answered_by": rng.randrange(1, crowd.people + 1) if state == State.COMPLETED else None,
                "started_at": at,
            }
        )


def insert_crowd(session: Session, crowd: Crowd) -> None:
    """Insert them inside the caller's transaction."""
    for made in rows_of(crowd):
        for model, rows in made.items():
            if rows:
                table = model.__table__
                assert isinstance(table, Table)
                session.connection().execute(insert(table), rows)

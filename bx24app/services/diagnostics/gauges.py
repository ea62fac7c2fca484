"""How the app stands, read from the database for a scrape: the same whichever machine is asked.

No statement looks at more than ``MOST_ROWS`` rows, or at callbacks that have ended, so a scrape costs as much with a
million callbacks as with few. Where there are more, a gauge stops at that number.
"""

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import ColumnElement, Select, Subquery, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute, Session

from bx24app.database import is_postgresql, reading, sqlite_path
from bx24app.database.files import SUFFIXES
from bx24app.models import (
    FINAL,
    WAITING,
    Callback,
    Credential,
    Portal,
    State,
    Throttle,
    Webhook,
    WebhookDelivery,
    utcnow,
)
from bx24app.models.lease import is_lasting
from bx24app.models.portals.throttle import LONGEST_PAUSE
from bx24app.services.dialling.queue import LONGEST_BUSY_PAUSE
from bx24app.services.runtime.kept_answer import keep_answer

GAUGES_KEPT_SECONDS = 10.0
MOST_ROWS = 10_000
# A worker dials what is due in less than a second, unless the portal's pace or its lines are used up.
OVERDUE = timedelta(minutes=1)
_UNFINISHED = sorted(set(State) - FINAL)
_Moment = InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None]


def read_gauges() -> list[Metric]:
    """Read all gauges, at most every ten seconds; without an answer of the database the first one says so alone."""
    return keep_answer("gauges", GAUGES_KEPT_SECONDS, _read) or [_is_up(up=False)]


def _read() -> list[Metric]:
    try:
        with reading() as session:
            now = utcnow()
            return [_is_up(up=True), *(metric for read in _GAUGES for metric in read(session, now))]
    except SQLAlchemyError:
        return [_is_up(up=False)]


def _is_up(*, up: bool) -> Metric:
    return GaugeMetricFamily("bx24app_database_up", "Whether the database answers (1) or not (0).", up)


def _labelled(name: str, about: str, labels: list[str], rows: Iterable[tuple[Any, ...]]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for *values, number in rows:
        family.add_metric([str(value) for value in values], number)
    return family


def _some(query: Select[*tuple[Any, ...]]) -> Subquery:
    """Let a statement count no more than the first rows of another."""
    return query.limit(MOST_ROWS).subquery()


def _count_and_oldest(
    session: Session, moment: _Moment, *conditions: ColumnElement[bool]
) -> tuple[int, datetime | None]:
    some = _some(select(moment.label("at")).where(*conditions))
    count, oldest = session.execute(select(func.count(), func.min(some.c.at))).one()
    return count, oldest


def _seconds_since(oldest: datetime | None, now: datetime) -> float:
    return 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())


def _callbacks(session: Session, _: datetime) -> Iterable[Metric]:
    some = _some(select(Callback.source, Callback.state).where(Callback.state.in_(_UNFINISHED)))
    rows = session.execute(select(some.c.source, some.c.state, func.count()).group_by(some.c.source, some.c.state))
    about = "Callbacks that have not ended, by who asked for them and where they stand."
    yield _labelled("bx24app_callbacks", about, ["source", "state"], rows.all())


def _due(session: Session, now: datetime) -> Iterable[Metric]:
    # State by state, so that each is a range of the index, and the oldest comes first.
    found = [
        _count_and_oldest(session, Callback.due_at, Callback.state == state, Callback.due_at <= now)
        for state in sorted(WAITING)
    ]
    overdue = [
        _count_and_oldest(session, Callback.due_at, Callback.state == state, Callback.due_at <= now - OVERDUE)[0]
        for state in sorted(WAITING)
    ]
    oldest = min((at for _, at in found if at is not None), default=None)
    yield GaugeMetricFamily("bx24app_callbacks_due", "Callbacks to dial now.", sum(count for count, _ in found))
    yield GaugeMetricFamily("bx24app_callbacks_overdue", "Callbacks due for more than a minute.", sum(overdue))
    about = "How long the callback that waits longest for its dial has been due."
    yield GaugeMetricFamily("bx24app_oldest_due_seconds", about, _seconds_since(oldest, now))


def _questions(session: Session, now: datetime) -> Iterable[Metric]:
    asks = (Callback.state == State.UNKNOWN, Callback.asks_since.is_not(None))
    count, oldest = _count_and_oldest(session, Callback.asks_since, *asks)
    about = "Callbacks whose outcome only a person can tell."
    yield GaugeMetricFamily("bx24app_callbacks_waiting_for_person", about, count)
    about = "How long the oldest of them waits for a person."
    yield GaugeMetricFamily("bx24app_oldest_question_seconds", about, _seconds_since(oldest, now))


def _portals(session: Session, now: datetime) -> Iterable[Metric]:
    portals = session.execute(select(Portal.state, func.count()).group_by(Portal.state)).all()
    yield _labelled("bx24app_portals", "Portals, by state.", ["state"], portals)
    told = Throttle.paused_for.is_not(None)
    # A portal whose two dials are under way waits for a moment too, and that is no limit.
    waits = is_lasting(Throttle.dial_at, now + LONGEST_BUSY_PAUSE, LONGEST_PAUSE)
    counts = dict[bool, int](session.execute(select(told, func.count()).where(waits).group_by(told)).all())
    about = "Portals that are not dialled for now: our count of their pace is used up (app), or they said so (portal)."
    rows = [("app", counts.get(False, 0)), ("portal", counts.get(True, 0))]
    yield _labelled("bx24app_portals_at_limit", about, ["told_by"], rows)
    credentials = _some(select(Credential.state))
    found = session.execute(select(credentials.c.state, func.count()).group_by(credentials.c.state)).all()
    yield _labelled("bx24app_credentials", "Tokens of people; dead: refused for good.", ["state"], found)


def _webhooks(session: Session, now: datetime) -> Iterable[Metric]:
    on = select(Webhook.id).where(Webhook.is_on)
    pending = (WebhookDelivery.done_at.is_(None), WebhookDelivery.webhook_id.in_(on))
    count, oldest = _count_and_oldest(session, WebhookDelivery.made_at, *pending)
    yield GaugeMetricFamily("bx24app_webhooks_pending", "Deliveries of webhooks that wait.", count)
    about = "Age of the oldest delivery that waits."
    yield GaugeMetricFamily("bx24app_oldest_webhook_seconds", about, _seconds_since(oldest, now))


def _size(session: Session, _: datetime) -> Iterable[Metric]:
    if is_postgresql():
        size = session.scalar(select(func.pg_database_size(func.current_database()))) or 0
    else:
        files = (f"{sqlite_path()}{suffix}" for suffix in SUFFIXES)
        size = sum(os.path.getsize(file) for file in files if os.path.exists(file))
    yield GaugeMetricFamily("bx24app_database_bytes", "Size of the database on its disk.", size)


_GAUGES: tuple[Callable[[Session, datetime], Iterable[Metric]], ...] = (
    _callbacks,
    _due,
    _questions,
    _portals,
    _webhooks,
    _size,
)

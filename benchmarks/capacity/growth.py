"""What a portal takes of the disk: a day of real requests, repeated for more than a year while old rows are purged.

One day comes from the app itself: visitors and staff ask, the worker dials, events arrive, calls end. Its rows are then
put into the database again for each further day, with other ids, numbers and times, and after each of these days the
worker's own jobs count the reports and purge what is too old.
"""

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from requests import codes
from sqlalchemy import Connection, Table, func, insert, select, text, true

from benchmarks.capacity.phases import ENDING_SECONDS, Row
from benchmarks.capacity.world import World, built, opened
from bx24app.database import Base, db, reading, writing
from bx24app.models import Attempt, Callback, RestCall, WebsiteRequest, first_id
from bx24app.models.columns import UTCDateTime
from bx24app.services.reports import counting
from bx24app.services.websites import challenge
from bx24app.worker.jobs import background_jobs
from bx24app.worker.scheduler import Job
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor, solved

# The requests of a working day: of visitors of a website, and of staff.
OF_WEBSITES, OF_STAFF = 28, 12
BETWEEN_SECONDS = 6.0
YEAR, DAYS = 365, 400
MEGABYTE = 1e6
# Tables with one row or more for each request: these, and those whose rows point to theirs.
OF_REQUESTS = (Callback, Attempt, WebsiteRequest)
# What no two rows may have alike, or what repeats only because the day does.
RENEWED = {"digest", "call_id", "idempotency_key", "request_digest", "event_id"}
Rows = list[dict[str, Any]]


def measure_growth(kind: str, days: int = DAYS, stopwatch: str = "wall") -> Row:
    """Say how large the database is after a year of one portal, and that it does not grow afterwards."""
    with opened(kind) as url, built(url, 1, 16, stopwatch) as world:
        empty = _size(world)
        _live_a_day(world, world.portals[0])
        with world.app.app_context():
            with reading() as session:
                day = list(_rows_of_the_day(session.connection()))
            after: dict[int, int] = {}
            for number in range(1, days + 1):
                world.simulation.skip(timedelta(days=1).total_seconds())
                _repeat(day, number)
                _tidy_up()
                after[number] = _size(world)
            with reading() as session:
                kept = session.scalar(select(func.count()).select_from(Callback)) or 0
    year = min(YEAR, days)
    return {
        "requests a day": OF_WEBSITES + OF_STAFF,
        "days": days,
        "MB empty": round(empty / MEGABYTE, 2),
        "MB after a year": round(after[year] / MEGABYTE, 2),
        "MB in the end": round(after[days] / MEGABYTE, 2),
        "callbacks kept": kept,
        "bytes a request": round((after[year] - empty) / (year * (OF_WEBSITES + OF_STAFF))),
    }


def _live_a_day(world: World, portal: FakePortal) -> None:
    """Let people ask, one after the other, and every call come to its end."""
    challenge.PROOF_COST, challenge.PROOF_COUNTER = 1, (1, 3)
    application = next(iter(world.platform.fake.registry.apps.values()))
    staff = Actor(world.app.test_client(), portal, application, portal.administrator)
    assert staff.opens().status_code == codes.ok
    body = {"name": "Shop", "line_id": next(iter(portal.lines)), "default_country": "DE"}
    form = json_of(staff.asks("POST", "/forms", body))
    numbers = (f"+493090{number:05}" for number in range(10_000))
    with world.working():
        for number in range(OF_WEBSITES + OF_STAFF):
            with world.simulation.outside():
                if number % (OF_WEBSITES + OF_STAFF) < OF_WEBSITES:
                    visitor = Visitor(world.app.test_client(), form["key"], address=f"203.0.{number}.7")
                    answer = visitor.asks(next(numbers), name="Clara Meyer", altcha=_proof(form["key"], world))
                else:
                    answer = staff.requests_callback(next(numbers))
            assert answer.status_code in {codes.created, codes.accepted}, answer.text
            world.simulation.run(BETWEEN_SECONDS)
        world.simulation.run(ENDING_SECONDS)


def _proof(form_key: str, world: World) -> str:
    """A proof that is some seconds old."""
    posed = json_of(world.app.test_client().get(f"/w/{form_key}/challenge"))
    world.simulation.run(5.0)
    return solved(posed)


def _rows_of_the_day(connection: Connection) -> Iterator[tuple[Table, Rows]]:
    """Every row that came of the requests, those that others point to first."""
    ours = {model.__tablename__ for model in OF_REQUESTS}
    for table in Base.metadata.sorted_tables:
        points = [key for key in table.foreign_keys if key.column.table.name in ours]
        if table.name not in ours | {RestCall.__tablename__} and not points:
            continue
        # A row that points to no request is not of one.
        is_ours = points[0].parent.is_not(None) if points else true()
        rows = [dict(row) for row in connection.execute(select(table).where(is_ours)).mappings()]
        if rows:
            yield table, rows


def _repeat(day: list[tuple[Table, Rows]], number: int) -> None:
    """Put the day's rows into the database once more, ``number`` days later."""
    rng, ids = Random(number), dict[Any, Any]()
    with writing() as session:
        for table, rows in day:
            highest = 0
            if isinstance(rows[0].get("id"), int):
                highest = session.scalar(select(func.max(table.c.id))) or 0
            made = [_later(table, row, number, highest + place) for place, row in enumerate(rows, 1)]
            for row, one in zip(rows, made, strict=True):
                if "id" in row:
                    ids[table.name, row["id"]] = one["id"]
                for key in table.foreign_keys:
                    one[key.parent.name] = ids.get((key.column.table.name, row[key.parent.name]), row[key.parent.name])
                if "to_number" in one:
                    one["to_number"] = f"+4930{rng.randrange(10**8):08}"
            session.execute(insert(table), made)


def _later(table: Table, row: dict[str, Any], days: int, next_id: int) -> dict[str, Any]:
    """A row like another one, some days later."""
    made = dict(row)
    for column in table.columns:
        value = row[column.name]
        if isinstance(column.type, UTCDateTime) and isinstance(value, datetime):
            made[column.name] = value + timedelta(days=days)
        elif column.name in RENEWED and isinstance(value, str):
            made[column.name] = secrets.token_hex(len(value) // 2)
    if isinstance(row.get("id"), UUID):
        made["id"] = UUID(int=first_id(made["created_at"]).int | secrets.randbits(70))
    elif "id" in row:
        made["id"] = next_id
    if "counted_version" in made:
        made["counted_version"] = 0
    return made


def _tidy_up() -> None:
    """Do what the worker does all day: count the reports, and purge."""
    while counting.count_changed():
        pass
    for job in background_jobs():
        if isinstance(job, Job) and job.name.startswith("purge_"):
            while job.work():
                pass


def _size(world: World) -> int:
    """The bytes of the database."""
    with world.app.app_context(), db.engine.connect() as connection:
        if db.engine.dialect.name == "sqlite":
            pages, size = (connection.scalar(text(f"PRAGMA {name}")) for name in ("page_count", "page_size"))
            return int(pages or 0) * int(size or 0)
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)

"""``python -m benchmarks.reports``: how long reports take with 1,000 and with 1,000,000 callbacks of one portal.

The callbacks lie within a year, in working hours, so that both have the same days to add up. They are stored in bulk
and counted by the worker's own job. Each report is asked for through the app with a ticket, by turns for both; the
result is the ratio of the medians. ``benchmarks/reports.json`` keeps it, with the plan of each statement.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text

from benchmarks import report, world
from benchmarks.plans import explained
from bx24app.database import db, is_postgresql, reading, writing
from bx24app.models import Attempt, Callback, Form, Outcome, Source, State
from bx24app.services.reports import counting
from tests.conftest import plain_environ
from tests.support import database

FEW, MANY = 1_000, 1_000_000
BATCH = 10_000
LAST = date(2026, 11, 27)
DAYS, FIRST_HOUR, HOURS = 365, 8, 10
TARGET = 1.5
PERIODS = {"7 days": 7, "30 days": 30, "a year": 365}
NAMES = ("summary", "by_day", "by_hour", "by_form", "by_line", "by_person")
# Added up from combinations, because more than one part is chosen.
SEVERAL = "line_id=sip7&source=website"
ASKED = (*NAMES, *(f"{name}?{SEVERAL}" for name in ("summary", "by_day", "by_form")))
LINES, PEOPLE = ("reg150907", "sip7", "sip8"), 12
# How a callback ends, by its code, and how many of a hundred do.
ENDS = (("200", 65), ("304", 15), ("486", 10), ("603-S", 6), (None, 4))


def fill(count: int) -> None:
    """Store callbacks that have ended, at random moments of a year, each with one attempt; then count them."""
    chance = random.Random(count)
    with reading() as session:
        forms = [(form.id, form.portal_id) for form in session.scalars(select(Form).limit(5))]
    # The oldest first, as they come.
    moments = sorted(_moment(chance) for _ in range(count))
    for begin in range(0, count, BATCH):
        some = enumerate(moments[begin : begin + BATCH], begin)
        rows = [_callback(chance, number, at, chance.choice(forms)) for number, at in some]
        with writing() as session:
            session.execute(insert(Callback), [callback for callback, _ in rows])
            session.execute(insert(Attempt), [attempt for _, attempt in rows if attempt])
    while counting.count_changed() > 0:
        pass
    if is_postgresql():
        with db.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))


def _moment(chance: random.Random) -> datetime:
    day = LAST - timedelta(days=chance.randrange(DAYS))
    seconds = FIRST_HOUR * 3600 + chance.randrange(HOURS * 3600)
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds)


def _callback(
    chance: random.Random, number: int, at: datetime, form: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    code = chance.choices([code for code, _ in ENDS], [weight for _, weight in ENDS])[0]
    id = UUID(int=int(at.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | number)
    state = State.COMPLETED if code == "200" else State.MISSED if code else State.EXPIRED
    line = chance.choice(LINES)
    shared = {"portal_id": form[1], "line_id": line, "to_number": f"+49{number:010}"}
    callback = {
        **shared,
        "id": id,
        "state": state,
        "line_name": line,
        "text": "Callback request.",
        "source": Source.WEBSITE,
        "form_id": form[0],
        "due_at": at,
        "expires_at": at,
        "created_at": at,
        "updated_at": at,
        "ended_at": at,
        "version": 5,
    }
    if code is None:
        return callback, None
    picked_up = code != "304"
    attempt = {
        **shared,
        "callback_id": id,
        "number": 1,
        "outcome": Outcome.COMPLETED if code == "200" else Outcome.MISSED,
        "failed_code": None if code == "200" else code,
        "answered_by": chance.randrange(1, PEOPLE) if picked_up else None,
        "answered_at": at + timedelta(seconds=chance.expovariate(1 / 180)) if picked_up else None,
        "duration_seconds": chance.randrange(600) if code == "200" else None,
        "cost": round(chance.random(), 4),
        "cost_currency": "EUR",
        "started_at": at,
    }
    return callback, attempt


def ask(built: world.World, name: str, days: int) -> float:
    """Ask for a report of the last days; returns how long it took."""
    asked, _, parts = name.partition("?")
    query = f"{parts}&from={LAST - timedelta(days=days - 1)}&to={LAST}&zone=Europe/Berlin"
    headers = {"Authorization": f"Bearer {built.tickets[0]}"}
    began = time.perf_counter()
    answer = built.app.test_client().get(f"/api/v1/reports/{asked}?{query}", headers=headers)
    took = time.perf_counter() - began
    assert answer.status_code == HTTPStatus.OK, answer.text
    return took


def measure(kind: str, many: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Compare both numbers of callbacks on one kind of database."""
    with ExitStack() as stack:
        built = [stack.enter_context(_filled(kind, count)) for count in (FEW, many)]
        for name in ASKED:
            for period, days in PERIODS.items():
                for one in built:
                    ask(one, name, days)
                times = [[ask(one, name, days) for one in built] for _ in range(rounds)]
                few, lot = (statistics.median(pair[number] for pair in times) for number in (0, 1))
                found: list[str] = []
                with explained(built[1].app, "report_figure", found):
                    ask(built[1], name, days)
                row: dict[str, Any] = {"database": kind, "report": name, "period": period, "plans": sorted(set(found))}
                row |= {"few_ms": round(few * 1000, 2), "many_ms": round(lot * 1000, 2), "ratio": round(lot / few, 2)}
                print(f"  {kind} {name} {period}: {few * 1000:.1f} {lot * 1000:.1f} ms", file=sys.stderr, flush=True)
                yield row


@contextmanager
def _filled(kind: str, count: int) -> Iterator[world.World]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        directory.chmod(0o755)
        if kind == "sqlite":
            url = f"sqlite:///{directory / 'app.db'}"
        else:
            server = stack.enter_context(database.postgres_server(directory / "postgres"))
            url = stack.enter_context(database.fresh_database(server))
        environ = {**plain_environ(), "BX24APP_DATABASE_URL": url, "BX24APP_LOG_LEVEL": "WARNING"}
        database.migrate(environ)
        built = world.build(environ)
        began = time.perf_counter()
        with built.app.app_context():
            fill(count)
        print(
            f"  {kind}: {count} stored and counted in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True
        )
        yield built
        with built.app.app_context():
            db.engine.dispose()


def main() -> None:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reports", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--callbacks", type=int, default=MANY, help="instead of 1,000,000")
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=("sqlite", "postgresql"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "reports.json")
    wanted = parser.parse_args()
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    rows = [row for kind in wanted.databases for row in measure(kind, wanted.callbacks, wanted.rounds)]
    for row in rows:
        print(
            f"{row['database']:11} {row['report']:10} {row['period']:8} {row['few_ms']:8.1f} ms"
            f" {row['many_ms']:8.1f} ms {row['ratio']:6.2f}  {TARGET}"
        )
    document = {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "machine": report.machine(),
        "callbacks": [FEW, wanted.callbacks],
        "target": TARGET,
        "rows": rows,
    }
    wanted.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

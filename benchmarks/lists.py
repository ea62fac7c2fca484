"""``python -m benchmarks.lists``: the list of callbacks by many filters, with 1,000,000 stored and with 1,000.

Both portals have the same people, forms and lines, and the same time; only the number of callbacks differs. A request
is asked for in this process, so that all that the app and its database do for it is measured and nothing else, of the
large and the small portal by turns. The ratio is the median of the pairs'. The plans of all statements of the large one
are kept beside the figures.
"""

import argparse
import functools
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import ColumnElement, select, text, update
from sqlalchemy.orm import aliased

from benchmarks import report, world
from benchmarks.plans import explained
from bx24app.database import db, is_postgresql, reading, writing
from bx24app.models import Callback, Form, utcnow
from tests.conftest import plain_environ
from tests.support import database
from tests.support.many_callbacks import LINES, Crowd, insert_crowd

MANY, FEW = 1_000_000, 1_000
LASTS = timedelta(days=360)
# The most that a list may take with many callbacks, for each second that it takes with few.
TARGET = 1.2


@dataclass(frozen=True)
class Portal:
    """A client of a portal's page, and the key of one of its forms."""

    client: FlaskClient
    ticket: str
    form_key: str
    # The id of a callback, and the last four digits of its number.
    newest: str
    digits: str
    # What some callback has together: a person, the line of few callbacks and a state; a form, that line and a state.
    rare: str
    rare_of_form: str
    # Two words of the last name.
    words: str

    def asks(self, query: str, limit: int = 25) -> tuple[float, int]:
        """Ask for a list; returns the seconds that it took, and how many callbacks it has shown."""
        own = {"FORM": self.form_key, "NEWEST": self.newest, "DIGITS": self.digits, "limit=25": f"limit={limit}"}
        path = functools.reduce(lambda found, one: found.replace(*one), own.items(), query)
        path = path if path.startswith("/desk") else f"/api/v1/callbacks{path}"
        begin = time.perf_counter()
        answer = self.client.get(path, headers={"Authorization": f"Bearer {self.ticket}"})
        answer.get_data()
        taken = time.perf_counter() - begin
        assert answer.status_code == HTTPStatus.OK, answer.text
        return taken, len((answer.json or {}).get("callbacks", ())) if answer.is_json else 0


def queries(few: Portal) -> dict[str, str]:
    """What is asked for, by a name. What is rare is so that the small portal has some of it too."""
    week, month = ((utcnow() - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ") for days in (7, 30))
    return {
        "all": "?limit=25",
        "7 days": f"?limit=25&from={week}",
        "one state": "?limit=25&state=failed",
        "three states": "?limit=25&state=missed,failed,expired",
        "source": "?limit=25&source=api",
        "form": "?limit=25&form_key=FORM",
        "line": "?limit=25&line_id=sip7",
        "rare line": "?limit=25&line_id=reg150908",
        "person": "?limit=25&requested_by=3",
        "person and line and state": f"?limit=25&{few.rare}",
        "form and line and state": f"?limit=25&form_key=FORM&{few.rare_of_form}",
        "form and source and state": "?limit=25&form_key=FORM&source=api&state=cancelled",
        "what never was": "?limit=25&source=staff&form_key=FORM",
        "several attempts and state": "?limit=25&several_attempts=1&state=missed",
        "last four digits": "?limit=25&q=DIGITS",
        "three digits": "?limit=25&q=082",
        "beginning": "?limit=25&q=%2B4930",
        "national beginning": "?limit=25&q=0301000",
        "name": "?limit=25&q=mey",
        "two words, 30 days": f"?limit=25&q={few.words}&from={month}",
        "name and form and state": "?limit=25&q=kell&form_key=FORM&state=missed",
        "needs a person": "?limit=25&quick=attention",
        "today": "?limit=25&quick=today",
        "in progress": "?limit=25&quick=in_progress",
        "scheduled": "?limit=25&quick=scheduled",
        "not called back": "?limit=25&quick=not_called_back",
        "mine": "?limit=25&quick=mine",
        "mine, missed, on a line": "?limit=25&quick=mine&state=missed&line_id=sip7",
        "counters": "/counters",
        "one callback": "/NEWEST",
        "the desk": "/desk/callbacks?quick=all",
    }


def asked_again() -> ColumnElement[bool]:
    """Tell whether somebody has asked for the number of a callback since."""
    later = aliased(Callback)
    same = (later.portal_id == Callback.portal_id, later.to_number == Callback.to_number)
    return select(later.id).where(*same, later.id > Callback.id).exists()


@contextmanager
def portal_with(url: str, count: int) -> Iterator[Portal]:
    """A portal on a database of its own that is filled with so many callbacks."""
    environ = {**plain_environ(), "BX24APP_DATABASE_URL": url, "BX24APP_LOG_LEVEL": "ERROR"}
    database.migrate(environ)
    built = world.build(environ)
    with built.app.app_context():
        begin, now = time.monotonic(), utcnow()
        with reading() as session:
            forms = list(session.scalars(select(Form).order_by(Form.id)))
        # Few forms of many callbacks are harder than many of few; of all callbacks one in a thousand is not over.
        form_ids, step = [form.id for form in forms[:5]], LASTS / count
        # The last one is of today whatever the time: else the small portal may have none of today.
        ends = now + step - timedelta(seconds=1)
        wanted = Crowd(forms[0].portal_id, form_ids, count, ends - LASTS, ends, open_every=1000)
        with writing() as session:
            insert_crowd(session, wanted)
        with writing() as session:
            # As the app leaves them: only the last of a number may wait for a call.
            done = update(Callback).where(Callback.needs_follow_up, asked_again()).values(needs_follow_up=False)
            session.execute(done, execution_options={"synchronize_session": False})
        if is_postgresql():
            with db.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
        print(f"  {count} callbacks in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
        db.engine.dispose()
    yield opened(built.app, built.tickets[2], built.form_keys[0])
    with built.app.app_context():
        db.engine.dispose()


def opened(app: Flask, ticket: str, form_key: str) -> Portal:
    """A filled portal, for somebody with a ticket."""
    newest_first = select(Callback).order_by(Callback.id.desc()).limit(1)
    of_rare_line = newest_first.where(Callback.line_id == LINES[2])
    with app.app_context(), reading() as session:
        newest = session.scalars(newest_first).one()
        named = session.scalars(newest_first.where(Callback.customer_name.is_not(None))).one()
        asked = session.scalars(of_rare_line.where(Callback.requested_by.is_not(None))).one()
        sent = session.scalars(of_rare_line.join(Form).where(Form.key == form_key)).one()
    rare, rare_of_form = (f"line_id={one.line_id}&state={one.state}" for one in (asked, sent))
    rare = f"requested_by={asked.requested_by}&{rare}"
    words = quote(str(named.customer_name))
    own = (form_key, str(newest.id), newest.to_number[-4:], rare, rare_of_form, words)
    return Portal(app.test_client(), ticket, *own)


def measure(kind: str, many: int, rounds: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Measure all lists on one kind of database; yields a row and the plans of each."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        directory.chmod(0o755)
        server = stack.enter_context(database.postgres_server(directory / "pg")) if kind == "postgresql" else None
        portals = []
        for name, count in (("few", FEW), ("many", many)):
            if server is None:
                url = f"sqlite:///{directory / name}.db"
            else:
                url = stack.enter_context(database.fresh_database(server))
            portals.append(stack.enter_context(portal_with(url, count)))
        few, large = portals
        for name, query in queries(few).items():
            large.asks(query)
            # The same number of rows from both: what is compared is finding them.
            limit = max(1, few.asks(query)[1])
            rows = [portal.asks(query, limit)[1] for portal in portals]
            pairs = [_pair(few, large, query, limit, is_turned=bool(turn % 2)) for turn in range(rounds)]
            plans: list[str] = []
            with explained(large.client.application, "callback", plans):
                large.asks(query)
            yield _row(kind, name, pairs, rows), f"## {kind}: {name}: {query}\n\n" + "\n\n".join(plans)


def _pair(few: Portal, large: Portal, query: str, limit: int, *, is_turned: bool) -> tuple[float, float]:
    """Ask both, either of them first by turns."""
    first, second = (large, few) if is_turned else (few, large)
    times = first.asks(query, limit)[0], second.asks(query, limit)[0]
    return times[::-1] if is_turned else times


def _row(kind: str, name: str, pairs: list[tuple[float, float]], rows: list[int]) -> dict[str, Any]:
    few, many = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
    ratio = statistics.median(many / few for few, many in pairs)
    row: dict[str, Any] = {"database": kind, "list": name, "rows_few": rows[0], "rows_many": rows[1]}
    row |= {"few_ms": round(few, 2), "many_ms": round(many, 2), "ratio": round(ratio, 2)}
    print(f"{kind:11} {name:28} {rows} {few:8.2f} ms {many:8.2f} ms {ratio:6.2f}", flush=True)
    return row


def without_secrets(plans: str) -> str:
    """Plans name the values that were asked with on PostgreSQL; only their shape is kept."""
    return re.sub(r"'[^']*'", "'…'", plans)


def main() -> None:
    """Measure, print, and keep figures and plans."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lists", description=__doc__)
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=("sqlite", "postgresql"))
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "lists.json")
    wanted = parser.parse_args()
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    found = [one for kind in wanted.databases for one in measure(kind, wanted.many, wanted.rounds)]
    shown = {"machine": report.machine(), "many": wanted.many, "few": FEW, "target": TARGET}
    shown |= {"rounds": wanted.rounds, "rows": [row for row, _ in found]}
    wanted.output.write_text(json.dumps(shown, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    plans = "\n\n".join(plans for _, plans in found)
    wanted.output.with_suffix(".plans.txt").write_text(without_secrets(plans) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

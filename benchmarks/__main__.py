"""``python -m benchmarks``: measure the intake against the bare baseline and say how they compare.

Pairs of short measurements, app and baseline by turns, so that whatever else the machine does meets both; the result
is the median of the pairs' ratios. Everything is on loopback, bounded in time and number, and stops by itself.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, text

from benchmarks import load, report, servers, world
from benchmarks.report import Row
from tests.conftest import plain_environ
from tests.support import database

DATABASES = ("sqlite", "postgresql")
# A first, unmeasured pair opens connections and fills caches.
WARMING_SECONDS = 1.0
# No server takes more than this.
MOST_PER_SECOND = 6000
BARE = {"raw": "the driver alone", "orm": "Flask-SQLAlchemy"}


@dataclass(frozen=True)
class Work:
    """A row of the table: what is asked, and the status that answers it."""

    name: str
    target: float
    write: Callable[[world.World, int], list[bytes]]
    status: int


WORKS = {
    "staff": Work("accept a callback (POST /api/v1/callbacks)", 0.5, world.staff_requests, 201),
    "website": Work("take a website request, all checks on", 0.4, world.visitors_requests, 202),
}


@contextmanager
def _database(kind: str, directory: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'app.db'}"
        return
    with (
        database.postgres_server(directory / "postgres", is_durable=True) as server,
        database.fresh_database(server) as url,
    ):
        _check_durability(url)
        yield url


def _check_durability(url: str) -> None:
    """A PostgreSQL that does not sync would compare something else."""
    engine = create_engine(url)
    with engine.connect() as connection:
        settings = {name: connection.execute(text(f"SHOW {name}")).scalar() for name in ("fsync", "synchronous_commit")}
    engine.dispose()
    if settings != {"fsync": "on", "synchronous_commit": "on"}:
        raise SystemExit(f"this PostgreSQL is not durable: {settings}")


def _prepare_bare(url: str, directory: Path) -> str:
    """The baseline's own database of the same kind, with its one table."""
    bare = f"sqlite:///{directory / 'bare.db'}" if url.startswith("sqlite") else url
    engine = create_engine(bare)
    with engine.begin() as connection:
        connection.execute(text(servers.BARE_TABLE))
    engine.dispose()
    return bare


def measure(kind: str, works: list[Work], rounds: int, seconds: float) -> Iterator[Row]:
    """Measure rows on one kind of database."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        directory.chmod(0o755)  # PostgreSQL does not run as root, but under a user of its own.
        url = stack.enter_context(_database(kind, directory))
        environ = {**plain_environ(), "BX24APP_DATABASE_URL": url, "BX24APP_LOG_LEVEL": "WARNING"}
        database.migrate(environ)
        built = world.build(environ)
        app = stack.enter_context(servers.serving("app:app", environ))
        bare_environ = {"BENCH_DATABASE_URL": _prepare_bare(url, directory)}
        bare = {
            name: stack.enter_context(servers.serving("benchmarks.baseline:app", {**bare_environ, "BENCH_BARE": name}))
            for name in BARE
        }
        for work in works:
            yield _compare(kind, work, built, (app, bare), (rounds, seconds))


def _compare(
    kind: str, work: Work, built: world.World, ports: tuple[int, dict[str, int]], effort: tuple[int, float]
) -> Row:
    app, bare = ports
    rounds, seconds = effort
    row = Row(kind=kind, work=work.name, target=work.target)
    for number in range(rounds + 1):
        length = seconds if number else min(seconds, WARMING_SECONDS)
        count = int(MOST_PER_SECOND * length)
        ours = load.measure(app, work.write(built, count // 2), work.status, length)
        theirs = {
            name: load.measure(port, world.bare_requests(built, count), 201, length) for name, port in bare.items()
        }
        if number:
            row.add(ours, theirs)
            print(f"  {kind}, {work.name}: {row.last()}", file=sys.stderr, flush=True)
    return row


def main() -> None:
    """Measure what is asked for, print the table, write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="pairs per row (default: 9)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement (default: 2)")
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--rows", nargs="+", choices=[*WORKS], default=[*WORKS])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results.json")
    wanted = parser.parse_args()
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    world.make_proofs_quick()
    works = [WORKS[name] for name in wanted.rows]
    rows = [row for kind in wanted.databases for row in measure(kind, works, wanted.rounds, wanted.seconds)]
    print(report.table(rows))
    report.write(wanted.output, rows, statistics.median([row.rounds for row in rows]))


if __name__ == "__main__":
    main()

"""``python -m benchmarks.fleet``: dials a second and the wait for one, of 1, 2 and 4 workers, with a broker or none.

The portals answer at once and live in this process, which is one Python: on few processors it and the database take
them from the workers. Rates are those of all portals together, none of which is at its limit.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import select

from benchmarks.dialling import START, dialled_at, wait_for
from benchmarks.portals import Cloud, Due, cloud
from bx24app.database import reading
from bx24app.models import Callback, utcnow
from bx24app.services.runtime import wakeup
from tests.fake_bitrix24 import FakePortal
from tests.support.processes import Process, start
from tests.support.redis_server import RedisServer

WORKERS = (1, 2, 4)
PORTALS = 60
# Within what a portal takes at once (50), with those before.
EACH_AT_ONCE = 10
OFFERED_EACH_SECOND = 5
# A process imports for a while, the longer the more of them do.
START_SECONDS = 5.0
IDLE_SECONDS = 6.0
Row = dict[str, object]


@contextmanager
def _fleet(here: Cloud, count: int) -> Iterator[list[Process]]:
    """So many workers of the fleet, and beat."""
    celery = (sys.executable, "-m", "celery", "-A", "bx24app.fleet")
    running: list[Process] = [
        start((*celery, "worker", "-n", f"w{number}@%h"), here.environ) for number in range(count)
    ]
    running.append(start((*celery, "beat"), here.environ))
    try:
        yield running
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(80)


def _processor_seconds(running: Sequence[Process]) -> float:
    """What the processes have computed, which does not depend on what else the machine does."""
    ticks = 0
    for process in running:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _numbers(mark: int, portals: Sequence[FakePortal], each: int) -> list[tuple[FakePortal, str]]:
    return [(portal, f"+493{mark}{row:02}{number:04}") for number in range(each) for row, portal in enumerate(portals)]


def _at_once(here: Cloud, portals: Sequence[FakePortal], each: int, mark: int) -> float:
    """Dials a second of callbacks that are all due at one moment."""
    dialled = sum(len(portal.telephony.dials) for portal in portals)
    wanted = _numbers(mark, portals, each)
    at = utcnow()
    here.plan(Due(portal, number, at) for portal, number in wanted)
    wait_for(portals, dialled + len(wanted), 300)
    moments = sorted(moment for portal in portals for moment in dialled_at(portal))[dialled:]
    return len(moments) / (moments[-1] - at.timestamp())


def _waits(here: Cloud, portals: Sequence[FakePortal], seconds: float, mark: int) -> list[float]:
    """The seconds from commit to the portal, of callbacks that come one by one."""
    count = int(OFFERED_EACH_SECOND * seconds)
    wanted = _numbers(mark, portals, -(-count // len(portals)))[:count]
    dialled = sum(len(portal.telephony.dials) for portal in portals)
    asked_at: dict[tuple[str, str], float] = {}
    began = time.monotonic()
    for place, (portal, number) in enumerate(wanted):
        time.sleep(max(0.0, began + place / OFFERED_EACH_SECOND - time.monotonic()))
        here.plan([Due(portal, number, utcnow())])
        asked_at[portal.name, number] = time.time()
        with here.app.app_context():
            with reading() as session:
                row_id = session.scalar(select(Callback.id).where(Callback.to_number == number))
            wakeup.wake(row_id=row_id)
    wait_for(portals, dialled + count, 300)
    offset = time.time() - time.monotonic()
    return [
        request.at + offset - asked_at[portal.name, number]
        for portal in portals
        for request in portal.requests_for(START)
        if (number := str(request.parameters["TO_NUMBER"])) and (portal.name, number) in asked_at
    ]


def measure(kind: str, count: int, seconds: float, *, with_broker: bool) -> Row:
    """One row of the table."""
    with ExitStack() as stack:
        settings: dict[str, str] = {}
        if with_broker:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            broker = RedisServer(directory, "of-a-measurement")
            stack.callback(broker.kill)
            settings["BX24APP_BROKER_URL"] = broker.url
        here = stack.enter_context(cloud(kind, settings=settings))
        portals = here.add_portals(PORTALS)
        running = stack.enter_context(_fleet(here, count) if with_broker else here.workers(count, dials=32))
        time.sleep(START_SECONDS * (1 + count))
        _at_once(here, portals, 1, mark=1)  # Connections are open, caches full.
        idle_from = _processor_seconds(running)
        time.sleep(IDLE_SECONDS)
        busy_from = _processor_seconds(running)
        rate = _at_once(here, portals, EACH_AT_ONCE, mark=2)
        busy = _processor_seconds(running) - busy_from
        waits = _waits(here, portals, seconds, mark=3)
        numbers = Counter(
            (portal.name, str(request.parameters["TO_NUMBER"]))
            for portal in portals
            for request in portal.requests_for(START)
        )
    return {
        "database": kind,
        "broker": with_broker,
        "workers": count,
        "dials a second": round(rate, 1),
        "wait p50, ms": round(1000 * statistics.median(waits)),
        "wait p99, ms": round(1000 * statistics.quantiles(waits, n=100)[-1]),
        "processor for a dial, ms": round(1000 * busy / (PORTALS * EACH_AT_ONCE), 1),
        "processor when idle, %": round(100 * (busy_from - idle_from) / IDLE_SECONDS, 1),
        "load": os.getloadavg()[0],
        "dialled twice": sum(times > 1 for times in numbers.values()),
    }


def main() -> None:
    """Measure what is asked for, and print a row of JSON for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--workers", type=int, nargs="*", default=WORKERS)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long 5 callbacks a second are offered")
    given = parser.parse_args()
    for count in given.workers:
        for with_broker in (False, True):
            print(json.dumps(measure(given.database, count, given.seconds, with_broker=with_broker)), flush=True)


if __name__ == "__main__":
    main()

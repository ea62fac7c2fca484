"""Dialling under load: one portal at its limit, many portals at once, and one that never answers.

``python -m benchmarks.dialling [limit|many|silent ...] [--speed N] [--part N]``
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from benchmarks.portals import Cloud, Due, cloud
from bx24app.models import utcnow
from tests.fake_bitrix24 import FakePortal

START = "voximplant.callback.start"
BURST, RATE = 50, 2
SAY_EVERY = 15
Row = dict[str, float]


def wait_for(portals: Sequence[FakePortal], expected: int, seconds: float) -> None:
    """Wait until so many dials have arrived; raises ``TimeoutError``."""
    deadline, said = time.monotonic() + seconds, time.monotonic()
    while (count := sum(len(portal.telephony.dials) for portal in portals)) < expected:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} of {expected} dials after {seconds} s")
        if time.monotonic() - said > SAY_EVERY:
            said = time.monotonic()
            print(f"  {count} of {expected} dials", file=sys.stderr)
        threading.Event().wait(0.05)


def dialled_at(portal: FakePortal) -> list[float]:
    """When its dials arrived, in seconds since 1970."""
    offset = time.time() - time.monotonic()
    return [request.at + offset for request in portal.requests_for(START)]


def counted(portals: Sequence[FakePortal]) -> Row:
    """Every dial once, and none beyond a portal's limit."""
    numbers = Counter((portal.name, dial["number"]) for portal in portals for dial in portal.telephony.dials)
    return {
        "dials": sum(numbers.values()),
        "dialled twice": sum(count > 1 for count in numbers.values()),
        "QUERY_LIMIT_EXCEEDED": sum(portal.rest.overflows for portal in portals),
    }


def _due(portal: FakePortal, count: int, at: datetime) -> list[Due]:
    return [Due(portal, f"+4930{number:07}", at) for number in range(count)]


def measure_limit(speed: float, part: int) -> Row:
    """One portal with 600 callbacks due at once, against the platform's rate after its burst."""
    count = 600 // part
    with cloud("sqlite", speed) as here:
        [portal] = here.add_portals(1)
        here.plan(_due(portal, count, utcnow()))
        with here.workers(1):
            wait_for([portal], count, 60 + 1.5 * count / (RATE * speed))
        at = dialled_at(portal)
        rate = (len(at) - BURST) / (at[-1] - at[BURST - 1])
        return counted([portal]) | {"share of the limit": round(rate / (RATE * speed), 3)}


def measure_many(speed: float, part: int) -> Row:
    """10 portals of 600 and 190 of 20 due at once, on two workers and PostgreSQL."""
    big, small, few = 10, 190 // part, 20
    with cloud("postgresql", speed) as here:
        portals = here.add_portals(big + small)
        sizes = [600 // part] * big + [few] * small
        at = utcnow()
        here.plan(due for portal, size in zip(portals, sizes, strict=True) for due in _due(portal, size, at))
        began = time.time()
        with here.workers(2):
            wait_for(portals, sum(sizes), 300 + sum(sizes) / 10)
        ends = [max(dialled_at(portal)) - began for portal in portals]
        return counted(portals) | {
            "last small portal done after s": round(max(ends[big:]), 1),
            "first big portal done after s": round(min(ends[:big]), 1),
            "all done after s": round(max(ends), 1),
        }


def measure_silent(speed: float, part: int) -> Row:
    """Ten portals with two dials a second each, alone and beside one that never answers."""
    with cloud("sqlite", speed) as here:
        *others, silent = here.add_portals(11)
        with here.workers(1):
            threading.Event().wait(3)
            without = _p95_wait(here, others, 40 // part, "1")
            for method in (START, "voximplant.statistic.get", "batch"):
                silent.faults.add("hang_before", method, times=1000, seconds=70)
            here.plan(_due(silent, 50, utcnow()))
            threading.Event().wait(2)
            beside = _p95_wait(here, others, 40 // part, "2")
            silent.faults.release()
        return counted(others) | {
            "p95 wait alone, s": round(without, 3),
            "p95 wait beside it, s": round(beside, 3),
            "ratio": round(beside / without, 2),
        }


def _p95_wait(here: Cloud, portals: Sequence[FakePortal], each: int, mark: str) -> float:
    """From due to dialled, for callbacks that become due one by one."""
    first = utcnow() + timedelta(seconds=1)
    wanted = [
        Due(portal, f"+493{mark}{row:02}{number:05}", first + timedelta(seconds=0.5 * number + 0.05 * row))
        for row, portal in enumerate(portals)
        for number in range(each)
    ]
    dialled = sum(len(portal.telephony.dials) for portal in portals)
    here.plan(wanted)
    wait_for(portals, dialled + len(wanted), 60 + each)
    due = {(one.portal.name, one.number): one.at.timestamp() for one in wanted}
    waits = [
        at - due[portal.name, dial["number"]]
        for portal in portals
        for at, dial in zip(dialled_at(portal), portal.telephony.dials, strict=True)
        if (portal.name, dial["number"]) in due
    ]
    return statistics.quantiles(waits, n=20)[-1]


MEASUREMENTS: dict[str, Callable[[float, int], Row]] = {
    "limit": measure_limit,
    "many": measure_many,
    "silent": measure_silent,
}


def main() -> None:
    """Run the measurements that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=list(MEASUREMENTS), choices=[*MEASUREMENTS, []])
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than the platform buckets drain")
    parser.add_argument("--part", type=int, default=1, help="measure with so many times fewer callbacks")
    options = parser.parse_args()
    for name in options.what:
        measure = MEASUREMENTS[name]
        print(measure.__doc__)
        print(json.dumps(measure(options.speed, options.part)), flush=True)


if __name__ == "__main__":
    main()

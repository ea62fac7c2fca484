"""What many portals do to one worker: nine o'clock in every zone, a burst after an outage, a flood, a quiet day."""

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from benchmarks.capacity.world import World, spent
from benchmarks.portals import Due
from tests.fake_bitrix24 import FakePortal

# How many of a hundred portals are in which zone.
ZONES = {
    "Asia/Vladivostok": 3,
    "Asia/Irkutsk": 4,
    "Asia/Novosibirsk": 8,
    "Asia/Omsk": 3,
    "Asia/Yekaterinburg": 12,
    "Europe/Samara": 7,
    "Europe/Moscow": 45,
    "Europe/Kaliningrad": 3,
    "Europe/Berlin": 15,
}
NINE = 9
# Before a phase the worker has nothing to do for so long; after it every call ends and is known to have ended.
QUIET_SECONDS, ENDING_SECONDS = 15.0, 90.0
OUTAGE_SECONDS = 3600.0
# Portals are asked about ten at a time, twice a minute (``check_portals``).
CHECKED_A_MINUTE = 20
Row = dict[str, float]


@dataclass(frozen=True)
class Load:
    """How much: dials a second at the peak of the largest zone, for how long, and how many one portal floods with."""

    rate: float
    seconds: float
    flood: int
    # Each portal has so many waiting when an hour without a worker is over.
    backlog: int


@dataclass
class Run:
    """One simulation: what was planned, to be compared with what the platform was asked."""

    world: World
    load: Load
    rng: Random = field(default_factory=lambda: Random(1))
    due: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def zone_of(self, number: int) -> str:
        """The zone of a portal, by its place among all."""
        share = (number + 0.5) / len(self.world.portals) * sum(ZONES.values())
        for zone, count in ZONES.items():
            share -= count
            if share < 0:
                return zone
        return next(reversed(ZONES))

    def portals_in(self, zone: str) -> list[FakePortal]:
        """The portals of a zone."""
        return [portal for number, portal in enumerate(self.world.portals) if self.zone_of(number) == zone]

    def plan(self, portals: Sequence[FakePortal], moments: Sequence[datetime]) -> list[tuple[str, str]]:
        """Plan a callback for each moment, of the portals by turns; returns by what each is known."""
        wanted = [
            Due(portals[number % len(portals)], f"+4930{len(self.due) + number:08}", moment)
            for number, moment in enumerate(moments)
        ]
        self.world.plan(wanted)
        made = {(one.portal.member_id, one.number): one.at for one in wanted}
        self.due |= made
        return list(made)

    def spread(self, count: int, seconds: float, after: float = 0.0) -> list[datetime]:
        """Moments within ``seconds``, from ``after`` seconds on, as independent people choose them."""
        begins = self.world.simulation.now() + timedelta(seconds=after)
        return sorted(begins + timedelta(seconds=self.rng.uniform(0, seconds)) for _ in range(count))

    def waits(self, known: Sequence[tuple[str, str]]) -> list[float]:
        """Seconds from due to dialled, the shortest first; raises ``AssertionError`` unless each was dialled once."""
        asked = Counter((dial.member_id, dial.number) for dial in self.world.platform.dials)
        wrong = {one: asked[one] for one in known if asked[one] != 1}
        assert not wrong, f"{len(wrong)} of {len(known)} were not dialled exactly once"
        at = {(dial.member_id, dial.number): dial.at for dial in self.world.platform.dials}
        return sorted((at[one] - self.due[one]).total_seconds() for one in known)

    def renewals(self, since: datetime) -> Row:
        """What the authorization server was asked; all but the first figure should be 0."""
        made = [one for one in self.world.platform.renewals if one.at >= since]
        return {
            "renewals": len(made),
            "renewed twice": sum(one.was_spent for one in made),
            "renewed too soon": sum(one.was_needless for one in made),
            "asked with an expired token": self.world.platform.expired,
        }

    @contextmanager
    def measured(self, found: Row) -> Iterator[None]:
        """Note what the app takes for the dials inside, in processor time and statements."""
        begins, dials, before = (
            self.world.simulation.now(),
            len(self.world.platform.dials),
            self.world.statements.total(),
        )
        real = time.perf_counter()
        with spent(self.world.simulation) as taken:
            yield
        made, lasted = len(self.world.platform.dials) - dials, self.world.simulation.now() - begins
        found |= {
            "dials": made,
            "minutes": round(lasted.total_seconds() / 60, 1),
            "worker, share of one processor": round(taken["cpu"] / lasted.total_seconds(), 3),
            "statements": self.world.statements.total() - before,
            "statements a second at most": self.world.statements.busiest(begins),
            "took, real s": round(time.perf_counter() - real),
        } | self.renewals(begins)


def percentiles(waits: Sequence[float]) -> Row:
    """Median, 99th percentile and longest."""
    if not waits:
        return {}
    p99 = waits[math.ceil(0.99 * len(waits)) - 1]
    return {"p50 s": round(statistics.median(waits), 3), "p99 s": round(p99, 3), "longest s": round(waits[-1], 3)}


def nine_o_clock(run: Run) -> Row:
    """In every zone people begin at nine; the zone with most portals dials at the wanted rate."""
    simulation, found = run.world.simulation, Row()
    known: list[tuple[str, str]] = []
    largest = max(len(run.portals_in(zone)) for zone in ZONES)
    with run.measured(found), run.world.working():
        for zone in ZONES:
            portals = run.portals_in(zone)
            if not portals:
                continue
            left = _skip_until(run, zone)
            count = max(1, round(run.load.rate * len(portals) / largest * run.load.seconds))
            # They are planned before, and counted for the reports by nine.
            known += run.plan(portals, run.spread(count, run.load.seconds, left))
            simulation.run(left + run.load.seconds + ENDING_SECONDS)
    return percentiles(run.waits(known)) | found


def opening(run: Run) -> Row:
    """What was asked for at night is due in the same second: one callback of each portal of the largest zone."""
    zone = max(ZONES, key=ZONES.__getitem__)
    portals, found = run.portals_in(zone), Row()
    with run.measured(found), run.world.working():
        run.world.simulation.run(_skip_until(run, zone))
        known = run.plan(portals, [run.world.simulation.now()] * len(portals))
        run.world.simulation.run(len(portals) + ENDING_SECONDS)
    return percentiles(run.waits(known)) | found


def outage(run: Run) -> Row:
    """No worker for an hour; then what has waited, and beside it what becomes due as usual."""
    simulation, found = run.world.simulation, Row()
    everybody = run.world.portals
    waited = run.plan(everybody, run.spread(len(everybody) * run.load.backlog, OUTAGE_SECONDS))
    simulation.skip(OUTAGE_SECONDS)
    over = simulation.now()
    with run.measured(found), run.world.working():
        count = round(run.load.rate / 4 * run.load.seconds)
        beside = run.plan(everybody, run.spread(count, run.load.seconds))
        simulation.run(run.load.seconds)
        _until_nothing_waits(run)
        simulation.run(ENDING_SECONDS)
    ends = max(dial.at for dial in run.world.platform.dials if (dial.member_id, dial.number) in set(waited))
    drained = (ends - over).total_seconds()
    late = {f"beside it, {name}": value for name, value in percentiles(run.waits(beside)).items()}
    assert len(run.waits(waited)) == len(waited)
    return {"waited": len(waited), "all dialled after s": round(drained, 1)} | late | found


def flood(run: Run) -> Row:
    """One portal has far more due at once than it may dial; all others go on at half of the peak's rate."""
    simulation, found = run.world.simulation, Row()
    flooding, *others = run.world.portals
    with run.measured(found), run.world.working():
        simulation.run(QUIET_SECONDS)
        many = run.plan([flooding], [simulation.now()] * run.load.flood)
        known = run.plan(others, run.spread(round(run.load.rate / 2 * run.load.seconds), run.load.seconds))
        simulation.run(run.load.seconds)
        _until_nothing_waits(run)
        simulation.run(ENDING_SECONDS)
    last = run.waits(many)[-1]
    return (
        percentiles(run.waits(known))
        | {"flood": len(many), "flood: all dialled after s": round(last, 1)}
        | {"flood: refused for its pace": sum(portal.rest.overflows for portal in run.world.portals)}
        | found
    )


def quiet_day(run: Run) -> Row:
    """A day later, without a call: each portal is asked about once, for which its token is renewed."""
    found = Row()
    with run.measured(found), run.world.working():
        run.world.simulation.run(QUIET_SECONDS)
        run.world.simulation.skip(timedelta(days=1, minutes=1).total_seconds())
        run.world.simulation.run(60.0 * (len(run.world.portals) / CHECKED_A_MINUTE + 2))
    return found


PHASES: dict[str, Callable[[Run], Row]] = {
    "nine": nine_o_clock,
    "opening": opening,
    "outage": outage,
    "flood": flood,
    "quiet": quiet_day,
}


def _skip_until(run: Run, zone: str) -> float:
    """Leave out the time until it is nearly nine in a zone; returns how many seconds are left."""
    now = run.world.simulation.now()
    local = now.astimezone(ZoneInfo(zone))
    nine = local.replace(hour=NINE, minute=0, second=0, microsecond=0)
    if nine <= local:
        nine += timedelta(days=1)
    left = (nine - local).total_seconds()
    run.world.simulation.skip(max(0.0, left - QUIET_SECONDS))
    return min(left, QUIET_SECONDS)


def _until_nothing_waits(run: Run) -> None:
    while run.world.waiting():
        run.world.simulation.run(QUIET_SECONDS)

"""Many portals on one worker, on a turned clock: ``python -m benchmarks.capacity`` in a small version."""

import pytest

from benchmarks.capacity.phases import Load, Run, flood, quiet_day
from benchmarks.capacity.platform import DIAL_SECONDS
from benchmarks.capacity.world import SETTLING_SECONDS, built

PORTALS, DIALS = 6, 16
MOST_SECONDS = 1.0
# One portal has more due than it may dial at once: two, each of which it takes a while to start.
FLOOD, AT_ONCE = 30, 2
RIGHT = {"renewed twice": 0, "renewed too soon": 0, "asked with an expired token": 0}


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_portal_that_floods_delays_no_other_and_each_token_is_renewed_once(database_url: str) -> None:
    """Five minutes of the app's own worker with all its jobs; docs/capacity.md has the figures of many portals."""
    with built(database_url, PORTALS, DIALS, "processor") as world:
        run = Run(world, Load(rate=4.0, seconds=10.0, flood=FLOOD, backlog=1))
        # A worker that has just begun takes longer: it makes each of its statements for the first time.
        with world.working():
            world.simulation.run(SETTLING_SECONDS)
        flooded, quiet = flood(run), quiet_day(run)
    assert flooded["p99 s"] < MOST_SECONDS
    assert flooded["flood: all dialled after s"] >= FLOOD / AT_ONCE * DIAL_SECONDS - DIAL_SECONDS
    assert flooded["flood: refused for its pace"] == 0
    assert quiet["renewals"] == PORTALS
    for row in (flooded, quiet):
        assert {name: row[name] for name in RIGHT} == RIGHT

"""``python -m benchmarks.capacity``: 1,000 portals on one worker, on a turned clock; docs/capacity.md has the figures.

The app's own worker does its jobs with the number of threads that it is given; only Bitrix24 is answered for in this
process, after the time that the platform takes. ``growth`` measures instead what a portal takes of the disk in a year.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.capacity.growth import DAYS, measure_growth
from benchmarks.capacity.phases import PHASES, Load, Row, Run
from benchmarks.capacity.simulation import STOPWATCHES
from benchmarks.capacity.world import SETTLING_SECONDS, built, opened

DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Size:
    """How many portals, the worker's threads that dial, and what its work is timed with."""

    portals: int
    dials: int
    stopwatch: str


def simulate(kind: str, size: Size, load: Load, names: Sequence[str]) -> dict[str, Row]:
    """Play phases one after the other, each once."""
    found: dict[str, Row] = {}
    with opened(kind) as url, built(url, size.portals, size.dials, size.stopwatch) as world:
        run = Run(world, load)
        with world.working():
            world.simulation.run(SETTLING_SECONDS)
        # As the worker does once it has begun; what the portals are made of is none of its memory.
        gc.collect()
        gc.freeze()
        for name in names:
            before = os.getloadavg()[0]
            found[name] = PHASES[name](run) | {"load before": round(before, 1)}
            print(f"{kind}, {name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Simulate what is asked for, and keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("what", nargs="*", default=[*PHASES, "growth"], choices=[*PHASES, "growth"])
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--portals", type=int, default=1000)
    parser.add_argument("--dials", type=int, default=64, help="threads that dial (default: 64)")
    parser.add_argument("--rate", type=float, default=20.0, help="dials a second at the peak (default: 20)")
    parser.add_argument("--seconds", type=float, default=180.0, help="length of each peak (default: 180)")
    parser.add_argument("--flood", type=int, default=600, help="callbacks of the portal that floods (default: 600)")
    parser.add_argument("--backlog", type=int, default=2, help="of each portal after the outage (default: 2)")
    parser.add_argument("--days", type=int, default=DAYS, help=f"days of growth (default: {DAYS})")
    parser.add_argument(
        "--clock", choices=[*STOPWATCHES], default="wall", help="processor: on a machine with other work"
    )
    parser.add_argument("--output", type=Path, help="a file for the figures")
    wanted = parser.parse_args()
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    size = Size(wanted.portals, wanted.dials, wanted.clock)
    load = Load(wanted.rate, wanted.seconds, wanted.flood, wanted.backlog)
    found: dict[str, dict[str, Row]] = {}
    for kind in wanted.databases:
        phases = [name for name in PHASES if name in wanted.what]
        found[kind] = simulate(kind, size, load, phases) if phases else {}
        if "growth" in wanted.what:
            found[kind]["growth"] = measure_growth(kind, wanted.days, wanted.clock)
    settings = {name: str(value) for name, value in vars(wanted).items() if name != "output"}
    text = json.dumps({"settings": settings, "processors": os.cpu_count(), "found": found}, indent=1)
    print(text)
    if wanted.output:
        wanted.output.write_text(text + "\n")


if __name__ == "__main__":
    main()

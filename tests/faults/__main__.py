"""``python -m tests.faults``: play many schedules, or one again."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterable

from tests.faults.checks import Broken
from tests.faults.mutants import MUTANTS
from tests.faults.play import play
from tests.faults.world import World, built

PROGRESS = 100


def _quiet(_: str) -> None:
    """Say nothing."""


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seeds", default="1-500", help="such as 1-10000")
    parser.add_argument("--replay", type=int, metavar="SEED", help="play this one alone")
    parser.add_argument("--minutes", type=float, default=600, help="longer than this is a failure too")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), default="", help="take a safeguard out of the app")
    parser.add_argument("--broker", action="store_true", help="let a fleet of Celery do the work, on a real Redis")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    parser.add_argument("-v", "--verbose", action="store_true", help="say each step, and the states after it")
    return parser.parse_args()


def _play_all(world: World, seeds: Iterable[int], given: argparse.Namespace) -> tuple[int, list[int]]:
    """Play schedules until time is over; returns how many were played, and the seeds of those that failed."""
    say: Callable[[str], None] = print if given.verbose else _quiet
    failed: list[int] = []
    done, began = 0, time.monotonic()
    for seed in seeds:
        try:
            play(world, seed, say)
        except Broken as broken:
            failed.append(seed)
            print(f"seed {seed}: {broken}\n  again: {world.replay(seed)}", flush=True)
        done += 1
        if done % PROGRESS == 0:
            print(f"{done} schedules, {time.monotonic() - began:.0f} s", flush=True)
        if (failed and not given.keep_going) or time.monotonic() - began > given.minutes * 60:
            break
    return done, failed


def main() -> int:
    """Returns the exit status: 0 when every schedule was played and held."""
    given = _read_arguments()
    # Whoever is told to stop takes the database server and the zygote along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    if given.replay is not None:
        seeds = range(given.replay, given.replay + 1)
    with built(given.database, given.mutant, with_broker=given.broker) as world:
        done, failed = _play_all(world, seeds, given)
    mode = f"{given.database} with a broker" if given.broker else given.database
    print(f"{mode}: {done} of {len(seeds)} schedules, {len(failed)} failed {failed or ''}")
    return 0 if done == len(seeds) and not failed else 1


if __name__ == "__main__":
    sys.exit(main())

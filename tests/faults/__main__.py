"""``python -m tests.faults``: play many schedules, or one again."""

import argparse
import sys
import time

from tests.faults.checks import Broken
from tests.faults.steps import play
from tests.faults.world import built


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seeds", default="1-500", help="such as 1-10000")
    parser.add_argument("--replay", type=int, help="play this seed alone")
    parser.add_argument("--mutant", default="")
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    seeds = [given.replay] if given.replay is not None else list(range(int(first), int(last or first) + 1))
    failed, began = [], time.monotonic()
    with built(given.database, given.mutant) as world:
        for done, seed in enumerate(seeds, 1):
            try:
                play(world, seed, print if given.verbose else lambda _: None)
            except Broken as broken:
                failed.append(seed)
                print(f"seed {seed}: {broken}", flush=True)
                print(f"  again: {world.replay(seed)}", flush=True)
                if not given.keep_going:
                    break
            if done % 100 == 0:
                print(f"{done} schedules, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{len(seeds)} schedules on {given.database}, {len(failed)} failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

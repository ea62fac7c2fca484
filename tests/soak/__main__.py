"""``python -m tests.soak``: half an hour of requests and planned faults; docs/capacity.md has the figures of a run."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.soak.run import RATE, soak
from tests.support.database import workplace


def main() -> int:
    """Returns the exit status: 0 when nothing grew, nothing was lost, and nothing went wrong that was not planned."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES") or 30))
    parser.add_argument("--rate", type=float, default=RATE, help=f"requests a second (default: {RATE:.0f})")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    with workplace() as folder:
        wrong = soak(wanted.database, Path(folder), wanted.minutes * 60, wanted.rate, wanted.seed)
    print("\n".join(wrong) if wrong else "nothing grew, nothing was lost, nothing unplanned went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

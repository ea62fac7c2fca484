"""Memory and open files of processes, and whether they grow."""

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
MEGABYTE = 2**20
# The first part of what is seen of a process is its warm-up: caches, threads, connections.
WARM_UP = 0.4
# With fewer samples after that nothing is said.
FEWEST = 6
# What a process may gain over the time in which it is looked at. A young one still makes threads and fills caches.
MAY_GAIN_SHARE, MAY_GAIN_MB, MAY_GAIN_FILES = 0.06, 6.0, 16
YOUNG_SECONDS, YOUNG_MAY_GAIN_MB = 300.0, 30.0


@dataclass(frozen=True)
class Sample:
    """One look at a process: seconds since the begin, resident memory in MB, open files, processor seconds so far."""

    at: float
    megabytes: float
    files: int
    cpu: float = 0.0


class Watch:
    """Samples of processes by name and process id."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.samples: dict[tuple[str, int], list[Sample]] = defaultdict(list)

    def look(self, masters: dict[str, int]) -> None:
        """Take a sample of each process and of its children."""
        now = time.monotonic() - self._began
        for name, master in masters.items():
            for pid in (master, *children_of(master)):
                with suppress(OSError):  # It ends at this moment.
                    megabytes, files = _resident(pid) / MEGABYTE, len(list(Path(f"/proc/{pid}/fd").iterdir()))
                    self.samples[name, pid].append(Sample(now, megabytes, files, _processor_seconds(pid)))

    def now(self, name: str, pids: Sequence[int]) -> tuple[float, int]:
        """The memory in MB and the open files of processes together, as they were seen last."""
        last = [self.samples[name, pid][-1] for pid in pids if self.samples.get((name, pid))]
        return sum(sample.megabytes for sample in last), sum(sample.files for sample in last)

    def processor_seconds(self, name: str) -> float:
        """What all processes of a name have computed."""
        return sum(samples[-1].cpu for (one, _), samples in self.samples.items() if one == name)

    def growing(self, seconds: float) -> list[str]:
        """Name what grows in the processes that were seen in the last ``seconds``."""
        since = time.monotonic() - self._began - seconds
        found = []
        for (name, pid), samples in sorted(self.samples.items()):
            seen = [sample for sample in samples if sample.at >= since]
            if len(seen) == len(samples):
                # It began in this time, so a part of it is its warm-up.
                seen = seen[round(len(seen) * WARM_UP) :]
            if len(seen) >= FEWEST and samples[-1].at > since + seconds / 2:
                found += growth_of(f"{name} {pid}", seen, samples[-1].at - samples[0].at)
        return found


def growth_of(name: str, seen: Sequence[Sample], age: float = YOUNG_SECONDS) -> list[str]:
    """Say what of a process grew more than it may, and still grows: its last third against the first and the second.

    ``age``: how many seconds it has lived.
    """
    third = max(1, len(seen) // 3)
    parts = seen[:third], seen[third : 2 * third], seen[-third:]
    span = f"in {seen[-1].at - seen[0].at:.0f} s"
    memory = [statistics.median(sample.megabytes for sample in part) for part in parts]
    files = [statistics.median(sample.files for sample in part) for part in parts]
    may_gain = max(MAY_GAIN_MB, memory[0] * MAY_GAIN_SHARE) + (YOUNG_MAY_GAIN_MB if age < YOUNG_SECONDS else 0)
    found = []
    if _goes_on(memory, may_gain):
        found.append(f"memory of {name} grew from {memory[0]:.1f} to {memory[-1]:.1f} MB {span}")
    if _goes_on(files, MAY_GAIN_FILES):
        found.append(f"open files of {name} grew from {files[0]:.0f} to {files[-1]:.0f} {span}")
    return found


def _goes_on(thirds: Sequence[float], may_gain: float) -> bool:
    first, second, last = thirds
    return last - first > may_gain and last - second > may_gain / 2


def slope(seen: Sequence[Sample]) -> float:
    """Megabytes an hour, by the line that fits best; 0 for less than two samples."""
    if len(seen) < 2:
        return 0.0
    return statistics.linear_regression([one.at for one in seen], [one.megabytes for one in seen]).slope * 3600


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return sorted(found)


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES

"""What was measured, as a table for people and a file that is kept."""

import json
import os
import platform
import sqlite3
import statistics
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import load, servers
from benchmarks.load import Measured


@dataclass
class Row:
    """One kind of work on one kind of database, pair by pair."""

    kind: str
    work: str
    target: float
    ours: list[Measured] = field(default_factory=list)
    # By the kind of baseline.
    theirs: dict[str, list[Measured]] = field(default_factory=dict)

    def add(self, ours: Measured, theirs: dict[str, Measured]) -> None:
        """Keep one pair; a request that was not answered as expected makes the measurement worthless."""
        if ours.failed or any(one.failed for one in theirs.values()):
            raise RuntimeError(f"requests failed: {ours.failed} of ours, {[one.failed for one in theirs.values()]}")
        self.ours.append(ours)
        for name, one in theirs.items():
            self.theirs.setdefault(name, []).append(one)

    @property
    def rounds(self) -> int:
        """How many pairs were measured."""
        return len(self.ours)

    def ratios(self, baseline: str) -> list[float]:
        """Our throughput as a part of the baseline's, pair by pair."""
        return [a.per_second / b.per_second for a, b in zip(self.ours, self.theirs[baseline], strict=True)]

    def ratio(self, baseline: str) -> float:
        """The median of the pairs."""
        return statistics.median(self.ratios(baseline))

    def last(self) -> str:
        """The newest pair, for whoever waits."""
        ratios = ", ".join(f"{self.ratios(name)[-1]:.2f} of {name}" for name in self.theirs)
        return f"{self.ours[-1].per_second:.0f}/s, {ratios}"

    def document(self) -> dict[str, Any]:
        """The row for the file."""
        return {
            "database": self.kind,
            "work": self.work,
            "target": self.target,
            "rounds": self.rounds,
            "per_second": round(statistics.median(one.per_second for one in self.ours), 1),
            "p50_ms": round(statistics.median(one.percentile(0.5) for one in self.ours) * 1000, 2),
            "p95_ms": round(statistics.median(one.percentile(0.95) for one in self.ours) * 1000, 2),
            "baselines": {
                name: {
                    "per_second": round(statistics.median(one.per_second for one in self.theirs[name]), 1),
                    "ratio": round(self.ratio(name), 3),
                    "ratios": [round(ratio, 3) for ratio in self.ratios(name)],
                }
                for name in self.theirs
            },
        }


def table(rows: list[Row]) -> str:
    """All rows for people."""
    lines = [f"{'database':11} {'work':44} {'app/s':>7}  {'orm/s':>7} {'ratio':>6}  {'raw/s':>7} {'ratio':>6}  target"]
    for row in rows:
        shown = row.document()
        found = {name: (one["per_second"], one["ratio"]) for name, one in shown["baselines"].items()}
        lines.append(
            f"{row.kind:11} {row.work:44} {shown['per_second']:7.0f}  {found['orm'][0]:7.0f} {found['orm'][1]:6.2f}"
            f"  {found['raw'][0]:7.0f} {found['raw'][1]:6.2f}  {row.target:.2f}"
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the numbers depend on; nothing that names a host."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    return {
        "processors": os.cpu_count(),
        "memory_gib": memory,
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load_before": round(os.getloadavg()[2], 2),
    }


def write(path: Path, rows: list[Row], rounds: float) -> None:
    """Keep the rows with what they depend on."""
    document = {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "method": {
            "pairs": rounds,
            "server": f"gunicorn gthread, {servers.WORKERS} workers of {servers.THREADS} threads, for each",
            "client": f"{load.PROCESSES} processes of {load.THREADS} kept-alive connections",
            "baselines": {
                "raw": "one Flask view, one INSERT and commit with the driver alone, a connection per thread",
                "orm": "one Flask view, one object added and committed with Flask-SQLAlchemy",
            },
        },
        "rows": [row.document() for row in rows],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

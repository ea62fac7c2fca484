"""When which fault happens, and what it may do to requests: by a seed alone."""

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["worker killed", "web reloaded", "database restarted", "portal refuses", "portal hangs", "portal drips"]
OF_PROCESSES: tuple[Kind, ...] = ("worker killed", "web reloaded", "database restarted")
OF_PORTALS: tuple[Kind, ...] = ("portal refuses", "portal hangs", "portal drips")
# Parts of the run: until the first one nothing goes wrong; after the second no process is touched, so that what grows
# is seen; after the third portals are well too.
CALM, PROCESSES_UNTIL, PORTALS_UNTIL = 0.15, 0.5, 0.85
PORTAL_SECONDS = 12.0
# After a fault its mark is still seen for so long: connections that end, leases that are waited for.
AFTERWARDS = {"worker killed": 5.0, "web reloaded": 35.0, "database restarted": 15.0}
# What a request may be answered with while a fault lasts, beside what it is always answered with. 0: no answer came.
EXCUSES: dict[Kind, frozenset[int]] = {
    "worker killed": frozenset(),
    # Without a proxy in front clients see that a process ends.
    "web reloaded": frozenset({0}),
    "database restarted": frozenset({503}),
    "portal refuses": frozenset({503}),
    "portal hangs": frozenset({503}),
    "portal drips": frozenset({503}),
}


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, in seconds after the begin; ``portal``: the place of the one that it concerns."""

    at: float
    kind: Kind
    portal: int = 0

    @property
    def until(self) -> float:
        """When nothing of it is seen any more."""
        return self.at + AFTERWARDS.get(self.kind, PORTAL_SECONDS + 15.0)

    def excuses(self, at: float, status: int) -> bool:
        """Tell whether an answer at a moment may be such because of it."""
        return self.at <= at <= self.until and status in EXCUSES[self.kind]


def planned(seed: int, seconds: float, portals: int) -> list[Fault]:
    """Plan the faults of a run, in their order: each kind, and one a minute in all."""
    rng = random.Random(seed)
    count = max(len(OF_PROCESSES), round(seconds / 60 * PROCESSES_UNTIL))
    processes = [OF_PROCESSES[number % len(OF_PROCESSES)] for number in range(count)]
    rng.shuffle(processes)
    step = (PROCESSES_UNTIL - CALM) * seconds / count
    faults = [
        Fault(CALM * seconds + step * (number + rng.uniform(0, 0.6)), kind) for number, kind in enumerate(processes)
    ]
    step = (PORTALS_UNTIL - CALM) * seconds / count
    for number in range(count):
        at = CALM * seconds + step * (number + rng.uniform(0, 0.6))
        faults.append(Fault(at, OF_PORTALS[number % len(OF_PORTALS)], rng.randrange(portals)))
    return sorted(faults, key=lambda fault: fault.at)

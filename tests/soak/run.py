"""One run: load, faults, a look at the processes every few seconds, a line a minute, and the verdict."""

import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.soak import verdict
from tests.soak.load import Load
from tests.soak.plan import PROCESSES_UNTIL, Fault, planned
from tests.soak.stack import PORTALS, Stack, deployed
from tests.soak.watch import Watch, children_of, slope

RATE = 50.0
MINUTE = 60.0
LOOKS = 120
# After the last request what is due is dialled within this.
DRAIN_SECONDS = 110.0


def soak(kind: str, folder: Path, seconds: float, rate: float = RATE, seed: int = 1) -> list[str]:
    """Run for so long on a kind of database; returns what is wrong, and prints how it goes."""
    with deployed(kind, folder) as stack:
        faults, load, watch = planned(seed, seconds, PORTALS), Load(stack, rate, seed), Watch()
        stopped, began = threading.Event(), datetime.now(UTC)
        load.start()
        helpers = [
            threading.Thread(target=_let_happen, args=(stack, load, faults, stopped), daemon=True),
            threading.Thread(target=_look, args=(stack, watch, seconds, stopped), daemon=True),
        ]
        for helper in helpers:
            helper.start()
        minutes = seconds / MINUTE
        print(f"{kind}: {rate:.0f} requests a second for {minutes:.1f} minutes, {len(faults)} faults, seed {seed}")
        for minute in range(1, math.ceil(seconds / MINUTE) + 1):
            stopped.wait(max(0.0, load.began + min(minute * MINUTE, seconds) - time.monotonic()))
            _say(stack, load, watch, faults, minute)
        # What grows does so under load.
        growing = watch.growing(seconds * (1 - PROCESSES_UNTIL))
        load.stop()
        stopped.set()
        _drain(stack)
        wrong, states = verdict.unkept_promises(stack, load)
        logged = verdict.read_log(stack.said(), began)
        used = {name: round(watch.processor_seconds(name) / seconds, 2) for name in stack.processes}
        print(f"processors used: {used}, the load and Bitrix24's double {time.process_time() / seconds:.2f}")
        print(f"requests: {dict(Counter(answer.kind for answer in load.answers))}")
        print(f"states: {dict(states)}")
        print(f"planned errors: {dict(verdict.planned_errors(load.answers, faults))}")
        print(f"log: {dict(Counter(line.event for line in logged if line.at is not None))}")
        return [
            *verdict.too_slow(load, seconds),
            *growing,
            *wrong,
            *verdict.unplanned_answers(load.answers, faults),
            *verdict.unplanned_errors(logged, faults),
            *verdict.leaked(stack),
            *(f"{name} has ended" for name, process in stack.processes.items() if process.poll() is not None),
        ]


def _let_happen(stack: Stack, load: Load, faults: Sequence[Fault], stopped: threading.Event) -> None:
    """Let each fault happen at its time."""
    for fault in faults:
        if stopped.wait(max(0.0, load.began + fault.at - time.monotonic())):
            return
        threading.Thread(target=stack.suffer, args=(fault,), daemon=True).start()


def _look(stack: Stack, watch: Watch, seconds: float, stopped: threading.Event) -> None:
    while not stopped.wait(seconds / LOOKS):
        watch.look({name: process.pid for name, process in stack.processes.items()})


def _say(stack: Stack, load: Load, watch: Watch, faults: Sequence[Fault], minute: int) -> None:
    """Print a line about the last minute, and about the processes."""
    since = (minute - 1) * MINUTE
    last = [answer for answer in list(load.answers) if answer.at >= since]
    took = sorted(answer.seconds for answer in last)
    dialled = sum(len(house.portal.telephony.dials) for house in stack.houses)
    processes = []
    for name, process in stack.processes.items():
        pids = [process.pid, *children_of(process.pid)]
        megabytes, files = watch.now(name, pids)
        grows = sum(slope(watch.samples.get((name, pid), [])[-20:]) for pid in pids)
        processes.append(f"{name} {megabytes:.0f} MB ({grows:+.0f} an hour) {files} files")
    happened = Counter(fault.kind for fault in faults if since <= fault.at < since + MINUTE)
    wrong = verdict.unplanned_answers(last, faults)
    p99 = took[int(len(took) * 0.99)] if took else 0.0
    sent = f"{len(last)} requests, p99 {p99 * 1000:.0f} ms, {len(load.accepted)} accepted, {dialled} dialled"
    went = f"faults {dict(happened)}; unplanned {wrong or 'none'}"
    print(f"minute {minute}: {sent}; {'; '.join(processes)}; {went}", flush=True)


def _drain(stack: Stack) -> None:
    """Wait until nothing waits any more."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        if not verdict.waiting(stack):
            return
        time.sleep(1)

"""From *Call* to the call's id: web and worker apart, beside a bare view that asks the portal itself.

The portal answers after a second. App and bare view are asked by turns, each pair after a pause in which the worker
comes to rest. ``python -m benchmarks.waking [sqlite|postgresql ...] [--pairs N]``
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import uuid4

import requests

from benchmarks import servers
from benchmarks.portals import cloud
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor

START = "voximplant.callback.start"
PORTAL_SECONDS = 1.0
# As often as somebody may press *Call* again without waiting for the platform's limit.
SPEED = 50.0
WARMING_PAIRS = 3
PAUSE_SECONDS = 0.3
Ask = Callable[[], float]
Row = dict[str, float]


def _post(session: requests.Session, address: str, body: dict[str, str], headers: dict[str, str]) -> tuple[float, Any]:
    began = time.monotonic()
    answer = session.post(address, json=body, headers=headers, timeout=30)
    took = time.monotonic() - began
    if answer.status_code != requests.codes.created:
        raise RuntimeError(f"answered {answer.status_code}: {answer.text[:300]}")
    return took, answer.json()


def _through_app(port: int, ticket: str, line_id: str) -> Ask:
    session, numbers = requests.Session(), count()

    def ask() -> float:
        headers = {"Authorization": f"Bearer {ticket}", "Idempotency-Key": str(uuid4()), "Prefer": "wait=10"}
        body = {"to_number": f"+4930{next(numbers):07}", "line_id": line_id}
        took, answer = _post(session, f"http://127.0.0.1:{port}/api/v1/callbacks", body, headers)
        if not answer["attempts"][-1]["call_id"]:
            raise RuntimeError(f"no call: {answer['state']}")
        return took

    return ask


def _inline(port: int, line_id: str) -> Ask:
    session, numbers = requests.Session(), count()

    def ask() -> float:
        body = {"to_number": f"+4940{next(numbers):07}", "line_id": line_id}
        return _post(session, f"http://127.0.0.1:{port}/call", body, {})[0]

    return ask


def measure(kind: str, pairs: int) -> Row:
    """Ask both by turns; seconds at the median and the 95th percentile, and their ratios."""
    with cloud(kind, SPEED) as here:
        [portal] = here.add_portals(1)
        person = Actor(here.app.test_client(), portal, here.application, portal.administrator)
        person.opens("CRM_LEAD_DETAIL_TAB", ID="1")
        token = portal.launch(here.application, portal.administrator, "DEFAULT", None).form["AUTH_ID"]
        bare = {**here.environ, "BENCH_PORTAL": portal.client_endpoint, "BENCH_TOKEN": token}
        with (
            servers.serving("app:app", here.environ) as web,
            servers.serving("benchmarks.inline:app", bare) as inline,
            here.workers(1),
        ):
            return _by_turns(portal, pairs, _through_app(web, person.ticket, "reg150907"), _inline(inline, "reg150907"))


def _by_turns(portal: FakePortal, pairs: int, through_app: Ask, inline: Ask) -> Row:
    portal.faults.add("hang_after", START, times=10 * (pairs + WARMING_PAIRS), seconds=PORTAL_SECONDS)
    taken: list[tuple[float, float]] = []
    for _ in range(pairs + WARMING_PAIRS):
        taken.append((through_app(), inline()))
        time.sleep(PAUSE_SECONDS)
    apps, bares = (sorted(column) for column in zip(*taken[WARMING_PAIRS:], strict=True))
    p95 = [statistics.quantiles(times, n=20)[-1] for times in (apps, bares)]
    medians = [statistics.median(times) for times in (apps, bares)]
    return {
        "median of the app, s": round(medians[0], 3),
        "median of the bare view, s": round(medians[1], 3),
        "ratio of the medians": round(medians[0] / medians[1], 3),
        "ratio of the 95th percentiles": round(p95[0] / p95[1], 3),
    }


def main() -> None:
    """Measure on the databases that are named, or on both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("databases", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--pairs", type=int, default=60)
    options = parser.parse_args()
    for kind in options.databases:
        row = measure(kind, options.pairs) | {"load": round(os.getloadavg()[0], 1)}
        print(kind, json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

"""axe-core, run in a page's frames: what keeps people with disabilities out."""

from typing import Any

from playwright.sync_api import Frame

from tests.support import npm

VERSION = "4.14.1"
BAD = ("serious", "critical")


def problems(frame: Frame, within: str = "body") -> list[str]:
    """The serious and critical findings of axe-core inside an element, one sentence each."""
    # Evaluated by the debugger's way, which the page's policy does not touch.
    frame.evaluate((npm.installed("axe-core", VERSION) / "axe.min.js").read_text() + "; null")
    found: dict[str, Any] = frame.evaluate(
        "within => axe.run(within, {resultTypes: ['violations'], iframes: false})", within
    )
    return [
        f"{violation['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for violation in found["violations"]
        if violation["impact"] in BAD
        for node in violation["nodes"]
    ]

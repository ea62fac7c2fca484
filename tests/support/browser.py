"""A real browser: Debian's Chromium, watched for console errors and violations of the content policy.

axe-core, run in a page's frames, finds what keeps people with disabilities out.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Frame, Page, ViewportSize, expect, sync_playwright

from tests.support import ROOT, npm

SCREENSHOTS = ROOT / "artifacts" / "screenshots"
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 360, "height": 740}
PATIENCE_MS = 10_000
AXE_VERSION = "4.14.1"
BAD = ("serious", "critical")
# Of WCAG 2.2, which axe leaves out unless it is asked: what is pressed is at least 24 pixels large.
MORE_RULES: Mapping[str, bool] = {"target-size": True}
# The slowest of all rules.
WITHOUT_COLOURS: Mapping[str, bool] = {**MORE_RULES, "color-contrast": False}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium; without one the tests fail and say what to run."""
    path = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    if path is None:
        raise AssertionError("Chromium is missing: run 'sudo apt-get install --yes chromium'")
    # A machine that runs other tests beside may take its time.
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # Root may not use Chromium's sandbox; the pages are our own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


REFUSALS = (400, 403, 409, 422, 429)


def _is_complaint(message: ConsoleMessage, refusals: tuple[int, ...]) -> bool:
    # Chromium notes every refusal as a resource that failed: that is its answer, no mistake.
    refused = any(f"status of {status}" in message.text for status in refusals)
    # So it notes a connection that a test has cut.
    cut = "net::ERR_CONNECTION_RESET" in message.text
    return message.type in ("error", "warning") and not (refused or cut)


@contextmanager
def watched_page(
    browser: Browser, viewport: ViewportSize, refusals: tuple[int, ...] = REFUSALS, *, javascript: bool = True
) -> Iterator[Page]:
    """A page in a fresh profile; any console error or page error fails the test at the end."""
    context = browser.new_context(
        viewport=viewport, locale="en-GB", timezone_id="Europe/Berlin", java_script_enabled=javascript
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if _is_complaint(m, refusals) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    if complaints:
        raise AssertionError(f"the browser complained: {complaints}")


def screenshot(page: Page, name: str) -> None:
    """Keep what a person would see as a test artefact."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    before = page.viewport_size
    height = page.evaluate("document.documentElement.scrollHeight")
    # Chromium paints a frame only where it can be seen: the window is made as high as the page.
    if before is not None:
        page.set_viewport_size({"width": before["width"], "height": height})
        page.wait_for_timeout(100)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
    if before is not None:
        page.set_viewport_size(before)


def problems(frame: Frame, within: str = "body", rules: Mapping[str, bool] = MORE_RULES) -> list[str]:
    """The serious and critical findings of axe-core inside an element, one sentence each.

    ``rules`` are those that it also looks at, or does not.
    """
    if not frame.evaluate("'axe' in window"):
        # Evaluated by the debugger's way, which the page's policy does not touch.
        frame.evaluate((npm.installed("axe-core", AXE_VERSION) / "axe.min.js").read_text() + "; null")
    found: dict[str, Any] = frame.evaluate(
        # Reading stylesheets beforehand puts inline styles into shadow roots, which the page's policy reports.
        "([within, rules]) => axe.run(within, {resultTypes: ['violations'], iframes: false, preload: false, rules})",
        [within, {name: {"enabled": enabled} for name, enabled in rules.items()}],
    )
    return [
        f"{violation['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for violation in found["violations"]
        if violation["impact"] in BAD
        for node in violation["nodes"]
    ]

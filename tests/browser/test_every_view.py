"""Every view of the app at every width, in English, in Russian, and laid out from right to left as for Arabic.

The portal of tests/support/busy_portal.py has something of everything; tests/support/tour.py says what is opened.
"""

from collections.abc import Iterator, Mapping, Sequence

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page

from bx24app import i18n
from bx24app.web import languages
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.browser import MORE_RULES, REFUSALS, WITHOUT_COLOURS, problems, screenshot, watched_page
from tests.support.busy_portal import fill
from tests.support.tour import EVERY_STOP, WIDTHS, Stop, Tour

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.timeout(600),
]
# That a link leads to nothing is an answer, too.
ANSWERS = (*REFUSALS, 404)
# At 200 % zoom a window of 1280 pixels has half of them; no page may be wider than the narrowest telephone.
NARROWEST = 320
# What is wrong with a page that axe does not look for; the preview in an editor is a page of its own, in a shadow root.
ODD = """() => {
  const all = [...document.body.querySelectorAll("*")];
  const ids = all.map(({ id }) => id).filter(Boolean);
  const styled = all.filter((e) => e.getAttribute("style") && !e.matches("[data-stage], [data-launcher]"));
  const fixed = all.filter((e) => e.localName === "dialog" || getComputedStyle(e).position === "fixed");
  const name = (e) => `${e.localName}#${e.id}`;
  const { scrollWidth, clientWidth } = document.documentElement;
  const wide = scrollWidth > clientWidth ? [`${scrollWidth} of ${clientWidth} pixels`] : [];
  return {
    "an id that stands twice": ids.filter((id, at) => ids.indexOf(id) !== at),
    "a style of its own": styled.map(name),
    "fixed or modal": fixed.map(name),
    "scrolls sideways": wide,
  };
}"""
# What still moves, or would; and words that are not to be seen on their ground in colours of the reader's own.
MOVING = """() => [...document.querySelectorAll("*")].filter((e) => {
  const styles = [null, "::before", "::after"].map((part) => getComputedStyle(e, part));
  const moves = (s) => s.animationName !== "none" || s.transitionDuration.split(", ").some((time) => parseFloat(time));
  return styles.some((s) => (s.content !== "none" || s === styles[0]) && moves(s));
}).map((e) => `${e.localName}.${e.className}`)"""
BORDERLESS = """() => [...document.querySelectorAll(".badge, .counter, .note, .card, .chips li")]
  .filter((e) => e.checkVisibility() && getComputedStyle(e).borderTopStyle === "none").map((e) => e.className)"""
BARS = """() => [...document.querySelectorAll("svg.wide rect[data-link]")].length && [
  getComputedStyle(document.querySelector("#p-reached .reached")).fill, getComputedStyle(document.body).color,
]"""


def odd(page: Page) -> list[str]:
    found: dict[str, list[str]] = page.evaluate(ODD)
    return [f"{what}: {names}" for what, names in found.items() if names]


def resize(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function("width => innerWidth === width", arg=width)


@pytest.fixture
def tour(
    app: Flask, chromium: Browser, portal: FakePortal, manager: Actor, administrator: Actor, environ: dict[str, str]
) -> Iterator[Tour]:
    company = fill(app, administrator)
    with watched_page(chromium, {"width": WIDTHS[0], "height": 900}, ANSWERS) as page:
        # A colour on its way to another is none that anybody reads.
        page.emulate_media(reduced_motion="reduce")
        page.on("dialog", lambda dialog: pytest.fail(f"a dialog of the browser: {dialog.message}"))
        yield Tour(page, administrator, manager, company, environ["BX24APP_PUBLIC_URL"])


def looked_at(tour: Tour, stops: Sequence[Stop], widths: Sequence[int], rules: Mapping[str, bool]) -> list[str]:
    """Open all stops and look at each at all widths, with the rules of axe; returns what is wrong."""
    found = []
    for stop in stops:
        # What is pressed is pressed on a wide page: a narrow one folds some of it away.
        resize(tour.page, WIDTHS[0])
        stop.opens(tour)
        for width in widths:
            resize(tour.page, width)
            wrong = [*problems(tour.page.main_frame, rules=rules), *odd(tour.page)]
            found += [f"{stop.name} at {width}: {one}" for one in wrong]
        resize(tour.page, NARROWEST)
        found += [f"{stop.name} at {NARROWEST}: {one}" for one in odd(tour.page)]
    return found


@pytest.mark.parametrize(
    "stops", [EVERY_STOP[::6], pytest.param(EVERY_STOP, marks=pytest.mark.long)], ids=["some", "all"]
)
def test_every_view_keeps_nobody_out(tour: Tour, stops: Sequence[Stop]) -> None:
    found = looked_at(tour, stops, [846], WITHOUT_COLOURS)
    assert not found, "\n".join(found)


@pytest.mark.long
@pytest.mark.parametrize("language", ["en", "ru", "ar"])
def test_every_view_at_every_width(tour: Tour, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    # Nobody has translated the app into Arabic yet: its pages would be laid out like this.
    for module in (i18n, languages):
        monkeypatch.setattr(module, "LANGUAGES", ("en", "ru", "ar"))
    tour.speaks(language)
    # Colours are the same in all languages.
    rules = MORE_RULES if language == "en" else WITHOUT_COLOURS
    found = looked_at(tour, EVERY_STOP, WIDTHS, rules)
    assert not found, "\n".join(found)
    tour.opens(tour.administrator)
    assert tour.page.locator("html").get_attribute("dir") == ("rtl" if language == "ar" else "ltr")


@pytest.mark.long
def test_nothing_moves_and_colours_of_ones_own_are_kept(tour: Tour) -> None:
    page = tour.page
    page.emulate_media(reduced_motion="reduce", forced_colors="active")
    names = ("callbacks", "callback-unknown", "reports", "form-look", "settings-hours", "crm-tab")
    for stop in (stop for stop in EVERY_STOP if stop.name in names):
        resize(page, WIDTHS[0])
        stop.opens(tour)
        assert page.evaluate(MOVING) == [], stop.name
        assert page.evaluate(BORDERLESS) == [], stop.name
        if stop.name == "reports":
            fill_of_bars, words = page.evaluate(BARS)
            assert fill_of_bars == words
        # In these colours, too, words stand out from their ground.
        assert problems(page.main_frame, rules=MORE_RULES) == [], stop.name
        screenshot(page, f"forced-colours-{stop.name}")

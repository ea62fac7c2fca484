"""The reports in Chromium: figures of a hand-made month, readable at every width, in English and Russian."""

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from playwright.sync_api import Browser, expect

from bx24app.database import reading, writing
from bx24app.models import Form, State, User, utcnow
from bx24app.services.reports import counting
from tests.browser.test_journey import frame
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.browser import screenshot, watched_page
from tests.support.report_days import EXPECTED_DAYS, FIRST, LAST, Asked, Call, write_week
from tests.support.visitors import Visitor

pytestmark = pytest.mark.browser
WIDTHS = (1280, 846, 600, 360)
# The counts that the bars of the days are drawn for, by the axis beside them, from below; each leaves a gap of a pixel.
DRAWN = """() => {
  const chart = document.querySelector("svg.wide");
  const axis = [...chart.querySelectorAll(".axis[text-anchor=end]")];
  const [low, , high] = axis.map((e) => [Number(e.getAttribute("y")), Number(e.textContent)]);
  const unit = (low[0] - high[0]) / high[1];
  const bars = new Map([...chart.querySelectorAll("rect[data-link]")].map((e) => [e.getAttribute("x"), []]));
  for (const part of chart.querySelectorAll("rect[data-link]"))
    bars.get(part.getAttribute("x")).push(Math.round((Number(part.getAttribute("height")) + 1) / unit));
  return [...bars.values()];
}"""
# Of each table with bars: how long each is, and the figure beside it.
BARS = """() => Object.fromEntries([...document.querySelectorAll("table.bars")].map((table) => [
  table.caption.textContent, [...table.querySelectorAll("tbody tr")].map((row) => [
    Number(row.querySelector("rect").getAttribute("width")), Number(row.querySelector(".count").textContent),
  ])]))"""
ENDS = {
    "reached": (State.COMPLETED, [Call("200", 95, "0.0812", talk=120)]),
    "nobody": (State.MISSED, [Call("304"), Call("304", None, "0.002")]),
    "busy": (State.MISSED, [Call("486", 40, "0.02")]),
    "untold": (State.MISSED, [Call("603-S")]),
}
# The figure whose link this is; a bar has none of its own.
COUNT = """link => Number([...document.querySelectorAll("main a")]
  .find((e) => e.getAttribute("href") === link && /^[0-9]+$/.test(e.textContent)).textContent)"""

# Words of a chart that stand in one another: dates under bars, totals above them.
TEXTS_THAT_MEET = """() => {
  const met = [];
  for (const chart of document.querySelectorAll("svg"))
    for (const kind of [".axis[text-anchor=middle]", ".total"]) {
      const boxes = [...chart.querySelectorAll(kind)].map((e) => [e.textContent, e.getBoundingClientRect()]);
      boxes.slice(1).forEach(([text, box], at) => {
        const [before, other] = boxes[at];
        const meet = box.left < other.right + 1 && other.left < box.right + 1 &&
          box.top < other.bottom && other.top < box.bottom;
        if (box.width && meet) met.push(`${before} ${text}`);
      });
    }
  return met;
}"""


def a_month() -> Iterator[Asked]:
    """Some three hundred requests of the last thirty days, in working hours."""
    chance, now = random.Random(5), utcnow()
    for _ in range(300):
        at = now - timedelta(days=chance.randrange(1, 29))
        at = at.replace(hour=chance.randrange(8, 18), minute=chance.randrange(60), second=7, microsecond=0)
        state, calls = ENDS[chance.choices(list(ENDS), [60, 12, 10, 5])[0]]
        yield Asked(at.strftime("%Y-%m-%d %H:%M:%S"), state, calls)


@pytest.mark.long
@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_month_is_read_at_every_width(
    app: Flask, visitor: Visitor, administrator: Actor, portal: FakePortal, chromium: Browser, language: str
) -> None:
    with app.app_context():
        with reading() as session:
            form = session.query(Form).one()
        write_week(form.portal_id, form, list(a_month()))
        with writing() as session:
            session.add(User(portal_id=form.portal_id, user_id=7, name="Anna Schmidt"))
        while counting.count_changed():
            pass
    administrator.user.language = language
    with watched_page(chromium, {"width": WIDTHS[0], "height": 900}) as page:
        page.goto(f"{portal.url}/marketplace/app/{administrator.application.client_id}/?user=1")
        tab = frame(page)
        tab.locator("[data-section=reports]").click()
        expect(tab.locator(".figures")).to_contain_text("300")
        # A press on a bar leads where its figure does; not after the widths, whose layout may still move under it.
        bar = tab.locator("svg.wide rect[data-link]").first
        link = bar.get_attribute("data-link")
        bar.click()
        page.frames[-1].wait_for_function("link => location.hash === link", arg=link)
        expect(tab.locator("main[data-path=callbacks]")).to_be_visible()
        tab.locator("[data-section=reports]").click()
        expect(tab.locator(".figures")).to_contain_text("300")
        for tabs in tab.get_by_role("tab").all()[1:]:
            tabs.click()
            expect(tab.get_by_role("tabpanel")).to_have_count(1)
        tab.get_by_role("tab").last.press("ArrowRight")
        expect(tab.get_by_role("tab").first).to_be_focused()
        assert page.frames[-1].evaluate("() => document.body.scrollHeight") <= 1700
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            screenshot(page, f"reports-{language}-{width}")
            wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.frames[-1].evaluate(wide) <= 0, width
            cut = "() => [...document.querySelectorAll('.card')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
            assert page.frames[-1].evaluate(cut) == 0, width
            assert page.frames[-1].evaluate(TEXTS_THAT_MEET) == [], width


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_pictures_tables_and_lists_tell_the_same(
    app: Flask, visitor: Visitor, administrator: Actor, portal: FakePortal, chromium: Browser
) -> None:
    """The week of tests/support/report_days.py, counted by hand: a change of the clock, two currencies, untold legs."""
    with app.app_context():
        with reading() as session:
            form = session.query(Form).one()
        write_week(form.portal_id, form)
        while counting.count_changed():
            pass
    with watched_page(chromium, {"width": WIDTHS[0], "height": 900}) as page:
        page.goto(f"{portal.url}/marketplace/app/{administrator.application.client_id}/?user=1")
        tab, inner = frame(page), page.frames[-1]
        week = f"#/reports?from={FIRST}&to={LAST}"

        def opens_week() -> None:
            inner.evaluate("hash => { location.hash = hash; }", week)
            expect(tab.get_by_role("heading", name="By day")).to_be_visible()
            tab.get_by_text("Show as table").click()

        expect(tab.locator("main:not([inert])")).to_have_count(1)
        opens_week()
        cost = tab.get_by_role("listitem").filter(has_text="Cost")
        for words in ("0.21 EUR", "1.50 RUB", "3 calls without a known cost"):
            expect(cost).to_contain_text(words)
        # Each bar is as high as the numbers of its row: a part of the highest one, and a gap below each.
        drawn = inner.evaluate(DRAWN)
        table = tab.get_by_role("table", name="By day")
        rows = [row.get_by_role("cell").all_inner_texts() for row in table.get_by_role("row").all()[1:]]
        told = [[int(figure) for figure in row] for row in rows]
        assert [row[0] for row in told] == EXPECTED_DAYS
        assert [[count for count in row[1:] if count] for row in told if row[0]] == drawn
        # Bars in tables, too.
        for picture, counts in inner.evaluate(BARS).items():
            most = max(count for _, count in counts)
            for width, count in counts:
                assert width == pytest.approx(100 * count / most, abs=1), picture
        # A figure leads to as many callbacks as it says, and so does its bar.
        links = inner.evaluate("() => [...document.querySelectorAll('main a[href^=\"#/callbacks\"]')].length")
        assert links >= 20
        for opens in (
            tab.get_by_role("listitem").filter(has=tab.get_by_role("heading", name="Requests")).get_by_role("link"),
            table.get_by_role("row").nth(3).get_by_role("link").first,
            tab.locator("svg.wide rect[data-link]").first,
            tab.get_by_role("table", name="Where requests end").get_by_role("link").nth(1),
            tab.get_by_role("table", name="Time to callback").get_by_role("link").first,
        ):
            link = opens.evaluate("e => e.dataset.link ?? e.getAttribute('href')")
            count = inner.evaluate(COUNT, link)
            opens.click()
            expect(tab.locator("main")).to_have_attribute("data-path", "callbacks")
            assert inner.evaluate("() => location.hash") == link
            expect(tab.get_by_role("rowheader")).to_have_count(count)
            opens_week()

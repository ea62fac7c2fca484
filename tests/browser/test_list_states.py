"""The list of callbacks in a browser: every state, its counters, its files, and what stands there without any rows."""

import csv
import re
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from flask import Flask
from playwright.sync_api import Download, FrameLocator, Page, Route, expect

from bx24app.models import State, utcnow
from bx24app.services.callbacks.listing import export
from tests.browser.test_journey import no_scroll_bar
from tests.browser.test_list import opens, rows
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.browser import PHONE, problems, screenshot
from tests.support.every_state import KINDS, insert_every_state, insert_unknown

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.parametrize("page", ["desktop"], indirect=True),
]
QUICK = ("Needs a person", "Today", "In progress", "Scheduled", "Not called back", "Mine")
FOLLOWS = "(a, b) => Boolean(a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING)"


def chooses(tab: FrameLocator, name: str) -> str:
    """Press a quick filter; returns what its counter says."""
    link = tab.get_by_role("navigation", name="Quick filters").get_by_role("link", name=re.compile(rf"^{name}"))
    link.click()
    expect(link).to_have_attribute("aria-current", "true")
    return link.inner_text().removeprefix(name).strip()


def lines(download: Download, delimiter: str) -> list[list[str]]:
    return list(csv.reader(Path(download.path()).read_text("utf-8-sig").splitlines(), delimiter=delimiter))


def starts_before_it_filters(page: Page, tab: FrameLocator) -> None:
    """The start bar and its fields come before every filter, and a filter that is closed shows no field."""
    for label in ("Phone number", "Line", "Voice", "Text"):
        expect(tab.get_by_label(label, exact=True)).to_be_visible()
    start = tab.get_by_role("button", name="Call", exact=True).element_handle()
    for control in (
        tab.get_by_role("navigation", name="Quick filters"),
        tab.get_by_role("searchbox"),
        tab.get_by_role("button", name="Filter", exact=True),
    ):
        assert page.frames[-1].evaluate(f"([a, b]) => ({FOLLOWS})(a, b)", [start, control.element_handle()])
    expect(tab.get_by_role("group", name="State")).to_be_hidden()
    expect(tab.get_by_label("Period")).to_be_hidden()


def is_sorted_by_its_heads(tab: FrameLocator) -> None:
    """Planned ones also by the time of their call."""
    chooses(tab, "Scheduled")
    expect(tab.get_by_role("columnheader", name="Due")).to_have_attribute("aria-sort", "ascending")
    assert [name.split("\n")[0] for name in rows(tab)] == ["Jean Petit", "Igor"]
    tab.get_by_role("link", name="Requested").click()
    expect(tab.get_by_role("columnheader", name="Requested")).to_have_attribute("aria-sort", "descending")
    expect(tab.get_by_role("rowheader").first).to_contain_text("Jean Petit")
    tab.get_by_role("link", name="Requested").click()
    expect(tab.get_by_role("rowheader").first).to_contain_text("Igor")
    tab.get_by_role("link", name="Due").click()
    expect(tab.get_by_role("rowheader").first).to_contain_text("Jean Petit")


def fits_a_telephone(page: Page, tab: FrameLocator) -> None:
    """Some of the filters stand there, and boxes only for whoever selects."""
    quick = tab.get_by_role("navigation", name="Quick filters")
    page.set_viewport_size({"width": PHONE["width"], "height": 900})
    expect(quick.get_by_role("link", name="Mine")).to_be_hidden()
    expect(quick.get_by_role("link", name="Scheduled")).to_be_visible()
    tab.get_by_role("button", name="More quick filters").click()
    expect(quick.get_by_role("link", name="Mine")).to_be_visible()
    box = tab.get_by_role("checkbox", name="Select Igor")
    expect(box).to_be_hidden()
    tab.get_by_role("button", name="Select", exact=True).click()
    box.check()
    expect(tab.get_by_text("Selected: 1").first).to_be_visible()
    tab.get_by_role("button", name="Select", exact=True).click()
    expect(box).to_be_hidden()
    expect(tab.get_by_text("Selected: 1")).to_have_count(0)
    no_scroll_bar(page)


def test_every_state_is_counted_shown_and_fits_a_telephone(
    app: Flask, page: Page, portal: FakePortal, administrator: Actor, manager: Actor
) -> None:
    administrator.opens()
    tab = opens(page, portal, administrator)
    # Nothing yet: how it goes.
    expect(tab.get_by_role("heading", name="No callbacks yet")).to_be_visible()
    expect(tab.get_by_role("main").get_by_role("listitem").filter(has_text="You hear the text")).to_be_visible()
    screenshot(page, "list-first-use-1280")
    starts_before_it_filters(page, tab)
    insert_every_state(app, administrator.user.id)
    tab = opens(page, portal, administrator)
    counted = {}
    for name in QUICK:
        told = chooses(tab, name)
        expect(tab.get_by_role("rowheader")).to_have_count(int(told))
        counted[name] = int(told)
    assert counted == dict(zip(QUICK, (3, 9, 4, 2, 2, 6), strict=True))
    chooses(tab, "All")
    expect(tab.get_by_role("rowheader")).to_have_count(len(KINDS))
    for width in (1700, 1280, 846, 600, 360):
        page.set_viewport_size({"width": width, "height": 900})
        no_scroll_bar(page)
        screenshot(page, f"list-states-{width}")
    assert problems(page.frames[-1], "main") == []
    page.set_viewport_size({"width": 1280, "height": 900})
    again = tab.get_by_role("row").filter(has_text="Jean Petit")
    expect(again).to_contain_text(re.compile(r"Nobody answered · again (\w{3} )?\d\d:\d\d, 2\sof\s3"))
    expect(again).to_contain_text("“Prices”")
    expect(tab.get_by_role("columnheader", name="Requested")).to_have_attribute("aria-sort", "descending")
    is_sorted_by_its_heads(tab)
    # A column of one's own.
    tab.get_by_role("button", name="Columns").click()
    tab.get_by_label("Page", exact=True).check()
    expect(tab.get_by_role("cell", name="example.com/roof")).to_have_count(1)
    # More than are counted.
    insert_unknown(app, 100)
    quick = tab.get_by_role("navigation", name="Quick filters")
    expect(quick.get_by_role("link", name="Needs a person 99+")).to_be_visible(timeout=20_000)
    expect(tab.get_by_role("navigation", name="Sections").get_by_role("link", name="Callbacks")).to_have_text(
        "Callbacks99+"
    )
    fits_a_telephone(page, tab)


@pytest.mark.long
def test_files_have_the_rows_of_the_filter_or_those_that_are_selected(
    app: Flask, page: Page, portal: FakePortal, administrator: Actor, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "RETRY_SECONDS", 1)
    ids = insert_every_state(app, administrator.user.id)
    administrator.opens()
    tab = opens(page, portal, administrator)
    chooses(tab, "In progress")
    expect(tab.get_by_role("rowheader")).to_have_count(4)
    shown = [row.get_attribute("data-id") for row in tab.locator("tr.callback").all()]
    with page.expect_download() as saved:
        tab.get_by_role("button", name="Export").click()
    _, *told = lines(saved.value, ",")
    assert [line[-1] for line in told] == shown
    assert [line[2] for line in told if line[-1] == str(ids[5])] == ["'=1+1"]
    # Chosen ones, in a moment when there is no room for another file.
    tab.get_by_role("checkbox", name="Select =1+1").check()
    tab.get_by_role("checkbox", name="Select Clara Meyer").check()
    bar = tab.get_by_role("group", name="Selected callbacks").first
    with export.file_slot(1), export.file_slot(1), page.expect_response(re.compile("csv")):
        bar.get_by_role("button", name="Export").click()
        waits = tab.get_by_text("Other files are being written. Yours begins by itself")
        expect(waits).to_be_visible()
    with page.expect_download() as saved:
        expect(waits).to_be_hidden()
    _, *told = lines(saved.value, ",")
    assert {line[-1] for line in told} == {str(ids[0]), str(ids[5])}
    portal.administrator.language = "ru"
    tab = opens(page, portal, administrator)
    with page.expect_download() as saved:
        tab.get_by_role("button", name="Выгрузить").click()
    heading, *told = lines(saved.value, ";")
    assert heading[2] == "Клиент"
    assert len(told) == sum(
        kind.state in (State.QUEUED, State.DIALLING, State.STARTED, State.ANSWERED) for kind in KINDS
    )


@pytest.mark.long
def test_what_takes_its_time_and_a_lost_connection_are_shown(
    app: Flask, page: Page, portal: FakePortal, administrator: Actor, manager: Actor
) -> None:
    insert_every_state(app, administrator.user.id)
    administrator.opens()
    tab = opens(page, portal, administrator)
    bars = page.frames[-1].locator("[aria-hidden=true] > span:empty")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/desk/callbacks?quick=mine*", hold)
    tab.get_by_role("link", name="Mine").click()
    page.wait_for_timeout(200)
    assert bars.count() == 0
    expect(bars).to_have_count(8)
    # It does not come: the rows are there again.
    held[0].abort("connectionreset")
    page.unroute("**/desk/callbacks?quick=mine*")
    expect(tab.get_by_role("rowheader")).to_have_count(9)
    expect(bars).to_have_count(0)
    # What is chosen last is shown, though what was chosen before comes after it.
    page.route("**/desk/callbacks?quick=mine*", hold)
    tab.get_by_role("link", name="Mine").click()
    chooses(tab, "Scheduled")
    with page.expect_response("**/desk/callbacks?quick=mine*"):
        held[1].continue_()
    page.wait_for_timeout(200)
    expect(tab.get_by_role("link", name="Scheduled")).to_have_attribute("aria-current", "true")
    page.unroute("**/desk/callbacks?quick=mine*")
    chooses(tab, "Today")
    page.route("**/desk/callbacks?*", lambda route: route.abort("connectionreset"))
    lost = tab.get_by_role("status").filter(has_text="Not updated since")
    expect(lost).to_be_visible(timeout=20_000)
    assert len(rows(tab)) == 9
    screenshot(page, "list-lost-1280")
    page.unroute("**/desk/callbacks?*")
    lost.get_by_role("button", name="Try now").click()
    expect(lost).to_be_hidden()


def test_the_desk_comes_back_to_its_person_alone_and_for_half_a_day(
    page: Page, portal: FakePortal, administrator: Actor, manager: Actor
) -> None:
    administrator.opens()
    for place in range(26):
        administrator.requests_callback(f"+49309018{place:02}", scheduled_at=(utcnow() + timedelta(days=2)).isoformat())
    tab = opens(page, portal, administrator)
    tab.get_by_role("button", name="Columns").click()
    tab.get_by_label("Person").uncheck()
    expect(tab.get_by_role("columnheader", name="Person")).to_have_count(0)
    tab.get_by_label("Rows on a page").select_option("50")
    expect(tab.get_by_role("rowheader")).to_have_count(26)
    chooses(tab, "Scheduled")
    # The view, too.
    with page.expect_response(lambda kept: '"view":"callbacks/' in (kept.request.post_data or "")):
        tab.get_by_role("rowheader").first.get_by_role("link").click()
        expect(tab.get_by_role("button", name="Move")).to_be_visible()
    page.reload()
    expect(tab.get_by_role("button", name="Move")).to_be_visible()
    tab.get_by_role("link", name="Callbacks").last.click()
    expect(tab.get_by_role("rowheader")).to_have_count(26)
    others = opens(page, portal, manager)
    expect(others.get_by_role("columnheader", name="Person")).to_have_count(1)
    expect(others.get_by_role("rowheader")).to_have_count(25)
    # A page that asks on with a ticket of another time is refused.
    page.goto("about:blank")
    with time_machine.travel(utcnow() + timedelta(hours=13)):
        tab = opens(page, portal, administrator)
        expect(tab.get_by_role("rowheader")).to_have_count(26)
        expect(tab.get_by_role("columnheader", name="Person")).to_have_count(0)
        page.goto("about:blank")
    assert json_of(administrator.asks("GET", "/me/desk"))["page_size"] == 50

"""The list of callbacks in a browser: filters, search, menus, selections, what moves and what does not."""

from datetime import timedelta
from uuid import UUID

import pytest
from flask import Flask
from playwright.sync_api import FrameLocator, Page, expect

from bx24app.database import writing
from bx24app.models import Callback, Source, State, utcnow
from tests.browser.test_journey import frame, no_scroll_bar
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.browser import problems, screenshot
from tests.support.waiting import accept, pass_time, work

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.parametrize("page", ["desktop"], indirect=True),
]
WIDTHS = (1280, 846, 600, 360)


def opens(page: Page, portal: FakePortal, actor: Actor) -> FrameLocator:
    page.goto(f"{portal.url}/marketplace/app/{actor.application.client_id}/?user={actor.user.id}")
    tab = frame(page)
    expect(tab.locator("main:not([inert])")).to_have_attribute("data-path", "callbacks")
    return tab


def becomes(app: Flask, id: str, state: State) -> None:
    """A callback whose call went some way."""
    with app.app_context(), writing() as session:
        callback = session.get_one(Callback, UUID(id))
        callback.state, callback.holds_number = state, False
        callback.needs_follow_up = state in (State.MISSED, State.FAILED)


def rows(tab: FrameLocator) -> list[str]:
    return tab.get_by_role("table").get_by_role("rowheader").all_inner_texts()


@pytest.fixture
def ids(app: Flask, manager: Actor, administrator: Actor) -> list[str]:
    """Six callbacks; those from the fourth on are planned."""
    administrator.opens()
    manager.opens()
    at = (utcnow() + timedelta(days=1)).isoformat()
    names = ("Márta Kéller", "عائشة", "", "", "", "")
    ids = [
        json_of(manager.requests_callback(f"+4930901{820 + n}", scheduled_at=at, customer_name=name))["id"]
        for n, name in enumerate(names)
    ]
    becomes(app, ids[0], State.MISSED)
    becomes(app, ids[1], State.UNKNOWN)
    becomes(app, ids[2], State.DIALLING)
    return ids


def test_the_list_is_filtered_and_searched_in_place(
    page: Page, portal: FakePortal, administrator: Actor, ids: list[str]
) -> None:
    administrator.asks("PATCH", "/settings", {"default_country": "DE"})
    tab = opens(page, portal, administrator)
    expect(tab.get_by_role("row")).to_have_count(7)
    polls: list[int] = []
    page.on("response", lambda r: polls.append(r.status) if "/desk/callbacks" in r.url else None)
    page.wait_for_timeout(1500)
    assert set(polls) == {304}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        no_scroll_bar(page)
        screenshot(page, f"list-{width}")
    assert problems(page.frames[-1], "main") == []
    page.set_viewport_size({"width": 1280, "height": 900})
    # The portal gives the frame another height, which moves what is pressed at that moment.
    page.wait_for_timeout(500)
    # What needs a person, also on the tab.
    quick = tab.get_by_role("navigation", name="Quick filters")
    sections = tab.get_by_role("navigation", name="Sections")
    expect(sections.get_by_role("link", name="Callbacks")).to_have_text("Callbacks1")
    quick.get_by_role("link", name="Needs a person 1").click()
    expect(tab.get_by_role("row")).to_have_count(2)
    assert "quick=attention" in page.frames[-1].evaluate("location.hash")
    tab.get_by_role("button", name="What happened?").click()
    expect(tab.get_by_role("button", name="I talked to the customer")).to_be_focused()
    page.keyboard.press("Escape")
    expect(tab.get_by_role("button", name="What happened?")).to_be_focused()
    page.keyboard.press("Enter")
    tab.get_by_role("button", name="I talked to the customer").click()
    expect(tab.get_by_text("All clear")).to_be_visible()
    expect(sections.get_by_role("link", name="Callbacks")).to_have_text("Callbacks")
    # By the end of a number, by a word of a name, and by nothing that there is.
    search = tab.get_by_role("searchbox")
    for typed, found in (
        ("1824", ["+49 30 901824"]),
        ("+49 30 9018", 6),
        ("030 901823", ["+49 30 901823"]),
        ("+49 30", 6),
        ("keller", ["Márta Kéller\n+49 30 901820"]),
    ):
        search.fill(typed)
        expect(tab.get_by_role("row")).to_have_count(1 + (found if isinstance(found, int) else len(found)))
        if isinstance(found, list):
            assert rows(tab) == found
    search.fill("nobody")
    expect(tab.get_by_text("Nothing matches.")).to_be_visible()
    tab.get_by_role("link", name="Reset filters").click()
    expect(tab.get_by_role("row")).to_have_count(7)
    expect(search).to_have_value("")
    # The panel is closed at first.
    expect(tab.get_by_label("Source")).to_be_hidden()
    tab.get_by_role("button", name="Filter", exact=True).click()
    tab.get_by_role("group", name="State").get_by_label("Not reached").check()
    expect(tab.get_by_role("row")).to_have_count(2)
    tab.get_by_label("Name of the filter").fill("Lost ones")
    tab.get_by_role("button", name="Save filter").click()
    expect(tab.get_by_role("link", name="Lost ones")).to_be_visible()
    screenshot(page, "list-filter-1280")
    tab.get_by_role("button", name="Filter", exact=True).click()
    tab.get_by_role("link", name="Remove Not reached").click()
    expect(tab.get_by_role("row")).to_have_count(7)


def test_rows_are_acted_upon_in_place_and_the_desk_comes_back(
    app: Flask, page: Page, portal: FakePortal, administrator: Actor, ids: list[str]
) -> None:
    tab = opens(page, portal, administrator)
    quick = tab.get_by_role("navigation", name="Quick filters")
    expect(tab.get_by_role("row")).to_have_count(7)
    # The menu of a row.
    menu = tab.get_by_role("button", name="Actions for Márta Kéller")
    menu.click()
    expect(tab.get_by_role("menuitem", name="Open", exact=True)).to_be_focused()
    expect(tab.get_by_role("menuitem", name="Cancel")).to_be_hidden()
    screenshot(page, "list-menu-1280")
    page.keyboard.press("c")
    expect(tab.get_by_role("menuitem", name="Copy number")).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    # Keys: down to the next row, and its box.
    page.keyboard.press("k")
    page.keyboard.press("x")
    expect(tab.get_by_text("Selected: 1").first).to_be_visible()
    page.keyboard.press("x")
    # Three are to be cancelled; one is called meanwhile.
    for id in ids[3:]:
        tab.locator(f"#callback-{id}").get_by_role("checkbox").check()
    bar = tab.get_by_role("group", name="Selected callbacks").first
    bar.get_by_role("button", name="Cancel").click()
    asked = bar.get_by_text("Callbacks to cancel: 3. No phone will ring.")
    expect(asked).to_be_visible()
    becomes(app, ids[5], State.DIALLING)
    expect(tab.locator(f"#callback-{ids[5]}").get_by_text("Calling…")).to_be_visible(timeout=20_000)
    expect(asked).to_be_visible()
    screenshot(page, "list-bulk-1280")
    bar.get_by_role("button", name="Cancel them").click()
    expect(tab.get_by_text("2 cancelled; 1 being called already")).to_be_visible()
    expect(tab.locator(f"#callback-{ids[3]}").get_by_text("Cancelled")).to_be_visible()
    # What was cancelled does not ring when its time comes.
    pass_time(app, timedelta(days=1))
    assert (work(app), portal.telephony.dials) == (0, [])
    # A file of what the filter shows.
    with page.expect_download() as saved:
        tab.get_by_role("button", name="Export").click()
    assert saved.value.suggested_filename == "callbacks.csv"
    # Columns and the filter are there again after a reload.
    tab.get_by_role("button", name="Columns").click()
    tab.get_by_label("Talk").uncheck()
    expect(tab.get_by_role("columnheader", name="Talk")).to_have_count(0)
    quick.get_by_role("link", name="All", exact=True).click()
    # What is kept last is kept: what was chosen before may be on its way meanwhile.
    with page.expect_response(lambda kept: '"quick":"scheduled"' in (kept.request.post_data or "")):
        quick.get_by_role("link", name="Scheduled").click()
    page.reload()
    expect(quick.get_by_role("link", name="Scheduled")).to_have_attribute("aria-current", "true")
    expect(tab.get_by_role("columnheader", name="Talk")).to_have_count(0)


@pytest.mark.long
def test_a_section_that_is_pressed_while_a_list_comes_is_opened(
    page: Page, portal: FakePortal, administrator: Actor, ids: list[str]
) -> None:
    """The list writes its filters into the address, in the moment before the browser tells of the press."""
    tab = opens(page, portal, administrator)
    expect(tab.get_by_role("row")).to_have_count(7)
    page.frames[-1].evaluate("""() => {
      const { text } = Response.prototype;
      Response.prototype.text = async function () {
        const words = await text.call(this);
        if (this.url.includes("quick=attention")) location.hash = "#/websites";
        return words;
      };
    }""")
    tab.get_by_role("navigation", name="Quick filters").get_by_role("link", name="Needs a person 1").click()
    expect(tab.locator("main")).to_have_attribute("data-path", "websites")


def test_the_second_page_and_a_page_in_use_stay_put(app: Flask, page: Page, portal: FakePortal, manager: Actor) -> None:
    manager.opens()
    for number in range(30):
        accept(app, to_number=f"+49309018{number:02}", source=Source.STAFF, requested_by=manager.user.id)
    tab = opens(page, portal, manager)
    expect(tab.get_by_text("1–25 of 30")).to_be_visible()
    tab.get_by_role("button", name="Next").click()
    expect(tab.get_by_text("26–30 of 30")).to_be_visible()
    before = rows(tab)
    for number in (40, 41):
        accept(app, to_number=f"+49309018{number}", source=Source.STAFF, requested_by=manager.user.id)
    expect(tab.get_by_text("2 new callbacks:")).to_be_visible()
    assert rows(tab) == before
    screenshot(page, "list-strip")
    tab.get_by_role("link", name="show").click()
    expect(tab.get_by_text("1–25 of 32")).to_be_visible()
    # So does the first page with an open menu.
    tab.get_by_role("button", name="Actions for").first.click()
    before = rows(tab)
    accept(app, to_number="+4930901842", source=Source.STAFF, requested_by=manager.user.id)
    expect(tab.get_by_text("1 new callback:")).to_be_visible()
    assert rows(tab) == before
    page.keyboard.press("Escape")
    tab.get_by_role("searchbox").focus()
    expect(tab.get_by_text("1–25 of 33")).to_be_visible()
    assert rows(tab)[0] == "+49 30 901842"

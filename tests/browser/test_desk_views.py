"""The shell in a browser: each role's tabs, what Back and links do, and the whole desk from a card."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_journey import frame, goes_to, no_scroll_bar, opens_card, unfolds_start_bar
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.support.actors import Actor, json_of
from tests.support.browser import DESKTOP, REFUSALS, problems, watched_page

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]
BOTH = pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)


@BOTH
def test_an_administrator_goes_through_the_desk_and_back(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    page.goto(f"{portal.url}/marketplace/app/{administrator.application.client_id}/?user=1")
    tab = frame(page)
    sections = tab.get_by_role("navigation", name="Sections").get_by_role("link")
    expect(sections).to_have_text(["Callbacks", "Reports", "Websites", "Settings"])
    expect(tab.locator(".start.ready")).to_have_count(1)
    unfolds_start_bar(page)
    # The start bar precedes the list, and its labels are the promised ones.
    for label in ("Phone number", "Line", "Voice", "Text"):
        expect(tab.get_by_label(label, exact=True)).to_be_visible()
    page.evaluate("window.scrollTo(0, 300)")
    goes_to(tab, "Websites > Developers")
    expect(tab.locator("h1")).to_be_focused()
    websites = tab.get_by_role("navigation", name="Sections").get_by_role("link", name="Websites")
    expect(websites).to_have_attribute("aria-current", "page")
    assert page.evaluate("scrollY") == 0
    inner = page.frames[-1]
    path = inner.evaluate("location.pathname")
    for expected in ("websites", "callbacks"):
        inner.evaluate("history.back()")
        expect(tab.locator("main")).to_have_attribute("data-path", expected)
    expect(tab.locator(".start.ready")).to_have_count(1)
    unfolds_start_bar(page)
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_enabled()
    assert inner.evaluate("location.pathname") == path == "/"


def test_a_link_opens_its_view_and_one_to_nothing_says_so(
    chromium: Browser, fake: FakeBitrix24, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    other = fake.add_portal("beta")
    stranger = Actor(administrator.client, other, administrator.application, other.administrator)
    stranger.installs()
    foreign = json_of(stranger.requests_callback())["id"]
    administrator.opens()
    callback = json_of(administrator.requests_callback())
    link = f"{portal.url}/marketplace/view/{administrator.application.code}/?user=1"
    # That there is nothing is an answer, too.
    with watched_page(chromium, DESKTOP, (*REFUSALS, 404)) as page:
        page.goto(f"{link}&params[view]=callback&params[id]={callback['id']}")
        tab = frame(page)
        expect(tab.get_by_role("heading", level=1)).to_have_text("+49 30 901820")
        # It is followed there, and its actions work.
        tab.get_by_role("button", name="Cancel").click()
        expect(tab.get_by_text("Cancelled", exact=True).first).to_be_visible()
        assert problems(page.frames[-1]) == []
        tab.locator("main").get_by_role("link", name="Callbacks").click()
        expect(tab.locator("main")).to_have_attribute("data-path", "callbacks")
        page.goto(f"{link}&params[view]=callback&params[id]={foreign}")
        expect(tab.get_by_text("This link leads to nothing you can see.")).to_be_visible()
        expect(tab.get_by_label("Phone number")).to_be_visible()
        # So does an address inside of the page.
        page.frames[-1].evaluate("location.hash = '#/websites/nothing'")
        expect(tab.get_by_role("alert")).to_have_text("This link leads to nothing you can see.")
        expect(tab.locator("main")).to_have_attribute("data-path", "callbacks")


@BOTH
def test_an_address_leads_to_views_of_the_desk_alone(page: Page, portal: FakePortal, administrator: Actor) -> None:
    """Where it leads stands in the desk: a form of another company would look like a part of it."""
    page.goto(f"{portal.url}/marketplace/app/{administrator.application.client_id}/?user=1")
    tab = frame(page)
    expect(tab.locator(".start.ready")).to_have_count(1)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    for path in ("websites/../../../w/abc", "websites/%2e%2e/%2e%2e/w/abc", "callbacks/..\\\\..\\\\w", "/w/abc", "a:b"):
        page.frames[-1].evaluate("hash => { location.hash = hash; }", f"#/{path}")
    page.frames[-1].evaluate("location.hash = '#/websites'")
    expect(tab.locator("main")).to_have_attribute("data-path", "websites")
    assert {path for path in asked if path.startswith(("/w", "/desk/view"))} == {"/desk/view/websites"}


@pytest.mark.long
@BOTH
def test_a_card_opens_the_whole_desk_beside_it(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    lead = portal.crm.add_lead("Price list", "Clara", ["+49 30 901820"])
    tab = opens_card(page, portal, "lead", lead, user=1)
    expect(tab.get_by_role("heading", level=1)).to_have_text("Call Clara")
    expect(tab.get_by_role("navigation")).to_have_count(0)
    no_scroll_bar(page)
    tab.get_by_role("button", name="All callbacks").click()
    slider = page.frame_locator(".slider iframe")
    expect(slider.get_by_role("navigation", name="Sections")).to_be_visible()
    expect(slider.locator("main")).to_have_attribute("data-path", "callbacks")


@pytest.mark.long
def test_people_are_chosen_with_the_portals_own_picker(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    page.goto(f"{portal.url}/marketplace/app/{administrator.application.client_id}/?user=1")
    tab = goes_to(frame(page), "Settings > People")
    tab.get_by_label("Chosen people").check()
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_text("Choose at least one person")).to_be_visible()
    tab.get_by_role("button", name="Add people…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label(portal.manager.full_name).check()
    dialog.get_by_role("button", name="Select").click()
    expect(tab.get_by_text(portal.manager.full_name)).to_be_visible()
    tab.get_by_label("Nothing").check()
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_text("Saved.")).to_be_visible()
    administrator.opens()
    settings = json_of(administrator.asks("GET", "/settings"))
    assert settings["roles"] == {"operators": {"people": [portal.manager.id], "departments": []}, "others": "none"}
    goes_to(tab, "Callbacks")
    goes_to(tab, "Settings > People")
    expect(tab.get_by_text(portal.manager.full_name)).to_be_visible()

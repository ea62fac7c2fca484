"""Settings in a browser: one form a page, two administrators at once, and what is left unsaved."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_administration import opens
from tests.browser.test_journey import no_scroll_bar
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.browser import problems

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


def test_a_page_saves_as_one_form_and_loses_nothing(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    tab = opens(page, portal, administrator, "Settings > Calls")
    times, minutes = tab.get_by_label("Repeat unsuccessful staff calls"), tab.get_by_label("Minutes between attempts")
    save, main = tab.get_by_role("button", name="Save", exact=True), tab.locator("main")
    expect(save).to_be_hidden()
    times.fill("2")
    minutes.fill("15")
    expect(tab.get_by_text("2 changes")).to_be_visible()
    minutes.fill("10")
    expect(tab.get_by_text("1 change", exact=True)).to_be_visible()

    # Another page is asked about in place; Escape stays.
    page.frames[-1].evaluate("location.hash = '#/settings/hours'")
    expect(tab.get_by_text("You have unsaved changes.")).to_be_visible()
    expect(tab.get_by_role("button", name="Stay here")).to_be_focused()
    page.keyboard.press("Escape")
    expect(save).to_be_focused()
    expect(main).to_have_attribute("data-path", "settings/calls")

    # What is wrong stands at its field, which takes the focus.
    times.fill("9")
    save.click()
    expect(times).to_be_focused()
    assert times.get_attribute("aria-invalid") == "true"
    times.fill("2")

    # A colleague saves something else first: both stay. Then the same: it is told, and nothing is lost.
    administrator.opens()
    administrator.asks("PATCH", "/settings", {"line_cap": 4})
    save.click()
    expect(tab.get_by_text("Saved.")).to_be_visible()
    settings = json_of(administrator.asks("GET", "/settings"))
    assert (settings["retries"], settings["line_cap"]) == (2, 4)
    expect(tab.get_by_label("Calls at once on one line")).to_have_value("4")
    administrator.asks("PATCH", "/settings", {"retries": 5})
    times.fill("1")
    save.click()
    expect(tab.get_by_text(re.compile("^A colleague has changed the same settings"))).to_be_visible()
    expect(times).to_have_value("1")
    assert problems(page.frames[-1]) == []
    tab.get_by_role("button", name="Show theirs").click()
    expect(times).to_have_value("5")
    expect(save).to_be_hidden()

    # The role is lost while the page is open: it is told, and what was typed stays.
    times.fill("3")
    portal.administrator.admin = False
    administrator.opens()
    save.click()
    expect(tab.get_by_text("your role does not allow it")).to_be_visible()
    expect(times).to_have_value("3")
    portal.administrator.admin = True
    administrator.opens()
    goes_to_unsaved(page)
    tab.get_by_role("button", name="Leave without saving").click()
    expect(main).to_have_attribute("data-path", "settings/hours")
    no_scroll_bar(page)


def goes_to_unsaved(page: Page) -> None:
    page.frames[-1].evaluate("location.hash = '#/settings/hours'")


@pytest.mark.long
def test_people_hours_are_one_form_each(page: Page, portal: FakePortal, manager: Actor, administrator: Actor) -> None:
    manager.opens()
    tab = opens(page, portal, administrator, "Settings > Hours")
    expect(tab.get_by_text("at any time of day or night")).to_be_visible()
    tab.get_by_label("Own hours").check()
    bars = tab.locator("svg rect.open")
    expect(bars).to_have_count(5)
    assert bars.first.get_attribute("width") == "540"
    tab.get_by_role("group", name="Monday").get_by_label("Closes").first.fill("12:00")
    assert bars.first.get_attribute("width") == "180"
    tab.get_by_label("Time zone").fill("Europe/Berlin")
    tab.get_by_label("Closed on the public holidays of").select_option("Germany")
    tab.get_by_label("Part of the country").select_option("Bayern")
    page.set_viewport_size({"width": 360, "height": 740})
    no_scroll_bar(page)
    tab.get_by_role("button", name="Save", exact=True).click()
    expect(tab.get_by_text("Saved.")).to_be_visible()
    expect(tab.get_by_text("Next openings (Europe/Berlin)")).to_be_visible()
    expect(tab.get_by_text(re.compile(r"^Next holiday: \w+day, .*\d{4}"))).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 800})
    tab = opens(page, portal, administrator, "Settings > People")
    expect(tab.get_by_text(re.compile(f"{portal.administrator.full_name}"))).to_be_visible()
    tab.get_by_label("Chosen people").check()
    tab.get_by_label("Or type the name").fill(portal.manager.full_name)
    expect(tab.get_by_role("list", name="Who may call").get_by_role("listitem")).to_contain_text(
        [portal.manager.full_name]
    )
    tab.get_by_label("Only their own", exact=True).check()
    tab.get_by_label("Only their own figures").check()
    tab.get_by_role("button", name="Save", exact=True).click()
    expect(tab.get_by_text("Saved.")).to_be_visible()
    settings = json_of(administrator.asks("GET", "/settings"))
    assert settings["roles"]["operators"]["people"] == [portal.manager.id]
    assert (settings["shares_callbacks"], settings["shares_reports"]) == (False, False)
    assert problems(page.frames[-1]) == []


def test_a_number_is_found_and_erased_after_it_was_typed_twice(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    manager.opens()
    manager.requests_callback(scheduled_at="2027-01-05T09:00:00Z")
    tab = opens(page, portal, administrator, "Settings > Privacy")
    tab.get_by_label("Phone number").fill("+49 30 901820")
    tab.get_by_role("button", name="Find").click()
    expect(tab.get_by_text("Callbacks: 1")).to_be_visible()
    with page.expect_download() as download:
        tab.get_by_role("button", name="Save as a file").click()
    assert '"+4930901820"' in download.value.path().read_text()
    confirm = tab.get_by_label("The number once more")
    confirm.fill("+49 30 1")
    tab.get_by_role("button", name="Erase").click()
    expect(confirm).to_be_focused()
    confirm.fill("+49 30 901820")
    page.set_viewport_size({"width": 360, "height": 740})
    no_scroll_bar(page)
    assert problems(page.frames[-1]) == []
    tab.get_by_role("button", name="Erase").click()
    expect(tab.get_by_text("Everything about the number was erased.")).to_be_visible()
    expect(tab.get_by_text("Callbacks: 1")).to_be_hidden()

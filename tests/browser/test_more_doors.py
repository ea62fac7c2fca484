"""In a real browser: the other doors of the portal, and the hours that its calendar proposes."""

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.test_administration import opens
from tests.browser.test_journey import PATIENCE_MS, frame, no_scroll_bar
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import Actor, json_of
from tests.support.browser import PHONE, problems, screenshot

pytestmark = pytest.mark.browser
SLIDER: ViewportSize = {"width": 846, "height": 900}


def test_a_call_is_planned_above_the_timeline_and_a_missed_one_is_called_again(
    page: Page, portal: FakePortal, manager: Actor
) -> None:
    lead = portal.crm.add_lead("Roof", "Clara", ["+49 30 901820"])
    portal.crm.add_activity(1, lead, "+49 30 901821")
    card = f"{portal.url}/crm/lead/details/{lead}/?user=2"
    page.goto(card)
    page.get_by_role("link", name="Plan a callback").click()
    panel = frame(page)
    expect(panel.get_by_role("button", name="Schedule for")).to_be_visible(timeout=PATIENCE_MS)
    for size in (SLIDER, PHONE):
        page.set_viewport_size(size)
        no_scroll_bar(page)
        screenshot(page, f"door-plan-{size['width']}")
    assert problems(page.frames[-1]) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    panel.get_by_role("button", name="Schedule for").click()
    expect(panel.get_by_text("Scheduled.")).to_be_visible()

    page.goto(card)
    page.get_by_role("link", name="Call this number again").click()
    slider = frame(page)
    chosen = slider.get_by_label("Phone number").locator("option:checked")
    expect(chosen).to_have_text("+49 30 901821 (of this call)")
    page.set_viewport_size(SLIDER)
    screenshot(page, "door-again-846")
    slider.get_by_role("button", name="Call", exact=True).click()
    # The slider closes over the card.
    expect(page.locator("iframe")).to_have_count(0)
    manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(lead))
    asked = json_of(manager.asks("GET", "/callbacks?limit=10"))["callbacks"]
    assert {one["to_number"] for one in asked} == {"+4930901820", "+4930901821"}


def test_smart_processes_are_chosen_and_hours_are_filled_in_from_the_calendar(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor, application: FakeApp
) -> None:
    application.scopes = (*application.scopes, "calendar")
    portal.calendar["work_time_start"] = "9.30"
    portal.crm.add_type(1042, "Repairs")
    page.set_viewport_size(SLIDER)
    tab = opens(page, portal, administrator, "Settings > Smart processes")
    tab.get_by_label("Repairs").check()
    screenshot(page, "smart-processes-846")
    assert problems(page.frames[-1]) == []
    tab.get_by_role("button", name="Save", exact=True).click()
    expect(tab.get_by_text("The tabs appear and go within a minute")).to_be_visible()
    administrator.opens()
    assert json_of(administrator.asks("GET", "/settings"))["smart_processes"] == [1042]

    page.frames[-1].evaluate("location.hash = '#/settings/hours'")
    proposal = tab.get_by_text("Your company calendar says: Mon – Fri 09:30–19:00.")
    expect(proposal).to_be_visible()
    for size in (SLIDER, PHONE):
        page.set_viewport_size(size)
        no_scroll_bar(page)
        screenshot(page, f"hours-proposal-{size['width']}")
    assert problems(page.frames[-1]) == []
    tab.get_by_role("button", name="Fill in").click()
    expect(proposal).to_have_count(0)
    expect(tab.get_by_role("group", name="Monday").get_by_label("Opens").first).to_have_value("09:30")
    expect(tab.get_by_role("list", name="Also closed on").get_by_role("listitem")).to_have_count(2)
    # Nothing is saved by it.
    assert json_of(administrator.asks("GET", "/settings"))["hours"] == ""
    tab.get_by_role("button", name="Save", exact=True).click()
    expect(tab.get_by_text("Next openings")).to_be_visible()
    hours = json_of(administrator.asks("GET", "/settings"))["hours"]
    assert hours["week"]["mon"] == [["09:30", "19:00"]]
    assert len(hours["closed"]) == 2
    assert "sat" not in hours["week"]

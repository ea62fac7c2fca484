"""In a real browser: what the desk shows of plans, lines without money, repetitions and outcomes that nobody knows."""

import re

import pytest
from flask import Flask
from playwright.sync_api import FrameLocator, Page, expect

from bx24app.models import Source, State, utcnow
from bx24app.services.dialling import deadlines
from bx24app.worker.worker import Worker
from tests.browser.test_journey import frame, goes_to, no_scroll_bar, opens_card, state
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.browser import screenshot
from tests.support.waiting import accept, change_line, change_portal, follow_calls, pass_time, seen, work

pytestmark = pytest.mark.browser


@pytest.fixture
def lead(portal: FakePortal, manager: Actor) -> int:
    return portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])


def plans_and_presses_call(page: Page, portal: FakePortal, lead: int) -> FrameLocator:
    tab = opens_card(page, portal, "lead", lead)
    tab.get_by_role("button", name="Call later").click()
    tab.get_by_role("button", name="Tomorrow 09:00").click()
    tab.get_by_role("button", name="Schedule for").click()
    expect(state(tab)).to_have_text(re.compile("^Scheduled, "))
    tab.get_by_role("button", name="Call", exact=True).click()
    expect(tab.get_by_text("is scheduled for")).to_be_visible()
    return tab


def test_pressing_call_while_one_is_planned_offers_to_call_now_instead(
    page: Page, portal: FakePortal, lead: int, worker: Worker
) -> None:
    tab = plans_and_presses_call(page, portal, lead)
    screenshot(page, "planned-choice-1280")
    expect(tab.get_by_role("group").get_by_role("button", name="Call now instead")).to_be_focused()
    page.keyboard.press("Enter")
    expect(state(tab)).to_have_text("Ringing · Sales line")
    expect(tab.locator(".callback")).to_have_count(1)
    assert len(portal.telephony.dials) == 1


@pytest.mark.long
def test_or_to_call_now_and_keep_the_plan(page: Page, portal: FakePortal, lead: int, worker: Worker) -> None:
    tab = plans_and_presses_call(page, portal, lead)
    tab.get_by_role("button", name="Call now, keep both").click()
    expect(tab.locator(".callback")).to_have_count(2)
    expect(state(tab)).to_have_text("Ringing · Sales line")


def test_a_number_of_another_country_or_with_an_extension_is_shown_before_it_is_dialled(
    app: Flask, page: Page, portal: FakePortal, manager: Actor, worker: Worker
) -> None:
    change_portal(app, default_country="DE")
    tab = opens_card(page, portal, "lead", portal.crm.add_lead("No number", "Jean"))
    number = tab.get_by_label("Phone number")
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_enabled()
    number.fill("+53 5 2345678")
    number.press("Enter")
    expect(tab.get_by_text("+53 5 2345678: This is a number of Cuba.")).to_be_visible()
    expect(tab.get_by_text("Press Call again to call it.")).to_be_visible()
    expect(tab.locator(".callback")).to_have_count(0)
    screenshot(page, "number-of-another-country")
    # Leaving the field shows it, too, and then one press is enough.
    number.fill("030 901820 ext. 5")
    tab.get_by_label("Text").click()
    expect(tab.get_by_text("+49 30 901820: The extension 5 is not called")).to_be_visible()
    expect(tab.get_by_text("Cuba")).to_have_count(0)
    tab.get_by_role("button", name="Call", exact=True).click()
    expect(state(tab)).to_have_text("Ringing · Sales line")
    assert [dial["number"] for dial in portal.telephony.dials] == ["+4930901820"]


@pytest.mark.long
@pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
def test_an_administrator_sees_lines_in_trouble_and_lets_one_go_on(
    app: Flask, administrator: Actor, manager: Actor, portal: FakePortal, page: Page
) -> None:
    change_portal(app, retries=1)
    change_line(app, "reg150907", stopped_until=utcnow())
    change_line(app, "sip7", redials_seen_at=utcnow())
    page.goto(f"{portal.url}/?user={portal.administrator.id}")
    page.get_by_role("link", name="Callback Desk").click()
    tab = frame(page)
    expect(tab.get_by_text("“Sales line” has no money")).to_be_visible()
    expect(tab.get_by_text("redial missed callbacks by themselves: Office PBX 1")).to_be_visible()
    goes_to(tab, "Settings > Calls")
    screenshot(page, f"lines-in-trouble-{page.viewport_size['width']}")  # type: ignore[index]  # It has a size.
    no_scroll_bar(page)
    tab.get_by_label("Repeat unsuccessful staff calls").fill("2")
    tab.get_by_label("Calls at once on one line").fill("")
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_text("Saved.")).to_be_visible()
    goes_to(tab, "Callbacks").get_by_role("button", name="Topped up: resume calls").click()
    expect(tab.get_by_text("has no money")).to_be_hidden()
    settings = administrator.asks("GET", "/settings") if administrator.opens() else None
    assert settings is not None
    assert (settings.json["retries"], settings.json["line_cap"]) == (2, "")  # type: ignore[index]


@pytest.mark.long
@pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
def test_repetitions_and_outcomes_that_only_a_person_knows_are_told(
    app: Flask, manager: Actor, portal: FakePortal, page: Page
) -> None:
    change_portal(app, retries=1)
    repeated = accept(app, source=Source.STAFF, requested_by=portal.manager.id)
    work(app)
    portal.telephony.end(portal.telephony.calls[0], "486", "Busy")
    follow_calls(app, portal)
    assert seen(app, repeated).state == State.SCHEDULED
    portal.faults.add("drop_before", "voximplant.callback.start")
    lost = accept(app, to_number="+4930901821", source=Source.STAFF, requested_by=portal.manager.id)
    work(app)
    pass_time(app, deadlines.REPORTS_EXPECTED_WITHIN)
    change_portal(app, history_problem="bitrix24_access_denied")
    with app.app_context():
        assert deadlines.apply_deadlines() == 1
    page.goto(f"{portal.url}/?user={portal.manager.id}")
    page.get_by_role("link", name="Callback Desk").click()
    desk = frame(page)
    expect(desk.get_by_text("The number was busy. The app will call again.")).to_be_visible()
    row = desk.locator(f"#callback-{lost}")
    expect(row.get_by_text("The app can't find out by itself. What happened?")).to_be_visible()
    screenshot(page, f"repetitions-{page.viewport_size['width']}")  # type: ignore[index]  # It has a size.
    no_scroll_bar(page)
    for id, why in ((lost, "A person has to say what happened"), (repeated, "The app calls again at")):
        desk.locator(f"#callback-{id}").get_by_role("link").click()
        expect(desk.get_by_text(why)).to_be_visible()
        desk.locator("main").get_by_role("link", name="Callbacks").click()
    row.get_by_role("button", name="What happened?").click()
    desk.get_by_role("button", name="I talked to the customer").click()
    expect(row.get_by_text("A colleague says that you talked to the customer.")).to_be_visible()

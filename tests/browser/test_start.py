"""In a real browser: starting a callback, told by visible labels alone."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import time_machine
from flask import Flask
from playwright.sync_api import Page, Route, expect
from sqlalchemy import select

from bx24app.database import writing
from bx24app.models import Callback, utcnow
from bx24app.worker.worker import Worker
from tests.browser.test_journey import PATIENCE_MS, frame, no_scroll_bar, opens_card, phone
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.browser import screenshot
from tests.support.waiting import accept, change_portal

pytestmark = pytest.mark.browser


def ends_each(app: Flask, count: int) -> Iterator[int]:
    """Count, and let everything that was asked for meanwhile be over before the next."""
    for number in range(count):
        yield number
        with app.app_context(), writing() as session:
            for callback in session.scalars(select(Callback).where(Callback.holds_number)):
                callback.fail(utcnow(), "portal_refused")


WEEK = {day: [["09:00", "18:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}


def test_from_a_lead_two_clicks_ring_the_line_and_the_strip_fills_in(
    app: Flask, page: Page, portal: FakePortal, manager: Actor, worker: Worker
) -> None:
    change_portal(app, default_text="Callback for {name}. Connecting.")
    lead = portal.crm.add_lead("Roof", "Clara", ["+49 30 901820"])
    page.goto(f"{portal.url}/crm/lead/details/{lead}/?user=2")
    page.get_by_role("tab", name="Callbacks").click()
    tab = frame(page)
    expect(tab.get_by_text("Will be said: “Callback for Clara. Connecting.”, about 2 s.")).to_be_visible()
    tab.get_by_role("button", name="Call", exact=True).click()
    strip = tab.get_by_role("region", name="The callback just started")
    now = strip.get_by_role("listitem").and_(tab.locator('[aria-current="step"]'))
    expect(now).to_have_text("Line rings", timeout=PATIENCE_MS)
    expect(strip.get_by_text("Ringing · Sales line")).to_be_visible()
    screenshot(page, "start-strip-1280")
    phone(page, "Manager", "Answer")
    expect(now).to_have_text("Picked up", timeout=PATIENCE_MS)
    phone(page, "Customer", "Refuse")
    expect(now).to_have_text("Ended", timeout=PATIENCE_MS)
    expect(strip.get_by_text("The call was declined.")).to_be_visible()
    # The form keeps its values, and Call is there again.
    expect(tab.get_by_label("Phone number")).to_have_value("+49 30 901820")
    [dial] = portal.telephony.dials
    assert dial["text"] == "Callback for Clara. Connecting."
    manager.opens("CRM_LEAD_DETAIL_TAB", ID=str(lead))
    [listed] = manager.asks("GET", "/callbacks?q=cla").json["callbacks"]  # type: ignore[index]
    assert listed["customer_name"] == "Clara"


@pytest.mark.long
def test_a_waiting_call_is_cancelled_in_the_strip_and_one_under_way_is_shown(
    page: Page, portal: FakePortal, manager: Actor
) -> None:
    tab = opens_card(page, portal, "lead", portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"]))
    tab.get_by_role("button", name="Call", exact=True).click()
    strip = tab.get_by_role("region", name="The callback just started")
    expect(strip.get_by_text("Waiting")).to_be_visible()
    tab.get_by_role("button", name="Call", exact=True).click()
    expect(tab.get_by_text("A callback for this number is already under way.")).to_be_visible()
    tab.get_by_role("button", name="Show that callback").click()
    strip.get_by_role("button", name="Cancel").click()
    expect(strip.get_by_text("Cancelled")).to_be_visible()
    expect(strip.get_by_role("button", name="Cancel")).to_be_hidden()
    assert portal.telephony.dials == []


def test_call_later_offers_the_company_s_times_and_warns(
    app: Flask, page: Page, portal: FakePortal, manager: Actor
) -> None:
    # The browser stands in Berlin, the company in New York, and the customer in Japan.
    change_portal(app, hours={"zone": "America/New_York", "week": WEEK})
    tab = opens_card(page, portal, "lead", portal.crm.add_lead("Lead", "Aiko", ["+81 3-1234-5678"]))
    tab.get_by_role("button", name="Call later").click()
    expect(tab.get_by_text("America/New_York")).to_be_visible()
    expect(tab.get_by_role("radio")).to_have_count(8)
    assert tab.locator("input[type=datetime-local]").count() == 0
    # The clock of New York is set forward on 14 March 2027, that of Berlin two weeks later.
    tab.get_by_role("radio", name="Other date").check()
    tab.get_by_label("Date", exact=True).fill("2027-03-14")
    expect(tab.get_by_text("Closed on this day")).to_be_visible()
    tab.get_by_label("Time", exact=True).select_option("09:00")
    expect(tab.get_by_text("Outside working hours. You may still schedule it.")).to_be_visible()
    expect(tab.get_by_text(re.compile("Your time 14:00"))).to_be_visible()
    expect(tab.get_by_text(re.compile("22:00 for the customer"))).to_be_visible()
    expect(tab.get_by_text("after 9 in the evening")).to_be_visible()
    for size in (1280, 846, 600, 360):
        page.set_viewport_size({"width": size, "height": 900})
        no_scroll_bar(page)
        screenshot(page, f"start-later-{size}")
    tab.get_by_role("button", name="Schedule for Sun 14 Mar, 09:00").click()
    expect(tab.get_by_text("Scheduled.", exact=True)).to_be_visible()
    manager.opens()
    [listed] = manager.asks("GET", "/callbacks?state=scheduled").json["callbacks"]  # type: ignore[index]
    there = datetime.fromisoformat(listed["scheduled_at"]).astimezone(ZoneInfo("America/New_York"))
    assert (there.isoformat(), there.astimezone(UTC).hour) == ("2027-03-14T09:00:00-04:00", 13)
    tab.get_by_role("button", name="Call later").click()
    tab.get_by_role("button", name="In 1 h").click()
    expect(tab.get_by_role("button", name="Schedule for")).to_be_visible()


def test_nothing_is_planned_for_the_choice_before_while_the_times_of_a_day_are_fetched(
    page: Page, portal: FakePortal, manager: Actor
) -> None:
    tab = opens_card(page, portal, "lead", portal.crm.add_lead("Lead", "Aiko", ["+49 30 901820"]))
    tab.get_by_role("button", name="Call later").click()
    expect(tab.get_by_role("button", name="Tomorrow 09:00")).to_be_visible()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/desk/start/later?*", hold)
    tab.get_by_role("button", name="Tomorrow 09:00").click()
    expect(tab.get_by_role("button", name="Schedule for")).to_be_disabled()
    held.pop().continue_()
    expect(tab.get_by_role("button", name="Schedule for")).to_be_enabled()
    expect(tab.get_by_role("button", name="Schedule for")).to_have_text(re.compile(", 09:00$"))
    # What was opened and closed again leaves the button to call now.
    tab.get_by_role("button", name="In 1 h").click()
    expect(tab.get_by_role("button", name="Schedule for")).to_be_disabled()
    tab.get_by_role("button", name="Call later").click()
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_enabled()
    held.pop().continue_()
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_enabled()


def test_tomorrow_at_nine_is_nine_by_the_clock_that_changes_meanwhile(
    app: Flask, page: Page, portal: FakePortal, manager: Actor
) -> None:
    change_portal(app, hours={"zone": "America/New_York", "week": WEEK})
    # Saturday there; in the night the clock is set forward.
    with time_machine.travel("2027-03-13T15:00:00Z", tick=True):
        tab = opens_card(page, portal, "lead", portal.crm.add_lead("Lead", "Aiko", ["+81 3-1234-5678"]))
        tab.get_by_role("button", name="Call later").click()
        tab.get_by_role("button", name="Tomorrow 09:00").click()
        expect(tab.get_by_text("Closed on this day, America/New_York.")).to_be_visible()
        expect(tab.get_by_text(re.compile("Your time .*14:00"))).to_be_visible()
        expect(tab.get_by_text("Outside working hours. You may still schedule it.")).to_be_visible()
        tab.get_by_role("button", name="Schedule for Sun 14 Mar, 09:00").click()
        expect(tab.get_by_text("Scheduled.", exact=True)).to_be_visible()
        with app.app_context(), writing() as session:
            [callback] = session.scalars(select(Callback))
            assert callback.scheduled_at == datetime(2027, 3, 14, 13, tzinfo=UTC)


@pytest.mark.long
def test_the_start_bar_stays_as_it_was_left(page: Page, portal: FakePortal, manager: Actor) -> None:
    page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user=2")
    tab = frame(page)
    bar = tab.get_by_role("button", name="New callback")
    expect(tab.get_by_label("Phone number")).to_be_visible()
    with page.expect_response(lambda answer: answer.request.method == "PUT"):
        bar.click()
    expect(tab.get_by_label("Phone number")).to_be_hidden()
    page.reload()
    expect(bar).to_have_attribute("aria-expanded", "false")
    expect(tab.get_by_label("Phone number")).to_be_hidden()
    bar.click()
    expect(tab.get_by_label("Phone number")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    page.reload()
    expect(tab.get_by_label("Phone number")).to_be_hidden()
    bar.click()
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_visible()
    no_scroll_bar(page)
    screenshot(page, "start-bar-360")


@pytest.mark.long
def test_from_a_list_of_the_crm_the_slider_closes_once_it_is_accepted(
    page: Page, portal: FakePortal, manager: Actor, worker: Worker
) -> None:
    portal.crm.add_lead("Roof", "Clara", ["+49 30 901820"])
    page.goto(f"{portal.url}/crm/lead/list/?user=2")
    page.get_by_role("link", name="Call back").click()
    expect(frame(page).get_by_label("Phone number")).to_have_value("+49 30 901820")
    frame(page).get_by_role("button", name="Call", exact=True).click()
    expect(page.locator("iframe")).to_have_count(0)
    messages = page.evaluate("window.messages")
    assert messages.index("reloadData") < messages.index("closeApplication")
    expect(page.get_by_label("Manager's phone").get_by_text("Sales line rings")).to_be_visible(timeout=PATIENCE_MS)


@pytest.mark.long
def test_a_card_shows_its_latest_callbacks_and_all_of_them(
    app: Flask, page: Page, portal: FakePortal, manager: Actor
) -> None:
    lead = portal.crm.add_lead("Roof", "Clara", ["+49 30 901820"])
    ids = [accept(app, to_number="+4930901820") for _ in ends_each(app, 12)]
    tab = opens_card(page, portal, "lead", lead)
    expect(tab.get_by_role("heading", level=1)).to_have_text("Call Clara")
    # The focus is nobody's who did not ask for it.
    assert page.frames[-1].evaluate("document.activeElement === document.body")
    rows = tab.get_by_role("rowheader")
    expect(rows).to_have_count(5)
    tab.get_by_role("button", name="Show all 12").click()
    expect(rows).to_have_count(12)
    expect(tab.get_by_role("button", name="Show all")).to_have_count(0)
    no_scroll_bar(page)
    # It stays whole while it is kept up to date.
    with app.app_context(), writing() as session:
        session.get_one(Callback, ids[0]).words, session.get_one(Callback, ids[0]).reason = "Odd", "portal_refused"
        session.get_one(Callback, ids[0]).version += 1
    expect(tab.get_by_text("Odd")).to_be_visible(timeout=PATIENCE_MS)
    expect(rows).to_have_count(12)

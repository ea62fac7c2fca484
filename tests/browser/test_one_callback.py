"""One callback in a browser: its story in the reader's zone, the next call, the recording, keys, what stays open."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from playwright.sync_api import Browser, FrameLocator, Page, expect

from bx24app.database import writing
from bx24app.models import Callback, CrmState, Outcome, State, WebsiteRequest, utcnow
from bx24app.worker.worker import Worker
from tests.browser.test_journey import frame, goes_to, no_scroll_bar
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.browser import DESKTOP, PHONE, problems, screenshot, watched_page
from tests.support.waiting import accept, add_form

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]
NAME = "Jean-Baptiste <b>Petit</b>"


def opens(page: Page, portal: FakePortal, actor: Actor, id: object) -> FrameLocator:
    user = actor.user.id
    page.goto(
        f"{portal.url}/marketplace/view/{actor.application.code}/?user={user}&params[view]=callback&params[id]={id}"
    )
    tab = frame(page)
    expect(tab.get_by_role("heading", name="What happened")).to_be_visible()
    return tab


def missed_once(app: Flask, at: datetime, lead: int) -> object:
    """Asked for on a website; nobody answered, and the app calls again soon."""
    id = accept(app, form_id=add_form(app, retries=2), customer_name=NAME, created_at=at)
    with app.app_context(), writing() as session:
        callback = session.get_one(Callback, id)
        attempt = callback.fence(at + timedelta(seconds=1), at, "", None)
        callback.decide("fenced", attempt.started_at, attempt=1)
        callback.start(attempt, "callback.1", at + timedelta(seconds=2))
        callback.decide("dialled_started", at + timedelta(seconds=2), attempt=1, call_id="callback.1")
        ended, again = at + timedelta(seconds=36), utcnow() + timedelta(hours=1)
        attempt.end(Outcome.MISSED, ended, "304", "Missed call")
        callback.postpone(ended, again, again + timedelta(hours=1), "retry_code_304")
        callback.decide("repeats", ended, code="304", left=2, due_at=again.isoformat())
        callback.decide("event_applied", ended, event="HISTORY", attempt=1)
        callback.crm_entity_type, callback.crm_entity_id = "LEAD", lead
        session.add(
            WebsiteRequest(
                callback_id=id,
                form_id=callback.form_id,
                number_digest="x",
                name=NAME,
                topic="Prices",
                page="https://example.com/roof?campaign=spring",
                utm={"source": "google", "medium": "cpc", "campaign": "spring"},
                consent_text="I agree to be called back at this number.",
                consent_version=3,
                consent_at=at,
                address="93.184.216.34",
                crm_state=CrmState.CREATED,
            )
        )
    return id


def clock_in_new_york(actor: Actor, id: str) -> str:
    """When a callback is planned for, as a clock there shows it."""
    at = datetime.fromisoformat(actor.sees(id)["scheduled_at"])
    return f"{at.astimezone(ZoneInfo('America/New_York')):%Y-%m-%dT%H:%M}"


def test_a_missed_callback_tells_its_story_and_what_comes_next(
    app: Flask, chromium: Browser, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    # The browser stands in Berlin, and the reader's profile names another zone.
    portal.administrator.time_zone = "America/New_York"
    administrator.opens()
    asked_at = datetime(2026, 11, 26, 13, 58, 1, tzinfo=UTC)
    lead = portal.crm.add_lead("Roof", "Jean", ["+33 1 42 68 53 00"])
    portal.crm.entities["LEAD"][lead]["ASSIGNED_BY_ID"] = str(portal.manager.id)
    id = missed_once(app, asked_at, lead)
    with watched_page(chromium, DESKTOP) as page:
        tab = opens(page, portal, administrator, id)
        expect(tab.get_by_role("heading", level=1)).to_have_text(NAME)
        # Times to the second, in the reader's zone, which is named once; the cause stands before its effect.
        story = tab.get_by_role("region", name="What happened")
        expect(story.get_by_text("America/New_York")).to_have_count(1)
        lines = story.get_by_role("listitem").all_inner_texts()
        assert [re.findall(r"\d{2}:\d{2}:\d{2}", line)[0] for line in lines] == [
            "08:58:01", "08:58:02", "08:58:03", "08:58:37", "08:58:37",
        ]  # fmt: skip
        assert "Nobody answered" in lines[3]
        assert "because the form allows 2 more attempts" in lines[4]
        coming = tab.get_by_role("region", name="Next")
        expect(coming).to_contain_text(
            re.compile(r"calls again at .*\d{2}:\d{2}:\d{2}, attempt 2 of 3, on “Sales line”")
        )
        # Ids and codes stand under For support alone.
        support = tab.get_by_role("textbox", name="For support")
        expect(support).to_be_hidden()
        screenshot(page, "callback-1280")
        assert "callback.1" not in tab.locator("main").inner_text()
        for fold in ("For support", "Consent", "Customer's link"):
            tab.locator("summary").get_by_text(fold, exact=True).click()
        expect(support).to_have_value(re.compile(r"call callback\.1, request 1\.0 s[\s\S]*code 304, Missed call"))
        tab.get_by_role("button", name="Copy", exact=True).last.click()
        # A card is opened by the portal; one that it does not open here is named.
        expect(tab.get_by_text("added by the app · Max Weber")).to_be_visible()
        tab.get_by_role("button", name=f"Lead #{lead} “Roof”").click()
        page.wait_for_function("window.messages.includes('openPath')")
        # The form for another time, in place; Escape closes it, and the view stays.
        coming.get_by_role("button", name="Move").click()
        expect(coming.get_by_label("Date")).to_be_focused()
        page.keyboard.press("Escape")
        expect(coming.get_by_label("Date")).to_be_hidden()
        coming.get_by_role("button", name="Move").click()
        coming.get_by_label("Date").fill((datetime.now(UTC) + timedelta(days=2)).date().isoformat())
        coming.get_by_label("Time").select_option("09:15")
        coming.locator("form").get_by_role("button", name="Move").click()
        expect(coming).to_contain_text("09:15:00")
        assert clock_in_new_york(administrator, str(id)).endswith("T09:15")
        expect(story).to_contain_text("Moved to")
        expect(tab.get_by_role("button", name=f"Lead #{lead} “Roof”")).to_be_visible()
        # What was opened stays open while the rest is written anew, and the focus stays.
        expect(support).to_be_visible()
        coming.get_by_role("button", name="Cancel").click()
        expect(coming).to_have_count(0)
        expect(tab.get_by_text("Cancelled", exact=True).first).to_be_visible()
        expect(tab.get_by_role("button", name="Never call again")).to_be_visible()
        assert problems(page.frames[-1]) == []
        for width in (846, 600, 360, 344):
            page.set_viewport_size({"width": width, "height": 900})
            no_scroll_bar(page)
            if width == PHONE["width"]:
                screenshot(page, "callback-360")
        assert problems(page.frames[-1]) == []


@pytest.mark.long
def test_through_the_list_and_to_an_outcome_by_keys(
    app: Flask, chromium: Browser, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    administrator.opens()
    ids = [accept(app, to_number=f"+493090182{digit}") for digit in range(3)]
    with app.app_context(), writing() as session:
        unknown = session.get_one(Callback, ids[1])
        unknown.mark_unknown(unknown.fence(utcnow(), utcnow(), "", None), utcnow(), "dial_timeout")
    with watched_page(chromium, DESKTOP) as page:
        tab = opens(page, portal, administrator, ids[1])
        inner = page.frames[-1]
        inner.evaluate(f"location.hash = '#/callbacks/{ids[1]}?quick=all'")
        expect(tab.get_by_text("2 of 3")).to_be_visible()
        # The frame loaded anew stands in the same list.
        inner.evaluate("location.reload()")
        expect(tab.get_by_role("heading", name="What happened")).to_be_visible()
        expect(tab.get_by_text("2 of 3")).to_be_visible()
        tab.get_by_role("heading", level=1).click()
        for key, id, place in (
            ("j", ids[0], "3 of 3"),
            ("k", ids[1], "2 of 3"),
            ("k", ids[2], "1 of 3"),
            ("j", ids[1], ""),
        ):
            page.keyboard.press(key)
            expect(tab.locator("main")).to_have_attribute("data-path", f"callbacks/{id}")
            expect(tab.get_by_text(place).first).to_be_visible()
            expect(tab.get_by_role("heading", level=1)).to_be_focused()
        # One press and one choice.
        tab.get_by_role("button", name="What happened?").click()
        page.keyboard.press("j")
        expect(tab.locator("main")).to_have_attribute("data-path", f"callbacks/{ids[1]}")
        tab.get_by_role("button", name="I talked to the customer").click()
        expect(tab.get_by_role("region", name="What happened")).to_contain_text("we talked to the customer")
        expect(tab.get_by_role("button", name="What happened?")).to_have_count(0)
        tab.get_by_role("heading", level=1).focus()
        page.keyboard.press("Escape")
        expect(tab.locator("main")).to_have_attribute("data-path", "callbacks")
        assert inner.evaluate("location.hash") == "#/callbacks?quick=all"


@pytest.mark.long
def test_a_call_is_followed_to_its_recording(
    app: Flask, chromium: Browser, portal: FakePortal, manager: Actor, administrator: Actor, worker: Worker
) -> None:
    administrator.opens()
    id = json_of(administrator.requests_callback())["id"]
    with watched_page(chromium, DESKTOP) as page:
        tab = opens(page, portal, administrator, id)
        story = tab.get_by_role("region", name="What happened")
        expect(story).to_contain_text("“Sales line” rings")
        call = portal.telephony.calls[-1]
        call.manager_answers(portal.manager)
        expect(story).to_contain_text(f"{portal.manager.full_name}: Picked up")
        call.customer_answers()
        page.wait_for_timeout(1100)
        call.hang_up()
        portal.telephony.record(call.call_id, "https://example.com/1.mp3")
        expect(story).to_contain_text(re.compile(r"Talked \d+ s"))
        link = tab.get_by_role("link", name="Listen in Bitrix24")
        expect(link).to_have_attribute("href", "https://example.com/1.mp3")
        assert administrator.sees(id)["state"] == State.COMPLETED


@pytest.mark.long
def test_back_to_the_row_another_time_and_to_what_is_kept_of_the_number(
    app: Flask, chromium: Browser, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    portal.administrator.time_zone = "America/New_York"
    administrator.opens()
    later = (utcnow() + timedelta(hours=1)).isoformat()
    id = json_of(administrator.requests_callback(scheduled_at=later))["id"]
    administrator.requests_callback("+4930901822", scheduled_at=later)
    with watched_page(chromium, DESKTOP) as page:
        page.goto(f"{portal.url}/marketplace/app/{administrator.application.client_id}/?user=1")
        tab = frame(page)
        row = tab.get_by_role("rowheader").get_by_role("link", name="+49 30 901820")
        row.click()
        expect(tab.get_by_role("heading", name="What happened")).to_be_visible()
        page.frames[-1].evaluate("history.back()")
        expect(row).to_be_focused()
        # The list means the same clock as one callback does.
        tab.get_by_role("button", name="Actions for +49 30 901820").click()
        tab.get_by_role("menuitem", name="Move…").click()
        day = (datetime.now(ZoneInfo("America/New_York")) + timedelta(days=2)).date()
        tab.get_by_label("Day", exact=True).fill(day.isoformat())
        tab.get_by_label("Time", exact=True).fill("09:15")
        with page.expect_response(lambda answer: answer.request.method == "PATCH"):
            tab.get_by_role("button", name="Move", exact=True).click()
        assert clock_in_new_york(administrator, id) == f"{day}T09:15"
        # The number goes along to the page where it is erased, and stands in no address.
        row.click()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        tab.get_by_role("button", name="Erase this number").click()
        expect(tab.get_by_role("heading", name="Find a number")).to_be_visible()
        expect(tab.get_by_label("Phone number")).to_have_value("+4930901820")
        tab.get_by_role("button", name="Find", exact=True).click()
        expect(tab.get_by_role("heading", name="Erase this number")).to_be_visible()
        asked += page.evaluate("[location.href]") + page.frames[-1].evaluate(
            "[location.href, JSON.stringify(history.state)]"
        )
        assert [url for url in asked if "901820" in url] == []
        goes_to(tab, "Settings > Calls")
        goes_to(tab, "Settings > Privacy")
        expect(tab.get_by_label("Phone number")).to_have_value("")

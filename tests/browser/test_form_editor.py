"""The editor of a website form: tabs, the preview of what is not saved, two editors, and leaving it."""

import re
from datetime import UTC, datetime

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_administration import makes_form, opens, reads
from tests.browser.test_appearance import shoot
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.browser import DESKTOP, problems, watched_page

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]
# A second in a browser by itself; here processes of other tests wait for the same two cores.
SOON = 10_000
# A Wednesday at three in the morning in Berlin, later than the clocks of those who run this.
NIGHT = datetime(2027, 3, 10, 2, 0, tzinfo=UTC)


def test_the_preview_shows_what_is_not_saved_and_visitors_see_what_is(
    chromium: Browser, portal: FakePortal, manager: Actor, administrator: Actor, client: FlaskClient
) -> None:
    form = makes_form(administrator)
    with watched_page(chromium, {"width": 1720, "height": 900}) as page:
        tab = opens(page, portal, administrator, "Websites")
        tab.locator(".item").get_by_role("link", name="Settings").click()
        preview = tab.locator("[data-preview]")
        heading = preview.locator("h1")
        expect(heading).to_have_text("We'll call you back")
        tab.get_by_label("Heading").first.fill("<b>Ring</b> us")
        tab.get_by_label("Button", exact=True).first.fill("Go")
        tab.get_by_label("Colour of the button").fill("#ffd500")
        expect(heading).to_have_text("<b>Ring</b> us", timeout=SOON)
        expect(preview.locator("button.primary")).to_have_css("background-color", "rgb(255, 213, 0)")
        expect(tab.get_by_text("Dark text, contrast")).to_be_visible()
        strip = tab.get_by_role("navigation", name="Settings of the form")
        strip.get_by_role("link", name="Questions").click()
        tab.get_by_label("Visitors agree before they send").check()
        expect(preview.get_by_text("I agree to be called back")).to_be_visible(timeout=SOON)
        tab.get_by_label("What they agree to: English").fill("I agree.")
        tab.get_by_label("What they agree to: Русский").fill("Согласен.")
        expect(preview.get_by_text("I agree.")).to_be_visible(timeout=SOON)
        preview.get_by_label("ru").check()
        expect(heading).to_have_text("Перезвоним вам")
        expect(preview.get_by_text("Согласен.")).to_be_visible()
        preview.get_by_label("Closed").check()
        expect(preview.get_by_text("Сейчас мы не работаем.")).to_be_visible()
        preview.get_by_label("Sent").check()
        expect(preview.locator("[data-live]")).to_be_visible()
        expect(tab.get_by_text(re.compile(r"^\d changes$"))).to_be_visible()
        assert problems(page.frames[-1]) == []
        assert "Ring" not in client.get(f"/w/{form['key']}").text
        shoot(page, "form-editor-wide")

        # Leaving is asked about in place; a reload keeps the tab.
        goes_to_websites = tab.get_by_role("navigation", name="Sections").get_by_role("link", name="Websites")
        goes_to_websites.click()
        expect(tab.get_by_text("You have unsaved changes.")).to_be_visible()
        tab.get_by_role("button", name="Stay here").click()
        tab.get_by_role("button", name="Save").click()
        expect(tab.get_by_text("Saved.", exact=True)).to_be_visible()
        shown = client.get(f"/w/{form['key']}?lang=en").text
        assert "&lt;b&gt;Ring&lt;/b&gt; us" in shown
        assert "I agree." in shown
        assert "Согласен." in client.get(f"/w/{form['key']}?lang=ru").text
        inner = page.frames[-1]
        assert inner.evaluate("location.hash").endswith("/questions")
        goes_to_websites.click()
        expect(tab.get_by_role("heading", name="Website forms")).to_be_visible()


@pytest.mark.long
def test_the_second_of_two_editors_is_told_and_loses_nothing(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    form = makes_form(administrator)
    tab = opens(page, portal, administrator, "Websites")
    tab.locator(".item").get_by_role("link", name="Settings").click()
    tab.get_by_role("navigation", name="Settings of the form").get_by_role("link", name="Calling").click()
    tab.get_by_label("Minutes between attempts").fill("25")
    administrator.asks("PATCH", f"/forms/{form['key']}", {"name": "Of a colleague"})
    tab.get_by_role("button", name="Save", exact=True).click()
    expect(tab.get_by_text("A colleague has changed the same settings meanwhile.")).to_be_visible()
    expect(tab.get_by_label("Minutes between attempts")).to_have_value("25")
    tab.get_by_role("button", name="Save mine").click()
    expect(tab.get_by_text("Saved.", exact=True)).to_be_visible()
    saved = reads(administrator, form["key"])
    assert (saved["name"], saved["retry_minutes"]) == ("Of a colleague", 25)


@pytest.mark.long
def test_a_form_made_at_night_offers_times_and_a_trial_calls_nobody(
    chromium: Browser, portal: FakePortal, administrator: Actor, app: Flask
) -> None:
    assert administrator.installs(keeps_hours=True).status_code == 200
    portal.events.wait_until_idle()
    with time_machine.travel(NIGHT), watched_page(chromium, DESKTOP) as page:
        tab = opens(page, portal, administrator, "Websites")
        tab.get_by_role("button", name="Create a form").click()
        expect(tab.get_by_text("Created. Paste this line into your website")).to_be_visible()
        expect(tab.get_by_text("Closed, opens 9:00 AM")).to_be_visible()
        address = tab.get_by_label("Or link to the form").input_value()
        tab.get_by_role("link", name="Settings").last.click()
        tab.get_by_role("link", name="Try a number").click()
        tab.get_by_role("region", name="Try a number").get_by_label("Phone number").fill("030 901820")
        tab.get_by_role("button", name="Try", exact=True).click()
        said = tab.get_by_text("The request would be rejected, and nothing was called:")
        expect(said).to_contain_text("Outside working hours")
        # The days and times of a later call, by the hours of the form; no field in the browser's own language.
        tab.get_by_label("at another time").check()
        expect(tab.get_by_text("Working hours 09:00–18:00, Europe/Berlin.")).to_be_visible()
        expect(tab.get_by_label("Time", exact=True).locator("option:checked")).to_have_text("09:00")
        expect(tab.locator("[type=datetime-local]")).to_have_count(0)
        tab.get_by_role("button", name="Try", exact=True).click()
        expect(tab.get_by_text("accepted and called; this was a test, and nothing was called.")).to_be_visible()
        tab.get_by_role("navigation", name="Settings of the form").get_by_role("link", name="Put on site").click()
        expect(tab.get_by_text("Not seen on your website yet.")).to_be_visible()
        assert problems(page.frames[-1]) == []

        page.goto(f"{address}?lang=en")
        expect(page.get_by_text("We're closed now. Choose a time.")).to_be_visible()
        expect(page.get_by_text("We'll call within")).to_have_count(0)
        expect(page.get_by_label("When should we call?").locator("option").first).to_contain_text("9:00")
    assert portal.telephony.dials == []

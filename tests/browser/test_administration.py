"""The administrator's panels in the desk: forms, keys, the do-not-call list, trials, refusals, webhooks, the stop."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import FilePayload, FrameLocator, Locator, Page, Route, expect

from bx24app.web.api.do_not_call import lists_at_once
from tests.browser.test_appearance import shoot
from tests.browser.test_journey import frame, goes_to
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.visitors import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]
BOTH = pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
SITE = "https://example.com"


def opens(page: Page, portal: FakePortal, administrator: Actor, view: str) -> FrameLocator:
    """Open the desk and go to a view as a person does: "Websites", or "Settings > Do not call"."""
    page.goto(f"{portal.url}/marketplace/app/{administrator.application.client_id}/?user=1")
    return goes_to(frame(page), view)


def makes_form(administrator: Actor, **more: Any) -> dict[str, Any]:
    administrator.opens()
    wanted = {"name": "Main site", "line_id": "reg150907", "default_country": "DE", "allowed_origins": [SITE], **more}
    return json_of(administrator.asks("POST", "/forms", wanted))


def reads(administrator: Actor, key: str) -> dict[str, Any]:
    administrator.opens()
    return json_of(administrator.asks("GET", f"/forms/{key}"))


def presses_create(tab: FrameLocator) -> Locator:
    """Make a form of an English portal, whose country nobody has named; returns the field with its snippet."""
    tab.get_by_role("button", name="Create a form").click()
    expect(tab.get_by_text("Name the country in which your customers live")).to_be_visible()
    tab.get_by_label("Country of your customers").select_option("United Kingdom")
    tab.get_by_role("button", name="Create a form").click()
    expect(tab.get_by_text("May call: United Kingdom, Guernsey, Isle of Man, Jersey")).to_be_visible()
    expect(tab.get_by_label("Country of your customers")).to_have_count(0)
    return tab.get_by_label("Paste this line into your website")


def writes_own_hours(tab: FrameLocator) -> None:
    """On the tab Hours: a break, midnight, a day like Monday, Saturday, single closed days, and Bavaria's holidays."""
    tab.get_by_label("Own hours").check()
    tab.get_by_label("Saturday").get_by_role("checkbox").check()
    monday = tab.get_by_role("group", name="Monday")
    monday.get_by_role("button", name="Break").click()
    monday.get_by_label("Closes").first.fill("12:00")
    monday.get_by_label("Opens again").fill("13:00")
    monday.get_by_label("Closes").last.fill("00:00")
    tuesday = tab.get_by_role("group", name="Tuesday")
    tuesday.get_by_role("button", name="Same as Monday").click()
    expect(tuesday.get_by_label("Opens again")).to_have_value("13:00")
    for day in ("2026-12-31", "2026-12-24", "2026-12-24"):
        tab.get_by_label("Also closed on").first.fill(day)
        tab.get_by_role("button", name="Add", exact=True).click()
    expect(tab.get_by_role("list", name="Also closed on").get_by_role("listitem")).to_have_count(2)
    tab.get_by_label("Time zone").fill("Europe/Berlin")
    tab.get_by_label("Closed on the public holidays of").select_option("United Kingdom")
    expect(tab.get_by_text("Parts of this country have more holidays.")).to_be_visible()
    tab.get_by_label("Closed on the public holidays of").select_option("Germany")
    tab.get_by_label("Part of the country").select_option("Bayern")
    expect(tab.get_by_text(re.compile(r"^The next holiday: \w+, .*\d{4}, .+\.$"))).to_be_visible()


@BOTH
def test_a_form_is_made_with_one_press_and_changed(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor, client: FlaskClient
) -> None:
    # Neither the line's number nor the administrator's zone tells the country.
    administrator.user.time_zone = ""
    tab = opens(page, portal, administrator, "Websites")
    expect(tab.get_by_text("No form yet.")).to_be_visible()
    snippet = presses_create(tab)
    expect(snippet).to_be_visible()
    tab.get_by_role("button", name="Copy").first.click()
    expect(tab.get_by_role("button", name="Copied")).to_be_visible()
    # The copied line is on the clipboard: pasted elsewhere it is the whole snippet.
    address = tab.get_by_label("Website address")
    address.press("ControlOrMeta+v")
    assert address.input_value() == snippet.input_value()
    assert snippet.input_value().startswith("<script src=")
    shoot(page, "forms-created")
    key = tab.locator(".item").get_attribute("data-key") or ""
    assert client.get(f"/w/{key}/widget.js").status_code == 200

    tab.locator(".item").get_by_role("link", name="Settings").click()
    tab.get_by_label("Internal name").fill("Shop")
    tab.get_by_label("Websites that show the form").fill("https://Example.com/\nhttps://www.example.com")
    tab.get_by_role("link", name="Questions").click()
    tab.get_by_label("Topic", exact=True).select_option("asked, required")
    tab.get_by_label("Topics to choose from").fill("Prices\nDelivery")
    tab.get_by_role("link", name="Hours").click()
    writes_own_hours(tab)
    tab.get_by_role("link", name="Protection").click()
    tab.get_by_label("Countries that may be called").select_option("Austria")
    tab.get_by_label("Countries that may be called").select_option("Germany")
    shoot(page, "forms-settings")
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_text("Saved.", exact=True)).to_be_visible()
    form = reads(administrator, key)
    assert (form["name"], form["allowed_origins"]) == ("Shop", ["https://example.com", "https://www.example.com"])
    assert (form["fields"]["topic"], form["topics"]) == ("required", ["Prices", "Delivery"])
    assert form["allowed_countries"] == ["AT", "DE"]
    week = form["hours"]["week"]
    assert (week["tue"], form["hours"]["closed"]) == (week["mon"], ["2026-12-24", "2026-12-31"])
    assert (week["mon"], week["sat"]) == ([["09:00", "12:00"], ["13:00", "24:00"]], [["09:00", "18:00"]])
    assert (form["hours"]["zone"], form["hours"]["holidays"], "sun" in week) == ("Europe/Berlin", "DE-BY", False)
    expect(tab.get_by_role("heading", name="Shop", level=1)).to_be_visible()
    page.frames[-1].evaluate("history.back()")
    expect(tab.get_by_role("heading", name="Shop", level=3)).to_be_visible()


def test_what_is_wrong_in_a_form_is_said_at_its_field(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    form = makes_form(administrator)
    tab = opens(page, portal, administrator, "Websites")
    tab.locator(".item").get_by_role("link", name="Settings").click()
    # Its tab is another one when the mistake is found, and opens by itself.
    strip = tab.get_by_role("navigation", name="Settings of the form")
    strip.get_by_role("link", name="Protection").click()
    blocked = tab.get_by_label("Never call numbers that begin with")
    blocked.fill("0900")
    strip.get_by_role("link", name="Look").click()
    expect(blocked).to_be_hidden()
    tab.get_by_role("button", name="Save").click()
    expect(blocked).to_be_focused()
    assert blocked.get_attribute("aria-invalid") == "true"
    assert reads(administrator, form["key"])["blocked_prefixes"] == []


@pytest.mark.long
def test_a_form_is_switched_off_and_removed_and_all_can_be_stopped(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor, client: FlaskClient
) -> None:
    form = makes_form(administrator)
    tab = opens(page, portal, administrator, "Websites")
    switch = tab.get_by_role("switch", name="“Main site” is on")
    switch.click()
    expect(tab.get_by_text("The form is turned off.")).to_be_visible()
    expect(switch).to_be_focused()
    tab.get_by_role("button", name="Turn on").click()
    expect(switch).to_be_checked()
    tab.get_by_role("button", name="Pause all forms").click()
    tab.get_by_role("button", name="Yes, pause them").click()
    expect(tab.get_by_text("All forms are paused and accept no requests.")).to_be_visible()
    assert "call you back now" in client.get(f"/w/{form['key']}").text
    goes_to(tab, "Callbacks")
    expect(tab.get_by_text("All website forms are paused. Resume them under Websites.")).to_be_visible()
    goes_to(tab, "Websites").get_by_role("button", name="Resume").click()
    expect(tab.get_by_role("button", name="Pause all forms")).to_be_visible()
    tab.get_by_role("button", name="Remove", exact=True).click()
    expect(tab.get_by_role("button", name="Remove the form")).to_be_focused()
    tab.get_by_role("button", name="No, keep").first.click()
    tab.get_by_role("button", name="Remove", exact=True).click()
    tab.get_by_role("button", name="Remove the form").click()
    expect(tab.get_by_text("No form yet.")).to_be_visible()
    assert client.get(f"/w/{form['key']}").status_code == 404


def test_a_key_is_shown_once_and_revoked(page: Page, portal: FakePortal, manager: Actor, administrator: Actor) -> None:
    makes_form(administrator)
    tab = opens(page, portal, administrator, "Websites > Developers")
    tab.get_by_label("Key name").fill("Online shop")
    tab.get_by_role("button", name="Create key").click()
    shown = tab.get_by_label("New key")
    expect(shown).to_have_value(re.compile("^cbk_"))
    secret = shown.input_value()
    tab = opens(page, portal, administrator, "Websites > Developers")
    expect(tab.get_by_text("Online shop")).to_be_visible()
    assert secret not in tab.locator("body").inner_html()
    tab.get_by_role("button", name="Revoke", exact=True).click()
    tab.get_by_role("button", name="Revoke the key").click()
    expect(tab.get_by_text("No key yet.")).to_be_visible()


def test_the_do_not_call_list_takes_in_finds_and_gives_out(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    tab = opens(page, portal, administrator, "Settings > Do not call")
    tab.get_by_label("Phone number", exact=True).last.fill("no number")
    tab.get_by_role("button", name="Add", exact=True).click()
    expect(tab.locator("#dnc-number-problem")).to_be_visible()
    tab.get_by_label("Phone number", exact=True).last.fill("+49 30 901820")
    tab.get_by_label("Note").fill("by letter")
    tab.get_by_role("button", name="Add", exact=True).click()
    expect(tab.get_by_text("+49 30 901820")).to_be_visible()
    tab.locator("summary", has_text="Import and export").click()
    tab.get_by_label("Numbers, one a line").fill("+49 30 901821; rude\n+49 30 901820\nnonsense")
    tab.get_by_role("button", name="Import", exact=True).click()
    expect(tab.get_by_text("Added: 1, On the list before: 1, Not a number, left in the field: 1")).to_be_visible()
    expect(tab.get_by_label("Numbers, one a line")).to_have_value("nonsense")
    with page.expect_download() as got:
        tab.get_by_role("button", name="Download the list").click()
    assert "901821" in got.value.path().read_text()
    tab.get_by_label("Search by digits").fill("901821")
    tab.get_by_role("button", name="Search").click()
    expect(tab.get_by_text("+49 30 901820")).to_be_hidden()
    tab.get_by_role("button", name="Remove", exact=True).click()
    tab.get_by_role("button", name="Remove the number").click()
    expect(tab.locator(".item", has_text="+49 30 901820")).to_be_visible()
    expect(tab.locator(".item", has_text="+49 30 901821")).to_be_hidden()


@pytest.mark.long
def test_a_list_of_any_length_is_taken_in_part_by_part_as_a_spreadsheet_saves_it(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    tab = opens(page, portal, administrator, "Settings > Do not call")
    tab.locator("summary", has_text="Import and export").click()
    numbers = [f"+4930{90000000 + number}\t{'просил, письмом ' * 3}" for number in range(5300)]
    whole = "\r\n".join(["number\tnote", *numbers[:5000], "nonsense", *numbers[5000:]])
    assert len(whole) > 256 * 1024
    listed: FilePayload = {"name": "list.txt", "mimeType": "text/plain", "buffer": whole.encode("utf-16")}
    tab.get_by_label("File with numbers").set_input_files(listed)
    expect(tab.get_by_label("Numbers, one a line")).to_have_value(re.compile("^number"))
    tab.get_by_role("button", name="Import", exact=True).click()
    told = tab.get_by_text("Added: 5300, Not a number, left in the field: 1")
    expect(told).to_be_visible(timeout=60_000)
    expect(tab.get_by_label("Numbers, one a line")).to_have_value("nonsense")
    expect(tab.get_by_text("просил, письмом").first).to_be_visible()


@pytest.mark.long
def test_a_list_waits_for_its_turn(page: Page, portal: FakePortal, manager: Actor, administrator: Actor) -> None:
    tab = opens(page, portal, administrator, "Settings > Do not call")
    tab.locator("summary", has_text="Import and export").click()
    tab.get_by_label("Numbers, one a line").fill("+49 30 901821")
    with lists_at_once.hold(1), page.expect_response(lambda response: response.status == 429):
        tab.get_by_role("button", name="Import", exact=True).click()
    expect(tab.get_by_text("Added: 1")).to_be_visible(timeout=30_000)


def test_a_trial_marks_the_rule_that_decides(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    makes_form(administrator)
    tab = opens(page, portal, administrator, "Websites > Rejected requests")
    tab.locator("#test-number").fill("+33 1 42 68 53 00")
    tab.get_by_role("button", name="Try", exact=True).click()
    deciding = tab.locator("tr.deciding")
    expect(deciding).to_contain_text("Its country is not among the allowed ones.")
    expect(deciding).to_contain_text("country: FR")
    tab.locator("#test-number").fill("030 901820")
    tab.get_by_label("Address of the website").fill("https://evil.example")
    tab.get_by_role("button", name="Try", exact=True).click()
    expect(deciding).to_contain_text("It comes from a page that is not in the list of sites.")
    tab.get_by_label("Address of the website").fill(SITE)
    tab.get_by_role("button", name="Try", exact=True).click()
    expect(tab.get_by_text("The request would be accepted and called;")).to_be_visible()
    expect(deciding).to_have_count(0)


@pytest.mark.long
def test_refusals_are_counted_and_a_used_up_budget_is_told_at_once(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor, client: FlaskClient
) -> None:
    form = makes_form(administrator, budget_calls=0)
    visitor = Visitor(client, form["key"], origin=SITE)
    for number in ("abc", "030 901820", "0900"):
        visitor.asks(number)
    tab = opens(page, portal, administrator, "Callbacks")
    expect(tab.get_by_text("The form “Main site” has used up today's calls")).to_be_visible()
    goes_to(tab, "Websites > Rejected requests")
    expect(tab.get_by_role("heading", name="Main site: 3 rejected requests")).to_be_visible()
    expect(tab.get_by_role("row", name="The calls of the day on which it is due are used up. 1")).to_be_visible()


@BOTH
def test_what_is_typed_and_pressed_while_the_editors_script_is_late_is_not_lost(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    def deliver(route: Route) -> None:
        page.wait_for_timeout(700)
        route.continue_()

    made = makes_form(administrator)
    page.route("**/panels/form.js", deliver)
    tab = opens(page, portal, administrator, "Websites")
    tab.locator(".item").get_by_role("link", name="Settings").click()
    tab.get_by_label("Internal name").fill("Shop")
    tab.get_by_role("link", name="Questions").click()
    tab.get_by_label("Topic", exact=True).select_option("asked, required")
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_text("Saved.", exact=True)).to_be_visible()
    form = reads(administrator, made["key"])
    assert (form["name"], form["fields"]["topic"]) == ("Shop", "required")

"""Without a connection the desk says so where somebody looks, keeps what was typed, and goes on by itself."""

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.test_journey import frame
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.parametrize("page", ["desktop"], indirect=True),
]
CUT = ("**/desk/callbacks?*", "**/api/v1/callbacks", "**/desk/view/**")


def cut(route: Route) -> None:
    route.abort("connectionreset")


@pytest.mark.long
def test_a_lost_connection_is_said_at_each_place_and_goes_by(page: Page, portal: FakePortal, manager: Actor) -> None:
    page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user=1")
    tab = frame(page)
    [note, number, call] = [
        tab.locator("#connection"),
        tab.locator("#to_number"),
        tab.get_by_role("button", name="Call", exact=True),
    ]
    expect(call).to_be_enabled()
    expect(note).to_be_hidden()
    for address in CUT:
        page.route(address, cut)
    expect(note).to_contain_text("Connection lost, trying again… Not updated since ")
    expect(note).to_be_visible()
    number.fill("12")
    call.click()
    expect(tab.locator("#result")).to_contain_text("Nothing is lost")
    expect(number).to_have_value("12")
    for address in CUT:
        page.unroute(address, cut)
    expect(note).to_be_hidden()
    # The next refusal takes the place of the note, and the focus goes to the field.
    call.click()
    expect(tab.locator("#to_number-error")).to_be_visible()
    expect(number).to_be_focused()
    expect(number).to_have_attribute("aria-invalid", "true")
    expect(tab.locator("#result")).to_be_hidden()
    # A view that cannot be fetched says so, and can be asked for once more.
    page.route(CUT[-1], cut)
    tab.get_by_role("navigation", name="Sections").get_by_role("link", name="Websites").click()
    expect(tab.get_by_text("No connection to the app.")).to_be_visible()
    page.unroute(CUT[-1], cut)
    tab.get_by_role("button", name="Try again").click()
    expect(tab.get_by_role("heading", name="Website forms")).to_be_visible()

"""The look: fonts, sizes and colours of Bitrix24, and no page wider than its frame."""

import gzip

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from bx24app.worker.worker import Worker
from tests.browser.test_journey import frame, goes_to, no_scroll_bar, opens_card, unfolds_start_bar
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakeApp, FakeLine, FakePortal
from tests.fake_bitrix24.page import STATIC
from tests.support.actors import Actor, json_of
from tests.support.browser import screenshot

pytestmark = pytest.mark.browser
SMALL = 480
BOTH = pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)


def style(tab: FrameLocator, selector: str, name: str) -> str:
    value: str = tab.locator(selector).first.evaluate(f"e => getComputedStyle(e).getPropertyValue('{name}')")
    return value


def width(page: Page) -> int:
    size = page.viewport_size
    assert size is not None
    return size["width"]


def shoot(page: Page, name: str) -> None:
    screenshot(page, f"{name}-{width(page)}")


@BOTH
def test_the_desk_looks_like_the_portal(page: Page, portal: FakePortal, manager: Actor) -> None:
    page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user=1")
    tab = frame(page)
    expect(tab.get_by_role("heading", name="New callback")).to_be_visible()
    # The page is there before its style may be.
    expect(tab.locator("body")).to_have_css("font-size", "14px")
    assert style(tab, "body", "font-family").startswith("system-ui")
    assert style(tab, "body", "font-size") == "14px"
    assert style(tab, "body", "background-color") == "rgb(238, 242, 244)"
    assert style(tab, ".card", "background-color") == "rgb(255, 255, 255)"
    assert style(tab, ".card", "border-top-left-radius") == "10px"
    expect(tab.locator(".start.ready")).to_have_count(1)
    unfolds_start_bar(page)
    height = "44px" if width(page) < SMALL else "34px"
    for control, radius in {"#to_number": "8px", "#line_id": "8px", "#voice_id": "8px", "#later": "10px"}.items():
        assert style(tab, control, "height") == height, control
        assert style(tab, control, "border-top-left-radius") == radius, control
    expect(tab.locator("#call")).to_have_css("background-color", "rgb(0, 106, 232)")
    assert style(tab, "#call", "border-top-left-radius") == "10px"
    assert style(tab, "#call", "height") == ("46px" if width(page) < SMALL else "34px")
    goes_to(tab, "Settings > Calls")
    expect(tab.get_by_label("Default line")).to_be_visible()
    no_scroll_bar(page)
    shoot(page, "desk-settings")


@pytest.mark.long
@BOTH
def test_administrators_see_what_to_mend_and_what_was_asked(page: Page, portal: FakePortal, manager: Actor) -> None:
    portal.administrator.rights.discard("statistics.view")
    page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user=1")
    tab = frame(page)
    # No second administrator, no country, and a right that is missing; the tab counts them, also after a reload.
    settings = tab.get_by_role("navigation", name="Sections").get_by_role("link", name="Settings")
    expect(settings).to_have_text("Settings")
    goes_to(tab, "Settings > Setup check")
    expect(tab.get_by_text("3 things need attention.")).to_be_visible()
    expect(settings).to_have_text("Settings3")
    expect(tab.get_by_text("Give the right “Call statistics: view”")).to_be_visible()
    no_scroll_bar(page)
    shoot(page, "desk-check")
    portal.administrator.rights.add("statistics.view")
    tab.get_by_role("button", name="Check again").click()
    expect(tab.get_by_text("2 things need attention.")).to_be_visible()
    page.reload()
    expect(settings).to_have_text("Settings2")
    goes_to(tab, "Settings > Request log")
    expect(tab.locator("#requests-list li").first).to_be_visible()
    no_scroll_bar(page)
    shoot(page, "desk-requests")
    tab.get_by_label("Outcome").select_option("Refused or lost")
    expect(tab.get_by_text("No request fits. Choose other filters.")).to_be_visible()
    # Whoever is no administrator has none of it.
    page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user=2")
    expect(tab.get_by_role("heading", name="New callback")).to_be_visible()
    sections = tab.get_by_role("navigation", name="Sections").get_by_role("link")
    expect(sections).to_have_text(["Callbacks", "Reports"])


@BOTH
def test_the_tab_of_a_lead_is_white_and_fits(
    page: Page, portal: FakePortal, manager: Actor, worker: Worker, eventually: Eventually
) -> None:
    lead = portal.crm.add_lead(
        "A very long title of a lead that goes on and on for a while", "Clara", ["+49 30 901820"]
    )
    portal.lines["sip8"] = FakeLine("A line with an uncommonly long name that somebody typed in", "sip")
    portal.faults.add("error", "voximplant.callback.start", code="ERROR_CORE", words="Not enough money" * 9)
    manager.requests_callback(wait=5, crm_entity={"type": "LEAD", "id": lead})
    portal.faults.add("drop_before", "voximplant.callback.start")
    lost = json_of(manager.requests_callback("+4930901821", crm_entity={"type": "LEAD", "id": lead}))
    eventually(lambda: manager.sees(lost["id"])["state"] == "unknown")
    manager.requests_callback(
        "+4930901822", scheduled_at="2027-03-01T10:30:00Z", crm_entity={"type": "LEAD", "id": lead}
    )
    manager.requests_callback("+4930901823", wait=5, crm_entity={"type": "LEAD", "id": lead})
    tab = opens_card(page, portal, "lead", lead)
    expect(tab.locator(".callback")).to_have_count(4)
    assert style(tab, "body", "background-color") == "rgb(255, 255, 255)"
    expect(tab.get_by_role("button", name="What happened?")).to_be_visible()
    no_scroll_bar(page)
    shoot(page, "lead")


@BOTH
def test_the_install_page_finishes_by_itself_or_offers_a_button(
    page: Page, portal: FakePortal, application: FakeApp, app: object
) -> None:
    portal.missing_methods.add("placement.bind")
    deaf = (STATIC / "portal.js").read_text().replace("async setInstallFinish", "async setInstallFinishIgnored")
    # A portal that does not open the app anew: its page would do so after this answer.
    page.route("**/static/portal.js", lambda route: route.fulfill(body=deaf, content_type="text/javascript"))
    page.goto(f"{portal.url}/marketplace/app/{application.client_id}/?user=1")
    tab = frame(page)
    expect(tab.get_by_role("heading", name="Callback Desk is installed")).to_be_visible()
    expect(tab.get_by_text("Some things could not be set up yet")).to_be_visible()
    expect(tab.get_by_role("button", name="Finish the installation")).to_be_visible(timeout=9000)
    no_scroll_bar(page)
    shoot(page, "install")


@BOTH
def test_error_pages_fit_and_explain(page: Page, portal: FakePortal, manager: Actor) -> None:
    portal.manager.dismissed = True
    page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user=2")
    expect(frame(page).get_by_role("heading", name="The app could not recognise you")).to_be_visible()
    no_scroll_bar(page)
    shoot(page, "error")


@BOTH
@pytest.mark.parametrize("path", ["/", "/legal/privacy"])
def test_pages_outside_of_a_portal_fit(page: Page, app: object, environ: dict[str, str], path: str) -> None:
    page.goto(environ["BX24APP_PUBLIC_URL"] + path)
    expect(page.locator("h1")).to_be_visible()
    no_scroll_bar(page)
    shoot(page, "outside" + path.replace("/", "-").rstrip("-"))


@BOTH
def test_a_portal_without_lines_says_what_to_do(page: Page, portal: FakePortal, manager: Actor) -> None:
    portal.lines.clear()
    manager.asks("GET", "/lines?refresh=1")
    page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user=2")
    tab = frame(page)
    expect(tab.locator(".start.ready")).to_have_count(1)
    unfolds_start_bar(page)
    note = tab.get_by_text("This Bitrix24 has no telephone line yet")
    expect(note).to_be_visible()
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_disabled()
    no_scroll_bar(page)
    shoot(page, "no-lines")
    portal.lines["reg7"] = FakeLine("A new line")
    tab.get_by_role("button", name="Refresh the list of lines").click()
    expect(tab.get_by_label("Line", exact=True)).to_have_value("reg7")
    expect(tab.get_by_text("“A new line” rings first")).to_be_visible()
    expect(note).to_be_hidden()
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_enabled()


# Until then nobody can press anything.
USABLE = """new MutationObserver(() => {
  if (document.getElementById("main")?.inert === false) window.usableAt ??= performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true })"""
ASKED_BEFORE = """performance.getEntriesByType("resource")
  .filter((one) => one.startTime < window.usableAt).map((one) => one.name.split("#")[0])"""


def test_the_page_is_light_and_asks_nothing_twice(page: Page, portal: FakePortal, manager: Actor) -> None:
    """Everything needed before the page is usable, compressed: 25 KB at most (a proxy compresses in production).

    Lines and voices are fresh: the portal is asked for what proves the launch alone, and the first poll brings nothing.
    """
    administrator = Actor(manager.client, portal, manager.application, portal.administrator)
    administrator.opens()
    polls: list[int] = []
    page.on("response", lambda r: polls.append(r.status) if "/desk/callbacks?" in r.url else None)
    asked = len(portal.requests)
    page.add_init_script(USABLE)
    bodies: dict[str, bytes] = {}
    page.on("response", lambda r: bodies.update({r.url: r.body()}) if "127.0.0.1" in r.url and r.ok else None)
    page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user=1")
    # The card of the first run comes after that.
    expect(frame(page).get_by_role("heading", name="Get ready: 0 of 4 done")).to_be_visible()
    before = page.frames[-1].evaluate(ASKED_BEFORE)
    needed = [body for url, body in bodies.items() if url in before or page.frames[-1].url == url]
    assert 6 <= len(needed) < len(bodies)
    assert sum(len(gzip.compress(body)) for body in needed) < 25 * 1024
    page.wait_for_timeout(500)
    assert [recorded.path for recorded in portal.requests[asked:]] == ["batch"]
    assert polls[0] == 304

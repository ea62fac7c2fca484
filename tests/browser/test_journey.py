"""In a real browser: install, open a lead, call, answer both phones, follow the call to its end."""

import re

import pytest
from playwright.sync_api import FrameLocator, Locator, Page, Route, expect

from bx24app.worker.worker import Worker
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import Actor
from tests.support.browser import screenshot

pytestmark = pytest.mark.browser

PATIENCE_MS = 15_000


def frame(page: Page) -> FrameLocator:
    return page.frame_locator("iframe")


def opens_card(page: Page, portal: FakePortal, kind: str, id: int, user: int = 2) -> FrameLocator:
    page.goto(f"{portal.url}/crm/{kind}/details/{id}/?user={user}")
    page.get_by_role("tab", name="Callbacks").click()
    return frame(page)


def goes_to(tab: FrameLocator, view: str) -> FrameLocator:
    """Press a tab of the desk, and a page inside of its section: "Settings > Hours"; returns once it is ready."""
    section, _, inner = view.partition(" > ")
    link = tab.get_by_role("navigation", name="Sections").get_by_role("link", name=section)
    link.click()
    has_opened(tab, link)
    if inner:
        pages = tab.get_by_role("navigation", name=f"Pages of {section}")
        link, listed = pages.get_by_role("link", name=inner, include_hidden=True), pages.get_by_role("combobox")
        if listed.count() and listed.is_visible():
            listed.select_option(inner)
        else:
            link.click()
        has_opened(tab, link)
    return tab


def has_opened(tab: FrameLocator, link: Locator) -> None:
    address = link.get_attribute("href") or ""
    expect(tab.locator("main")).to_have_attribute("data-path", address.removeprefix("#/"))
    expect(tab.locator("main h1")).to_have_count(1)


def unfolds_start_bar(page: Page) -> None:
    """On a telephone the start bar of the desk is one button at first."""
    bar = frame(page).get_by_role("button", name="New callback")
    if bar.get_attribute("aria-expanded") == "false":
        bar.click()


def state(tab: FrameLocator) -> Locator:
    """Of the newest callback in the list."""
    return tab.locator(".callback .state").first


def phone(page: Page, whose: str, button: str) -> None:
    page.get_by_label(f"{whose}'s phone").get_by_role("button", name=button).click()


def no_scroll_bar(page: Page) -> None:
    for shown in page.frames:
        sizes = shown.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert sizes[0] <= sizes[1], shown.url


@pytest.fixture
def installed(manager: Actor) -> Actor:
    return manager


def test_from_the_install_button_to_the_end_of_the_call(
    app: object, page: Page, portal: FakePortal, application: FakeApp, worker: Worker
) -> None:
    lead = portal.crm.add_lead("Question about the price list", "Clara", ["+49 30 901820"])
    page.goto(portal.url)
    page.get_by_role("button", name="Install").click()
    expect(frame(page).get_by_role("heading", name="New callback")).to_be_visible()
    assert portal.is_finished(application.client_id)
    assert "install_finished=Y" in page.url
    screenshot(page, "desk-1280")
    no_scroll_bar(page)

    tab = opens_card(page, portal, "lead", lead)
    expect(tab.get_by_label("Phone number")).to_have_value("+49 30 901820")
    expect(tab.get_by_label("Line", exact=True)).to_have_value("reg150907")
    expect(tab.get_by_text("“Sales line” rings first")).to_be_visible()
    tab.get_by_role("button", name="Call", exact=True).click()
    expect(state(tab)).to_have_text("Ringing · Sales line", timeout=PATIENCE_MS)
    phone(page, "Manager", "Answer")
    expect(state(tab)).to_have_text("Picked up · Max Weber", timeout=PATIENCE_MS)
    screenshot(page, "lead-answered-1280")
    phone(page, "Customer", "Answer")
    expect(page.get_by_label("Customer's phone").get_by_text("talking")).to_be_visible()
    portal.cloud.clock.advance(192)
    phone(page, "Manager", "Hang up")
    # The clock that the test turned forward goes on: a slow machine talks a few seconds longer.
    expect(state(tab)).to_have_text(re.compile("Talked 3 min 1[2-9] s"), timeout=PATIENCE_MS)
    [call] = portal.telephony.calls
    assert call.asked_by is portal.manager
    # One of them opens in the whole desk beside the card.
    tab.get_by_role("rowheader").get_by_role("link").click()
    opened = page.frame_locator(".slider iframe")
    expect(opened.get_by_text("“Sales line” rings", exact=True)).to_be_visible()
    screenshot(page, "lead-ended-1280")
    no_scroll_bar(page)


def test_a_missed_call_says_why_and_can_be_repeated(
    page: Page, portal: FakePortal, installed: Actor, worker: Worker
) -> None:
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
    tab = opens_card(page, portal, "lead", lead)
    tab.get_by_role("button", name="Call", exact=True).click()
    phone(page, "Manager", "Answer")
    phone(page, "Customer", "Refuse")
    expect(tab.locator(".callback").get_by_text("The call was declined.")).to_be_visible(timeout=PATIENCE_MS)
    tab.get_by_role("button", name="Call again").click()
    expect(state(tab)).to_have_text("Ringing · Sales line", timeout=PATIENCE_MS)
    assert len(portal.telephony.dials) == 2


def test_a_lost_dial_is_shown_honestly_and_settled_by_a_person(
    page: Page, portal: FakePortal, installed: Actor, worker: Worker
) -> None:
    portal.faults.add("drop_before", "voximplant.callback.start")
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
    tab = opens_card(page, portal, "lead", lead)
    tab.get_by_role("button", name="Call", exact=True).click()
    expect(state(tab)).to_have_text("Outcome unknown")
    screenshot(page, "unknown-1280")
    tab.get_by_role("button", name="What happened?").click()
    tab.get_by_role("button", name="No, keep").click()
    expect(tab.get_by_role("button", name="What happened?")).to_be_focused()
    tab.get_by_role("button", name="What happened?").click()
    tab.get_by_role("button", name="Call again now").click()
    expect(state(tab)).to_have_text("Ringing · Sales line")


@pytest.mark.long
def test_several_numbers_are_a_choice(page: Page, portal: FakePortal, installed: Actor, worker: Worker) -> None:
    contact = portal.crm.add_contact("Marta", "Keller", [("+41 44 668 18 00", "WORK"), ("+41 79 123 45 67", "MOBILE")])
    deal = portal.crm.add_deal("Delivery", contact_id=contact)
    tab = opens_card(page, portal, "deal", deal)
    numbers = tab.get_by_label("Phone number")
    expect(numbers.locator("option")).to_have_text(
        ["+41 79 123 45 67 (mobile, Marta Keller)", "+41 44 668 18 00 (work, Marta Keller)", "Another number…"]
    )
    tab.get_by_role("button", name="Call", exact=True).click()
    expect(state(tab)).to_have_text("Ringing · Sales line")
    assert portal.telephony.dials[0]["number"] == "+41791234567"


def test_a_wrong_number_is_said_at_the_field(page: Page, portal: FakePortal, installed: Actor) -> None:
    lead = portal.crm.add_lead("No number yet", "Jean")
    tab = opens_card(page, portal, "lead", lead)
    expect(tab.get_by_text("This card has no phone number.")).to_be_visible()
    tab.get_by_label("Phone number").fill("12")
    with_error = tab.get_by_label("Phone number")
    tab.get_by_role("button", name="Call", exact=True).click()
    expect(tab.get_by_text("This is not a phone number that can be called")).to_be_visible()
    expect(with_error).to_have_attribute("aria-invalid", "true")
    expect(with_error).to_be_focused()


def test_a_callback_is_planned_cancelled_and_called_from_ones_own_phone(
    page: Page, portal: FakePortal, installed: Actor, worker: Worker
) -> None:
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
    tab = opens_card(page, portal, "lead", lead)
    tab.get_by_role("button", name="Call later").click()
    tab.get_by_role("button", name="Tomorrow 09:00").click()
    tab.get_by_role("button", name="Schedule for").click()
    expect(state(tab)).to_have_text(re.compile("^Scheduled, "))
    tab.get_by_role("button", name="Actions for").click()
    tab.get_by_role("menuitem", name="Cancel").click()
    expect(state(tab)).to_have_text("Cancelled")
    tab.get_by_role("button", name="From my phone").click()
    expect(page.get_by_text("softphone calling +49 30 901820")).to_be_visible()
    assert portal.telephony.dials == []


@pytest.mark.long
def test_an_expired_ticket_is_renewed_without_losing_what_was_typed(
    page: Page, portal: FakePortal, installed: Actor, worker: Worker
) -> None:
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
    tab = opens_card(page, portal, "lead", lead)
    tab.get_by_label("Text").fill("Something of my own")
    inner = next(shown for shown in page.frames if shown.parent_frame)
    soon = "new Date(Date.now() + 1000).toISOString()"
    inner.evaluate(f"document.querySelector('meta[name=bx24app-ticket-expires]').content = {soon}")
    tab.get_by_role("button", name="Call", exact=True).click()
    expect(state(tab)).to_have_text("Ringing · Sales line")
    expires = "Date.parse(document.querySelector('meta[name=bx24app-ticket-expires]').content) - Date.now()"
    assert inner.evaluate(expires) > 50 * 60 * 1000
    assert portal.telephony.dials[0]["text"] == "Something of my own"
    assert "refreshAuth" in page.evaluate("window.messages")


def test_the_page_speaks_russian(page: Page, portal: FakePortal, installed: Actor) -> None:
    portal.manager.language = "ru"
    lead = portal.crm.add_lead("Лид", "Клара", ["+7 495 123-45-67"])
    tab = opens_card(page, portal, "lead", lead)
    expect(tab.get_by_role("button", name="Позвонить", exact=True)).to_be_visible()
    expect(tab.get_by_label("Линия", exact=True)).to_be_visible()
    screenshot(page, "lead-ru-1280")


def test_the_keyboard_is_enough(page: Page, portal: FakePortal, installed: Actor, worker: Worker) -> None:
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
    tab = opens_card(page, portal, "lead", lead)
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_enabled()
    tab.get_by_label("Phone number").focus()
    page.keyboard.press("Enter")
    expect(state(tab)).to_have_text("Ringing · Sales line")


@pytest.mark.long
def test_a_press_before_the_script_is_there_does_not_leave_the_page(
    page: Page, portal: FakePortal, installed: Actor, worker: Worker
) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/compact.js", hold)
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
    page.goto(f"{portal.url}/crm/lead/details/{lead}/?user=2", wait_until="commit")
    page.get_by_role("tab", name="Callbacks").click(no_wait_after=True)
    tab = frame(page)
    tab.get_by_label("Phone number").press("Enter", no_wait_after=True)
    page.wait_for_timeout(300)
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_disabled()
    held[0].continue_()
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_enabled()
    tab.get_by_label("Phone number").press("Enter")
    expect(state(tab)).to_have_text("Ringing · Sales line")


@pytest.mark.long
def test_polling_stops_while_the_page_is_hidden(page: Page, portal: FakePortal, installed: Actor) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/desk/callbacks" in request.url else None)
    lead = portal.crm.add_lead("Lead", "Clara", ["+49 30 901820"])
    tab = opens_card(page, portal, "lead", lead)
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_visible()
    inner = next(shown for shown in page.frames if shown.parent_frame)
    inner.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.wait_for_timeout(1200)
    quiet = len(asked)
    page.wait_for_timeout(3000)
    assert len(asked) == quiet
    inner.evaluate(
        "Object.defineProperty(document, 'hidden', {value: false, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.wait_for_timeout(500)
    assert len(asked) > quiet

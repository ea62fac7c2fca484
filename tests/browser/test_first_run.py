"""In a real browser, told by visible labels alone: from the installed app to a website whose button rings the line."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import FrameLocator, Locator, Page, expect

from bx24app.worker.worker import Worker
from tests.browser.test_appearance import shoot
from tests.browser.test_journey import PATIENCE_MS, frame, goes_to, no_scroll_bar, phone
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import Actor
from tests.support.browser import problems
from tests.support.waiting import change_portal
from tests.website import Website

pytestmark = pytest.mark.browser
ALWAYS = {day: [["00:00", "24:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}


class Hand:
    """Presses what a person sees, and counts."""

    def __init__(self, tab: FrameLocator) -> None:
        self.tab, self.presses = tab, 0

    def presses_button(self, name: str) -> None:
        self.tab.get_by_role("button", name=name, exact=True).click()
        self.presses += 1


def ready(tab: FrameLocator, words: str) -> Locator:
    return tab.get_by_role("heading", name=words)


def calls_a_phone(page: Page, hand: Hand) -> Locator:
    """Do the third step: a mistake is said at its field, then both phones are answered; returns the strip."""
    number = hand.tab.get_by_label("Your own phone")
    number.fill("12")
    number.press("Enter")
    expect(hand.tab.get_by_text("This is not a phone number that can be called")).to_be_visible()
    number.fill("+49 30 901899")
    hand.presses_button("Call my phone")
    expect(ready(hand.tab, "Get ready: 3 of 4 done")).to_be_visible()
    strip = hand.tab.get_by_role("region", name="The callback just started")
    expect(strip.get_by_text("Ringing · Sales line")).to_be_visible(timeout=PATIENCE_MS)
    phone(page, "Manager", "Answer")
    phone(page, "Customer", "Answer")
    return strip


def puts_on_site_and_asks(website: Page, site: Website, snippet: str) -> None:
    """Paste the line into the website, press its button, and ask for a call there."""
    website.goto(site.url)
    website.get_by_label("The line").fill(snippet)
    website.get_by_role("button", name="Put it on this page").click()
    website.get_by_role("button", name="Call me back").click()
    dialog = website.frame_locator("iframe")
    dialog.get_by_label("Your phone number").fill("+49 30 901820")
    dialog.get_by_role("checkbox", name="I agree to be called back").check()
    dialog.get_by_role("button", name="Call me back").click()


@pytest.fixture
def site() -> Iterator[Website]:
    """The website of the demo."""
    with Website("localhost") as website:
        yield website


def test_five_presses_lead_from_the_installed_app_to_a_button_that_rings_the_line(
    app: Flask, page: Page, portal: FakePortal, application: FakeApp, worker: Worker, site: Website
) -> None:
    page.goto(portal.url)
    page.get_by_role("button", name="Install").click()
    tab = frame(page)
    expect(ready(tab, "Get ready: 0 of 4 done")).to_be_visible()
    # Below the card the desk is usable at once.
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_enabled()
    views: list[str] = []
    page.on("request", lambda request: views.append(request.url) if "/desk/view/" in request.url else None)
    shoot(page, "first-run")
    hand = Hand(tab)
    tab.get_by_role("radio", name="Sales line").check()
    hand.presses_button("Ring this one")
    expect(ready(tab, "Get ready: 1 of 4 done")).to_be_visible()
    expect(tab.get_by_text("Mon – Fri")).to_be_visible()
    hand.presses_button("Looks right")
    expect(ready(tab, "Get ready: 2 of 4 done")).to_be_visible()
    strip = calls_a_phone(page, hand)
    tab.get_by_label("Website address").fill(site.url)
    hand.presses_button("Create")
    snippet = tab.get_by_label("Paste this line into your website")
    expect(snippet).to_be_visible()
    expect(tab.get_by_text("Waiting for your website.")).to_be_visible()
    hand.presses_button("Copy")
    assert hand.presses == 5
    shoot(page, "first-run-website")
    no_scroll_bar(page)
    assert problems(page.frames[-1]) == []
    phone(page, "Manager", "Hang up")
    expect(strip.get_by_text(re.compile("Talked"))).to_be_visible(timeout=PATIENCE_MS)

    # At night and on Sundays, too, this test is run; visitors would be offered times then.
    change_portal(app, hours={"zone": "Europe/Berlin", "week": ALWAYS})
    website = page.context.new_page()
    puts_on_site_and_asks(website, site, snippet.input_value())
    expect(page.get_by_label("Manager's phone").get_by_text("Sales line rings")).to_be_visible(timeout=PATIENCE_MS)
    assert [call.number for call in portal.telephony.calls] == ["+4930901899", "+4930901820"]
    # The card has seen the button by itself, says so, and goes; the strip is back at its own place.
    website.close()
    expect(ready(tab, "Ready: 4 of 4 done")).to_be_visible(timeout=PATIENCE_MS)
    expect(ready(tab, "Ready: 4 of 4 done")).to_have_count(0, timeout=PATIENCE_MS)
    expect(strip.get_by_text(re.compile("Talked"))).to_be_visible()
    assert views == []
    page.reload()
    expect(tab.get_by_role("button", name="Call", exact=True)).to_be_enabled()
    expect(ready(tab, "Get ready")).to_have_count(0)


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_keyboard_skips_changes_and_closes_and_it_stays_so(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    administrator.user.language = "ru"
    page.goto(f"{portal.url}/marketplace/app/{administrator.application.client_id}/?user=1")
    tab = frame(page)
    expect(ready(tab, "Подготовка: готово 0 из 4")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    no_scroll_bar(page)
    assert problems(page.frames[-1]) == []
    shoot(page, "first-run-ru")
    tab.get_by_role("button", name="Пропустить").press("Enter")
    # The step that comes next has the focus, and is open.
    change = tab.get_by_role("button", name="Изменить")
    expect(change).to_be_visible()
    for _ in range(2):
        page.keyboard.press("Tab")
    expect(change).to_be_focused()
    page.keyboard.press("Enter")
    saturday = tab.get_by_role("group", name="Суббота")
    saturday.get_by_role("checkbox").check()
    shoot(page, "first-run-hours-ru")
    no_scroll_bar(page)
    tab.get_by_role("button", name="Сохранить эти часы").press("Enter")
    expect(ready(tab, "Подготовка: готово 1 из 4")).to_be_visible()
    page.reload()
    expect(ready(tab, "Подготовка: готово 1 из 4")).to_be_visible()
    tab.get_by_role("button", name="Закрыть", exact=True).press("Enter")
    expect(tab.get_by_role("button", name="Закрыть насовсем")).to_be_focused()
    page.keyboard.press("Escape")
    expect(tab.get_by_role("button", name="Закрыть", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(ready(tab, "Подготовка")).to_have_count(0)
    page.reload()
    expect(tab.get_by_role("heading", name="Обратные звонки", level=1)).to_have_count(1)
    expect(tab.get_by_role("search")).to_be_visible()
    expect(ready(tab, "Подготовка")).to_have_count(0)


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_finding_is_cured_beside_it_and_goes(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    kept = dict(portal.lines)
    portal.lines.clear()
    portal.bindings_of(administrator.application.client_id).events.clear()
    page.goto(f"{portal.url}/marketplace/app/{administrator.application.client_id}/?user=1")
    tab = goes_to(frame(page), "Settings > Setup check")
    findings = tab.get_by_role("listitem")
    expect(findings.filter(has_text="Needs fixing").first).to_be_visible(timeout=PATIENCE_MS)
    levels = ("Needs fixing", "Attention", "OK")
    firsts = [text.strip().split("\n")[0] for text in findings.all_inner_texts()]
    order = [levels.index(first) for first in firsts if first in levels]
    bad = len(order) - order.count(levels.index("OK"))
    assert order == sorted(order)
    counter = tab.get_by_role("navigation", name="Sections").get_by_role("link", name="Settings")
    expect(counter).to_have_text(re.compile(rf"^\s*Settings\s*{bad}\s*$"))
    shoot(page, "setup-check")
    assert problems(page.frames[-1]) == []
    tab.get_by_role("button", name="Bind again").click()
    expect(tab.get_by_text("All tabs and event handlers are in place.")).to_be_visible()
    expect(tab.get_by_role("button", name="Bind again")).to_have_count(0)
    portal.lines.update(kept)
    tab.get_by_role("button", name="Refresh lines").click()
    expect(tab.get_by_text("2 lines found.")).to_be_visible()
    expect(tab.get_by_role("button", name="Refresh lines")).to_have_count(0)
    expect(counter).to_have_text(re.compile(rf"^\s*Settings\s*{bad - 2}\s*$"))
    tab.get_by_role("button", name="Ask a colleague").click()
    expect(tab.get_by_role("button", name="Copied")).to_be_visible()
    link = tab.get_by_label("Link for a colleague").input_value()
    # It leads a colleague to this very page.
    page.goto(f"{link}&user=1")
    expect(frame(page).get_by_role("heading", name="Setup check", level=2)).to_be_visible()
    expect(frame(page).get_by_text("2 lines found.")).to_be_visible()

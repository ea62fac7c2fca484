"""The widget on a company's website: another site, a strict policy, a keyboard, a small screen."""

import gzip
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import BrowserContext, FrameLocator, Locator, Page, expect

from bx24app.services.websites.editing.contrast import readable_on
from bx24app.worker.worker import Worker
from tests.browser.test_appearance import shoot
from tests.browser.test_journey import no_scroll_bar
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.browser import DESKTOP, PATIENCE_MS, problems
from tests.website import Website

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BOTH_SCREENS = pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
WIDGET_LIMIT = 5 * 1024
LANDED = 3000


@pytest.fixture
def site() -> Iterator[Website]:
    """The company's website: its host makes it another site than the app's."""
    with Website("localhost") as website:
        yield website


@pytest.fixture
def form(manager: Actor, administrator: Actor, site: Website) -> dict[str, Any]:
    """A form of the website, its snippet pasted there."""
    administrator.opens()
    wanted = {"name": "Main site", "line_id": "reg150907", "default_country": "DE", "allowed_origins": [site.url]}
    made = json_of(administrator.asks("POST", "/forms", wanted))
    site.snippet = made["snippet"]
    return made


def opens_dialog(page: Page, site: Website) -> FrameLocator:
    page.goto(site.url)
    page.get_by_role("button", name="Call me back").click()
    dialog = page.frame_locator("iframe")
    expect(dialog.get_by_role("heading", name="We'll call you back")).to_be_visible()
    # Before its script has begun the form is sent at once, and nobody is believed who is so quick.
    expect(dialog.locator("form[novalidate]")).to_be_visible()
    return dialog


def says(dialog: FrameLocator, words: str) -> None:
    """The status, which is asked for every few seconds."""
    expect(dialog.locator("[data-live]")).to_have_text(re.compile(words), timeout=PATIENCE_MS)


@pytest.mark.browser
def test_a_visitor_asks_on_the_website_and_follows_the_call(
    page: Page, portal: FakePortal, form: dict[str, Any], site: Website, worker: Worker
) -> None:
    dialog = opens_dialog(page, site)
    expect(dialog.get_by_text("within about 5 minutes")).to_be_visible()
    dialog.get_by_label("Your phone number").fill("030 901820")
    dialog.get_by_label("Your name").fill("Clara")
    dialog.get_by_role("button", name="Call me back").click()
    says(dialog, "We're getting a colleague on the line")
    [call] = portal.telephony.calls
    assert (call.number, call.line) == ("+4930901820", "reg150907")
    assert "Clara" in call.text
    call.manager_answers()
    says(dialog, "We're connecting you now")
    call.customer_answers()
    call.hang_up()
    says(dialog, "We've talked")
    shoot(page, "widget-ended")
    dialog.get_by_role("link", name="Ask for another callback").click()
    expect(dialog.get_by_label("Your phone number")).to_have_value("")


OPENED = """window.dispatchEvent(
    new MessageEvent("message", {source: window.parent, data: {source: "callback-desk", type: "opened"}}))"""


@pytest.mark.browser
def test_whoever_types_already_is_not_taken_to_another_field(
    page: Page, form: dict[str, Any], site: Website, worker: Worker
) -> None:
    """On a slow machine the page hears late that its dialog was opened."""
    dialog = opens_dialog(page, site)
    name = dialog.get_by_label("Your name")
    name.click()
    page.frames[-1].evaluate(OPENED)
    page.keyboard.type("Clara", delay=20)
    expect(name).to_have_value("Clara")


@pytest.mark.browser
@ONE_DATABASE
@BOTH_SCREENS
def test_the_dialog_fits_every_screen_and_keeps_nobody_out(
    page: Page, form: dict[str, Any], site: Website, worker: Worker
) -> None:
    page.goto(site.url)
    no_scroll_bar(page)
    dialog = opens_dialog(page, site)
    no_scroll_bar(page)
    page.wait_for_timeout(300)
    page.screenshot(path=f"artifacts/screenshots/widget-open-{page.viewport_size['width']}.png")  # type: ignore[index]  # Set by the fixture.
    inner = page.frames[-1]
    assert problems(inner) == []
    dialog.get_by_role("button", name="Call me back").click()
    expect(dialog.get_by_text("Write the number that we should call.")).to_be_visible()
    assert problems(inner) == []
    dialog.get_by_label("Your phone number").fill("030 901820")
    dialog.get_by_role("button", name="Call me back").click()
    expect(dialog.get_by_role("heading", name="Your callback")).to_be_visible()
    assert problems(inner) == []
    no_scroll_bar(page)


@pytest.mark.long
@pytest.mark.browser
@ONE_DATABASE
def test_a_keyboard_is_enough(page: Page, form: dict[str, Any], site: Website, worker: Worker) -> None:
    page.goto(site.url)
    button = page.get_by_role("button", name="Call me back")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.frame_locator("iframe")
    number = dialog.get_by_label("Your phone number")
    expect(number).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Space")
    expect(number).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_text("Write the number that we should call.")).to_be_visible()
    expect(number).to_be_focused()
    assert number.get_attribute("aria-invalid") == "true"
    page.keyboard.type("030 901820")
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Call me back")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("heading", name="Your callback")).to_be_focused()
    # The way out of the frame stays open too.
    page.keyboard.press("Escape")
    expect(button).to_be_focused()


@pytest.mark.browser
@ONE_DATABASE
def test_nothing_moves_and_nothing_is_loaded_before_a_press(
    page: Page, form: dict[str, Any], site: Website, environ: dict[str, str]
) -> None:
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if r.url.startswith(environ["BX24APP_PUBLIC_URL"]) else None)
    page.add_init_script(
        "window.shifts = []; new PerformanceObserver(list => shifts.push(...list.getEntries().map(e => e.value)))"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    page.goto(site.url)
    button = page.get_by_role("button", name="Call me back")
    expect(button).to_be_visible()
    # The website shouts at its buttons and hides frames: neither reaches the widget.
    assert button.evaluate("e => getComputedStyle(e).textTransform") == "none"
    assert asked == [f"{form['url']}/widget.js"]
    button.click()
    expect(page.frame_locator("iframe").get_by_role("heading", name="We'll call you back")).to_be_visible()
    page.wait_for_timeout(500)
    assert page.evaluate("shifts") == []
    assert page.context.cookies() == []


@pytest.mark.browser
@ONE_DATABASE
def test_the_website_decides_the_language_and_may_bring_its_own_link(
    page: Page, form: dict[str, Any], site: Website
) -> None:
    site.language = "ru-RU"
    site.snippet = site.snippet.replace(" async", ' async data-button="none"')
    page.goto(site.url)
    page.wait_for_function("document.querySelector('body > div[lang=ru]')")
    expect(page.get_by_role("button", name="Перезвоните мне")).to_be_hidden()
    link = page.get_by_role("link", name="We call you back.")
    link.click()
    expect(page.frame_locator("iframe").get_by_role("heading", name="Перезвоним вам")).to_be_visible()
    page.get_by_role("button", name="Закрыть").click()
    expect(link).to_be_focused()


@pytest.mark.long
@pytest.mark.browser
@ONE_DATABASE
def test_a_website_that_is_not_named_opens_the_form_in_a_tab(
    page: Page, administrator: Actor, form: dict[str, Any], site: Website
) -> None:
    administrator.asks("PATCH", f"/forms/{form['key']}", {"allowed_origins": []})
    page.goto(site.url)
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Call me back").click()
    expect(opened.value.get_by_role("heading", name="We'll call you back")).to_be_visible()


@pytest.mark.browser
@ONE_DATABASE
def test_a_form_that_is_off_draws_no_button(
    page: Page, administrator: Actor, form: dict[str, Any], site: Website
) -> None:
    administrator.asks("PATCH", f"/forms/{form['key']}", {"is_on": False})
    page.goto(site.url)
    page.wait_for_timeout(500)
    expect(page.get_by_role("button", name="Call me back")).to_have_count(0)
    page.goto(form["url"])
    expect(page.get_by_role("heading", name="We can't call you back now")).to_be_visible()


# What browsers of the last five years lack: made stylesheets (Safari before 16.4), dialogs (Safari before 15.4), the
# rest of what they may report or not.
OLD = {
    "stylesheets": "window.CSSStyleSheet = class { constructor() { throw new TypeError(); } }",
    "dialogs": "delete HTMLDialogElement.prototype.showModal",
    "hasOwn": "delete Object.hasOwn",
    "languages": "Object.defineProperty(navigator, 'languages', { get: () => undefined })",
    "odd languages": "Object.defineProperty(navigator, 'languages', { get: () => ['C', 'en-US@posix', 'de_DE'] })",
    "clock": "Date.now = (now => () => now() + 3 * 3600e3)(Date.now)",
    "slow clock": "Date.now = (now => () => now() - 864e5)(Date.now)",
}
FREE = "base-uri 'none'"


@pytest.mark.long
@pytest.mark.browser
@ONE_DATABASE
@pytest.mark.parametrize("lacking", OLD)
def test_an_old_browser_has_a_button_too(
    page: Page, form: dict[str, Any], site: Website, worker: Worker, lacking: str
) -> None:
    if lacking == "stylesheets":
        site.policy = FREE
    page.add_init_script(OLD[lacking])
    page.goto(site.url)
    button = page.get_by_role("button", name="Call me back")
    assert in_the_corner(button)
    assert button.evaluate("e => getComputedStyle(e).borderRadius") == "26px"
    if lacking == "dialogs":
        with page.expect_popup() as opened:
            button.click()
        form_page: Page | FrameLocator = opened.value
    else:
        button.click()
        form_page = page.frame_locator("iframe")
    form_page.get_by_label("Your phone number").fill("030 901820")
    page.wait_for_timeout(2200)  # A person needs longer than the fastest that is believed.
    form_page.get_by_role("button", name="Call me back").click()
    expect(form_page.get_by_role("heading", name="Your callback")).to_be_visible()


def in_the_corner(button: Locator) -> bool:
    box = button.bounding_box()
    assert box is not None
    return box["x"] > DESKTOP["width"] - 300 and box["y"] > DESKTOP["height"] - 120


@pytest.mark.long
@pytest.mark.browser
@ONE_DATABASE
def test_where_no_style_is_possible_the_button_keeps_its_place(page: Page, form: dict[str, Any], site: Website) -> None:
    """The browser complains of the website's policy, so its console is not watched here."""
    browser = page.context.browser
    assert browser is not None
    context = browser.new_context(viewport=DESKTOP)
    unwatched = context.new_page()
    unwatched.add_init_script(OLD["stylesheets"])
    unwatched.goto(site.url)
    unwatched.screenshot(path="artifacts/screenshots/widget-no-style.png")
    button = unwatched.get_by_role("button", name="Call me back")
    assert in_the_corner(button)
    button.click()
    expect(unwatched.frame_locator("iframe").get_by_role("heading", name="We'll call you back")).to_be_visible()
    context.close()


AGAIN = """
(source) => {
  const body = document.createElement("body");
  body.innerHTML = `<p><a href="${source.replace("/widget.js", "")}?from=shop">Call us</a></p>`;
  const script = Object.assign(document.createElement("script"), { src: source });
  body.append(script);
  document.body.replaceWith(body);
  return new Promise((resolve) => { script.onload = resolve; });
}
"""


@pytest.mark.long
@pytest.mark.browser
@ONE_DATABASE
def test_a_website_that_changes_its_page_keeps_one_button_and_links_that_work(
    page: Page, form: dict[str, Any], site: Website
) -> None:
    site.policy = FREE
    dialog = opens_dialog(page, site)
    for _ in range(3):
        page.evaluate(AGAIN, f"{form['url']}/widget.js")
    expect(page.get_by_role("button", name="Call me back")).to_have_count(1)
    for opener in (page.get_by_role("link", name="Call us"), page.get_by_role("button", name="Call me back")):
        opener.click()
        expect(dialog.get_by_role("heading", name="We'll call you back")).to_be_visible()
        expect(dialog.get_by_label("Your phone number")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_be_hidden()
        expect(opener).to_be_focused()
    # A part of the page that is emptied, and what its owner takes away for good, over and over.
    page.evaluate("document.body.textContent = ''")
    expect(page.get_by_role("button", name="Call me back")).to_have_count(1)
    page.evaluate("setInterval(() => document.querySelector('[data-callback-desk]')?.remove(), 1)")
    page.wait_for_timeout(1000)
    expect(page.get_by_role("button", name="Call me back")).to_have_count(0)


@pytest.mark.browser
@ONE_DATABASE
def test_the_snippet_may_stand_on_a_page_many_times(page: Page, form: dict[str, Any], site: Website) -> None:
    site.snippet = site.snippet * 2 + site.snippet.replace(" async", "")
    page.goto(site.url)
    expect(page.get_by_role("button", name="Call me back")).to_have_count(1)
    page.wait_for_timeout(300)
    expect(page.get_by_role("button", name="Call me back")).to_have_count(1)


@pytest.mark.browser
@ONE_DATABASE
def test_the_widget_hears_only_its_own_frame(page: Page, form: dict[str, Any], site: Website) -> None:
    opens_dialog(page, site)
    page.wait_for_timeout(300)
    height = "document.querySelector('body > div').shadowRoot.querySelector('iframe').offsetHeight"
    before = page.evaluate(height)
    page.evaluate("postMessage({source: 'callback-desk', type: 'height', height: 40}, '*')")
    page.evaluate("postMessage({source: 'callback-desk', type: 'close'}, '*')")
    page.wait_for_timeout(300)
    assert page.evaluate(height) == before > 300
    expect(page.locator("dialog")).to_be_visible()


@pytest.mark.browser
@ONE_DATABASE
def test_a_frame_on_a_foreign_page_stays_empty(
    page: Page, form: dict[str, Any], site: Website, context_of: BrowserContext
) -> None:
    """Whoever is not named may not show the form in a frame: nobody is lured into pressing on it."""
    answer = context_of.request.get(form["url"])
    assert f"frame-ancestors 'self' {site.url}" in answer.headers["content-security-policy"]


@pytest.fixture
def context_of(page: Page) -> BrowserContext:
    return page.context


@ONE_DATABASE
def test_the_script_is_small_and_free_for_any_website(client: FlaskClient, form: dict[str, Any]) -> None:
    response = client.get(f"/w/{form['key']}/widget.js")
    assert response.content_type == "text/javascript; charset=utf-8"
    assert len(gzip.compress(response.data)) <= WIDGET_LIMIT
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "Set-Cookie" not in response.headers
    assert "max-age=300" in response.headers["Cache-Control"]


@ONE_DATABASE
def test_an_unknown_form_has_no_widget(client: FlaskClient, manager: Actor) -> None:
    assert client.get("/w/nobody/widget.js").status_code == 404
    assert client.get("/w/nobody/colours.css").status_code == 404


@pytest.mark.parametrize(
    ("colour", "readable"),
    [("#0075ff", "#ffffff"), ("#ffffff", "#1f2933"), ("#000000", "#ffffff"), ("#ffd500", "#1f2933")],
)
def test_words_on_every_colour_can_be_read(colour: str, readable: str) -> None:
    assert readable_on(colour).colour == readable

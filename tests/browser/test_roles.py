"""What somebody sees who may only look, or nothing; and what lasts is proven anew without anybody noticing."""

import re
from datetime import timedelta

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from bx24app.services.security import tickets
from tests.browser.test_administration import opens
from tests.browser.test_appearance import shoot
from tests.browser.test_journey import PATIENCE_MS, frame, no_scroll_bar
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.browser import DESKTOP, REFUSALS, watched_page
from tests.support.waiting import change_portal

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]
BOTH = pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
FRESH_MILLISECONDS = 2000
EVERYBODYS = ("callbacks", "reports")
ADMINISTRATORS = ("websites", "websites/rejected", "websites/developers", "settings", "settings/people", "settings/log")
FOREIGN = "callbacks/01990000-0000-7000-8000-000000000000"
VIEWER_PRESSES = ["Copy number"]
OPERATOR_PRESSES = ["From my phone", *VIEWER_PRESSES]
# Of each role: the tabs, whether it starts and cancels, and the buttons of a waiting callback.
SEEN: dict[str, tuple[list[str], int, list[str]]] = {
    "administrator": (
        ["Callbacks", "Reports", "Websites", "Settings"],
        1,
        [*OPERATOR_PRESSES, "Never call again", "Move", "Cancel", "Erase this number"],
    ),
    "operator": (["Callbacks", "Reports"], 1, [*OPERATOR_PRESSES, "Move", "Cancel"]),
    "viewer": (["Callbacks", "Reports"], 0, VIEWER_PRESSES),
    "nobody": ([], 0, []),
}
# Asks for views with the ticket of the page, if it has any.
VIEWS = """async (paths) => {
  const ticket = document.querySelector('meta[name="bx24app-ticket"]')?.content ?? "";
  const ask = (path) => fetch(`/desk/view/${path}`, { headers: { Authorization: `Bearer ${ticket}` } });
  const statuses = [];
  for (const path of paths) statuses.push((await ask(path)).status);
  return statuses;
}"""


@BOTH
def test_a_viewer_sees_the_list_and_nothing_to_press(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    administrator.opens()
    administrator.requests_callback()
    administrator.lets_call(others="view")
    page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user={manager.user.id}")
    tab = frame(page)
    row = tab.locator(".callback")
    expect(row).to_have_count(1)
    expect(tab.get_by_role("heading", level=1)).to_have_text("Callbacks")
    # What finds and shows callbacks, and nothing that changes one.
    assert page.viewport_size is not None
    is_narrow = page.viewport_size["width"] < 480
    names = ["More quick filters", "Filter", "Export"] if is_narrow else ["Filter", "Export", "Columns"]
    for name in (*names, "Previous", "Next"):
        expect(tab.get_by_role("button", name=re.compile(f"^{name}"))).to_be_visible()
    expect(tab.get_by_role("button")).to_have_count(len(names) + 2)
    row.get_by_role("link").click()
    expect(tab.get_by_text(re.compile("Requested"))).to_be_visible()
    expect(tab.get_by_role("button")).to_have_text(["Copy number"])
    tab.locator("main").get_by_role("link", name="Callbacks").click()
    # The list is alive without the form; while its reader is at a row it says what is new, and does not move.
    expect(row.get_by_role("link")).to_be_focused()
    administrator.requests_callback("+4930901821")
    tab.get_by_role("link", name="show").click(timeout=PATIENCE_MS)
    expect(tab.locator(".callback")).to_have_count(2)
    no_scroll_bar(page)
    shoot(page, "viewer")


@pytest.mark.parametrize("role", ["administrator", "operator", "viewer", "nobody"])
def test_each_role_has_its_tabs_its_buttons_and_no_view_of_another(
    chromium: Browser, portal: FakePortal, manager: Actor, administrator: Actor, role: str
) -> None:
    administrator.opens()
    administrator.requests_callback()
    if role in ("viewer", "nobody"):
        administrator.lets_call(others={"viewer": "view", "nobody": "none"}[role])
    user = administrator.user.id if role == "administrator" else manager.user.id
    tabs, starts, presses = SEEN[role]
    with watched_page(chromium, DESKTOP, (*REFUSALS, 401, 404)) as page:
        page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user={user}")
        tab = frame(page)
        expect(tab.get_by_role("heading", level=1)).to_have_count(1)
        expect(tab.get_by_role("navigation", name="Sections").get_by_role("link")).to_have_text(tabs)
        expect(tab.get_by_role("button", name="Call", exact=True)).to_have_count(starts)
        expect(tab.get_by_role("button", name="Cancel", exact=True)).to_have_count(starts)
        if role != "nobody":
            tab.get_by_role("rowheader").get_by_role("link").click()
            expect(tab.get_by_role("heading", name="What happened")).to_be_visible()
            expect(tab.locator("main").get_by_role("button")).to_have_text(presses)
        got = page.frames[-1].evaluate(VIEWS, [*EVERYBODYS, *ADMINISTRATORS, FOREIGN])
        own = {"administrator": 200, "nobody": 401}.get(role, 403)
        seen = 401 if role == "nobody" else 200
        expected = [*[seen for _ in EVERYBODYS], *[own for _ in ADMINISTRATORS], 401 if role == "nobody" else 404]
        assert got == expected


@BOTH
def test_somebody_without_a_role_reads_whom_to_ask(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    administrator.opens()
    administrator.lets_call(others="none")
    page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user={manager.user.id}")
    tab = frame(page)
    expect(tab.get_by_role("heading", level=1)).to_have_text("You have no access to the app")
    expect(tab.get_by_text(portal.administrator.full_name)).to_be_visible()
    shoot(page, "no-access")


@pytest.mark.long
def test_what_lasts_is_made_after_a_while_as_if_it_were_at_once(
    chromium: Browser,
    app: Flask,
    portal: FakePortal,
    manager: Actor,
    administrator: Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tickets, "FRESH_PROOF", timedelta(milliseconds=FRESH_MILLISECONDS))
    # That the proof is too old is an answer, too.
    with watched_page(chromium, DESKTOP, (*REFUSALS, 401)) as page:
        change_portal(app, default_country="DE")
        tab = opens(page, portal, administrator, "Websites")
        expect(tab.get_by_text("No form yet.")).to_be_visible()
        page.wait_for_timeout(FRESH_MILLISECONDS + 1000)
        with page.expect_response("**/session*") as renewed:
            tab.get_by_role("button", name="Create a form").click()
        assert renewed.value.status == 200
        # By it the page is known where others of the office have used up what unproven tokens may ask.
        assert renewed.value.request.headers["authorization"].startswith("Bearer ")
        expect(tab.get_by_label("Paste this line into your website")).to_be_visible()
        expect(tab.get_by_text(f"Created by {portal.administrator.full_name}")).to_be_visible()
        # The portal takes the rights away, and the page is left open.
        portal.administrator.admin = False
        page.wait_for_timeout(FRESH_MILLISECONDS + 1000)
        tab.get_by_role("button", name="Create a form").click()
        expect(tab.locator("[data-panel=forms] [data-note]")).to_contain_text("your role does not allow it")
        expect(tab.locator(".item")).to_have_count(1)

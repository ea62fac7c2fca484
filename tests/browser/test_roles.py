"""What somebody sees who may only look, or nothing; and what lasts is proven anew without anybody noticing."""

import re
from datetime import timedelta

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from bx24app.services.security import tickets
from tests.browser.test_administration import opens
from tests.browser.test_appearance import shoot
from tests.browser.test_journey import frame, no_scroll_bar
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.browser import DESKTOP, REFUSALS, watched_page
from tests.support.waiting import change_portal

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]
BOTH = pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
FRESH_MILLISECONDS = 2000


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
    expect(tab.get_by_role("button")).to_have_text(["Details"])
    row.get_by_role("button", name="Details").click()
    expect(row.get_by_text(re.compile("Requested"))).to_be_visible()
    # The list is alive without the form.
    administrator.requests_callback("+4930901821")
    expect(tab.locator(".callback")).to_have_count(2)
    no_scroll_bar(page)
    shoot(page, "viewer")


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
        expect(tab.get_by_label("Paste this line into your website")).to_be_visible()
        expect(tab.get_by_text(f"Created by {portal.administrator.full_name}")).to_be_visible()
        # The portal takes the rights away, and the page is left open.
        portal.administrator.admin = False
        page.wait_for_timeout(FRESH_MILLISECONDS + 1000)
        tab.get_by_role("button", name="Create a form").click()
        expect(tab.locator("[data-panel=forms] [data-note]")).to_contain_text("your role does not allow it")
        expect(tab.locator(".item")).to_have_count(1)

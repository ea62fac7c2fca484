"""A press lands on what it began on, whatever the page learns between its beginning and its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from flask import Flask
from playwright.sync_api import Locator, Page, Response, Route, expect

from bx24app.models import State, utcnow
from tests.browser.test_journey import goes_to
from tests.browser.test_list import becomes, opens
from tests.browser.test_visitor_pages import makes_form
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True),
]
# What has come is shown within it.
SHOWN_MS = 300


@contextmanager
def held(page: Page, what: Locator) -> Iterator[None]:
    """The mouse's button goes down on the middle of something, and comes up at the end of the block."""
    what.scroll_into_view_if_needed()
    # As for a click: nobody presses what still moves.
    what.click(trial=True)
    box = what.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    yield
    page.wait_for_timeout(SHOWN_MS)
    page.mouse.up()


def is_news(path: str, response: Response) -> bool:
    return path in response.url and response.status == 200


def test_the_card_of_the_first_run_moves_nothing_that_is_pressed(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    administrator.opens()
    id = json_of(administrator.requests_callback())["id"]
    waiting: list[Route] = []

    def keep(route: Route) -> None:
        waiting.append(route)

    page.route("**/desk/first-run", keep)
    tab = opens(page, portal, administrator)
    row = tab.get_by_role("rowheader").get_by_role("link")
    expect(row).to_be_visible()
    place = tab.locator(".first-run")
    kept = place.bounding_box()
    while not waiting:
        page.wait_for_timeout(20)
    with held(page, row), page.expect_response("**/desk/first-run"):
        waiting.pop().continue_()
    expect(tab.locator("main")).to_have_attribute("data-path", f"callbacks/{id}")
    # And for those who are about to press, its place is kept.
    page.unroute_all()
    goes_to(tab, "Callbacks")
    expect(tab.get_by_role("heading", name="Get ready: 0 of 4 done")).to_be_visible()
    taken = place.bounding_box()
    assert kept is not None
    assert taken is not None
    assert abs(taken["height"] - kept["height"]) < 8


def test_a_row_that_changes_stays_under_the_hand(
    page: Page, app: Flask, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    administrator.opens()
    id = json_of(administrator.requests_callback())["id"]
    tab = opens(page, portal, administrator)
    expect(tab.get_by_role("heading", name="Get ready: 0 of 4 done")).to_be_visible()
    row = tab.get_by_role("rowheader").get_by_role("link")
    with held(page, row), page.expect_response(lambda response: is_news("/desk/callbacks?", response)):
        becomes(app, id, State.UNKNOWN)
    expect(tab.locator("main")).to_have_attribute("data-path", f"callbacks/{id}")


def test_a_callback_that_changes_keeps_its_button_until_it_is_pressed(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    administrator.opens()
    tomorrow = utcnow() + timedelta(days=1)
    id = json_of(administrator.requests_callback(scheduled_at=tomorrow.isoformat()))["id"]
    tab = opens(page, portal, administrator)
    tab.get_by_role("rowheader").get_by_role("link").click()
    button = tab.get_by_role("button", name="Cancel", exact=True)
    expect(button).to_be_enabled()
    with held(page, button), page.expect_response(lambda response: is_news(f"/{id}/now", response)):
        moved = {"scheduled_at": (tomorrow + timedelta(hours=1)).isoformat()}
        assert administrator.asks("PATCH", f"/callbacks/{id}", moved).status_code == 200
    expect(tab.get_by_text("Cancelled", exact=True).first).to_be_visible()
    assert administrator.sees(id)["state"] == State.CANCELLED


def test_a_customers_page_that_changes_keeps_its_button(
    page: Page, app: Flask, manager: Actor, administrator: Actor
) -> None:
    form = makes_form(administrator)
    tomorrow = utcnow() + timedelta(days=1)
    page.goto(form["url"])
    page.get_by_label("Your phone number").fill("030 901820")
    page.get_by_label("When should we call?").select_option(index=6)
    page.get_by_role("button", name="Call me back").click()
    button = page.get_by_role("button", name="Cancel the callback")
    expect(button).to_be_enabled()
    page.wait_for_timeout(SHOWN_MS)
    callback = json_of(administrator.asks("GET", "/callbacks"))["callbacks"][0]
    with held(page, button), page.expect_response(lambda response: is_news("/c/", response)):
        moved = {"scheduled_at": tomorrow.isoformat()}
        assert administrator.asks("PATCH", f"/callbacks/{callback['id']}", moved).status_code == 200
    expect(page.locator("[data-live]")).to_have_text("Cancelled")

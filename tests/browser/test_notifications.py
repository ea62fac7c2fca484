"""Nobody is forgotten, as people see it: the to-do on the card, the word with its link, and who is told."""

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from bx24app.services.callbacks import change
from tests.browser.test_administration import opens
from tests.browser.test_journey import frame, no_scroll_bar
from tests.fake_bitrix24 import FakePortal
from tests.scenarios.test_follow_up import ended, followed, unclear
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.browser import DESKTOP, PHONE, problems, screenshot
from tests.support.waiting import add_form

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


def test_a_link_opens_the_callback_and_the_to_do_appears_and_goes(
    app: Flask, page: Page, portal: FakePortal, manager: Actor
) -> None:
    lead = portal.crm.add_lead("Roof", "Anna", phones=[CUSTOMER])
    form = add_form(app, person_id=portal.manager.id)
    card = {"crm_entity_type": "LEAD", "crm_entity_id": lead, "customer_name": "Anna [b]Meyer"}
    id = ended(app, unclear, form_id=form, **card)
    followed(app)
    page.goto(f"{portal.url}/crm/lead/details/{lead}/?user={portal.manager.id}")
    to_dos = page.get_by_role("list", name="To-dos").get_by_role("listitem")
    expect(to_dos).to_have_text(["Call back Anna (b)Meyer, +49 30 901820"])
    page.goto(portal.url)
    page.get_by_role("region", name="Notifications").get_by_role("link", name="Open the callback").click()
    tab = frame(page)
    expect(tab.get_by_role("heading", name="Anna [b]Meyer")).to_be_visible()
    expect(tab.get_by_role("heading", name="What happened")).to_be_visible()
    with app.app_context():
        change.resolve(1, id, portal.manager.id, "reached")
    followed(app)
    page.goto(f"{portal.url}/crm/lead/details/{lead}/")
    expect(to_dos).to_contain_text(["(completed)"])
    page.goto(portal.url)
    expect(page.get_by_role("region", name="Notifications").get_by_role("listitem")).to_have_count(0)


def test_administrators_choose_who_is_told_and_everybody_may_turn_theirs_off(
    page: Page, portal: FakePortal, manager: Actor, administrator: Actor
) -> None:
    manager.opens()
    tab = opens(page, portal, administrator, "Settings > Notifications")
    missed = tab.get_by_role("group", name="Customer not reached")
    missed.get_by_label("Who is told").select_option("Chosen people")
    missed.get_by_label("People who are told").select_option(portal.manager.full_name)
    expect(tab.get_by_text("2 changes")).to_be_visible()
    for size, name in ((DESKTOP, "notifications-1280"), (PHONE, "notifications-360")):
        page.set_viewport_size(size)
        no_scroll_bar(page)
        screenshot(page, name)
    assert problems(page.frames[-1]) == []
    tab.get_by_role("button", name="Save", exact=True).click()
    expect(tab.get_by_text("Saved.")).to_be_visible()
    expect(missed.get_by_role("listitem")).to_contain_text([portal.manager.full_name])
    administrator.opens()
    stored = json_of(administrator.asks("GET", "/settings"))["notifications"]["missed"]
    assert stored == {"to": "people", "people": [portal.manager.id]}
    tab.get_by_label("Tell me in the messenger").uncheck()
    expect(tab.get_by_text("You are told nothing in the messenger.")).to_be_visible()

    # Whoever has no settings finds the same below the list.
    page.goto(f"{portal.url}/marketplace/app/{manager.application.client_id}/?user={portal.manager.id}")
    frame(page).get_by_role("link", name="My notifications").click()
    mine = frame(page).get_by_label("Tell me in the messenger")
    expect(mine).to_be_checked()
    mine.uncheck()
    expect(frame(page).get_by_text("You are told nothing in the messenger.")).to_be_visible()
    assert json_of(manager.asks("GET", "/me/notifications")) == {"muted": True}
    no_scroll_bar(page)
    screenshot(page, "my-notifications-360")
    assert problems(page.frames[-1]) == []

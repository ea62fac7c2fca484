"""In a real browser: the portal's card shows our activity with its live state, and its buttons work."""

from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from bx24app.models import utcnow
from bx24app.worker.worker import Worker
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import CUSTOMER, Actor

pytestmark = pytest.mark.browser

PATIENCE_MS = 15_000
OTHER = "+4930901821"


def test_the_card_shows_callbacks_calls_them_cancels_them_and_says_who_may_not(
    manager: Actor, administrator: Actor, portal: FakePortal, page: Page, worker: Worker
) -> None:
    administrator.opens()
    assert administrator.asks("PATCH", "/settings", {"shows_in_crm": True}).status_code == 200
    lead = portal.crm.add_lead("Roof", phones=[CUSTOMER, OTHER])
    later = (utcnow() + timedelta(hours=2)).isoformat()
    for number in (CUSTOMER, OTHER):
        entity = {"type": "LEAD", "id": lead}
        assert manager.requests_callback(number, scheduled_at=later, crm_entity=entity).status_code == 201
    page.goto(f"{portal.url}/crm/lead/details/{lead}/?user={manager.user.id}")
    activities = page.get_by_label("Timeline").locator(".activity")
    expect(activities).to_have_count(2, timeout=PATIENCE_MS)
    called = activities.filter(has_text="+49 30 901820")
    cancelled = activities.filter(has_text="+49 30 901821")
    expect(called.locator(".tag")).to_have_text("Scheduled")

    assert administrator.lets_call(people=[portal.administrator.id]).status_code == 200
    cancelled.get_by_role("button", name="Cancel").click()
    expect(cancelled).to_contain_text("Max Weber may not do this", timeout=PATIENCE_MS)
    assert administrator.asks("PATCH", "/settings", {"roles": {"operators": {"everybody": True}}}).status_code == 200
    cancelled.get_by_role("button", name="Cancel").click()
    expect(cancelled.locator(".tag").first).to_have_text("Cancelled", timeout=PATIENCE_MS)
    expect(cancelled.get_by_role("button")).to_have_text(["Open"])

    called.get_by_role("button", name="Call now").click()
    expect(called.locator(".tag").first).to_have_text("Ringing · Sales line", timeout=PATIENCE_MS)
    page.get_by_label("Manager's phone").get_by_role("button", name="Answer").click()
    expect(called.locator(".tag").first).to_contain_text("Picked up", timeout=PATIENCE_MS)
    page.get_by_label("Customer's phone").get_by_role("button", name="Answer").click()
    page.get_by_label("Customer's phone").get_by_role("button", name="Hang up").click()
    expect(called.locator(".tag").first).to_contain_text("Talked", timeout=PATIENCE_MS)
    expect(called).to_contain_text("done")
    # The portal's own activity of the call has our words.
    expect(activities.filter(has_text="Requested by: Max Weber").filter(has_text="Text:")).to_have_count(
        1, timeout=PATIENCE_MS
    )
    called.get_by_role("button", name="Open").click()
    expect(page.frame_locator("iframe").locator("main")).to_contain_text("+49 30 901820", timeout=PATIENCE_MS)

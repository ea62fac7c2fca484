"""The hosted form and the customer's page: with and without JavaScript, in hours and outside, in both languages."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from bx24app.database import reading, writing
from bx24app.models import Attempt, Callback, Form, Outcome, Portal, State, utcnow
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.wait_estimate import expected_minutes
from bx24app.worker.worker import Worker
from tests.browser.test_appearance import shoot
from tests.browser.test_journey import no_scroll_bar
from tests.conftest import Eventually
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.browser import PHONE, problems, watched_page

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BOTH = pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
WEEK = {day: [["09:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}


def makes_form(administrator: Actor, **more: Any) -> dict[str, Any]:
    administrator.opens()
    wanted = {"name": "Main site", "line_id": "reg150907", "default_country": "DE", **more}
    response = administrator.asks("POST", "/forms", wanted)
    assert response.status_code == 201, response.text
    return json_of(response)


def closed_hours() -> dict[str, Any]:
    """Hours of a company that opens tomorrow at nine, wherever the test runs."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[tomorrow.weekday()]
    return {"zone": "UTC", "week": {day: [["09:00", "17:00"]]}}


@pytest.fixture
def plain_page(chromium: Browser, app: Flask) -> Iterator[Page]:
    """A browser with JavaScript switched off."""
    with watched_page(chromium, PHONE, javascript=False) as opened:
        yield opened


@pytest.mark.browser
def test_without_javascript_a_plain_form_leads_to_the_status_page(
    plain_page: Page, portal: FakePortal, manager: Actor, administrator: Actor, worker: Worker, eventually: Eventually
) -> None:
    form = makes_form(administrator, consent_text="I agree to be called.")
    page = plain_page
    page.goto(form["url"])
    expect(page.get_by_role("heading", name="We'll call you back")).to_be_visible()
    no_scroll_bar(page)
    number = page.get_by_label("Your phone number")
    number.fill("030 90")
    page.get_by_label("Your name").fill("Clara <b>&")
    page.get_by_label("I agree to be called.").check()
    # The server believes nobody who is quicker than two seconds.
    page.wait_for_timeout(2200)
    page.get_by_role("button", name="Call me back").click()
    expect(page.locator("#number-error")).to_contain_text("This is not a phone number")
    assert number.get_attribute("aria-invalid") == "true"
    expect(page.get_by_label("Your name")).to_have_value("Clara <b>&")
    expect(page.get_by_label("I agree to be called.")).to_be_checked()
    shoot(page, "form-plain-error")
    number.fill("030 901820")
    page.wait_for_timeout(2200)
    page.get_by_role("button", name="Call me back").click()
    expect(page.get_by_role("heading", name="Your callback")).to_be_visible()
    assert "/c/" in page.url
    # The page shows what is committed, and that is a little after the portal was asked.
    eventually(lambda: json_of(manager.asks("GET", "/callbacks"))["callbacks"][0]["state"] == "started")
    page.reload()
    expect(page.locator("[data-live]")).to_contain_text("We're getting a colleague on the line")


@pytest.mark.long
@pytest.mark.browser
def test_a_person_whose_browser_fills_the_trap_gets_through(
    plain_page: Page, manager: Actor, administrator: Actor
) -> None:
    page = plain_page
    page.goto(makes_form(administrator)["url"])
    page.get_by_label("Your phone number").fill("030 901820")
    trap = page.locator("[name=leave_empty]")
    trap.fill("https://clara.example", force=True)
    page.wait_for_timeout(2200)
    page.get_by_role("button", name="Call me back").click()
    expect(page.get_by_label("Leave this field empty")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#leave_empty-error")).to_contain_text("Empty it and send the form again")
    shoot(page, "form-trap")
    trap.fill("")
    page.wait_for_timeout(2200)
    page.get_by_role("button", name="Call me back").click()
    expect(page.get_by_role("heading", name="Your callback")).to_be_visible()


@pytest.mark.long
@pytest.mark.browser
def test_without_javascript_a_planned_call_is_moved_and_cancelled(
    plain_page: Page, manager: Actor, administrator: Actor
) -> None:
    page = plain_page
    page.goto(makes_form(administrator)["url"])
    page.get_by_label("Your phone number").fill("030 901820")
    page.get_by_label("When should we call?").select_option(index=3)
    page.wait_for_timeout(2200)
    page.get_by_role("button", name="Call me back").click()
    expect(page.locator("[data-live]")).to_have_text("We'll call you at the time below")
    before = page.locator(".at").inner_text()
    page.get_by_text("Choose another time").click()
    page.get_by_label("When should we call?").select_option(index=6)
    page.get_by_role("button", name="Confirm this time").click()
    expect(page.locator("[data-live]")).to_have_text("We'll call you at the time below")
    assert page.locator(".at").inner_text() != before
    page.get_by_role("button", name="Cancel the callback").click()
    expect(page.locator("[data-live]")).to_have_text("Cancelled")


@pytest.mark.browser
@BOTH
def test_the_customers_page_follows_moves_and_cancels(page: Page, manager: Actor, administrator: Actor) -> None:
    form = makes_form(administrator, hours=closed_hours())
    page.goto(form["url"])
    expect(page.get_by_text("We're closed now. Choose a time.")).to_be_visible()
    expect(page.get_by_label("When should we call?").locator("option").first).to_contain_text("10:00")
    shoot(page, "form-closed")
    page.get_by_label("Your phone number").fill("030 901820 ext. 5")
    page.get_by_role("button", name="Call me back").click()
    expect(page.get_by_role("heading", name="Your callback")).to_be_focused()
    expect(page.get_by_text("The extension 5 is not called: only the main number is.")).to_be_visible()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open this in a page of its own").click()
    own = opened.value
    expect(own.locator(".at")).to_contain_text("10:00")
    own.set_viewport_size(page.viewport_size or PHONE)
    own.get_by_text("Choose another time").click()
    own.get_by_label("When should we call?").select_option(index=2)
    assert problems(own.main_frame) == []
    no_scroll_bar(own)
    shoot(own, "status-planned")
    own.get_by_role("button", name="Confirm this time").click()
    expect(own.locator(".at")).to_contain_text("11:00")
    # The first window sees what was decided in the second.
    expect(page.locator(".at")).to_contain_text("11:00", timeout=10_000)
    own.get_by_role("button", name="Cancel the callback").click()
    expect(own.locator("[data-live]")).to_have_text("Cancelled")
    expect(own.get_by_role("heading", name="Your callback")).to_be_focused()
    shoot(own, "status-cancelled")
    expect(page.locator("[data-live]")).to_have_text("Cancelled", timeout=10_000)


@pytest.mark.browser
@BOTH
def test_what_is_missing_is_said_at_its_field(page: Page, manager: Actor, administrator: Actor) -> None:
    asked = {"name": "required", "topic": "required"}
    form = makes_form(administrator, fields=asked, topics=["Prices", "Delivery"], consent_text="I agree.")
    page.goto(f"{form['url']}?lang=ru")
    page.get_by_role("button", name="Перезвоните мне").click()
    number = page.get_by_label("Ваш номер телефона")
    expect(number).to_be_focused()
    for field in ("number", "name", "topic", "consent"):
        shown = page.locator(f"[name={field}]")
        assert shown.get_attribute("aria-invalid") == "true", field
        assert f"{field}-error" in (shown.get_attribute("aria-describedby") or "")
        expect(page.locator(f"#{field}-error")).to_be_visible()
    assert (number.get_attribute("type"), number.get_attribute("autocomplete")) == ("tel", "tel")
    assert problems(page.main_frame) == []
    no_scroll_bar(page)
    shoot(page, "form-missing-ru")
    number.fill("030 90")
    page.get_by_label("Ваше имя").fill("Анна")
    page.get_by_label("Тема").select_option("Prices")
    page.get_by_label("I agree.").check()
    page.get_by_role("button", name="Перезвоните мне").click()
    # This one only the server can say; it is said at the field too, in the visitor's language.
    expect(page.locator("#number-error")).to_contain_text("номер")
    expect(number).to_be_focused()


@pytest.mark.long
@pytest.mark.browser
def test_a_lost_connection_loses_and_doubles_nothing(
    page: Page, app: Flask, manager: Actor, administrator: Actor
) -> None:
    form = makes_form(administrator)
    page.goto(form["url"])
    page.get_by_label("Your phone number").fill("030 901820")
    sent: list[str] = []

    def lose(route: Any) -> None:
        sent.append(route.request.post_data)
        if len(sent) == 1:
            # The request arrives, its answer does not.
            route.fetch()
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/callbacks*", lose)
    page.get_by_role("button", name="Call me back").click()
    expect(page.get_by_text("you are called once only")).to_be_visible()
    page.get_by_role("button", name="Call me back").click()
    expect(page.get_by_role("heading", name="Your callback")).to_be_visible()
    with app.app_context(), reading() as session:
        assert len(session.scalars(select(Callback)).all()) == 1


def test_only_the_forms_own_websites_may_frame_it(client: FlaskClient, manager: Actor, administrator: Actor) -> None:
    form = makes_form(administrator, allowed_origins=["https://example.com"])
    path = f"/w/{form['key']}"
    policy = client.get(path).headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors 'self' https://example.com")
    assert "'unsafe-inline'" not in policy
    page = client.get(path)
    # A plain form's post names the page it comes from only under this policy.
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert page.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in page.headers


@pytest.mark.parametrize(
    ("asked", "wishes", "language"),
    [("", "ru-RU,ru;q=0.9", "ru"), ("?lang=en", "ru", "en"), ("", "fr", "en"), ("?lang=xx", "ru", "ru")],
)
def test_the_visitors_language_is_spoken(
    client: FlaskClient, manager: Actor, administrator: Actor, asked: str, wishes: str, language: str
) -> None:
    form = makes_form(administrator)
    page = client.get(f"/w/{form['key']}{asked}", headers={"Accept-Language": wishes})
    assert f'<html lang="{language}"' in page.text
    only_russian = makes_form(administrator, languages=["ru"])
    assert '<html lang="ru"' in client.get(f"/w/{only_russian['key']}", headers={"Accept-Language": "en"}).text


def test_the_wait_is_what_the_last_requests_have_shown(app: Flask, manager: Actor, administrator: Actor) -> None:
    form = makes_form(administrator)
    now = utcnow()
    with app.app_context(), reading() as session:
        stored = session.scalars(select(Form).where(Form.key == form["key"])).one()
        opened = OpenForm(stored, session.get_one(Portal, stored.portal_id))
    with app.app_context():
        assert expected_minutes(opened, now) == 5
        waits(stored, [timedelta(seconds=2)] * 9)
        assert expected_minutes(opened, now) == 5
        waits(stored, [timedelta(seconds=2)])
        assert expected_minutes(opened, now) == 2
        # Some are due and have not been dialled for a while: it would be dishonest to say otherwise.
        waits(stored, [timedelta(minutes=12)] * 5, dialled=False)
        assert expected_minutes(opened, now) == 15


def waits(form: Form, lengths: list[timedelta], *, dialled: bool = True) -> None:
    """Requests that waited so long for their dial, or are waiting still."""
    now = utcnow()
    with writing() as session:
        for place, length in enumerate(lengths):
            callback = Callback(
                portal_id=form.portal_id,
                state=State.COMPLETED if dialled else State.SCHEDULED,
                to_number=f"+49309018{place:02}",
                line_id="reg150907",
                line_name="Sales line",
                text="x",
                source="website",
                form_id=form.id,
                due_at=now - length,
                expires_at=now + length,
                created_at=now - length,
                updated_at=now,
            )
            if dialled:
                callback.attempts.append(
                    Attempt(
                        portal_id=form.portal_id,
                        number=1,
                        line_id="reg150907",
                        to_number=callback.to_number,
                        outcome=Outcome.COMPLETED,
                        started_at=now,
                    )
                )
            session.add(callback)

"""The reports in Chromium: figures of a hand-made month, readable at every width, in English and Russian."""

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from playwright.sync_api import Browser, expect

from bx24app.database import reading, writing
from bx24app.models import Form, State, User, utcnow
from bx24app.services.reports import counting
from tests.browser.test_journey import frame
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor
from tests.support.browser import screenshot, watched_page
from tests.support.report_days import Asked, Call, write_week
from tests.support.visitors import Visitor

pytestmark = pytest.mark.browser
WIDTHS = (1280, 846, 600, 360)
ENDS = {
    "reached": (State.COMPLETED, [Call("200", 95, "0.0812", talk=120)]),
    "nobody": (State.MISSED, [Call("304"), Call("304", None, "0.002")]),
    "busy": (State.MISSED, [Call("486", 40, "0.02")]),
    "untold": (State.MISSED, [Call("603-S")]),
}


def a_month() -> Iterator[Asked]:
    """Some three hundred requests of the last thirty days, in working hours."""
    chance, now = random.Random(5), utcnow()
    for _ in range(300):
        at = now - timedelta(days=chance.randrange(1, 29))
        at = at.replace(hour=chance.randrange(8, 18), minute=chance.randrange(60), second=7, microsecond=0)
        state, calls = ENDS[chance.choices(list(ENDS), [60, 12, 10, 5])[0]]
        yield Asked(at.strftime("%Y-%m-%d %H:%M:%S"), state, calls)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_month_is_read_at_every_width(
    app: Flask, visitor: Visitor, administrator: Actor, portal: FakePortal, chromium: Browser, language: str
) -> None:
    with app.app_context():
        with reading() as session:
            form = session.query(Form).one()
        write_week(form.portal_id, form, list(a_month()))
        with writing() as session:
            session.add(User(portal_id=form.portal_id, user_id=7, name="Anna Schmidt"))
        while counting.count_changed():
            pass
    administrator.user.language = language
    with watched_page(chromium, {"width": WIDTHS[0], "height": 900}) as page:
        page.goto(f"{portal.url}/marketplace/app/{administrator.application.client_id}/?user=1")
        tab = frame(page)
        tab.locator("[data-section=reports]").click()
        expect(tab.locator(".figures")).to_contain_text("300")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            screenshot(page, f"reports-{language}-{width}")
            wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.frames[-1].evaluate(wide) <= 0, width
            cut = "() => [...document.querySelectorAll('.card')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
            assert page.frames[-1].evaluate(cut) == 0, width

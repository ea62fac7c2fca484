"""The first minute of administrators: four steps, kept for all of them, until the card goes for good."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from bx24app.database import reading
from bx24app.models import PortalSetup
from bx24app.services.diagnostics.first_run import FirstRun, Step, StepState, load_first_run, mark_step
from bx24app.services.portals.settings import get_portal
from tests.conftest import OtherApp
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.support.actors import Actor, json_of
from tests.support.tables import rows_in_one_world
from tests.support.waiting import change_portal

CARD = "/desk/first-run"
PLACE = "data-first-run"


@pytest.fixture
def desk(administrator: Actor, manager: Actor) -> Actor:
    """An administrator with the desk open, on a portal that has the app since a moment."""
    administrator.opens()
    return administrator


def run_of(app: Flask) -> FirstRun:
    with app.app_context():
        run = load_first_run(get_portal(1))
    assert run is not None
    return run


def asks(actor: Actor, method: str = "GET", json: object = None) -> TestResponse:
    return actor.client.open(CARD, method=method, headers={"Authorization": f"Bearer {actor.ticket}"}, json=json)


def says(actor: Actor, step: str, state: str) -> TestResponse:
    return asks(actor, "PUT", {"step": step, "state": state})


def test_each_step_is_kept_for_every_administrator_until_the_card_goes_for_good(
    app: Flask, other_app: OtherApp, desk: Actor, portal: FakePortal, application: FakeApp
) -> None:
    assert PLACE in desk.opens().text
    asked = len(portal.requests)
    assert "Get ready: 0 of 4 done" in asks(desk).text
    assert "Get ready: 1 of 4 done" in says(desk, "hours", "done").text
    assert "Get ready: 2 of 4 done" in says(desk, "test", "done").text
    assert len(portal.requests) == asked
    berta = Actor(other_app().test_client(), portal, application, portal.add_user("Berta", "Deputy", admin=True))
    berta.opens()
    assert "Get ready: 2 of 4 done" in asks(berta).text
    assert "data-over" not in says(berta, "line", "skipped").text
    # Who calls from the CRM only has no website; the card says so once more, and is closed by its script.
    assert "Ready: 2 of 4 done" in (over := says(berta, "website", "skipped").text)
    assert "data-over" in over
    assert asks(berta, "DELETE").status_code == 204
    for one in (desk, berta):
        assert PLACE not in one.opens().text
        assert asks(one).text == ""
    # What is said afterwards brings nothing back.
    assert says(desk, "line", "skipped").text == ""
    assert asks(desk, "DELETE").status_code == 204


def test_a_step_is_done_where_its_work_is_done(app: Flask, desk: Actor, portal: FakePortal) -> None:
    assert run_of(app).steps == dict.fromkeys(Step, StepState.OPEN)
    change_portal(app, default_line_id="sip7")
    assert run_of(app).steps[Step.LINE] == StepState.DONE
    change_portal(app, default_line_id="gone")
    assert run_of(app).steps[Step.LINE] == StepState.OPEN
    change_portal(app, default_line_id=None)
    portal.lines.pop("sip7")
    desk.asks("GET", "/lines?refresh=1")
    assert run_of(app).steps[Step.LINE] == StepState.DONE
    kept = dict(portal.lines)
    portal.lines.clear()
    desk.asks("GET", "/lines?refresh=1")
    assert run_of(app).current == Step.LINE
    assert "has no telephone line yet" in asks(desk).text
    portal.lines.update(kept)
    desk.asks("GET", "/lines?refresh=1")
    wanted = {
        "name": "Shop",
        "line_id": "reg150907",
        "default_country": "DE",
        "allowed_origins": ["https://shop.example"],
    }
    form = json_of(desk.asks("POST", "/forms", wanted))
    assert (run_of(app).steps[Step.WEBSITE], run_of(app).current) == (StepState.WAITING, Step.HOURS)
    assert f"/w/{form['key']}/widget.js" in (card := asks(desk).text)
    assert "data-waiting" in card
    desk.client.get(f"/w/{form['key']}/widget.js", headers={"Referer": "https://shop.example/prices"})
    assert run_of(app).steps[Step.WEBSITE] == StepState.DONE
    assert "data-waiting" not in (card := asks(desk).text)
    assert "The button was seen on https://shop.example" in card


def test_hours_are_proposed_and_those_that_are_kept_are_shown(app: Flask, desk: Actor) -> None:
    shown = asks(desk).text
    assert "Mon – Fri" in shown
    assert "data-kept" not in shown
    week = {day: [["08:00", "12:00"], ["13:00", "17:00"]] for day in ("mon", "tue", "thu")}
    change_portal(app, hours={"zone": "Europe/Berlin", "week": week, "holidays": "DE-BY", "closed": []})
    shown = asks(desk).text
    for words in ("data-kept", "Mon – Tue", "08:00 – 12:00, 13:00 – 17:00", "Wed", "public holidays of Germany"):
        assert words in shown


@rows_in_one_world(
    "body",
    [
        {},
        {"step": "line"},
        {"step": "everything", "state": "done"},
        {"step": "line", "state": "open"},
        {"step": "website", "state": "waiting"},
        {"step": ["line"], "state": "done"},
        {"step": "line" * 9999, "state": "done"},
        {"step": "line", "state": "done", "more": 1},
    ],
)
def test_what_is_no_step_is_refused_and_keeps_nothing(app: Flask, desk: Actor, body: dict[str, object]) -> None:
    answer = asks(desk, "PUT", body)
    assert answer.status_code == 400, body
    with app.app_context(), reading() as session:
        assert session.get(PortalSetup, 1) is None


def test_what_two_say_at_once_is_kept_both(app: Flask, desk: Actor) -> None:
    def mark(step: Step) -> None:
        with app.app_context():
            mark_step(1, step, StepState.SKIPPED)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(mark, Step))
    assert run_of(app).steps == dict.fromkeys(Step, StepState.SKIPPED)


def test_a_manager_is_told_where_else_to_call_and_nothing_of_the_setup(desk: Actor, manager: Actor) -> None:
    page = manager.opens().text
    assert "You also find this in every lead, deal, contact and company, tab Callbacks." in page
    assert PLACE not in page
    manager.requests_callback()
    assert "You also find this" not in manager.opens().text

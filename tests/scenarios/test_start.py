"""Starting a callback: what is in the way is said with whom to ask, and a call's card says who asked for it."""

import re
from datetime import timedelta

from flask import Flask

from bx24app.database import writing
from bx24app.models import Callback, WebsiteRequest, utcnow
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import CUSTOMER, Actor, json_of
from tests.support.waiting import accept, add_form, change_portal


def test_a_listed_number_is_refused_with_who_listed_it_and_when(
    manager: Actor, administrator: Actor, portal: FakePortal
) -> None:
    administrator.opens()
    assert administrator.asks("POST", "/do-not-call", {"number": CUSTOMER}).status_code == 201
    for at in (None, "2027-01-15T09:00:00Z"):
        refused = manager.requests_callback(scheduled_at=at)
        problem = json_of(refused)
        assert (refused.status_code, problem["code"]) == (422, "do_not_call")
        assert problem["errors"][0]["field"] == "to_number"
        assert f"{portal.administrator.full_name} put this number on the do-not-call list on" in problem["detail"]
        assert str(utcnow().year) in problem["detail"]
    assert json_of(manager.asks("GET", "/callbacks"))["callbacks"] == []


def test_times_and_texts_are_for_those_who_start_callbacks_and_bad_ones_are_refused(
    app: Flask, manager: Actor, administrator: Actor
) -> None:
    change_portal(app, hours={"zone": "Europe/Berlin", "week": {}})
    headers = {"Authorization": f"Bearer {manager.ticket}"}
    for day, status in (("2020-01-01", 400), ("x", 400), ("", 200), ("9999-12-31", 400), ("2027-01-15", 200)):
        answer = manager.client.get(f"/desk/start/later?day={day}", headers=headers)
        assert answer.status_code == status, day
    said = manager.client.post(
        "/desk/start/text", json={"text": "For {name}.", "customer_name": "A\u202eB"}, headers=headers
    )
    assert said.json == {"words": "Will be said: \u201cFor AB.\u201d, about 1 s."}
    assert manager.client.post("/desk/start/text", json={"text": ["x"]}, headers=headers).status_code == 400
    administrator.opens()
    assert administrator.lets_call([1]).status_code == 200
    assert manager.client.get("/desk/start/later", headers=headers).status_code == 403
    assert manager.client.post("/desk/start/text", json={}, headers=headers).status_code == 403


def test_the_card_of_a_call_says_who_asked(app: Flask, manager: Actor, portal: FakePortal) -> None:
    accept(app, requested_by=portal.manager.id, source="staff", to_number=CUSTOMER)
    page = manager.opens("CALL_CARD", PHONE_NUMBER=CUSTOMER, CALL_DIRECTION="callback").text
    assert f"{portal.manager.full_name} asked for this callback:" in page
    assert 'id="asked"' not in manager.opens("CRM_LEAD_DETAIL_TAB", ID="1").text


def test_the_card_of_a_call_tells_of_the_callback_behind_it_and_of_no_older_one(app: Flask, manager: Actor) -> None:
    id = accept(app, to_number=CUSTOMER, source="website", form_id=add_form(app), customer_name="Clara")
    with app.app_context(), writing() as session:
        form_id = session.get_one(Callback, id).form_id
        told = {"page": "https://example.com/roof", "topic": "Prices", "name": "Clara"}
        session.add(WebsiteRequest(callback_id=id, form_id=form_id, number_digest="x", **told))
    # The latest of the customer waits for tomorrow: the call is that of the one in hand.
    tomorrow = utcnow() + timedelta(days=1)
    accept(app, to_number=CUSTOMER, scheduled_at=tomorrow, due_at=tomorrow)

    def told_in_card() -> str:
        found = re.search(r'(?s)id="asked">(.*?)</p>', manager.opens("CALL_CARD", PHONE_NUMBER=CUSTOMER).text)
        return found[1] if found else ""

    for words in ("Clara asked for this callback:", "https://example.com/roof", "“Prices”"):
        assert words in told_in_card()
    with app.app_context(), writing() as session:
        session.get_one(Callback, id).fail(utcnow(), "portal_refused")
    assert told_in_card() == ""


def test_without_a_default_line_it_is_said_who_chooses_one(app: Flask, manager: Actor, portal: FakePortal) -> None:
    words = f"Administrators can choose one: {portal.administrator.full_name}."
    for page in (manager.opens(), manager.opens("CRM_LEAD_DETAIL_TAB", ID="1")):
        assert "There is no default line." in page.text
        assert words in page.text
    # Not where somebody has a line already: their own last one, or the portal's.
    manager.requests_callback()
    assert words not in manager.opens().text
    administrator = Actor(manager.client, portal, manager.application, portal.administrator)
    assert words in administrator.opens().text
    change_portal(app, default_line_id=next(iter(portal.lines)))
    assert words not in administrator.opens().text
    change_portal(app, default_line_id=None)
    for line in list(portal.lines)[1:]:
        del portal.lines[line]
    assert administrator.asks("GET", "/lines?refresh=1").status_code == 200
    assert words not in administrator.opens().text


def test_another_name_that_would_be_spoken_is_another_request(manager: Actor) -> None:
    names = ("Clara", "Clara", "Igor", None)
    asked = [manager.requests_callback(key="k", text="For {name}.", customer_name=name) for name in names]
    assert [answer.status_code for answer in asked] == [201, 200, 422, 422]

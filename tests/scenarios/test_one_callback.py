"""The view of one callback: who may do what there, its neighbours in the list, its recording, and odd texts."""

import html
import re
from datetime import timedelta
from uuid import UUID

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from bx24app.database import writing
from bx24app.models import Attempt, Callback, Outcome, WebsiteRequest, utcnow
from bx24app.services.callbacks.detail import opened
from bx24app.services.callbacks.detail.recording import COMES_WITHIN
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.fake_bitrix24.people import CRM_READ, SEE_STATISTICS
from tests.scenarios.test_desk_loading import transactions
from tests.support.actors import Actor, json_of
from tests.support.waiting import accept, add_form, change_portal, follow_calls, work

HOSTILE = """<script>alert(1)</script>"'{{ 7 * 7 }}%(name)s"""
ARABIC = "سارة " * 40
AUDIO = "https://example.com/records/1.mp3"


def gets(actor: Actor, path: str, **headers: str) -> TestResponse:
    return actor.client.get(path, headers={"Authorization": f"Bearer {actor.ticket}", **headers})


def views(actor: Actor, id: object, query: str = "") -> TestResponse:
    return gets(actor, f"/desk/view/callbacks/{id}{query}")


def offered(page: TestResponse) -> set[str]:
    """The names of actions that a view offers, but for asking and copying."""
    return set(re.findall(r'data-action="(\w+)"', page.text)) - {"ask", "copy", "path"}


def asked_on_website(app: Flask, name: str, **fields: object) -> UUID:
    form_id = add_form(app)
    id = accept(app, form_id=form_id, customer_name=name)
    values: dict[str, object] = {
        "topic": name,
        "page": f"javascript:{name}",
        "utm": {"source": name, "medium": "cpc"},
        "consent_text": name,
    }
    values |= {"consent_version": 3, "consent_at": utcnow(), "address": "93.184.216.34"} | fields
    with app.app_context(), writing() as session:
        session.add(WebsiteRequest(callback_id=id, form_id=form_id, number_digest="x", name=name, **values))
    return id


def talked(app: Flask, manager: Actor, fake: FakeBitrix24, portal: FakePortal) -> tuple[UUID, str]:
    """A callback whose call ended after a conversation; its id and the call's."""
    id = json_of(manager.requests_callback())["id"]
    work(app)
    call = portal.telephony.calls[-1]
    call.manager_answers(portal.manager)
    call.customer_answers()
    fake.clock.advance(20)
    call.hang_up()
    follow_calls(app, portal)
    return UUID(id), call.call_id


def test_actions_follow_role_and_state(app: Flask, manager: Actor, administrator: Actor) -> None:
    administrator.opens()
    manager.opens()
    later = (utcnow() + timedelta(hours=1)).isoformat()
    planned = json_of(manager.requests_callback("+4930901821", scheduled_at=later))["id"]
    missed = accept(app, to_number="+4930901822")
    with app.app_context(), writing() as session:
        session.get_one(Callback, missed).fail(utcnow(), "portal_refused")
    expected = {planned: {"now", "move", "keep", "cancel", "phone"}, missed: {"retry", "phone"}}
    for id, actions in expected.items():
        assert offered(views(manager, id)) == actions
        assert offered(views(administrator, id)) == actions | {"block", "erase"}
    assert "The app calls at <time" in views(manager, planned).text
    administrator.lets_call(others="view")
    for id in expected:
        assert offered(views(manager, id)) == set()
    # Somebody who sees only their own finds no trace of others'.
    administrator.lets_call([manager.user.id])
    administrator.asks("PATCH", "/settings", {"shares_callbacks": False})
    theirs = json_of(administrator.requests_callback())["id"]
    assert views(manager, planned).status_code == 200
    for path in (f"view/callbacks/{theirs}", f"callbacks/{theirs}/now", f"callbacks/{theirs}/bitrix24"):
        assert gets(administrator, f"/desk/{path}").status_code == 200, path
        assert gets(manager, f"/desk/{path}").status_code == 404, path
    assert theirs not in views(manager, planned).text


def test_neighbours_are_those_of_the_list_in_the_address(app: Flask, manager: Actor) -> None:
    manager.opens()
    ids = [str(accept(app, to_number=f"+493090182{digit}")) for digit in range(5)]
    with app.app_context(), writing() as session:
        for id in ids[:2]:
            session.get_one(Callback, UUID(id)).fail(utcnow(), "portal_refused")
    lists = {
        "": (None, None, None),
        "?quick=all": (ids[3], ids[1], "3 of 5"),
        "?order=oldest&unknown=1": (ids[1], ids[3], "3 of 5"),
        "?state=queued&from=2020-01-01T00:00:00Z": (ids[3], None, "3 of 3"),
        # It has left this list meanwhile.
        "?state=failed": (None, ids[1], None),
        "?quick=scheduled": (None, None, None),
        "?quick=nonsense": (None, None, None),
        # As the page's own list has it: periods by their names, and what says how it is shown.
        "?quick=today&limit=25": (ids[3], ids[1], "3 of 5"),
        "?quick=all&period=7_days": (ids[3], ids[1], "3 of 5"),
        "?quick=all&period=last_month": (None, None, None),
        "?q=1": (None, None, None),
        "?order=due": (None, None, None),
    }
    for query, (before, after, place) in lists.items():
        page = views(manager, ids[2], query)
        assert page.status_code == 200, query
        links = dict(re.findall(r'href="#/callbacks/([\w-]+)" data-in-list data-(before|after)', page.text))
        assert {way: id for id, way in links.items()} == {
            way: id for way, id in (("before", before), ("after", after)) if id
        }, query
        found = re.search(r"\d+ of [\d,+]+", page.text)
        assert (found[0] if found else None) == place, query


def test_a_row_leads_to_a_view_that_knows_its_list(app: Flask, manager: Actor) -> None:
    manager.opens()
    for digit in range(3):
        accept(app, to_number=f"+493090182{digit}")
    page = gets(manager, "/desk/view/callbacks?quick=all&period=7_days").text
    links = re.findall(r'class="name" href="#/(callbacks/[^"]+)"', page)
    assert len(links) == 3
    assert "2 of 3" in gets(manager, f"/desk/view/{html.unescape(links[1])}").text


def test_neighbours_far_down_a_list_have_no_place(app: Flask, manager: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    manager.opens()
    ids = [str(accept(app, to_number=f"+493090182{digit}")) for digit in range(6)]
    monkeypatch.setattr("bx24app.services.callbacks.listing.neighbours.COUNTED_TO", 2)
    page = views(manager, ids[1], "?quick=all")
    assert re.findall(r'href="#/callbacks/([\w-]+)" data-in-list', page.text) == [ids[2], ids[0]]
    assert not re.search(r"\d+ of \d", page.text)


def test_the_view_takes_one_transaction_and_asks_the_portal_nothing(
    app: Flask, manager: Actor, portal: FakePortal
) -> None:
    manager.opens()
    id = asked_on_website(app, "Shop")
    asked = len(portal.requests)
    views(manager, id)
    with transactions(app) as begun:
        views(manager, id)
        # One of them is that of the guard.
        assert len(begun) <= 2
    assert len(portal.requests) == asked


def test_what_changed_is_told_once(app: Flask, manager: Actor) -> None:
    manager.opens()
    id = accept(app)
    path = f"/desk/callbacks/{id}/now"
    first = gets(manager, path)
    tag = first.headers["ETag"]
    assert gets(manager, path, **{"If-None-Match": tag}).status_code == 304
    # What is decided without a change of the callback's own row shows, too.
    with app.app_context(), writing() as session:
        session.get_one(Callback, id).decide("crm_found", utcnow(), entity="LEAD", id=12)
    again = gets(manager, path, **{"If-None-Match": tag})
    assert again.status_code == 200
    assert "Found in the CRM: lead 12" in again.text


def test_texts_of_others_are_text_and_codes_stand_for_support_only(
    app: Flask, manager: Actor, administrator: Actor
) -> None:
    administrator.opens()
    for name in (HOSTILE, ARABIC):
        id = asked_on_website(app, name[:200])
        with app.app_context(), writing() as session:
            callback = session.get_one(Callback, id)
            attempt = callback.fence(utcnow(), utcnow(), "", None)
            callback.start(attempt, "callback.1234", utcnow())
            attempt.end(Outcome.MISSED, utcnow(), "304", name)
            callback.miss(utcnow(), "code_304", name)
            callback.crm_entity_type, callback.crm_entity_id = "LEAD", 12
        page = views(administrator, id)
        assert "<script" not in page.text
        assert "{{ 7" in page.text or name == ARABIC
        assert 'href="javascript' not in page.text
        assert "/crm/lead/details/12/" in page.text
        assert "93.184.216.34" in page.text
        assert "cost not told yet" in page.text
        before_support, support = page.text.split('data-fold="support"')
        for code in ("callback.1234", "304", "missed"):
            assert code not in re.sub(r"<time.*?</time>|data-[\w-]+=\"[^\"]*\"", "", before_support), code
            assert code in support


def test_cost_is_told_by_currency(app: Flask, manager: Actor) -> None:
    manager.opens()
    id = accept(app)
    with app.app_context(), writing() as session:
        callback = session.get_one(Callback, id)
        for number, (cost, currency) in enumerate((("0.0096", "EUR"), ("1.5", "USD"), ("0", "EUR"), (None, None)), 1):
            callback.attempts.append(
                Attempt(
                    portal_id=1,
                    number=number,
                    line_id="reg1",
                    to_number="+4930901820",
                    started_at=utcnow(),
                    call_id=f"c{number}",
                    cost=cost,
                    cost_currency=currency,
                )
            )
    text = views(manager, id).text
    for words in ("0.0096 EUR", "1.50 USD", "0.00 EUR", "cost not told yet", "0.0096 EUR + 1.50 USD + not told yet"):
        assert words in text, words


def test_the_recording_is_asked_for_with_the_readers_own_rights(
    app: Flask, manager: Actor, administrator: Actor, fake: FakeBitrix24, portal: FakePortal
) -> None:
    administrator.opens()
    manager.opens()
    id, call_id = talked(app, manager, fake, portal)
    assert 'data-told="recording"' in views(manager, id).text
    change_portal(app, license_family="selfhosted")  # Which may be asked without end.
    path = f"/desk/callbacks/{id}/bitrix24"

    def told(actor: Actor) -> str:
        page = gets(actor, path)
        assert page.status_code == 200, page.text
        return re.sub(r"<[^a].*?>", "", page.text).strip()

    # Who may see no statistics of calls; who sees only those of others; and who sees it.
    portal.manager.rights.discard(SEE_STATISTICS)
    assert told(manager) == "You may not hear recordings."
    portal.manager.rights.add(SEE_STATISTICS)
    for actor in (manager, administrator):
        assert told(actor) == "Not there yet, try in a minute."
    portal.telephony.record(call_id, AUDIO)
    assert f'href="{AUDIO}" target="_blank" rel="noopener noreferrer"' in told(manager)
    # What would give away a token, and what is no address, is none.
    for url in (f"{AUDIO}?auth=secret", "javascript:alert(1)", "https://["):
        portal.telephony.record(call_id, url)
        assert told(manager) == "There is one: listen to it in the customer&#39;s card.", url
    portal.telephony.record(call_id, None, 17)
    assert "There is one" in told(manager)
    portal.telephony.record(call_id, None)
    with app.app_context(), writing() as session:
        [attempt] = session.get_one(Callback, id).attempts
        attempt.ended_at = utcnow() - COMES_WITHIN
    assert told(manager) == "No recording."
    [row] = portal.telephony.history
    portal.telephony.history.clear()
    assert told(manager) == "You may not hear recordings."
    portal.telephony.history.append(row)
    # A portal that is away spoils nothing but this.
    portal.faults.add("drop_before", "batch")
    page = gets(manager, path)
    assert (page.status_code, views(manager, id).status_code) == (503, 200)
    assert AUDIO not in views(manager, id).text


def test_the_card_is_named_with_the_readers_own_rights(app: Flask, manager: Actor, portal: FakePortal) -> None:
    manager.opens()
    ids = {
        "LEAD": portal.crm.add_lead("Roof", "Clara", ["+49 30 901820"]),
        "CONTACT": portal.crm.add_contact("Clara", HOSTILE),
        "DEAL": portal.crm.add_deal("R" * 1000),
        "COMPANY": portal.crm.add_company("Roofs"),
    }
    portal.crm.entities["LEAD"][ids["LEAD"]]["ASSIGNED_BY_ID"] = str(portal.manager.id)
    portal.crm.entities["DEAL"][ids["DEAL"]]["ASSIGNED_BY_ID"] = "999"
    id = accept(app, to_number="+4930901821")

    def told(kind: str, number: int) -> str:
        with app.app_context(), writing() as session:
            callback = session.get_one(Callback, id)
            callback.crm_entity_type, callback.crm_entity_id = kind, number
        page = gets(manager, f"/desk/callbacks/{id}/bitrix24")
        assert page.status_code == 200, page.text
        assert "<script" not in page.text
        assert "data-told" in views(manager, id).text
        found = re.findall(r'data-told="(?:card|responsible)">(.*?)</div>', page.text)
        return html.unescape(re.sub(r"</?bdi>", "", "".join(found))).strip()

    expected = {"LEAD": f"“Roof” · {portal.manager.full_name}", "COMPANY": "“Roofs”", "DEAL": f"“{'R' * 255}”"}
    for kind, words in expected.items():
        assert told(kind, ids[kind]) == words
    assert told("CONTACT", ids["CONTACT"]).startswith("“Clara <script>alert(1)")
    # One that is gone, and one that the reader may not see: the portal says nothing, and the page keeps the number.
    assert told("LEAD", 999) == ""
    portal.manager.rights.discard(CRM_READ)
    assert told("LEAD", ids["LEAD"]) == ""
    assert "Lead #1" in views(manager, id).text
    assert "Roof" not in views(manager, id).text


def test_without_a_conversation_nothing_is_asked(app: Flask, manager: Actor, portal: FakePortal) -> None:
    manager.opens()
    id = accept(app)
    asked = len(portal.requests)
    assert "No recording: there was no conversation." in gets(manager, f"/desk/callbacks/{id}/bitrix24").text
    assert len(portal.requests) == asked


def test_the_next_call_is_named_with_its_number(app: Flask, manager: Actor) -> None:
    manager.opens()
    change_portal(app, retries=2, retry_minutes=10)
    id = accept(app, source="staff", requested_by=manager.user.id)
    with app.app_context(), writing() as session:
        callback = session.get_one(Callback, id)
        attempt = callback.fence(utcnow(), utcnow(), "", None)
        callback.start(attempt, "callback.1", utcnow())
        attempt.end(Outcome.MISSED, utcnow(), "304", None)
        callback.postpone(utcnow(), utcnow() + timedelta(minutes=10), utcnow() + timedelta(hours=1), "retry_code_304")
    text = views(manager, id).text
    assert re.search(r"calls again at <time [^>]*>[^<]+</time>, attempt 2 of 3, on “Sales line”", text)
    assert manager.asks("POST", f"/callbacks/{id}/cancel").status_code == 200
    assert "calls again at <time" not in re.sub(r"(?s)<ol.*?</ol>", "", views(manager, id).text)


def test_other_callbacks_of_the_number_are_listed_and_bounded(app: Flask, manager: Actor) -> None:
    manager.opens()
    for _ in range(opened.OTHERS_SHOWN + 2):
        with app.app_context(), writing() as session:
            for callback in session.query(Callback):
                callback.holds_number, callback.state = False, "completed"
        id = accept(app)
    text = views(manager, id).text
    assert f"Other callbacks of this number ({opened.OTHERS_SHOWN}+)" in text
    assert text.count('<li><a href="#/callbacks/') == opened.OTHERS_SHOWN

"""The customer of a website's request in the CRM: found, or made exactly once; the call never waits for it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import update

from bx24app.database import writing
from bx24app.models import Callback, Form, WebsiteRequest, utcnow
from bx24app.services.crm import cards, crm_requests
from bx24app.services.crm import lookup as crm_lookup
from bx24app.worker.worker import Worker
from tests.conftest import Eventually, working
from tests.fake_bitrix24 import FakePortal
from tests.fake_bitrix24.people import CRM_ADD, CRM_READ
from tests.support.actors import CUSTOMER, Actor
from tests.support.crm_steps import PAGE, asks, card, kept, later, visitor_of_shop, worked
from tests.support.visitors import Visitor


@pytest.fixture
def visitor(app: Flask, environ: dict[str, str], manager: Actor, administrator: Actor) -> Visitor:
    return visitor_of_shop(app, administrator, environ["BX24APP_PUBLIC_URL"])


def test_a_contact_is_preferred_then_a_company_then_the_newest_lead(
    app: Flask, visitor: Visitor, portal: FakePortal
) -> None:
    older = portal.crm.add_lead("Old", phones=["+49 30 901820"])
    newer = portal.crm.add_lead("New", phones=["4930901820"])
    first = asks(visitor)
    worked(app)
    assert card(app, first) == ("found", "LEAD", newer)
    assert newer > older
    adding: list[tuple[str, Callable[..., int]]] = [
        ("COMPANY", portal.crm.add_company),
        ("CONTACT", portal.crm.add_contact),
    ]
    for number, (kind, add) in enumerate(adding, start=1):
        for lead in range(25):  # Leads are many: they must not hide the others.
            portal.crm.add_lead(f"{lead}", phones=[f"+49 30 90182{number}"])
        portal.crm.add_company("Company", phones=[f"+493090182{number}"])
        expected = add("Somebody", phones=[f"+493090182{number}"])
        id = asks(visitor, f"+493090182{number}")
        worked(app)
        assert card(app, id) == ("found", kind, expected)
    assert portal.requests_for("crm.lead.add") == []


def test_a_lead_is_made_with_everything_that_was_said(
    app: Flask, visitor: Visitor, portal: FakePortal, manager: Actor
) -> None:
    id = asks(visitor, name="Anna " + "x" * 60, topic="Sofa <b>[URL=https://evil.example]x[/URL]")
    worked(app)
    assert card(app, id) == ("created", "LEAD", 1)
    lead = portal.crm.entities["LEAD"][1]
    assert lead["PHONE"][0]["VALUE"] == CUSTOMER
    assert lead["NAME"] == ("Anna " + "x" * 60)[:50]
    assert lead["TITLE"] == "Shop: Anna " + "x" * 60
    assert (lead["SOURCE_ID"], lead["SOURCE_DESCRIPTION"]) == ("WEB", PAGE)
    assert (lead["UTM_SOURCE"], lead["UTM_CAMPAIGN"], lead.get("UTM_TERM")) == ("ad", "spring", None)
    assert lead["COMMENTS"] == "Sofa (b)(URL=https://evil.example)x(/URL)"
    assert "crm_created" in str(manager.sees(str(id)))
    again = asks_again(app, visitor, id)
    assert card(app, again) == ("found", "LEAD", 1)


def asks_again(app: Flask, visitor: Visitor, id: UUID) -> UUID:
    """The first callback has ended, and the customer asks once more."""
    with app.app_context(), writing() as session:
        session.get_one(Callback, id).cancel(utcnow())
    again = asks(visitor)
    worked(app)
    return again


def test_in_simple_mode_a_contact_and_a_deal_are_made(app: Flask, visitor: Visitor, portal: FakePortal) -> None:
    portal.crm.simple_mode = True
    id = asks(visitor, name="")
    worked(app)
    assert card(app, id) == ("created", "CONTACT", 1)
    contact, deal = portal.crm.entities["CONTACT"][1], portal.crm.entities["DEAL"][1]
    assert (contact["NAME"], contact["PHONE"][0]["VALUE"]) == (CUSTOMER, CUSTOMER)
    assert (deal["CONTACT_ID"], deal["TITLE"], deal["UTM_SOURCE"]) == ("1", f"Shop: {CUSTOMER}", "ad")
    assert portal.crm.entities["LEAD"] == {}


def test_nothing_is_made_unless_the_form_says_so(app: Flask, visitor: Visitor, portal: FakePortal) -> None:
    with app.app_context(), writing() as session:
        session.execute(update(Form).values(creates_lead=False))
    id = asks(visitor)
    worked(app)
    later(app)
    worked(app)
    assert card(app, id) == ("", None, None)
    assert portal.crm.entities["LEAD"] == {}
    assert kept(app, id)[0].crm_due_at is None


@pytest.mark.parametrize(
    ("kind", "executed"),
    [("drop_after", True), ("html_502_after", True), ("truncated_json", True), ("drop_before", False)],
)
@pytest.mark.parametrize("method", ["crm.lead.add", "crm.contact.add", "crm.deal.add"])
def test_an_answer_that_was_lost_leads_to_a_look_and_never_to_a_second_card(
    app: Flask, visitor: Visitor, portal: FakePortal, kind: str, executed: bool, method: str
) -> None:
    portal.crm.simple_mode = method != "crm.lead.add"
    portal.faults.add(kind, method)
    id = asks(visitor)
    worked(app)
    asked = len(portal.requests_for(method))
    assert (asked, kept(app, id)[0].crm_state) == (1, "asking")
    worked(app)  # Not yet: the portal may still be at it.
    assert len(portal.requests_for(method)) == asked
    later(app)
    worked(app)
    assert card(app, id)[0] == "created"
    assert len(portal.requests_for(method)) == (1 if executed else 2)
    made = {kind: len(cards) for kind, cards in portal.crm.entities.items() if cards}
    assert made == ({"CONTACT": 1, "DEAL": 1} if portal.crm.simple_mode else {"LEAD": 1})


def test_twice_lost_and_nothing_found_is_left_to_people(
    app: Flask, visitor: Visitor, portal: FakePortal, manager: Actor
) -> None:
    portal.faults.add("drop_before", "crm.lead.add", times=9)
    id = asks(visitor)
    for _ in range(5):
        worked(app)
        later(app)
    assert len(portal.requests_for("crm.lead.add")) == 2
    request, _ = kept(app, id)
    assert (request.crm_state, request.crm_reason, request.crm_due_at) == ("failed", "crm_unknown", None)


def test_a_worker_that_dies_between_asking_and_keeping_makes_no_second_card(
    app: Flask, visitor: Visitor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = asks(visitor)

    def dies(*_: Any) -> None:
        raise SystemExit

    with app.app_context(), monkeypatch.context() as patch:
        claim = crm_requests.lease_crm_request()
        assert claim is not None
        patch.setattr(cards, "_made", dies)
        with pytest.raises(SystemExit):
            crm_lookup.process_crm_request(claim)
        assert crm_requests.lease_crm_request() is None
    later(app)
    worked(app)
    assert card(app, id) == ("created", "LEAD", 1)
    assert len(portal.crm.entities["LEAD"]) == 1


def test_a_slow_courier_whose_claim_was_taken_over_makes_nothing(
    app: Flask, visitor: Visitor, portal: FakePortal
) -> None:
    id = asks(visitor)
    with app.app_context():
        slow = crm_requests.lease_crm_request()
        assert slow is not None
        later(app)
        worked(app)
        crm_lookup.process_crm_request(slow)
    assert card(app, id) == ("created", "LEAD", 1)
    assert len(portal.requests_for("crm.lead.add")) == 1


Break = Callable[[FakePortal], object]


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda p: p.administrator.rights.discard(CRM_ADD), "crm_denied"),
        (lambda p: p.administrator.rights.discard(CRM_READ), "crm_denied"),
        (lambda p: p.faults.add("error", "crm.lead.add", code="insufficient_scope", status=403), "crm_scope"),
        (lambda p: p.faults.add("error", "batch", code="insufficient_scope", status=403), "crm_scope"),
        (lambda p: p.faults.add("error", "crm.lead.add", code="", words="Name is bad", status=400), "crm_refused"),
        (lambda p: p.missing_methods.add("crm.lead.add"), "crm_refused"),
    ],
    ids=["add", "read", "scope of add", "scope of look", "words", "no such method"],
)
def test_what_the_portal_does_not_allow_is_told_and_the_call_goes_on(
    app: Flask,
    visitor: Visitor,
    portal: FakePortal,
    manager: Actor,
    eventually: Eventually,
    break_it: Break,
    reason: str,
) -> None:
    break_it(portal)
    id = asks(visitor)
    with working(app):
        eventually(lambda: kept(app, id)[0].crm_state == "failed")
        eventually(lambda: manager.sees(str(id))["state"] == "started")
    assert kept(app, id)[0].crm_reason == reason
    assert portal.crm.entities["LEAD"] == {}


@pytest.mark.parametrize("fault", ["QUERY_LIMIT_EXCEEDED", "OPERATION_TIME_LIMIT"])
@pytest.mark.parametrize("method", ["batch", "crm.lead.add"])
def test_a_busy_portal_is_asked_again(
    app: Flask, visitor: Visitor, portal: FakePortal, fault: str, method: str
) -> None:
    portal.faults.add("error", method, code=fault)
    id = asks(visitor)
    worked(app)
    assert card(app, id)[1:] == (None, None)
    later(app)
    worked(app)
    assert card(app, id) == ("created", "LEAD", 1)


def test_a_portal_that_stays_silent_for_a_day_is_given_up(app: Flask, visitor: Visitor, portal: FakePortal) -> None:
    portal.faults.add("drop_before", "batch", times=99)
    id = asks(visitor)
    worked(app)
    with app.app_context(), writing() as session:
        session.execute(update(WebsiteRequest).values(created_at=utcnow() - timedelta(hours=25)))
    later(app)
    worked(app)
    request, _ = kept(app, id)
    assert (request.crm_state, request.crm_reason) == ("failed", "crm_silent")


def test_a_crm_that_hangs_keeps_no_call_waiting(
    app: Flask, visitor: Visitor, portal: FakePortal, manager: Actor, eventually: Eventually
) -> None:
    hanging = portal.faults.add("hang_before", "batch", seconds=30)
    first = asks(visitor)
    with working(app):
        eventually(hanging.received.is_set)
        second = asks(visitor, "+4930901821")
        eventually(lambda: all(manager.sees(str(id))["state"] == "started" for id in (first, second)))
        assert card(app, first)[0] == card(app, second)[0] == ""
        hanging.released.set()


def test_two_workers_make_one_card_for_one_number(
    app: Flask, visitor: Visitor, portal: FakePortal, worker: Worker, eventually: Eventually
) -> None:
    numbers = [f"+4930901{number:03}" for number in range(820, 828)]
    with working(app):
        ids = []
        for at, number in enumerate(numbers):
            visitor.address = f"203.0.113.{at}"
            ids.append(asks(visitor, number))
        eventually(lambda: all(card(app, id)[0] == "created" for id in ids))
    phones = [lead["PHONE"][0]["VALUE"] for lead in portal.crm.entities["LEAD"].values()]
    assert sorted(phones) == numbers


def test_nothing_personal_is_in_the_rest_log(
    app: Flask, visitor: Visitor, portal: FakePortal, administrator: Actor
) -> None:
    asks(visitor, name="Clara Unmistakable", topic="Sofa unmistakable")
    worked(app)
    headers = {"Authorization": f"Bearer {administrator.ticket}"}
    shown = administrator.client.get("/desk/requests", headers=headers).text
    assert "crm.lead.add" in shown
    assert "nmistakable" not in shown
    assert "901820" not in shown

"""Opening a page reads everything at once: few transactions, however much there is to show."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event, select
from werkzeug.datastructures import MultiDict

from bx24app.bitrix24.frame_post import read_frame_post
from bx24app.database import db, writing
from bx24app.models import Portal, utcnow
from bx24app.services.callbacks.desk import Desk, open_desk, principal_of, read_customer
from bx24app.services.callbacks.roles import Role
from bx24app.services.portals.launch import verify_launch
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, post_frame
from tests.support.statements import statements

MOST = 3


@contextmanager
def transactions(app: Flask) -> Iterator[list[object]]:
    """Collect the transactions that this thread begins: each has one connection of the pool for itself."""
    begun: list[object] = []
    thread = threading.get_ident()

    def note(connection: object, *_: object) -> None:
        if threading.get_ident() == thread:  # Another one rings for workers.
            begun.append(connection)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "checkout", note)
    try:
        yield begun
    finally:
        event.remove(engine, "checkout", note)


def load(app: Flask, actor: Actor, placement: str = "DEFAULT", **options: str) -> tuple[Desk, int, int]:
    """What a page shows, with the transactions and the requests to the portal that reading it took."""
    post = actor.launches(placement, **options)
    with app.app_context():
        launch = verify_launch(read_frame_post(MultiDict(post.query), MultiDict(post.form)), "")
        asked = len(actor.portal.requests)
        with transactions(app) as begun:
            customer = read_customer(launch)
            desk = open_desk(principal_of(launch, customer), customer)
        return desk, len(begun), len(actor.portal.requests) - asked


@pytest.fixture
def busy(administrator: Actor, manager: Actor) -> Actor:
    """An administrator whose desk has something of everything."""
    administrator.opens()
    manager.opens()
    for number in range(3):
        manager.requests_callback(f"+493090182{number}")
        administrator.requests_callback(f"+493090183{number}")
    for name in ("One", "Two"):
        administrator.asks("POST", "/forms", {"name": name, "default_country": "DE", "budget_calls": 0})
    return administrator


def test_everything_is_read_in_one_transaction(app: Flask, busy: Actor) -> None:
    desk, begun, asked = load(app, busy)
    assert (begun, asked) == (1, 0)
    assert desk.principal.role == Role.ADMINISTRATOR
    assert len(desk.shown.callbacks) == 6
    assert {busy.portal.administrator.full_name, busy.portal.manager.full_name} <= set(
        desk.shown.callbacks[0].names.values()
    )
    assert desk.choices.lines.names
    assert desk.choices.voices.names


def test_a_card_shows_its_customer_and_nothing_of_administration(app: Flask, busy: Actor, portal: FakePortal) -> None:
    lead = portal.crm.add_lead("Price list", "Clara", ["+49 30 901820"])
    desk, begun, asked = load(app, busy, "CRM_LEAD_DETAIL_TAB", ID=str(lead))
    assert (begun, asked) == (1, 0)
    assert desk.customer is not None
    assert [number.e164 for number in desk.customer.numbers] == ["+4930901820"]
    assert [named.callback.to_number for named in desk.shown.callbacks] == ["+4930901820"]
    assert not desk.app_retries


def test_who_is_no_administrator_sees_nothing_of_administration(app: Flask, busy: Actor, manager: Actor) -> None:
    desk, begun, _ = load(app, manager)
    assert (desk.principal.role, desk.app_retries, begun) == (Role.OPERATOR, False, 1)


def test_lists_that_are_old_are_asked_for_once(app: Flask, manager: Actor) -> None:
    """The other side of it: what is not kept costs a request for each list."""
    with app.app_context(), writing() as session:
        portal = session.scalars(select(Portal)).one()
        portal.lines_fetched_at = portal.voices_fetched_at = utcnow() - timedelta(days=2)
    desk, begun, asked = load(app, manager)
    assert asked == 2
    assert begun > MOST
    assert load(app, manager)[1:] == (1, 0)
    assert desk.choices.lines.names


def test_a_view_of_an_open_page_waits_for_our_database_only(app: Flask, manager: Actor) -> None:
    """However old the lists of lines and voices are: those that are kept are shown."""
    manager.opens()
    with app.app_context(), writing() as session:
        portal = session.scalars(select(Portal)).one()
        portal.lines_fetched_at = portal.voices_fetched_at = utcnow() - timedelta(days=2)
    asked = len(manager.portal.requests)
    shown = manager.client.get("/desk/view/callbacks", headers={"Authorization": f"Bearer {manager.ticket}"})
    assert "Sales line" in shown.text
    assert len(manager.portal.requests) == asked


@pytest.mark.parametrize("placement", ["DEFAULT", "CRM_LEAD_DETAIL_TAB"])
def test_a_whole_page_costs_three_transactions_more_than_proving_who_opens_it(
    app: Flask, busy: Actor, portal: FakePortal, placement: str
) -> None:
    lead = str(portal.crm.add_lead("Price list", "Clara", ["+49 30 901820"]))
    options = {} if placement == "DEFAULT" else {"ID": lead}
    with transactions(app) as proving:
        assert post_frame(busy.client, "/session", busy.launches(placement, **options)).status_code == 200
    with transactions(app) as whole:
        page = busy.opens(placement, **options)
    assert page.status_code == 200
    assert ("used up today" in page.text) == (placement == "DEFAULT")
    assert 1 <= len(whole) - len(proving) <= MOST


def test_a_request_of_staff_is_one_read_and_one_write(app: Flask, busy: Actor) -> None:
    """Who asks, with their role, their portal and what they chose last, is one row of the first transaction."""
    assert busy.requests_callback("+4930901840").status_code == 201
    with transactions(app) as begun:
        assert busy.requests_callback("+4930901841").status_code == 201
    assert len(begun) == 2


def test_the_list_of_an_open_page_is_one_transaction_beside_the_guards(app: Flask, busy: Actor) -> None:
    headers = {"Authorization": f"Bearer {busy.ticket}"}
    assert busy.client.get("/desk/callbacks", headers=headers).status_code == 200
    with transactions(app) as begun:
        assert busy.client.get("/desk/callbacks", headers=headers).status_code == 200
    assert len(begun) == 2


@pytest.mark.parametrize("shown", ["", "?quick=all&limit=50", "?quick=all&whole=1&columns=customer,state"])
def test_an_open_list_in_which_nothing_has_changed_reads_no_callback(app: Flask, busy: Actor, shown: str) -> None:
    """Nine of ten answers to open pages, as a company's desks ask all day: 7 ms each, and 16 with the callbacks."""
    path, bearer = f"/desk/callbacks{shown}", {"Authorization": f"Bearer {busy.ticket}"}
    first = busy.client.get(path, headers=bearer)
    known = {**bearer, "If-None-Match": f'"of-another-page", W/{first.headers["ETag"]}'}
    with statements(app) as ran:
        again = busy.client.get(path, headers=known)
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert ran
    assert not [sql for sql in ran if "callback.customer_name" in sql or "FROM form" in sql]
    assert busy.requests_callback("+493090184001").status_code == 201
    assert busy.client.get(path, headers=known).status_code == 200


def test_the_mark_of_a_list_is_that_of_one_way_to_show_it(busy: Actor) -> None:
    path, bearer = "/desk/callbacks?quick=all", {"Authorization": f"Bearer {busy.ticket}"}
    tag = busy.client.get(path, headers=bearer).headers["ETag"]
    for other, language in (("&columns=customer,state", "en"), ("&whole=1", "en"), ("", "ru")):
        known = {**bearer, "If-None-Match": tag, "Accept-Language": language}
        assert busy.client.get(f"{path}{other}", headers=known).status_code == 200

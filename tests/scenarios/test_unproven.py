"""Somebody who has proven nothing costs next to nothing: no row, no part of a portal's pace, few questions."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from bx24app.database import reading
from bx24app.models import RestCall, Throttle, TokenBucket
from bx24app.services.security import proof_limits
from tests.conftest import Eventually, working
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal
from tests.support.actors import Actor, post_frame

FLOOD = 400


def stored(app: Flask) -> tuple[int, float, int]:
    """Rows of the REST log, what counts against the portal's pace, and rows of limits."""
    with app.app_context(), reading() as session:
        rows = session.scalars(select(func.count()).select_from(RestCall)).one()
        limits = session.scalars(select(func.count()).select_from(TokenBucket)).one()
        return rows, session.scalars(select(Throttle.level)).one(), limits


def forge(manager: Actor, client: FlaskClient, *, token: str = "", address: str = "203.0.113.9") -> int:
    """Open the desk with a made-up token, knowing the portal's ``member_id``; returns the status."""
    post = manager.launches()
    form = {**post.form, "AUTH_ID": token or secrets.token_hex(35)}
    environ = {"REMOTE_ADDR": address}
    return client.post("/", query_string=post.query, data=form, environ_base=environ).status_code


def flood(manager: Actor, app: Flask, times: int) -> list[int]:
    def one(number: int) -> int:
        return forge(manager, app.test_client(), address=f"203.0.113.{number % 100}")

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(times)))


def test_a_flood_of_made_up_tokens_stores_and_counts_nothing_and_delays_no_dial(
    app: Flask, manager: Actor, portal: FakePortal, fake: FakeBitrix24, eventually: Eventually
) -> None:
    before, asked, server = stored(app), len(portal.requests), len(fake.auth_server.server.requests)
    statuses = flood(manager, app, FLOOD)
    assert {403, 429} <= set(statuses) <= {403, 429, 503}
    after = stored(app)
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] <= before[1]
    assert len(portal.requests) - asked <= proof_limits.QUESTIONS_TO_PORTAL + 2
    assert len(fake.auth_server.server.requests) - server <= proof_limits.FAILURES_PER_PORTAL + 5
    began = time.monotonic()
    with working(app):
        created = manager.requests_callback()
        assert created.status_code == 201
        eventually(lambda: bool(portal.telephony.calls))
    assert time.monotonic() - began < 5


def test_people_of_the_portal_open_the_desk_during_a_flood(app: Flask, manager: Actor, administrator: Actor) -> None:
    flood(manager, app, proof_limits.QUESTIONS_TO_PORTAL * 2)
    assert administrator.opens().status_code == 200
    flood(manager, app, FLOOD)
    assert manager.opens().status_code == 200


def test_an_address_is_refused_after_a_while_and_others_are_not(manager: Actor, client: FlaskClient) -> None:
    statuses = [forge(manager, client) for _ in range(proof_limits.FAILURES_PER_ADDRESS + 5)]
    assert statuses[: proof_limits.FAILURES_PER_ADDRESS] == [403] * proof_limits.FAILURES_PER_ADDRESS
    assert set(statuses[proof_limits.FAILURES_PER_ADDRESS :]) == {429}
    assert forge(manager, client, address="203.0.113.10") == 403
    assert manager.opens().status_code == 200


@pytest.mark.parametrize("path", ["/", "/session", "/install"])
def test_a_refused_token_is_asked_about_once(
    manager: Actor, client: FlaskClient, portal: FakePortal, fake: FakeBitrix24, path: str
) -> None:
    # Whether the portal has moved is looked at once a minute.
    forge(manager, client)
    asked = len(portal.requests) + len(fake.auth_server.server.requests)
    post = manager.launches()
    for _ in range(5):
        answer = post_frame(client, path, post, AUTH_ID="f" * 70)
        assert answer.status_code == 403
    assert len(portal.requests) + len(fake.auth_server.server.requests) == asked + 1


def test_what_is_proven_costs_nothing(app: Flask, manager: Actor, portal: FakePortal, application: FakeApp) -> None:
    for _ in range(proof_limits.FAILURES_PER_ADDRESS * 2):
        assert manager.opens().status_code == 200


def test_an_unknown_portal_costs_one_question(
    manager: Actor, client: FlaskClient, portal: FakePortal, fake: FakeBitrix24
) -> None:
    asked, server = len(portal.requests), len(fake.auth_server.server.requests)
    post = manager.launches()
    assert post_frame(client, "/", post, member_id="0" * 32, AUTH_ID="e" * 70).status_code == 403
    assert len(portal.requests) == asked
    assert len(fake.auth_server.server.requests) == server + 1


def test_portals_that_nobody_knows_cost_few_questions_together(
    manager: Actor, client: FlaskClient, fake: FakeBitrix24
) -> None:
    """Their names are made up, so no limit of one portal stops them; people of portals that we know come in."""
    server, post = len(fake.auth_server.server.requests), manager.launches()
    statuses = []
    for number in range(proof_limits.UNKNOWN_PORTALS + 20):
        form = {**post.form, "AUTH_ID": secrets.token_hex(35), "member_id": secrets.token_hex(16)}
        sent = {"REMOTE_ADDR": f"203.0.113.{number}"}
        path = "/install" if number % 2 else "/"
        statuses.append(client.post(path, query_string=post.query, data=form, environ_base=sent).status_code)
    assert set(statuses) == {403, 429}
    # A few come back while the test runs.
    assert len(fake.auth_server.server.requests) - server <= proof_limits.UNKNOWN_PORTALS + 10
    assert manager.opens().status_code == 200

"""Somebody of a portal, or who has one of their own, uses the limits of proofs against others."""

import secrets
from dataclasses import replace
from types import SimpleNamespace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, select

from bx24app.database import reading, writing
from bx24app.models import RestCall, RuleRun, RuleStage
from bx24app.services.native.automation import unproven_runs
from bx24app.services.native.timeline import clicks
from bx24app.services.runtime import local_limit, local_memory
from bx24app.services.runtime.local_limit import LocalLimit
from bx24app.services.runtime.slots import Slots
from bx24app.services.security import proof_limits, token_proof
from bx24app.web.frame import guards
from tests.fake_bitrix24 import FakeApp, FakeBitrix24, FakePortal, LaunchPost
from tests.fake_bitrix24.events import http_build_query
from tests.scenarios.test_kept_clicks import kept
from tests.support.actors import Actor
from tests.support.rule_steps import LINE, ONCE, make_runs_due, registered, runs_of, stored, worked
from tests.support.timeline_steps import Plans, plans, shows

__all__ = ["plans", "registered", "shows"]
AT_HOME, SHARED, HERE = "198.51.100.1", "203.0.113.9", "127.0.0.1"


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit fills again, however slow the machine is."""
    monkeypatch.setattr(local_limit, "time", SimpleNamespace(monotonic=lambda: 1000.0))


@pytest.fixture(autouse=True)
def roomy(portal: FakePortal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal answers whatever it is asked, so that our own limits speak alone."""
    monkeypatch.setattr(portal.rest.bucket, "enabled", False)


def posts(client: FlaskClient, path: str, post: LaunchPost, address: str, **form: str) -> int:
    sent = {"REMOTE_ADDR": address}
    return client.post(path, query_string=post.query, data={**post.form, **form}, environ_base=sent).status_code


def made_up() -> str:
    return secrets.token_hex(35)


def of_stranger(post: LaunchPost) -> LaunchPost:
    """The post as somebody sends it who does not know the application token."""
    return replace(post, form={name: value for name, value in post.form.items() if name != "APPLICATION_TOKEN"})


def test_a_token_proves_few_places_however_many_networks_somebody_has(
    client: FlaskClient, manager: Actor, fake: FakeBitrix24
) -> None:
    post, server = manager.launches(), fake.auth_server.server
    homes = [f"2001:db8:2:{number:x}::1" for number in range(10)]
    assert {posts(client, "/", post, home) for home in homes} == {200}
    asked = len(server.requests)
    for home in homes:
        for _ in range(proof_limits.FAILURES_PER_ADDRESS):
            posts(client, "/install", post, home, AUTH_ID=made_up())
    # Three places of the token, one of its installation; what comes from elsewhere has the portal's limit. At either of
    # them whoever shows the application token has as much again as all of them together.
    at_places = min(4 * proof_limits.FAILURES_PER_ADDRESS, int(proof_limits.REFUSED_AT_PLACES.size))
    known = 2 * int(proof_limits.REFUSED_OF_ALL_KNOWN.size)
    assert len(server.requests) - asked <= at_places + proof_limits.FAILURES_PER_PORTAL + known


def test_what_is_refused_at_all_places_of_a_portal_has_a_bound(
    client: FlaskClient, manager: Actor, fake: FakeBitrix24, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof_limits, "REFUSED_AT_PLACES", LocalLimit("refused_at_places", 10))
    post, server = of_stranger(manager.launches()), fake.auth_server.server
    homes = [f"2001:db8:2:{number:x}::1" for number in range(3)]
    assert {posts(client, "/", post, home) for home in homes} == {200}
    asked = len(server.requests)
    for home in homes:
        for _ in range(8):
            posts(client, "/install", post, home, AUTH_ID=made_up())
    assert len(server.requests) - asked == 10
    # Whoever has a token that was proven goes on.
    assert posts(client, "/", post, homes[0]) == 200


def test_an_employee_who_installs_again_and_again_keeps_the_desk_open_for_colleagues(
    client: FlaskClient, manager: Actor, administrator: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof_limits, "LAUNCHES_OF_PERSON", LocalLimit("launches_of_person", 1_000))
    post = manager.launches()
    said = [posts(client, "/install", post, SHARED) for _ in range(int(token_proof.PROVEN_OF_PORTAL.size) + 20)]
    assert said[-1] == 429
    for _ in range(proof_limits.QUESTIONS_TO_PORTAL + 2):
        posts(client, "/", post, "203.0.113.10", AUTH_ID=made_up())
    assert posts(client, "/", administrator.launches(), AT_HOME) == 200
    assert posts(client, "/session", administrator.launches(), AT_HOME) == 200


def test_a_person_opens_so_many_pages_a_minute(client: FlaskClient, manager: Actor, administrator: Actor) -> None:
    """With each page that they open in Bitrix24 they get another token."""
    tokens, most = [manager.launches() for _ in range(3)], int(proof_limits.LAUNCHES_OF_PERSON.size)
    said = [posts(client, "/", tokens[number % 3], SHARED) for number in range(most + 20)]
    assert said[most + 4 :] == [429] * 16
    assert said.count(200) <= most + len(tokens)
    assert posts(client, "/", administrator.launches(), SHARED) == 200


def test_a_new_token_for_each_page_opens_no_more(
    client: FlaskClient, manager: Actor, administrator: Actor, portal: FakePortal
) -> None:
    """Their questions would use up the pace of the portal's dials."""
    most, asked = int(proof_limits.LAUNCHES_OF_PERSON.size), len(portal.requests)
    said = [posts(client, "/", manager.launches(), SHARED) for _ in range(most + 20)]
    # The manager has opened one before.
    assert said == [200] * (most - 1) + [429] * 21
    assert len(portal.requests) - asked == most
    # Elsewhere, and a moment later, a colleague opens it as ever.
    assert posts(client, "/", administrator.launches(), AT_HOME) == 200
    with client.application.app_context():
        local_memory._memory().kept["crowded_place"].clear()
    assert posts(client, "/", administrator.launches(), SHARED) == 200


def test_nor_do_they_shut_what_colleagues_have_open(
    client: FlaskClient, manager: Actor, administrator: Actor, portal: FakePortal
) -> None:
    """A page renews its ticket with a token that nobody has seen."""
    administrator.opens()
    most, asked = int(proof_limits.LAUNCHES_OF_PERSON.size), len(portal.requests)
    for _ in range(most + 1):
        posts(client, "/", manager.launches(), HERE)
    assert manager.renews_ticket().status_code == 429
    assert len(portal.requests) - asked == most
    assert [administrator.renews_ticket().status_code for _ in range(most)] == [200] * (most - 1) + [429]


def elsewhere(number: int) -> str:
    """An address of another network, which belongs to nobody around it."""
    return f"2001:db8:{number:x}::1"


def logged_requests(app: Flask) -> int:
    with app.app_context(), reading() as session:
        return len(session.scalars(select(RestCall.id)).all())


@pytest.mark.parametrize("path", ["/", "/install"])
def test_nor_do_many_networks(
    app: Flask, client: FlaskClient, manager: Actor, administrator: Actor, portal: FakePortal, path: str
) -> None:
    """What the portal was asked is counted in its pace, whether the page was opened or not."""
    administrator.opens()
    named, most = int(proof_limits.NAMED_OF_PORTAL.size), int(proof_limits.LAUNCHES_OF_PERSON.size)
    asked, logged = len(portal.requests), logged_requests(app)
    said = [posts(client, path, manager.launches(), elsewhere(number)) for number in range(most + 20)]
    assert said[most - 1 :] == [429] * 21
    assert len(portal.requests) - asked <= most
    assert logged_requests(app) - logged == len(portal.requests) - asked
    # A colleague opens it as ever; where there is no end to it, those go on who have it open.
    assert posts(client, "/", administrator.launches(), AT_HOME) == 200
    for number in range(named):
        posts(client, "/", manager.launches(), elsewhere(most + 20 + number))
    assert len(portal.requests) - asked <= most + 1
    assert posts(client, "/", administrator.launches(), AT_HOME) == 429
    assert administrator.renews_ticket().status_code == 200


def test_nor_is_anybody_asked_about_more_from_other_networks_of_their_household(
    client: FlaskClient, manager: Actor, portal: FakePortal, fake: FakeBitrix24
) -> None:
    for _ in range(int(proof_limits.LAUNCHES_OF_PERSON.size)):
        posts(client, "/", manager.launches(), "2001:db8:7:1::1")
    asked = len(portal.requests) + len(fake.auth_server.server.requests)
    said = [posts(client, "/", manager.launches(), f"2001:db8:7:{number:x}::1") for number in range(2, 40)]
    assert said == [429] * 38
    assert len(portal.requests) + len(fake.auth_server.server.requests) == asked


def test_what_was_asked_about_their_good_tokens_is_given_back(
    app: Flask, client: FlaskClient, manager: Actor, portal: FakePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else strangers could have each page of a colleague cost one more question."""
    for number in range(int(proof_limits.LAUNCHES_OF_PERSON.size) + 1):
        posts(client, "/", manager.launches(), elsewhere(number))
    with app.app_context():
        monkeypatch.setattr(proof_limits, "QUESTIONS_TO_PORTAL", 1)
        assert proof_limits.may_ask_portal(portal.member_id, made_up())


def test_the_hour_that_a_browser_tells_has_nothing_renewed(
    app: Flask, manager: Actor, administrator: Actor, fake: FakeBitrix24
) -> None:
    for _ in range(3):
        assert posts(administrator.client, "/", administrator.launches(), AT_HOME, AUTH_EXPIRES="0") == 200
        assert manager.asks("GET", "/lines?refresh=1").status_code == 200
    assert fake.auth_server.renewals == 0


def click(client: FlaskClient, portal: FakePortal, application: FakeApp, activity_id: int) -> int:
    """A made-up click of somebody who knows the application token and the number of an activity."""
    auth = portal.event_auth(application) | {"access_token": made_up()}
    data = {"id": "cancel", "activityId": activity_id}
    event = {"event": "ONCRMTIMELINEITEMACTION", "data": data, "auth": auth, "ts": 1}
    sent = dict(http_build_query(event))
    return client.post("/events", data=sent, environ_base={"REMOTE_ADDR": SHARED}).status_code


def runs(
    client: FlaskClient, portal: FakePortal, application: FakeApp, address: str, *, event_token: str = "", **auth: str
) -> int:
    """A run of a rule from an address, genuine but for what is given."""
    token, person = event_token or portal.automation.new_token(), portal.administrator
    values: dict[str, object] = {"number": "+49 30 901820", "line": LINE}
    sent = portal.automation.fields(application, ONCE, "DEAL_1", token, person, values)
    given = sent["auth"]
    assert isinstance(given, dict)
    sent["auth"] = given | auth
    pairs = dict(http_build_query({**sent, "ts": 1}))
    return client.post("/robot", data=pairs, environ_base={"REMOTE_ADDR": address}).status_code


def updates(client: FlaskClient, portal: FakePortal, application: FakeApp, address: str) -> int:
    """A genuine event from an address."""
    event = {"event": "ONAPPUPDATE", "data": {"VERSION": 2}, "auth": portal.event_auth(application), "ts": 1}
    sent = dict(http_build_query(event))
    return client.post("/events", data=sent, environ_base={"REMOTE_ADDR": address}).status_code


def flood(client: FlaskClient, portal: FakePortal, application: FakeApp) -> None:
    """Made-up tokens for a portal from Bitrix24's address and from others, until nothing more is asked about."""
    post = of_stranger(portal.launch(application, portal.administrator))
    for address in (SHARED, AT_HOME, *(f"203.0.113.{number}" for number in range(60))):
        for _ in range(10):
            posts(client, "/", post, address, AUTH_ID=made_up())


def test_strangers_keep_out_nothing_that_shows_the_portal_s_own_token(
    app: Flask, client: FlaskClient, administrator: Actor, registered: FakePortal, application: FakeApp
) -> None:
    administrator.opens()
    app.extensions.pop(local_memory.MEMORY_STATE)
    flood(client, registered, application)
    without = of_stranger(administrator.launches())
    # No process remembers anybody: from an address of Bitrix24, which everybody shares, and from an own one.
    assert posts(client, "/", without, "203.0.113.200") == 429
    assert runs(client, registered, application, SHARED) == 200
    assert updates(client, registered, application, "203.0.113.201") == 200
    assert posts(client, "/", administrator.launches(), "203.0.113.202") == 200
    assert [run.stage for run in runs_of(app)] == [RuleStage.RECEIVED]


def test_an_event_with_another_application_token_has_no_more_room_than_strangers(
    app: Flask, client: FlaskClient, administrator: Actor, registered: FakePortal, application: FakeApp
) -> None:
    administrator.opens()
    app.extensions.pop(local_memory.MEMORY_STATE)
    flood(client, registered, application)
    assert runs(client, registered, application, SHARED, application_token=made_up()) == 429


def test_guests_at_an_office_keep_nobody_of_it_out(client: FlaskClient, manager: Actor, administrator: Actor) -> None:
    assert posts(client, "/", administrator.launches(), SHARED) == 200
    guest = of_stranger(manager.launches())
    said = [posts(client, "/", guest, SHARED, AUTH_ID=made_up()) for _ in range(proof_limits.FAILURES_PER_ADDRESS + 5)]
    assert said[-1] == 429
    assert posts(client, "/", administrator.launches(), SHARED) == 200


def test_a_page_that_is_open_renews_its_ticket_whatever_a_colleague_sends(
    client: FlaskClient, manager: Actor, administrator: Actor
) -> None:
    assert posts(client, "/", administrator.launches(), SHARED) == 200
    colleague, most = manager.launches(), 2 * proof_limits.FAILURES_PER_ADDRESS
    said = [posts(client, "/", colleague, SHARED, AUTH_ID=made_up()) for _ in range(most + 5)]
    assert said[-1] == 429
    assert posts(client, "/session", administrator.launches(), SHARED) == 429

    def renews(ticket: str) -> int:
        post, headers = administrator.launches(), {"Authorization": f"Bearer {ticket}"}
        sent = {"REMOTE_ADDR": SHARED}
        return client.post(
            "/session", query_string=post.query, data=post.form, headers=headers, environ_base=sent
        ).status_code

    assert renews(administrator.ticket) == 200
    assert renews(administrator.ticket + "x") == 429


def test_a_run_waits_where_somebody_who_was_dismissed_has_used_up_everything(
    app: Flask, client: FlaskClient, administrator: Actor, registered: FakePortal, application: FakeApp
) -> None:
    administrator.opens()
    app.extensions.pop(local_memory.MEMORY_STATE)
    for number in range(60):
        for _ in range(5):
            runs(client, registered, application, f"203.0.113.{number}", access_token=made_up())
    with app.app_context(), writing() as session:
        session.execute(delete(RuleRun))
    assert runs(client, registered, application, "203.0.113.200") == 200
    assert [run.stage for run in runs_of(app)] == [RuleStage.UNPROVEN]
    app.extensions.pop(local_limit.LIMITS_STATE)
    make_runs_due(app)
    assert worked(app) == 2
    assert len(stored(app)) == 1


def test_runs_that_nobody_was_asked_about_are_few_of_a_place(
    app: Flask,
    client: FlaskClient,
    administrator: Actor,
    registered: FakePortal,
    application: FakeApp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unproven_runs, "WAITING_UNASKED", LocalLimit("waiting_unasked", 3, 3600.0))
    administrator.opens()
    most = 2 * proof_limits.FAILURES_PER_ADDRESS
    said = [runs(client, registered, application, SHARED, access_token=made_up()) for _ in range(most + 10)]
    assert (said[0], said[-4:]) == (403, [429] * 4)
    assert len(runs_of(app)) == 3


def test_who_may_not_open_the_desk_uses_up_nothing_of_their_colleagues(
    client: FlaskClient, manager: Actor, administrator: Actor, portal: FakePortal
) -> None:
    assert administrator.lets_call(people=[administrator.user.id], others="none").status_code == 200
    guests = [Actor(client, portal, manager.application, portal.add_user("Guest", str(number))) for number in range(3)]
    pages = int(proof_limits.LAUNCHES_OF_PERSON.size) // 2
    assert 3 * pages > proof_limits.FAILURES_PER_ADDRESS
    for path in ("/", "/session"):
        for guest in guests:
            assert {posts(client, path, guest.launches(), SHARED) for _ in range(pages)} == {403}
    assert posts(client, "/", of_stranger(administrator.launches()), SHARED) == 200


def test_what_is_wrong_with_a_post_says_nothing_against_its_token(
    client: FlaskClient, manager: Actor, administrator: Actor
) -> None:
    genuine, elsewhere = of_stranger(administrator.launches()), {"PLACEMENT": "CRM_LEAD_DETAIL_TAB"}
    others = [of_stranger(manager.launches()) for _ in range(proof_limits.FAILURES_PER_ADDRESS)]
    assert {posts(client, "/", post, SHARED, **elsewhere) for post in (genuine, genuine, *others)} == {400}
    assert posts(client, "/", genuine, SHARED) == 200


def test_who_finds_the_room_for_launches_taken_has_been_refused_nothing(
    client: FlaskClient, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(guards, "_launches", Slots[str](0, 0))
        most = 2 * proof_limits.FAILURES_PER_ADDRESS
        assert {posts(client, "/", manager.launches(), SHARED) for _ in range(most)} == {503}
    assert posts(client, "/", of_stranger(manager.launches()), SHARED) == 200


def test_opening_again_leaves_strangers_no_more_questions_to_the_portal(
    client: FlaskClient, manager: Actor, portal: FakePortal
) -> None:
    post = manager.launches()

    def asked() -> int:
        return sum(request.user_id is None for request in portal.requests)

    assert posts(client, "/", post, AT_HOME) == 200
    before = asked()
    for number in range(proof_limits.QUESTIONS_TO_PORTAL + 10):
        posts(client, "/", post, AT_HOME)
        posts(client, "/", post, f"203.0.113.{number}", AUTH_ID=made_up())
    assert asked() - before <= proof_limits.QUESTIONS_TO_PORTAL


def test_made_up_clicks_are_kept_only_where_bitrix24_is_silent_and_few_of_a_place(
    app: Flask,
    client: FlaskClient,
    plans: Plans,
    portal: FakePortal,
    application: FakeApp,
    fake: FakeBitrix24,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    activity = plans()
    most = 2 * proof_limits.FAILURES_PER_ADDRESS
    said = [click(client, portal, application, activity.id) for _ in range(most + 5)]
    assert (said[0], said[-1]) == (403, 429)
    assert kept(app) == []
    app.extensions.pop(local_limit.LIMITS_STATE)
    monkeypatch.setattr(clicks, "WAITING_CLICKS", LocalLimit("waiting_clicks", 3))
    fake.auth_server.faults.add("html_502", "app.info", times=99)
    assert [click(client, portal, application, activity.id) for _ in range(5)] == [200] * 3 + [503] * 2
    assert len(kept(app)) == 3


def test_a_place_leaves_so_many_runs_that_nobody_can_prove_now(
    app: Flask,
    client: FlaskClient,
    administrator: Actor,
    registered: FakePortal,
    application: FakeApp,
    fake: FakeBitrix24,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unproven_runs, "WAITING_RUNS", LocalLimit("waiting_runs", 3))
    administrator.opens()
    fake.auth_server.faults.add("html_502", "app.info", times=99)

    def run(address: str) -> int:
        return runs(client, registered, application, address)

    assert [run(SHARED) for _ in range(5)] == [200] * 3 + [429] * 2
    # Bitrix24 sends from addresses of its own.
    assert run(AT_HOME) == 200
    assert len(runs_of(app)) == 4


def test_a_portal_that_vouches_for_everybody_pushes_no_proofs_of_others_out(
    app: Flask, client: FlaskClient, manager: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_memory, "MAX_REMEMBERED", 60)
    monkeypatch.setattr(proof_limits, "PROOFS_OF_PORTAL", LocalLimit("proofs_of_portal", 20, 3600.0))
    assert posts(client, "/", manager.launches(), AT_HOME) == 200
    with app.app_context():
        for number in range(100):
            with proof_limits.proving("203.0.113.77", "evil", f"token{number}"):
                pass
    post = manager.launches()
    for number in range(proof_limits.FAILURES_PER_PORTAL + 5):
        posts(client, "/", post, f"203.0.113.{number}", AUTH_ID=made_up())
    assert posts(client, "/", manager.launches(), AT_HOME) == 200


def test_the_address_of_somebody_is_no_token(
    client: FlaskClient, manager: Actor, portal: FakePortal, fake: FakeBitrix24
) -> None:
    post = manager.launches()
    assert posts(client, "/", post, AT_HOME) == 200
    post = of_stranger(post)
    for number in range(proof_limits.FAILURES_PER_PORTAL + 5):
        posts(client, "/", post, f"203.0.113.{number}", AUTH_ID=made_up())
    asked = len(portal.requests) + len(fake.auth_server.server.requests)
    assert posts(client, "/", post, "203.0.113.200", AUTH_ID=AT_HOME) == 429
    assert len(portal.requests) + len(fake.auth_server.server.requests) == asked


def test_a_token_of_which_nobody_tells_whose_it_is_counts_for_itself(app: Flask) -> None:
    most = int(proof_limits.LAUNCHES_OF_PERSON.size)
    with app.app_context():
        for _ in range(most):
            proof_limits.take_launch("portal", "token", AT_HOME)
        with pytest.raises(proof_limits.TooManyPages):
            proof_limits.take_launch("portal", "token", AT_HOME)
        proof_limits.take_launch("portal", "another", AT_HOME)

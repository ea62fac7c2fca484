"""Single facts of the platform that the app depends on and no other test holds (each with its source)."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Credential, Portal, utcnow
from bx24app.services.dialling import dial, queue
from tests.fake_bitrix24 import FakeBitrix24, FakePortal
from tests.fake_bitrix24.methods import METHODS
from tests.fake_bitrix24.rest import Method, RestError
from tests.scenarios.test_launch import TICKET
from tests.support.actors import Actor, json_of, post_frame


def answering(portal: FakePortal, method: str, result: object) -> None:
    """Let a portal answer a method with something else."""
    portal.rest._methods = {**METHODS, method: Method("", lambda *_: result)}


def test_every_request_says_who_asks_and_no_address_holds_a_token(
    app: Flask, fake: FakeBitrix24, manager: Actor, portal: FakePortal
) -> None:
    """docs: settings/how-to-call-rest-api; addresses are logged on their way."""
    fake.registry.expire_access(portal.member_id)
    with app.app_context(), writing() as session:
        session.execute(update(Credential).values(expires_at=utcnow() - timedelta(seconds=1)))
    manager.opens()
    manager.asks("GET", "/lines?refresh=1")
    manager.requests_callback()
    with app.app_context():
        claim = next(iter(queue.lease_due()), None)
        assert claim is not None
        dial.dial(claim)
    asked = [*portal.requests, *fake.auth_server.server.requests]
    assert {"batch", "voximplant.line.get", "voximplant.callback.start", "oauth/token", "app.info"} <= {
        recorded.path for recorded in asked
    }
    for recorded in asked:
        assert recorded.headers["User-Agent"].startswith("CallbackDesk/")
        assert (recorded.verb, recorded.query) == ("POST", "")


@pytest.mark.parametrize("nobody", [[], {}], ids=["list", "object"])
def test_an_empty_profile_is_a_dismissed_person(manager: Actor, portal: FakePortal, nobody: object) -> None:
    """docs: api-reference/common/users/profile.md"""
    answering(portal, "profile", nobody)
    response = post_frame(manager.client, "/", manager.launches())
    assert (response.status_code, TICKET in response.text) == (403, False)


def test_what_is_bound_already_is_no_problem(app: Flask, administrator: Actor, portal: FakePortal) -> None:
    """core: a repeated placement.bind and event.bind answer ERROR_CORE, "Handler already binded"."""
    administrator.installs()
    bound = portal.bindings_of(administrator.application.client_id)
    before = (list(bound.placements), list(bound.events))
    empty = {name: Method("", lambda *_: []) for name in ("placement.get", "event.get")}
    portal.rest._methods = METHODS | empty
    response = administrator.installs()
    assert "could not be set up" not in response.text
    assert (bound.placements, bound.events) == before
    with app.app_context(), reading() as session:
        assert session.scalars(select(Portal.bound_manifest)).one() is not None


@pytest.mark.parametrize("code", ["ERROR_PLACEMENT_MAX_COUNT", "ERROR_ARGUMENT", "ERROR_PLACEMENT_NOT_FOUND"])
def test_what_cannot_be_bound_is_told_in_the_portals_words(administrator: Actor, portal: FakePortal, code: str) -> None:
    """docs: api-reference/widgets/placement-bind.md"""

    def refuse(*_: object) -> None:
        raise RestError(code, "The portal's own words", 200)

    portal.rest._methods = {**METHODS, "placement.bind": Method("placement", refuse)}
    response = administrator.installs()
    assert response.status_code == 200
    assert "The portal&#39;s own words" in response.text


@pytest.mark.parametrize("empty", [[], {}], ids=["list", "object"])
def test_a_portal_without_lines_answers_an_empty_list(manager: Actor, portal: FakePortal, empty: object) -> None:
    """docs: voximplant-line-get.md; PHP writes an empty object as []."""
    answering(portal, "voximplant.line.get", empty)
    assert json_of(manager.asks("GET", "/lines?refresh=1"))["lines"] == []


def test_numbers_come_as_strings_and_voices_as_an_object(manager: Actor, portal: FakePortal) -> None:
    answering(portal, "voximplant.tts.voices.get", {"1": 7, "ukenglishmale": "English (Male) (Amazon)"})
    voices = json_of(manager.asks("GET", "/voices?refresh=1"))["voices"]
    assert voices == [{"id": "1", "name": "7"}, {"id": "ukenglishmale", "name": "English (Male) (Amazon)"}]

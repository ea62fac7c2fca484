"""Rotating the encryption keys while the app runs."""

import secrets
import threading
from contextlib import suppress
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import select

from bx24app.crypto import SealError
from bx24app.database import reading
from bx24app.errors import NotFound, TicketExpired
from bx24app.models import Credential, DigestKey
from bx24app.services.portals import token_renewal
from bx24app.services.security import key_rotation, signing, tickets
from bx24app.services.websites import challenge
from tests.conftest import OtherApp, encryption_key
from tests.fake_bitrix24 import FakePortal
from tests.support.actors import Actor, json_of
from tests.support.visitors import solved


def sealed(app: Flask) -> list[str]:
    with app.app_context(), reading() as session:
        rows = session.execute(select(Credential.access_token_sealed, Credential.refresh_token_sealed)).all()
        found = [value for row in rows for value in row]
        return [*found, *session.scalars(select(DigestKey.sealed))]


def test_what_was_sealed_under_an_older_key_is_sealed_anew(
    app: Flask, other_app: OtherApp, environ: dict[str, str], manager: Actor, portal: FakePortal
) -> None:
    old, new = environ["BX24APP_ENCRYPTION_KEYS"], encryption_key()
    both = other_app(ENCRYPTION_KEYS=f"{new},{old}")
    before = sealed(app)
    result = both.test_cli_runner().invoke(args=["rotate-keys"])
    assert (result.exit_code, result.output.split()[0]) == (0, str(len(before)))
    assert both.test_cli_runner().invoke(args=["rotate-keys"]).output.startswith("0 values")
    assert not set(before) & set(sealed(app))
    # The older key is out: tokens open, and the application token is still recognised.
    only_new = other_app(ENCRYPTION_KEYS=new)
    with only_new.app_context():
        assert token_renewal.service_access(1).access_token
    actor = Actor(only_new.test_client(), portal, manager.application, portal.manager)
    assert actor.opens().status_code == 200
    assert json_of(actor.requests_callback())["state"] == "queued"
    portal.send_event(manager.application, "ONCRMLEADADD", {})
    with app.app_context(), pytest.raises(SealError):
        token_renewal.service_access(1)


def test_it_runs_beside_processes_with_both_keys(
    app: Flask, other_app: OtherApp, environ: dict[str, str], manager: Actor, portal: FakePortal
) -> None:
    """First every process learns the new key, then it seals, then the old one goes: at no time does anything fail."""
    old, new = environ["BX24APP_ENCRYPTION_KEYS"], encryption_key()
    learning = other_app(ENCRYPTION_KEYS=f"{old},{new}")
    sealing = other_app(ENCRYPTION_KEYS=f"{new},{old}")
    stop, failures = threading.Event(), list[BaseException]()

    def use(app: Flask) -> None:
        actor = Actor(app.test_client(), portal, manager.application, portal.manager)
        try:
            while not stop.is_set():
                assert actor.opens().status_code == 200
                with app.app_context():
                    assert token_renewal.service_access(1).access_token
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(one,)) for one in (learning, sealing)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        with sealing.app_context():
            key_rotation.rotate_keys()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    with sealing.app_context():
        key_rotation.rotate_keys()
    only_new = other_app(ENCRYPTION_KEYS=new)
    with only_new.app_context():
        assert token_renewal.service_access(1).access_token


def test_what_an_older_secret_key_signed_is_read_and_nothing_more_is_signed_with_it(
    app: Flask, other_app: OtherApp, environ: dict[str, str]
) -> None:
    """Tickets, timed tokens, proofs of work and links alike."""
    ticket, id = tickets.Ticket(1, "0" * 32, 1_700_000_000, user_id=2), UUID(int=7)

    def opens(signed: tuple[str, ...]) -> list[bool]:
        found: list[object] = [challenge.read_token(signed[1], "key"), challenge.read_proof(signed[2], "key")]
        for read, text in ((tickets.read_ticket, signed[0]), (signing.read_link, signed[3])):
            with suppress(TicketExpired, NotFound):
                found.append(read(text))
        return [bool(one) for one in found]

    def sign() -> tuple[str, ...]:
        proof = solved(challenge.new_challenge("key"))
        return tickets.issue_ticket(ticket)[0], challenge.new_token("key"), proof, signing.sign_link(id)

    new = secrets.token_urlsafe(40)
    newer = other_app(SECRET_KEY=new, SECRET_KEY_FALLBACKS=environ["BX24APP_SECRET_KEY"])
    with app.app_context():
        before = sign()
    with newer.app_context():
        assert opens(before) == [True] * 4
        after = sign()
    with app.app_context():
        assert opens(after) == [False] * 2
    # So first every process learns the new one, which signs nothing there yet.
    learning = other_app(SECRET_KEY_FALLBACKS=new)
    with learning.app_context():
        assert opens(after) == [True] * 4
        learnt = sign()
    with app.app_context():
        assert opens(learnt) == [True] * 4


def test_a_digest_key_whose_key_is_missing_is_left_as_it_is(app: Flask, other_app: OtherApp, manager: Actor) -> None:
    before = sealed(app)
    other = other_app(ENCRYPTION_KEYS=encryption_key())
    result = other.test_cli_runner().invoke(args=["rotate-keys"])
    assert (result.exit_code, result.output.split()[0]) == (0, "0")
    assert sealed(app) == before

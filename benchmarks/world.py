"""What the app finds in its database when it is measured: a portal with lines, people, and website forms."""

import json
from dataclasses import dataclass
from datetime import timedelta

import altcha
import time_machine
from flask import Flask

from benchmarks.load import written
from bx24app import create_app
from bx24app.database import writing
from bx24app.models import Form, Portal, PortalSettings, User, utcnow
from bx24app.services.security import digests, tickets
from bx24app.services.websites import challenge

# The default limits of one form are 60 an hour: many requests a second come from many forms.
FORMS = 64
LIMITS = {"address_hour": 10**6, "number_day": 3, "form_hour": 10**6, "form_day": 10**6}
ORIGIN = "https://shop.example.com"
# One employee is limited to 1,200 requests a minute.
EMPLOYEES = 200
FIRST_NUMBER = 4_930_20_000_000


@dataclass
class World:
    """The app on its database, and what is needed to write requests for it; numbers are never used twice."""

    app: Flask
    tickets: list[str]
    form_keys: list[str]
    next_number: int = FIRST_NUMBER

    def number(self) -> str:
        """A number that was never asked for."""
        self.next_number += 1
        return f"+{self.next_number}"


def build(environ: dict[str, str]) -> World:
    """Fill an empty, migrated database."""
    app = create_app(environ)
    with app.app_context():
        digests.digest("bench", "the key is made")
        with writing() as session:
            portal = _portal()
            session.add(portal)
            session.flush()
            people = range(1, EMPLOYEES + 1)
            session.add_all(
                User(portal_id=portal.id, user_id=id, name="Anna Schmidt", is_administrator=True) for id in people
            )
            forms = [_form(portal.id, number) for number in range(FORMS)]
            session.add_all(forms)
        issued = [tickets.issue_ticket(tickets.ticket_of(portal, id, utcnow()))[0] for id in people]
    return World(app, issued, [form.key for form in forms])


def _portal() -> Portal:
    portal = Portal(
        member_id="a223c6b3710f85df22e9377d6c4f7553",
        domain="portal.example.com",
        client_endpoint="https://portal.example.com/rest/",
        app_code="bench",
        app_id="1",
        installed_at=utcnow(),
        settings=PortalSettings(default_line_id="reg150907", default_country="DE"),
    )
    portal.keep_lines({"reg150907": "Sales line", "sip7": "Office PBX 1"}, utcnow())
    portal.keep_voices({"ukenglishmale": "English (Male) (Amazon)"}, utcnow())
    return portal


def _form(portal_id: int, number: int) -> Form:
    return Form(
        portal_id=portal_id,
        key=f"bench{number:011}",
        name=f"Shop {number}",
        line_id="reg150907",
        default_country="DE",
        allowed_origins=[ORIGIN],
        fields={"name": "optional", "topic": "optional"},
        limits=LIMITS,
        blocked_prefixes=["+49900"],
        consent_texts={"en": "We call you back and forget you afterwards."},
        consent_version=1,
    )


def staff_requests(world: World, count: int) -> list[bytes]:
    """``POST /api/v1/callbacks``, as the page sends it."""
    bodies = [
        {"to_number": world.number(), "line_id": "reg150907", "text": "Callback request from Anna, connecting."}
        for _ in range(count)
    ]
    return [
        written(
            "POST",
            "/api/v1/callbacks",
            json.dumps(body).encode(),
            Idempotency_Key=f"bench-{body['to_number']}",
            Authorization=f"Bearer {world.tickets[number % EMPLOYEES]}",
            Content_Type="application/json",
        )
        for number, body in enumerate(bodies)
    ]


def bare_requests(world: World, count: int) -> list[bytes]:
    """The same bodies as those of staff, for the baselines."""
    return [whole.replace(b"/api/v1/callbacks", b"/bare", 1) for whole in staff_requests(world, count)]


def visitors_requests(world: World, count: int) -> list[bytes]:
    """``POST /w/<form_key>/callbacks`` with a solved proof of work, as the hosted form sends it."""
    with world.app.app_context(), time_machine.travel(utcnow() - timedelta(seconds=5), tick=False):
        return [_visitors_request(world, number) for number in range(count)]


def _visitors_request(world: World, number: int) -> bytes:
    form_key, to_number = world.form_keys[number % FORMS], world.number()
    body = {
        "number": to_number,
        "name": "Anna Schmidt",
        "topic": "A sofa",
        "consent": True,
        "page": f"{ORIGIN}/sofas?utm_source=ad&utm_campaign=spring",
        "altcha": _proof(form_key),
        "idempotency_key": f"bench-{to_number}",
    }
    return written(
        "POST",
        f"/w/{form_key}/callbacks",
        json.dumps(body).encode(),
        Origin=ORIGIN,
        Accept_Language="en",
        Content_Type="application/json",
        Accept="application/json",
    )


def _proof(form_key: str) -> str:
    """A genuine proof. Finding it is the browser's work, checking it costs the same: so this one is found quickly."""
    posed = altcha.Challenge.from_dict(challenge.new_challenge(form_key))
    solution = altcha.solve_challenge(posed)
    assert solution is not None
    return str(altcha.Payload(posed, solution).to_base64())


def make_proofs_quick() -> None:
    """Let challenges of this process be solved at once."""
    challenge.PROOF_COST, challenge.PROOF_COUNTER = 1, (1, 3)

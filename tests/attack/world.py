"""Who lives in the deployed app: two portals beside each other, one of them new where another one was removed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from bx24app.database import Base, reading
from bx24app.models import Callback, Portal, State, utcnow
from tests.attack.deployment import Deployment
from tests.fake_bitrix24 import FakePortal, LaunchPost
from tests.support.actors import Actor
from tests.support.routes import things_of
from tests.support.visitors import Visitor

# What launches, installations and events make us ask a portal.
ASKED_FOR_VISITORS = ("batch", "profile")
# Tables whose rows belong to no portal, and that somebody who has proven nothing could fill.
OF_NOBODY = {"portal", "rate"}
# What the worker makes of other rows, a while after they came.
DERIVED = {"report_figure", "callback_news", "to_do", "notification", "notified_person", "timeline_entry"}
PATIENCE_SECONDS, RESTS_SECONDS = 90, 7
FIRST_NUMBER = 4_930_901_000


def wait_for(holds: Callable[[], bool], pause: float = 0.02) -> None:
    """Wait until something holds; fails after a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(pause)


@dataclass
class World:
    """The deployed app with its people.

    ``victim`` is the administrator of the portal that is attacked, ``employee`` somebody there without rights,
    ``neighbour`` the administrator of the other portal; ``gone`` was the administrator of a portal that has removed the
    app and kept ``kept``, the last post of their page, and the ticket.
    """

    deployment: Deployment
    gone: Actor
    kept: LaunchPost
    victim: Actor
    employee: Actor
    neighbour: Actor
    victims_things: dict[str, Any] = field(default_factory=dict)
    neighbours_things: dict[str, Any] = field(default_factory=dict)
    used_numbers: int = 0

    @property
    def app(self) -> Flask:
        """To look at the database with."""
        return self.deployment.app

    def client(self) -> FlaskClient:
        """Somebody else's browser."""
        return self.deployment.proxy.test_client()

    def number(self) -> str:
        """A number that nobody has asked for."""
        self.used_numbers += 1
        return f"+{FIRST_NUMBER + self.used_numbers}"

    def visitor(self, things: dict[str, Any], address: str = "203.0.113.7") -> Visitor:
        """A visitor of a portal's website form, who comes in from outside."""
        return Visitor(self.client(), things["form_key"], self.deployment.url, address)

    def proof(self, things: dict[str, Any], seconds_ago: float = 5) -> str:
        """A genuine proof of work that was quickly found and is some seconds old."""
        return Visitor(self.app.test_client(), things["form_key"]).works(seconds_ago)

    def rows(self) -> dict[str, int]:
        """How many rows each table has of the victim's portal, and of nobody's."""
        found = {}
        assert Base.metadata.tables.keys() >= (DERIVED | OF_NOBODY)
        with self.app.app_context(), reading() as session:
            query = select(Portal.id).where(Portal.member_id == self.victim.portal.member_id)
            portal_id = session.scalars(query).one()
            for table in Base.metadata.sorted_tables:
                if table.name in DERIVED:
                    continue
                counted = select(func.count()).select_from(table)
                if "portal_id" in table.columns:
                    counted = counted.where(table.columns["portal_id"] == portal_id)
                elif table.name not in OF_NOBODY:
                    continue
                if table.name == "rest_call":
                    # What the worker asks of its own accord has other names.
                    counted = counted.where(table.columns["method"].in_(ASKED_FOR_VISITORS))
                found[table.name] = session.scalar(counted) or 0
        return found

    def settled_rows(self) -> dict[str, int]:
        """The same once the worker has nothing more to do for the victim's portal.

        Where calls wait there the portal rests for up to five seconds, and is looked at again.
        """
        before: dict[str, int] = {}
        since = time.monotonic()
        while (now := self.rows()) != before or (self._waits() and time.monotonic() < since + RESTS_SECONDS):
            since = since if now == before else time.monotonic()
            before = now
            time.sleep(1)
        return now

    def _waits(self) -> bool:
        """Tell whether calls of the victim's portal wait that are due."""
        waiting = select(Callback.id).join(Portal, Portal.id == Callback.portal_id)
        waiting = waiting.where(Portal.member_id == self.victim.portal.member_id, Callback.due_at <= utcnow())
        with self.app.app_context(), reading() as session:
            return session.scalar(waiting.where(Callback.state == State.QUEUED).limit(1)) is not None

    def neighbour_works(self) -> None:
        """Nothing that was done to the other portal touches this one: its people call, and its website asks."""
        created = self.neighbour.requests_callback(number := self.number(), wait=10)
        assert created.status_code == 201, created.text
        wait_for(lambda: any(dial["number"] == number for dial in self.neighbour.portal.telephony.dials))
        # Each from another network, as customers do.
        visitor = self.visitor(self.neighbours_things, f"198.51.{self.used_numbers % 250}.7")
        taken = visitor.asks(self.number(), altcha=self.proof(self.neighbours_things))
        assert taken.status_code == 202, taken.text


def build(deployment: Deployment) -> World:
    """Install the app on three portals, and remove it from the first before the third comes."""
    fake, application = deployment.fake, deployment.application

    def administrator_of(portal: FakePortal) -> Actor:
        return Actor(deployment.proxy.test_client(), portal, application, portal.administrator)

    victim = administrator_of(fake.add_portal("alpha"))
    gone = administrator_of(fake.add_portal("gone"))
    for actor in (victim, gone):
        _moves_in(actor)
    things_of(gone, "+4930900001")
    kept = gone.launches()
    gone.portal.uninstall(application)
    gone.portal.events.wait_until_idle()
    wait_for(lambda: gone.asks("GET", "/callbacks").status_code == 401)
    neighbour = administrator_of(fake.add_portal("beta"))
    world = World(deployment, gone, kept, victim, _employee(victim), neighbour)
    wait_for(lambda: world.rows()["portal"] == 1)  # Its row is gone, and its id free.
    _moves_in(neighbour)
    # Nobody hangs up here, so calls go on.
    assert neighbour.asks("PATCH", "/settings", {"line_cap": ""}).status_code == 200
    world.victims_things = things_of(victim, world.number())
    world.neighbours_things = things_of(neighbour, world.number())
    # The victim's phones are quiet, so that what the worker does for that portal is what attackers make it do.
    calls = victim.portal.telephony.calls
    wait_for(lambda: bool(calls))
    calls[0].manager_refuses()
    return world


def _moves_in(actor: Actor) -> None:
    installed = actor.installs(keeps_hours=True)
    assert installed.status_code == 200, installed.text
    actor.portal.events.wait_until_idle()
    assert actor.opens().status_code == 200
    # Attackers come by night, too.
    assert actor.asks("PATCH", "/settings", {"hours": ""}).status_code == 200
    assert actor.asks("GET", "/lines").status_code == 200
    assert actor.asks("GET", "/voices").status_code == 200


def _employee(administrator: Actor) -> Actor:
    portal = administrator.portal
    actor = Actor(administrator.client, portal, administrator.application, portal.manager)
    assert actor.opens().status_code == 200
    return actor

"""One app, one fake portal and one database, wound back for every schedule."""

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import time_machine
from flask import Flask, Response, g, request
from sqlalchemy import delete, insert, select, update

from bx24app import create_app
from bx24app.bitrix24.client import PortalClients
from bx24app.database import db
from bx24app.models import (
    Attempt,
    Callback,
    CallbackNews,
    Credential,
    Decision,
    DoNotCall,
    Form,
    Notification,
    NotifiedPerson,
    Portal,
    PortalLine,
    PortalSettings,
    ReceivedEvent,
    RestCall,
    RuleRun,
    Throttle,
    TimelineEntry,
    ToDo,
    utcnow,
)
from bx24app.services.native.automation import registration
from tests.conftest import plain_environ
from tests.fake_bitrix24 import FakeBitrix24
from tests.fake_bitrix24.events import http_build_query
from tests.fake_bitrix24.faults import Faults, drop_connection
from tests.fake_bitrix24.rest import Bucket, unnest_form
from tests.fake_bitrix24.server import parameters_of
from tests.faults import fleet, mutants
from tests.faults.card_checks import CardLedger
from tests.faults.checks import Arrival, Broken, Ledger
from tests.faults.databases import Database, opened
from tests.faults.phones import Phones, Story, Word
from tests.faults.rule_checks import RuleLedger
from tests.faults.scene import Late, Scene, add_fault
from tests.faults.schedule import DialPlan, Schedule
from tests.faults.zygote import CONNECT_SECONDS, FORM, Order, Zygote
from tests.support.actors import Actor
from tests.support.database import workplace
from tests.support.redis_server import RedisServer
from tests.support.registration import register

START = "/rest/voximplant.callback.start"
PUT_ON_CARDS = ("crm.activity.configurable.add", "crm.activity.todo.add")
BEGIN = datetime(2027, 3, 1, 9, tzinfo=UTC)
FAR = timedelta(days=3000)
# The platform works no longer on one request; a step that takes less time does not end it.
LATEST_CARD = 5
# Patient enough for a busy machine; where the portal shall hang, silence is noticed soon.
PATIENCE, HASTE = 20.0, 0.06
NATIVE_TABLES = (RuleRun, TimelineEntry, ToDo, CallbackNews, Notification, NotifiedPerson)
TABLES = (*NATIVE_TABLES, ReceivedEvent, Decision, Attempt, Callback, Form, RestCall, DoNotCall)


class World:
    """Everything that schedules share."""

    def __init__(self, database: Database, environ: dict[str, str], fake: FakeBitrix24, app: Flask) -> None:
        self.database = database
        self.app = app
        self.client = app.test_client()
        self.portal = next(iter(fake.portals.values()))
        self.clock = fake.clock
        self.registry = fake.registry
        self.mutant = ""
        # With a broker a fleet does the work.
        self.broker: RedisServer | None = None
        self.mischief = random.Random()
        self.zygote = Zygote(environ)
        self.scene: Scene = None  # type: ignore[assignment]
        self.user_id = self.portal.manager.id
        self._travelled: time_machine.Traveller = None  # type: ignore[assignment]
        self._idle, self._busy, self._is_hasty = threading.Condition(), 0, False
        self._hurting = threading.Lock()
        self._client_id = environ["BX24APP_CLIENT_ID"]
        self._policy = app.extensions["bx24app.portals"].policy
        self._patient = PortalClients(self._policy, (CONNECT_SECONDS, PATIENCE))
        self._hasty = PortalClients(self._policy, (CONNECT_SECONDS, HASTE))
        self.portal.server.app.before_request(self._before)
        self.portal.server.app.after_request(self._after)
        self.portal.server.app.teardown_request(self._left)
        self._automation, self._auth_server = self.portal.automation, fake.auth_server
        self._take_result, self._automation.take_result = self._automation.take_result, self._hear  # type: ignore[method-assign]
        self._install(environ, fake)

    def _install(self, environ: dict[str, str], fake: FakeBitrix24) -> None:
        self.application = register(fake, environ, self._client_id)
        administrator = Actor(self.client, self.portal, self.application, self.portal.administrator)
        assert administrator.installs().status_code == 200
        manager = Actor(self.client, self.portal, self.application, self.portal.manager)
        assert manager.opens().status_code == 200
        assert manager.asks("GET", "/lines").status_code == 200
        with self.app.app_context():
            assert registration.register_due() == 1
        with self.database.observer.begin() as connection:
            self._portal_row = dict(connection.execute(select(Portal.__table__)).mappings().one())
            self._credentials = [dict(row) for row in connection.execute(select(Credential.__table__)).mappings()]
            self._lines = [dict(row) for row in connection.execute(select(PortalLine.__table__)).mappings()]
        self._tokens = list(self.registry.tokens)
        self.portal_id: int = self._portal_row["id"]

    def replay(self, seed: int) -> str:
        """The command that plays a schedule again."""
        mode = " --broker" if self.broker else ""
        return f"python -m tests.faults --database {self.database.kind}{mode} --replay {seed} -v"

    # Time

    @contextmanager
    def in_time(self) -> Iterator[None]:
        """Stop the clocks, of the app and of the portal; only steps turn them."""
        with time_machine.travel(BEGIN, tick=False) as self._travelled:
            yield

    def pass_time(self, seconds: float) -> None:
        """Let time pass, or go back."""
        if seconds > LATEST_CARD and self.scene is not None:
            self.put_late_cards()
        self._travelled.shift(seconds)

    # Schedules

    def wind_back(self, plan: Schedule) -> None:
        """Make everything as it was after the installation."""
        self.database.mend()
        self.mischief.seed(plan.seed)
        if self.broker is not None:
            self.broker.client.flushall()
        now = BEGIN + timedelta(hours=plan.begins_after_hours)
        self._travelled.move_to(now)
        self.clock.advance(now.timestamp() - self.clock.now())
        phones = Phones(self.clock, self._rang)
        self.portal.telephony = phones
        self.portal.rest.bucket = Bucket(self.clock)
        self.portal.rest.bucket.enabled = plan.is_limited
        self.portal.faults = Faults()
        self._auth_server.faults = Faults()
        self._automation.steps.clear()
        for kind in ("DEAL", "CONTACT", "LEAD"):
            self.portal.crm.entities[kind].clear()
        self.portal.timeline.activities.clear()
        self.portal.reminders.to_dos.clear()
        self.portal.server.requests.clear()
        expires_at = now + (timedelta(hours=1) if plan.tokens_expire else FAR)
        self.registry.tokens[:] = self._tokens
        for token in self._tokens:
            token.expires_at, token.refresh_spent = expires_at.timestamp(), False
            token.refresh_until = (now + FAR).timestamp()
        self._wind_database_back(plan, now, expires_at)
        ledger = Ledger(self.database.observer, phones, portal_retries=plan.portal_retries)
        cards = CardLedger(self.database.observer, self.portal)
        self.scene = Scene(plan, ledger, phones, RuleLedger(self.database.observer), cards)

    def _wind_database_back(self, plan: Schedule, now: datetime, expires_at: datetime) -> None:
        portal = self._portal_row | {
            "license_family": "pro" if plan.is_limited else "selfhosted",
            "lines_fetched_at": now,
            "voices_fetched_at": now,
            "event_at": None,
        }
        with self.database.observer.begin() as connection:
            for table in TABLES:
                connection.execute(delete(table))
            connection.execute(update(Portal).values(portal))
            chosen = {"retries": plan.portal_retries, "retry_minutes": 5, "line_cap": plan.line_cap}
            chosen["shows_in_crm"] = plan.has_cards
            connection.execute(update(PortalSettings).values(chosen))
            connection.execute(delete(PortalLine))
            connection.execute(insert(PortalLine), self._lines)
            connection.execute(
                update(Throttle).values(
                    level=0.0,
                    level_at=now,
                    dial_at=None,
                    paused_for=None,
                    claimed_at=None,
                    extras_at=None,
                    spare_at=None,
                    refusals=0,
                )
            )
            connection.execute(delete(Credential))
            rows = [row | {"expires_at": expires_at, "used_at": now} for row in self._credentials]
            connection.execute(insert(Credential), rows)

    # Workers

    def set_patience(self) -> float:
        """How long the next dial will wait for its answer, in seconds."""
        hangs = self.scene.next_dial.fault.startswith("hang")
        self._is_hasty |= hangs
        self.app.extensions["bx24app.portals"] = self._hasty if hangs else self._patient
        return HASTE if hangs else PATIENCE

    def run_worker(self, job: str, kill_at: int | None, most: int = 1, body: str = "") -> bool:
        """Let a process do its job and die at a step; returns whether it came to its end."""
        bells = ""
        if self.broker is not None and not body:
            fleet.ring(self.broker, job, self.mischief)
            bells = self.broker.url
        order = Order(job, utcnow().isoformat(), kill_at, self.set_patience(), self.mutant, most, body, bells)
        return self.zygote.run(order) == 0

    @contextmanager
    def cutting_answers(self, seconds: float) -> Iterator[None]:
        """Whole answers take so long at the most, as they take 20 seconds otherwise."""
        adapter = self._patient._adapter
        usual, adapter._seconds = adapter._seconds, seconds
        try:
            yield
        finally:
            adapter._seconds = usual

    def let_go(self) -> None:
        """End what hangs at the portal: whoever asked has gone."""
        if self._is_hasty:
            with self._idle:
                self._idle.wait_for(lambda: not self.scene.ledger.has_stragglers(), 10)
        for fault in self.scene.hanging:
            fault.released.set()
        self.scene.hanging.clear()
        with self._idle:
            assert self._idle.wait_for(lambda: self._busy == 0, 60)
        self._is_hasty = False

    # At the portal

    def _before(self) -> Response | None:
        """A request has arrived: check it, then let happen what is planned."""
        if request.path.rpartition("/")[2] in PUT_ON_CARDS and self.scene.is_next_card_late:
            return self._receive_late()
        if request.path != START:
            return None
        try:
            return self._receive()
        except Exception as error:
            self.scene.ledger.broken.append(Broken("harness", repr(error)))
            raise

    def _receive(self) -> Response | None:
        scene = self.scene
        plan = scene.next_dial
        scene.arrived += 1
        asked = parameters_of(request)
        arrival = scene.ledger.arrive(str(asked["TO_NUMBER"]), str(asked["FROM_LINE"]), utcnow())
        if arrival is None:
            return drop_connection()
        with self._idle:
            self._busy += 1
            self._idle.notify_all()
        g.arrival, g.plan, g.scene = arrival, plan, scene
        self._hurt(plan, "before")
        if scene.kills == "arrived":
            self.zygote.kill_worker()
            return drop_connection()
        if plan.fault == "late_ring":
            scene.late.append(Late(arrival, str(asked["TEXT_TO_PRONOUNCE"])))
            return drop_connection()
        add_fault(self.portal, scene, plan)
        return None

    def _receive_late(self) -> Response:
        """The connection is lost, and what was asked for is put on the card a while later all the same."""
        self.scene.is_next_card_late = False
        rest, method = self.portal.rest, request.path.rpartition("/")[2]
        asker = rest._authenticate(request.headers["Authorization"].removeprefix("Bearer "))
        self.scene.late_cards.append(partial(rest.call, method, asker, unnest_form(parameters_of(request))))
        return drop_connection()

    def put_late_cards(self) -> None:
        """What the portal was asked to put on cards stands there now."""
        while self.scene.late_cards:
            self.scene.late_cards.pop()()

    def _after(self, answer: Response) -> Response:
        """Something was put on a card; the answer has not left yet."""
        if request.path.rpartition("/")[2] not in PUT_ON_CARDS or answer.status_code != 200:
            return answer
        if self.scene.kills == "shown":
            self.zygote.kill_worker()
        if self.scene.on_shown is not None:
            on_shown, self.scene.on_shown = self.scene.on_shown, None
            on_shown()
        return answer

    def _rang(self, arrival: Arrival) -> None:
        """A request was executed; its answer has not left yet."""
        scene: Scene = g.scene
        plan: DialPlan = g.plan
        try:
            story = self.begin_story(arrival, plan)
            self._tell_early(arrival, story, plan.early)
            self._hurt(plan, "after")
        except Exception as error:
            scene.ledger.broken.append(Broken("harness", repr(error)))
            raise
        if scene.kills == "executed":
            self.zygote.kill_worker()

    def _left(self, _: BaseException | None) -> None:
        if "scene" in g:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def _tell_early(self, arrival: Arrival, story: Story, steps: int) -> None:
        for _ in range(steps):
            self.tell_all(arrival)
            if story.left[:1] != ["talk"]:  # Nobody talks that long before the answer.
                story.go_on()
                self.tell_all(arrival)

    def begin_story(self, arrival: Arrival, plan: DialPlan) -> Story:
        """People begin to do with a call what is planned."""
        assert arrival.call
        story = Story(arrival.call, plan.story.split(), self.scene.phones, self.pass_time)
        self.scene.stories.append(story)
        return story

    def _hurt(self, plan: DialPlan, when: str) -> None:
        if plan.hurt == when:
            self.hurt()
        elif plan.hurt == "restart" and when == "after":
            self.hurt(restart=True)

    def hurt(self, *, restart: bool = False) -> None:
        """Take the database away for a moment."""
        with self._hurting:
            self.scene.hurts += 1
            if restart and self.scene.plan.seed % 10 == 0:
                self.database.restart()
            else:
                self.database.hurt()

    def hurts_until_now(self) -> int:
        """How often the database was hurt; waits for the end of one that goes on, for a dial that was given up."""
        with self._hurting:
            return self.scene.hurts

    # Automation rules

    def _hear(self, token: str, values: dict[str, Any], words: str) -> None:
        """A result has arrived: check it, and let the automation go on."""
        try:
            self.scene.rules.hear(token, str(values.get("state")))
        except Broken as broken:
            self.scene.ledger.broken.append(broken)
        self._take_result(token, values, words)
        if self.scene.kills == "result":
            self.zygote.kill_worker()

    def doubt_next_proof(self) -> None:
        """The authorization server is too busy to say whose token the next one is."""
        self._auth_server.faults.add("error", "app.info", code="QUERY_LIMIT_EXCEEDED")

    def post_rule(self, body: str) -> int:
        """Deliver a run; returns the status of the app's answer."""
        return self.client.post("/robot", data=body, content_type=FORM).status_code

    # Events

    def tell_all(self, arrival: Arrival) -> None:
        """Deliver at once what is said of a call."""
        scene = self.scene
        for word in [word for word in scene.phones.words if arrival.call and word.call_id == arrival.call.call_id]:
            scene.phones.words.remove(word)
            self.tell(word)

    def tell(self, word: Word) -> int:
        """Deliver an event; returns the status of the app's answer."""
        token = self.portal.bindings_of(self._client_id).application_token
        auth: dict[str, object] = {"member_id": self.portal.member_id, "application_token": token}
        fields: dict[str, object] = {"event": word.event, "event_handler_id": "1", "data": word.data, "ts": "1"}
        pairs = http_build_query(fields | {"auth": auth})
        answer = self.client.post("/events", data=urlencode(pairs), content_type=FORM)
        return answer.status_code


@contextmanager
def built(kind: str, mutant: str = "", *, with_broker: bool = False) -> Iterator[World]:
    """A world on a database of this kind, with its clocks stopped; ``mutant`` is taken out of its app.

    ``with_broker``: a fleet does the work, on a Redis of its own.
    """
    environ = {**plain_environ(), "BX24APP_LOG_LEVEL": "ERROR"}
    with ExitStack() as stack:
        database, fake = stack.enter_context(opened(kind, environ)), stack.enter_context(FakeBitrix24())
        fake.add_portal("alpha")
        environ |= {"BX24APP_DATABASE_URL": database.url, "BX24APP_AUTH_SERVER": fake.auth_server.url}
        broker = RedisServer(stack.enter_context(workplace()), "of-a-test") if with_broker else None
        if broker is not None:
            stack.callback(broker.kill)
            environ["BX24APP_BROKER_URL"] = broker.url
        app = create_app(environ)
        world = World(database, environ, fake, app)
        world.broker = broker
        try:
            with world.in_time(), mutants.applied(mutant):
                world.mutant = mutant
                yield world
        finally:
            world.zygote.stop()
            with app.app_context():
                db.engine.dispose()

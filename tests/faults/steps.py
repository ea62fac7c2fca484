"""What each step of a schedule does, and the way to rest when the steps are over."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Row, update
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm.exc import StaleDataError

from bx24app.errors import Refusal
from bx24app.extensions import writing
from bx24app.models import Callback, Form, Portal, Source, utcnow
from bx24app.services import callbacks, claiming, dialling, history
from bx24app.services.callbacks import Requested
from bx24app.services.claiming import Claim
from tests.faults.checks import Broken, Snapshot, is_at_rest
from tests.faults.phones import Word, some
from tests.faults.schedule import STEPS, Request, Schedule, choose, make
from tests.faults.world import World
from tests.faults.zygote import do_chores

T = TypeVar("T")
LINES = ("reg150907", "sip7")
DIALLING = ("work", "work_killed", "stall", "overtaken", "race", "race_cancel", "unplugged")
UNREACHABLE = "http://127.0.0.2:1/rest/"
WORKER_STEPS = 110
CHORE_STEPS = 40
PASSES = (0.3, 3, 20, 70, 95, 130, 400, 700, 1900, 3800, 4000, 15000)
ROUNDS = 40
# As the design promises them.
LEASE = timedelta(seconds=91)
EVIDENCE_UNTIL, CALL_LASTS = timedelta(minutes=62), timedelta(hours=4)
HOURS = {"zone": "Europe/Berlin", "week": {"mon": [["09:00", "11:00"]], "thu": [["00:00", "24:00"]]}}
# What a database that goes away may do to whoever works with it.
DATABASE_GONE = (OperationalError, InterfaceError)


@dataclass
class Play:
    """One schedule being played in a world."""

    world: World
    plan: Schedule
    say: Callable[[str], None]
    _numbers: dict[UUID, str] = field(default_factory=dict)
    _kept: list[tuple[str, Requested, UUID]] = field(default_factory=list)
    _stalled: list[Claim] = field(default_factory=list)
    _next: int = 0
    _is_hurt: bool = False
    _seen: Snapshot = field(default_factory=lambda: Snapshot({}, {}, {}))

    def run(self) -> None:
        """Take every step, then come to rest; raises ``Broken``."""
        self.world.wind_back(self.plan)
        for seed in self.plan.steps:
            self._take(seed)
        self._come_to_rest()
        self.world.scene.ledger.check_end()
        self._check_shown()

    def _take(self, seed: int) -> None:
        rng = random.Random(seed)
        self._ring_late(rng.random() < 0.5)
        self.world.pass_time(rng.uniform(0.01, 0.9))
        name = choose(rng, {name: weight for name, weight in STEPS.items() if self._makes_sense(name)})
        self.say(f"{utcnow():%d %H:%M:%S} {name}")
        getattr(self, f"_do_{name}")(rng)
        self._settle_world()
        self._tell_states()

    def _makes_sense(self, name: str) -> bool:
        """Whether a step has anything to do; whatever is not named here always has."""
        scene = self.world.scene
        rows = self._seen.callbacks.values()
        if name in DIALLING:
            return any(row.state in ("scheduled", "queued") and row.due_at <= utcnow() for row in rows)
        needs: dict[str, bool] = {
            "request": self._next < len(self.plan.requests),
            "go_on": bool(self._stalled),
            "phones": any(not story.is_over for story in scene.stories),
            "deliver": bool(scene.phones.words),
            "history": any(row.state in ("started", "answered", "unknown") for row in rows),
            "cancel": bool(rows),
            "reschedule": bool(rows),
            "resolve": any(row.state == "unknown" for row in rows),
            "retry": any(row.state in ("missed", "failed", "expired") for row in rows),
            "repeat": bool(self._kept),
        }
        return needs.get(name, bool(rows))

    def _settle_world(self) -> None:
        self.world.let_go()
        self.world.scene.kills = ""
        self.world.scene.ledger.claims.clear()

    def _tell_states(self) -> None:
        seen = self._seen = self.world.scene.ledger.check()
        for row in seen.callbacks.values():
            attempts = [a.outcome for a in seen.attempts_of(row.id)]
            self.say(f"      {str(row.id)[-4:]} {row.to_number} {row.state} {row.reason or ''} {attempts}")

    def _guarded(self, work: Callable[[], T]) -> T | None:
        """Do something as a worker or a view does; only a database that was hurt may make it fail."""
        hurts = self.world.scene.hurts
        try:
            with self.world.app.app_context():
                return work()
        except Refusal as refusal:
            self.say(f"      refused: {refusal.code}")
        except DATABASE_GONE as error:
            if self.world.scene.hurts == hurts and not self._is_hurt:
                raise Broken("worker_raised", str(error)) from error
            self.say("      the database was gone")
        except StaleDataError as error:
            raise Broken("worker_raised", str(error)) from error
        return None

    # Requests

    def _do_request(self, rng: random.Random) -> None:
        request, self._next = self.plan.requests[self._next], self._next + 1
        if request.website:
            self._guarded(lambda: self._accept_from_form(request))
        else:
            self._ask(self._number(request.number), request.delay_minutes, f"{self.plan.seed}-{self._next}")

    def _number(self, which: int) -> str:
        return f"+49309{self.plan.seed % 100000:05}{which}"

    def _ask(self, number: str, delay_minutes: int, key: str) -> None:
        at = utcnow() + timedelta(minutes=delay_minutes) if delay_minutes else None
        requested = Requested(number, LINES[0], scheduled_at=at)
        found = self._guarded(
            lambda: callbacks.request_callback(self.world.portal_id, self.world.user_id, requested, key)
        )
        if found is not None:
            self._accepted(found.callback.id, self.plan.portal_retries)
            self._kept.append((key, requested, found.callback.id))

    def _accepted(self, id: UUID, retries: int) -> None:
        ledger = self.world.scene.ledger
        if id not in ledger.retries:
            ledger.accepted.append(id)
            ledger.retries[id] = retries

    def _accept_from_form(self, request: Request) -> None:
        """As a website's request is stored."""
        now = utcnow()
        due_at = now + timedelta(minutes=request.delay_minutes)
        number = self._number(request.number)
        with writing() as session:
            key = f"{self.plan.seed}-{self._next}"
            form = Form(
                portal_id=self.world.portal_id,
                key=key,
                name=key,
                retries=request.retries,
                retry_minutes=request.retry_minutes,
                unknown_policy=request.unknown_policy,
                expiry_minutes=request.expiry_minutes,
                hours=HOURS if request.has_hours else None,
            )
            session.add(form)
            session.flush()
            callback = Callback(
                portal_id=self.world.portal_id,
                form_id=form.id,
                to_number=number,
                line_id=LINES[0],
                line_name="Sales line",
                text="Callback request.",
                source=Source.WEBSITE,
                scheduled_at=due_at if request.delay_minutes else None,
                due_at=due_at,
                expires_at=due_at + timedelta(minutes=request.expiry_minutes),
                created_at=now,
                updated_at=now,
                attempts=[],
                decisions=[],
            )
            callback.accept(now)
            holder = session.query(Callback).filter_by(to_number=number, holds_number=True).first()
            if holder is not None and callback.holds_number:
                session.expunge_all()
                session.rollback()
                return
            session.add(callback)
        self._accepted(callback.id, request.retries)

    def _do_second(self, rng: random.Random) -> None:
        """Somebody else asks for the same number."""
        self._ask(self._number(rng.randrange(3)), rng.choice([0, 0, 20]), f"{self.plan.seed}-second-{rng.random()}")

    def _do_repeat(self, rng: random.Random) -> None:
        """The same press again, under the same key."""
        key, requested, id = rng.choice(self._kept)
        found = self._guarded(
            lambda: callbacks.request_callback(self.world.portal_id, self.world.user_id, requested, key)
        )
        if found is not None and (found.callback.id != id or not found.replayed):
            raise Broken("not_idempotent", f"{key} made {found.callback.id} beside {id}")

    # Decisions of people

    def _any(self, rng: random.Random, *states: str) -> Row[Any] | None:
        rows = self._seen.callbacks.values()
        found = sorted((row for row in rows if not states or row.state in states), key=lambda row: row.id)
        return rng.choice(found) if found else None

    def _do_cancel(self, rng: random.Random) -> None:
        if row := self._any(rng):
            self._cancel(row.id)

    def _cancel(self, id: UUID) -> None:
        if self._guarded(lambda: callbacks.cancel(self.world.portal_id, id, self.world.user_id)):
            self.world.scene.ledger.cancelled.add(id)

    def _do_reschedule(self, rng: random.Random) -> None:
        if row := self._any(rng):
            at = utcnow() + timedelta(minutes=rng.choice([0, 2, 45]))
            self._guarded(lambda: callbacks.reschedule(self.world.portal_id, row.id, self.world.user_id, at))

    def _do_resolve(self, rng: random.Random) -> None:
        outcome = rng.choice(["reached", "not_reached", "dial_again", "dial_again"])
        if row := self._any(rng, "unknown"):
            self._guarded(lambda: callbacks.resolve(self.world.portal_id, row.id, self.world.user_id, outcome))

    def _do_retry(self, rng: random.Random) -> None:
        row = self._any(rng, "missed", "failed", "expired")
        if row is None:
            return
        if made := self._guarded(lambda: callbacks.retry(self.world.portal_id, row.id, self.world.user_id)):
            self._accepted(made.id, self.plan.portal_retries)

    # Workers

    def _do_work(self, rng: random.Random) -> None:
        for claim in self._claim(rng.choice([1, 1, 3])):
            self._process(claim)

    def _claim(self, most: int) -> list[Claim]:
        return self._guarded(lambda: claiming.claim_due(most)) or []

    def _process(self, claim: Claim) -> None:
        self.world.set_patience()
        self.world.scene.ledger.claims.setdefault(claim.callback_id, set()).add(claim.lease_fence)
        self._guarded(lambda: dialling.process(claim))

    def _do_work_killed(self, rng: random.Random) -> None:
        """A worker process is killed: between two steps, or by the portal while it waits."""
        how = rng.choices(["step", "arrived", "executed"], [55, 20, 25])[0]
        self.world.scene.kills = "" if how == "step" else how
        kill_at = rng.randrange(1, WORKER_STEPS) if how == "step" else None
        ended = self.world.run_worker("dial", kill_at, rng.choice([1, 1, 2]))
        self.say("      came to its end" if ended else f"      killed: {how} {kill_at or ''}")

    def _do_chores_killed(self, rng: random.Random) -> None:
        self.world.run_worker("chores", rng.randrange(1, CHORE_STEPS))

    def _do_stall(self, rng: random.Random) -> None:
        """A worker claims, and then its machine stands still."""
        self._stalled += self._claim(rng.choice([1, 2]))
        if rng.random() < 0.5:
            self.world.pass_time(95)

    def _do_go_on(self, rng: random.Random) -> None:
        if self._stalled:
            self._process(self._stalled.pop(rng.randrange(len(self._stalled))))

    def _do_overtaken(self, rng: random.Random) -> None:
        """A worker stands still until its lease is over and another one has taken its callback; then it goes on."""
        stalled = self._claim(1)
        self.world.pass_time(95)
        taken_over = self._claim(1)
        for claim in [*stalled, *taken_over]:
            self._process(claim)

    def _do_race(self, rng: random.Random) -> None:
        """Two workers look for due callbacks at the same moment."""

        def work() -> None:
            for claim in self._claim(2):
                self._process(claim)

        self._at_once(work, work)

    def _do_race_cancel(self, rng: random.Random) -> None:
        for claim in self._claim(1):
            self._at_once(partial(self._process, claim), partial(self._cancel, claim.callback_id))

    def _at_once(self, *works: Callable[[], object]) -> None:
        barrier, failures = threading.Barrier(len(works)), []

        def run(work: Callable[[], object]) -> None:
            barrier.wait()
            try:
                work()
            except Broken as broken:
                failures.append(broken)

        threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def _do_unplugged(self, rng: random.Random) -> None:
        """The portal cannot be reached for the length of a dial."""
        address = self.world.portal.client_endpoint
        self._move_portal(UNREACHABLE)
        self._do_work(rng)
        self._move_portal(address)

    def _move_portal(self, address: str) -> None:
        with self.world.database.observer.begin() as connection:
            connection.execute(update(Portal).values(client_endpoint=address))

    def _do_chores(self, rng: random.Random) -> None:
        self._guarded(do_chores)

    # Time, telephones and what is told of them

    def _do_pass(self, rng: random.Random) -> None:
        self._pass(rng.choice(PASSES))

    def _pass(self, seconds: float) -> None:
        if seconds > 30:
            self._ring_late(True)
        self.world.pass_time(seconds)
        self.world.scene.phones.ring_out()

    def _do_clock_jumps(self, rng: random.Random) -> None:
        """Our clock is set, the portal's is not."""
        seconds = rng.choice([-7200, -600, -45, 200])
        self.world.pass_time(seconds)
        self.world.clock.advance(-seconds)

    def _do_phones(self, rng: random.Random) -> None:
        for story in self.world.scene.stories:
            if rng.random() < 0.8:
                story.go_on()
                self.world.pass_time(rng.uniform(1, 20))

    def _ring_late(self, now: bool) -> None:
        """What the portal executed although the connection was gone."""
        scene = self.world.scene
        while now and scene.late:
            late = scene.late.pop()
            arrival = late.arrival
            arrival.call = scene.phones.dial(
                arrival.line, arrival.to_number, late.text, "usenglishfemale", self.world.portal.manager
            )
            self.world.begin_story(arrival, self.plan.dials[-1 - len(scene.stories) % len(self.plan.dials)])

    def _do_deliver(self, rng: random.Random) -> None:
        for word, times in some(rng, self.world.scene.phones.words):
            self.world.scene.phones.words.remove(word)
            for _ in range(times):
                self._tell(word)

    def _tell(self, word: Word) -> None:
        status = self.world.tell(word)
        self.say(f"      {word.event} {status}")
        if status != 200 and not self._is_hurt:
            raise Broken("event_refused", f"{word.event} was answered {status}")

    def _do_history(self, rng: random.Random) -> None:
        self._show_rows(rng)
        if rng.random() < 0.2:
            self.world.portal.faults.add(
                rng.choice(["empty", "html_502", "truncated_json"]), "voximplant.statistic.get"
            )
        self._guarded(history.read_next)
        self.world.portal.faults = type(self.world.portal.faults)()

    def _show_rows(self, rng: random.Random) -> None:
        scene = self.world.scene
        if rng.random() < 0.1:
            scene.phones.fill(rng.choice([3, 60]), self._number(rng.randrange(3)))
        for row in list(scene.phones.rows):
            if rng.random() < 0.7:
                scene.phones.show(row, self.plan.dials[len(scene.phones.history) % len(self.plan.dials)].row)

    def _do_stranger(self, rng: random.Random) -> None:
        """A call of somebody else with a number of ours: by a native form, by the line itself, by hand."""
        number, phones = self._number(rng.randrange(3)), self.world.scene.phones
        kind = rng.choice(["other_line", "other_line", "by_hand", "same_line"])
        line = LINES[0] if kind == "same_line" else LINES[1]
        if kind == "same_line":
            self.world.scene.ledger.ambiguous.add(number)
        data: dict[str, object] = {
            "CALL_ID": f"call.{rng.randrange(10**9)}",
            "CALL_TYPE": "2" if kind == "by_hand" else "4",
            "PHONE_NUMBER": number,
            "PORTAL_NUMBER": line,
            "CALL_FAILED_CODE": rng.choice(["200", "304"]),
            "CALL_DURATION": "12",
            "CALL_START_DATE": utcnow().isoformat(timespec="seconds"),
        }
        if rng.random() < 0.5:
            self._tell(Word("ONVOXIMPLANTCALLEND", data))
        else:
            redial = {"REDIAL_ATTEMPT": "1"} if kind == "same_line" and rng.random() < 0.5 else {}
            phones.show_foreign(data | redial)

    def _do_hurt(self, rng: random.Random) -> None:
        """The database goes away just before somebody needs it."""
        self._is_hurt = True
        self.world.hurt(restart=rng.random() < 0.3)
        self._guarded(do_chores if rng.random() < 0.5 else lambda: claiming.claim_due(0))
        self.world.database.mend()
        self._is_hurt = False

    # The way to rest

    def _come_to_rest(self) -> None:
        """Let the world go on, and time pass, until nothing more will change."""
        self.say("coming to rest")
        rng = random.Random(self.plan.seed)
        self._stalled.clear()
        for _ in range(ROUNDS):
            self._ring_late(True)
            self._tell_what_is_told(rng)
            self._guarded(do_chores)
            self._do_work(rng)
            self._settle_world()
            self._tell_states()
            waits = self._waits()
            if waits is None:
                return
            self._pass(waits)
            for story in self.world.scene.stories:
                while not story.is_over:
                    story.go_on()

    def _tell_what_is_told(self, rng: random.Random) -> None:
        scene = self.world.scene
        words, scene.phones.words = scene.phones.words, []
        for word in words:
            if rng.random() < self.plan.tells_the_end:
                self._tell(word)
        if rng.random() < self.plan.tells_the_end:
            self._show_rows(rng)

    def _waits(self) -> float | None:
        """Seconds until something will change by itself; None at rest."""
        now, moments = utcnow(), []
        for row in self._seen.callbacks.values():
            if is_at_rest(row):
                continue
            moments.append(self._next_moment(row, now))
        return max(1.0, (min(moments) - now).total_seconds() + 1) if moments else None

    @staticmethod
    def _next_moment(row: Row[Any], now: datetime) -> datetime:
        """When something is promised to happen to a callback."""
        if row.state in ("scheduled", "queued"):
            # One that is due waits for its number, its line or the portal's pace: closer and closer to its expiry.
            tries_again = now + max((row.expires_at - now) / 2, timedelta(seconds=5))
            due_at: datetime = row.due_at
            is_leased = row.leased_until is not None and row.leased_until > now
            return due_at if due_at > now else now + LEASE if is_leased else tries_again
        if row.state == "dialling":
            return now + LEASE
        settled_at: datetime = row.updated_at + (EVIDENCE_UNTIL if row.state == "unknown" else CALL_LASTS)
        return max(settled_at, now + timedelta(seconds=31))

    def _check_shown(self) -> None:
        """What asks a person is shown to people so."""


def play(world: World, seed: int, say: Callable[[str], None] = lambda _: None) -> None:
    """Play the schedule of a seed; raises ``Broken``."""
    Play(world, make(seed), say).run()

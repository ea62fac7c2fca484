"""Playing a schedule: its steps, then the way to rest."""

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Row

from bx24app.database import reading
from bx24app.models import Portal, utcnow
from bx24app.services.security import tickets
from tests.faults.calls import Calls
from tests.faults.cards import Cards
from tests.faults.checks import Broken, is_at_rest
from tests.faults.people import People
from tests.faults.rule_checks import is_settled, look_at_runs
from tests.faults.rules import MOST_RUNS, Rules
from tests.faults.schedule import STEPS, choose, make
from tests.faults.world import World
from tests.faults.zygote import do_rules

DIALLING = ("work", "work_killed", "stall", "overtaken", "race", "race_cancel", "unplugged")
ROUNDS = 40
# As the design promises them.
LEASE = timedelta(seconds=91)
EVIDENCE_UNTIL, CALL_LASTS = timedelta(minutes=62), timedelta(hours=4)


class Play(People, Rules, Cards, Calls):
    """One schedule from its first step to the end of everything."""

    def run(self) -> None:
        """Take every step, then come to rest; raises ``Broken``."""
        self.world.wind_back(self.plan)
        for seed, card_seed in zip(self.plan.steps, self.plan.card_steps, strict=True):
            self._take(seed)
            if self.plan.has_cards and card_seed is not None:
                self._take_card(card_seed)
        self._come_to_rest()
        self.world.scene.ledger.check_end()
        self.world.scene.rules.check_end()
        self._check_shown()
        if self.plan.has_cards:
            self._check_cards()
            self._check_erasure()

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
            "forge": bool(rows),
            "history": any(row.state in ("started", "answered", "unknown") for row in rows),
            "cancel": bool(rows),
            "reschedule": bool(rows),
            "resolve": any(row.state == "unknown" for row in rows),
            "retry": any(row.state in ("missed", "failed", "expired") for row in rows),
            "repeat": bool(self._kept),
            "rule": len(scene.rules.posted) < MOST_RUNS,
            "rule_killed": len(scene.rules.posted) < MOST_RUNS,
        }
        if name.startswith(("rule", "document")) and name not in needs:
            return bool(scene.rules.posted)
        return needs.get(name, bool(rows))

    def _come_to_rest(self) -> None:
        """Let the world go on, and time pass, until nothing more will change."""
        self.say("coming to rest")
        rng = random.Random(self.plan.seed)
        self._stalled.clear()
        for patience in range(1, ROUNDS + 1):
            self._ring_late(True)
            self._tell_what_is_told(rng)
            self._do_chores(rng)
            self._guarded(partial(do_rules, 2 * MOST_RUNS))
            if any(row.state in ("scheduled", "queued") for row in self._seen.callbacks.values()):
                self._do_work(rng)
            self._settle_world()
            self._tell_states()
            waits = self._waits(patience)
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

    def _waits(self, patience: int) -> float | None:
        """Seconds until something will change by itself; None at rest."""
        now, moments = utcnow(), []
        for row in self._seen.callbacks.values():
            if is_at_rest(row):
                continue
            moments.append(self._next_moment(row, now, patience))
        moments += self._moments_of_runs(now)
        return max(1.0, (min(moments) - now).total_seconds() + 1) if moments else None

    def _moments_of_runs(self, now: datetime) -> Iterator[datetime]:
        """When something is promised to happen to runs, apart from what happens to their callbacks."""
        for run in look_at_runs(self.world.database.observer):
            callback = self._seen.callbacks.get(run.callback_id)
            if is_settled(run) or (run.stage == "calling" and callback is not None and not is_at_rest(callback)):
                continue
            is_leased = run.leased_until is not None and now < run.leased_until < now + 2 * LEASE
            # One that is due waits for the pace of the portal, or for the lease of another one.
            soon = now + timedelta(seconds=20)
            yield now + LEASE if is_leased else max(run.due_at or soon, soon)

    @staticmethod
    def _next_moment(row: Row[Any], now: datetime, patience: int) -> datetime:
        """When something is promised to happen to a callback."""
        if row.state in ("scheduled", "queued"):
            # One that is due waits for its number, its line or the portal's pace: closer and closer to its expiry.
            tries_again = now + max((row.expires_at - now) * 3 / 4, timedelta(seconds=5))
            due_at: datetime = row.due_at
            is_leased = row.leased_until is not None and row.leased_until > now
            return due_at if due_at > now else now + LEASE if is_leased else tries_again
        if row.state == "dialling":
            return now + LEASE
        settled_at: datetime = row.updated_at + (EVIDENCE_UNTIL if row.state == "unknown" else CALL_LASTS)
        # What is overdue waits for the history to be read, and after a clock that was set back for as long again.
        return max(settled_at, now + patience * timedelta(seconds=31))

    def _check_shown(self) -> None:
        """What asks a person is shown so: nobody knows, and a phone may have rung."""
        world = self.world
        for row in self._seen.callbacks.values():
            if row.state == "unknown":
                with world.app.app_context():
                    with reading() as session:
                        portal = session.get_one(Portal, world.portal_id)
                    ticket, _ = tickets.issue_ticket(tickets.ticket_of(portal, world.user_id, utcnow()))
                shown = world.client.get(f"/api/v1/callbacks/{row.id}", headers={"Authorization": f"Bearer {ticket}"})
                body = shown.json or {}
                if body.get("state") != "unknown" or "may have rung" not in str(body.get("detail")):
                    raise Broken("not_shown", f"{row.id} is shown as {body.get('state')}: {body.get('detail')}")


def play(world: World, seed: int, say: Callable[[str], None] = lambda _: None) -> None:
    """Play the schedule of a seed; raises ``Broken``."""
    Play(world, make(seed), say).run()

"""Steps of workers: some die, some stand still, some race."""

import random
import threading
from collections.abc import Callable
from functools import partial

from sqlalchemy import update

from bx24app.models import Portal
from bx24app.services.dialling import dial
from bx24app.services.dialling.queue import DialLease
from tests.faults.checks import Broken
from tests.faults.stage import Stage
from tests.faults.zygote import claim_due, do_chores

UNREACHABLE = "http://127.0.0.2:1/rest/"
WORKER_STEPS = 110
CHORE_STEPS = 40


class Workers(Stage):
    """Everything a worker does, in this process or in one that is killed."""

    def _do_work(self, rng: random.Random) -> None:
        """A worker dials what is due: a process of the fleet where there is one, else this process."""
        if self.world.broker is not None:
            self.world.run_worker("dial", None, rng.choice([1, 1, 3]))
            return
        for claim in self._claim(rng.choice([1, 1, 3])):
            self._process(claim)

    def _claim(self, most: int) -> list[DialLease]:
        return self._guarded(lambda: claim_due(most)) or []

    def _process(self, claim: DialLease) -> None:
        self.world.set_patience()
        self.world.scene.ledger.claims.setdefault(claim.callback_id, set()).add(claim.lease_fence)
        self._guarded(lambda: dial.dial(claim))

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
        if self.world.broker is not None:
            self.world.run_worker("chores", None)
        else:
            self._guarded(do_chores)

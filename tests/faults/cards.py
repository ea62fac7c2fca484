"""Steps of cards in the CRM: callbacks are shown, somebody is to call back, and numbers are erased."""

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

from bx24app.database import reading, writing
from bx24app.models import Callback, Portal, Source, utcnow
from bx24app.services import privacy
from bx24app.services.callbacks import principal
from bx24app.services.callbacks import request as callback_request
from bx24app.services.callbacks.request import CallbackRequest
from tests.faults.checks import Broken
from tests.faults.schedule import CARD_STEPS, choose
from tests.faults.stage import LINES
from tests.faults.workers import UNREACHABLE, Workers
from tests.faults.zygote import do_cards

SHOW, UPDATE, DELETE = "crm.activity.configurable.add", "crm.activity.configurable.update", "crm.activity.delete"
ASK, LOOK, LIST = "crm.activity.todo.add", "batch", "crm.activity.list"
CARD_WORK_STEPS = 90
# A row may wait, 1.5 s a round, until the lease of another one of its portal is over.
CARD_ROUNDS = 150
# Most to-dos are made when calls are over, so that this is when faults meet them.
FAULTY_ROUNDS = 2
# A dripping answer is cut short after this.
DRIPPING_SECONDS = 0.15
# What may happen to what is asked about cards; "" is the usual, "late" loses the answer to something that comes later.
CARD_FAULTS = {
    "": 50,
    "late": 8,
    "drop_before": 6,
    "drop_after": 12,
    "html_502": 4,
    "html_502_after": 8,
    "truncated_json": 4,
    "error:QUERY_LIMIT_EXCEEDED:503": 4,
    "error:INTERNAL_SERVER_ERROR:500": 3,
    "error:expired_token:401": 2,
}
# What has happened to a callback in the moment in which its number is erased.
ERASED_WHEN = ("accepted", "shown", "being shown", "answer lost", "late", "worker killed", "somebody shall call back")


class Cards(Workers):
    """Whatever happens between a callback and its card."""

    def _take_card(self, seed: int) -> None:
        rng = random.Random(seed)
        name = choose(rng, CARD_STEPS)
        self.say(f"{utcnow():%d %H:%M:%S} {name}")
        getattr(self, f"_do_{name}")(rng)
        self._settle_cards()

    def _settle_cards(self) -> None:
        scene = self.world.scene
        scene.kills, scene.is_next_card_late, scene.on_shown = "", False, None
        self.world.portal.faults = type(self.world.portal.faults)()
        scene.cards.check()

    def _do_cards(self, rng: random.Random) -> None:
        self._add_card_fault(rng)
        self._guarded(partial(do_cards, rng.choice([1, 3, 5])))

    def _do_cards_killed(self, rng: random.Random) -> None:
        """A worker is killed between two steps, or by the portal that has put something on a card."""
        how = rng.choices(["step", "shown"], [60, 40])[0]
        if how == "step":
            self._add_card_fault(rng)
        self.world.scene.kills = "" if how == "step" else how
        kill_at = rng.randrange(1, CARD_WORK_STEPS) if how == "step" else None
        ended = self.world.run_worker("cards", kill_at, rng.choice([1, 3]))
        self.say("      came to its end" if ended else f"      killed: {how} {kill_at or ''}")

    def _do_cards_race(self, rng: random.Random) -> None:
        """Two workers work on cards at the same moment."""
        work = partial(self._guarded, partial(do_cards, 2))
        self._at_once(work, work)

    def _do_cards_unplugged(self, rng: random.Random) -> None:
        """The portal cannot be reached."""
        address = self.world.portal.client_endpoint
        self._move_portal(UNREACHABLE)
        self._guarded(partial(do_cards, 2))
        self._move_portal(address)

    def _do_cards_dripping(self, rng: random.Random) -> None:
        """The portal does what it is asked for, and answers byte by byte, longer than anybody waits."""
        self.world.portal.faults.add("drip_body", rng.choice([SHOW, ASK, UPDATE]), seconds=2 * DRIPPING_SECONDS)
        with self.world.cutting_answers(DRIPPING_SECONDS):
            self._guarded(partial(do_cards, 1))

    def _add_card_fault(self, rng: random.Random) -> None:
        kind, _, details = rng.choices(list(CARD_FAULTS), list(CARD_FAULTS.values()))[0].partition(":")
        code, _, status = details.partition(":")
        if kind == "late":
            self.world.scene.is_next_card_late = True
        elif kind:
            method = rng.choice([SHOW, SHOW, ASK, ASK, UPDATE, LOOK, LIST, DELETE])
            self.world.portal.faults.add(kind, method, code=code, status=int(status or 0))
        self.say(f"      {kind}")

    # In the end

    def _come_to_rest_on_cards(self, faulty_rounds: int = 0) -> None:
        """Let workers work and time pass until nothing more is due about any card; at first not all goes well."""
        cards, rng = self.world.scene.cards, random.Random(f"rest {self.plan.seed}")
        for number in range(CARD_ROUNDS):
            if number < faulty_rounds:
                self._take_card(rng.randrange(2**32))
            self._guarded(partial(do_cards, 12))
            self._settle_cards()
            now = utcnow()
            moments = cards.moments(now)
            if not moments and not cards.news():
                return
            self.world.pass_time(max(1.5, (min(moments, default=now) - now).total_seconds() + 1))

    def _check_cards(self) -> None:
        self._come_to_rest_on_cards(FAULTY_ROUNDS)
        self.world.scene.cards.check_end(self.world.scene.ledger.check())

    def _check_erasure(self) -> None:
        """A number is erased in some moment of its callback: nothing of it is left, and nothing comes later."""
        rng = random.Random(f"erased {self.plan.seed}")
        when = rng.choice(ERASED_WHEN)
        self.say(f"{utcnow():%d %H:%M:%S} erased: {when}")
        number = self._number(7)
        id = self._missed(number) if when == "somebody shall call back" else self._planned(number)
        erase = partial(self._erase, number, id)
        self._before_erasure(rng, when, erase)
        if id not in self.world.scene.cards.erased:
            erase()
        self._settle_cards()
        self._come_to_rest_on_cards()
        self.world.put_late_cards()
        self.world.scene.cards.check_erased()

    def _before_erasure(self, rng: random.Random, when: str, erase: Callable[[], None]) -> None:
        scene, faults = self.world.scene, self.world.portal.faults
        self.world.pass_time(2)
        if when in ("answer lost", "somebody shall call back"):
            faults.add("drop_after", rng.choice([SHOW, ASK]) if when == "answer lost" else ASK)
        elif when == "late":
            scene.is_next_card_late = True
        elif when == "being shown":
            scene.on_shown = erase
        if when == "worker killed":
            scene.kills = "shown"
            self.world.run_worker("cards", None, 3)
        elif when != "accepted":
            self._guarded(partial(do_cards, 3))

    def _planned(self, number: str) -> UUID:
        card = self._card(number)
        at = utcnow() + timedelta(days=1)
        asked = CallbackRequest(number, LINES[0], scheduled_at=at, crm_entity_type=card[0], crm_entity_id=card[1])
        employee = partial(principal.load_employee, self.world.portal_id, self.world.user_id)
        with self.world.app.app_context():
            key = f"{self.plan.seed}-erased"
            return callback_request.request_callback(employee(), asked, key).callback.id

    def _missed(self, number: str) -> UUID:
        """A website's callback that has ended in vain a moment ago."""
        now, card = utcnow(), self._card(number)
        with self.world.app.app_context(), writing() as session:
            callback = Callback(
                portal_id=self.world.portal_id,
                to_number=number,
                line_id=LINES[0],
                line_name="Sales line",
                text="Callback request.",
                source=Source.WEBSITE,
                due_at=now,
                expires_at=now + timedelta(hours=1),
                created_at=now,
                updated_at=now,
                crm_entity_type=card[0],
                crm_entity_id=card[1],
                attempts=[],
                decisions=[],
            )
            callback.accept(now)
            session.add(callback)
            session.flush()
            callback.fail(now, "code_404")
        return callback.id

    def _erase(self, number: str, id: UUID) -> None:
        self.world.scene.cards.erase(id)
        with self.world.app.app_context():
            with reading() as session:
                portal = session.get_one(Portal, self.world.portal_id)
            if not privacy.erase_number(portal, number, number, self.world.user_id)["callbacks"]:
                raise Broken("harness", f"{number} was not there")

"""What all steps of a schedule share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm.exc import StaleDataError

from bx24app.errors import Refusal
from bx24app.services.callbacks import change
from bx24app.services.callbacks.request import CallbackRequest
from bx24app.services.dialling.queue import DialLease
from tests.faults.checks import Broken, Snapshot
from tests.faults.schedule import Schedule
from tests.faults.world import World

T = TypeVar("T")
LINES = ("reg150907", "sip7")
# What a database that goes away may do to whoever works with it.
DATABASE_GONE = (OperationalError, InterfaceError)


@dataclass
class Stage:
    """One schedule being played in a world; the kinds of steps add what can be done."""

    world: World
    plan: Schedule
    say: Callable[[str], None]
    _numbers: dict[UUID, str] = field(default_factory=dict)
    _kept: list[tuple[str, CallbackRequest, UUID]] = field(default_factory=list)
    _stalled: list[DialLease] = field(default_factory=list)
    _next: int = 0
    _is_hurt: bool = False
    _seen: Snapshot = field(default_factory=lambda: Snapshot({}, {}, {}))

    def _settle_world(self) -> None:
        self.world.let_go()
        self.world.scene.kills = ""
        self.world.scene.ledger.claims.clear()

    def _tell_states(self) -> None:
        seen = self._seen = self.world.scene.ledger.check()
        self.world.scene.rules.check(seen)
        for row in seen.callbacks.values():
            attempts = [a.outcome for a in seen.attempts_of(row.id)]
            self.say(f"      {str(row.id)[-4:]} {row.to_number} {row.state} {row.reason or ''} {attempts}")

    def _guarded(self, work: Callable[[], T]) -> T | None:
        """Do something as a worker or a view does; only a database that was hurt may make it fail."""
        hurts = self.world.hurts_until_now()
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

    def _number(self, which: int) -> str:
        return f"+49309{self.plan.seed % 100000:05}{which}"

    def _card(self, number: str) -> tuple[str | None, int | None]:
        """The card of a customer; none in schedules without cards."""
        if not self.plan.has_cards:
            return None, None
        leads = self.world.portal.crm.entities["LEAD"]
        known = [id for id, lead in leads.items() if lead["PHONE"][0]["VALUE"] == number]
        return "LEAD", known[0] if known else self.world.portal.crm.add_lead("Roof", "Anna", phones=[number])

    def _accepted(self, id: UUID, retries: int) -> None:
        ledger = self.world.scene.ledger
        if id not in ledger.retries:
            ledger.accepted.append(id)
            ledger.retries[id] = retries

    def _cancel(self, id: UUID) -> None:
        if self._guarded(lambda: change.cancel(self.world.portal_id, id, self.world.user_id)):
            self.world.scene.ledger.cancelled.add(id)

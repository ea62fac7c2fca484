"""What is promised of cards in the CRM: one activity and one to-do of a callback, none forgotten, none once erased."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Row, Table, func, select

from bx24app.models import Callback, CallbackNews, TimelineEntry, ToDo
from tests.fake_bitrix24 import FakePortal
from tests.fake_bitrix24.reminders import FakeToDo
from tests.fake_bitrix24.timeline import Activity
from tests.faults.checks import ENDS, Broken, Snapshot

# Of these ends somebody has to know; not where nobody is to be called, or was called on another way.
IN_VAIN = ("missed", "failed", "expired")
NOBODY_CALLS = ("do_not_call", "already_served")
OF_THE_TEAM = ("website", "api", "robot")
# As the design promises it.
LEASE = timedelta(seconds=91)


@dataclass
class CardLedger:
    """What stands on the cards of one schedule; ``erased`` are callbacks whose number was erased."""

    observer: Engine
    portal: FakePortal
    erased: set[UUID] = field(default_factory=set)
    # The to-dos that were there when their number was erased: they are people's, and stay.
    kept: set[int] = field(default_factory=set)

    def entries(self) -> Sequence[Row[Any]]:
        """Every entry that is stored, as another process sees it."""
        return self._rows(TimelineEntry)

    def to_dos(self) -> Sequence[Row[Any]]:
        """Every to-do that is stored."""
        return self._rows(ToDo)

    def _rows(self, model: type[TimelineEntry | ToDo]) -> Sequence[Row[Any]]:
        table: Table = model.__table__  # type: ignore[assignment]
        with self.observer.connect().execution_options(bx24app_writes=False) as connection:
            return connection.execute(select(table).order_by(table.c.id)).all()

    def activities_of(self, callback_id: UUID) -> list[Activity]:
        """What stands in the timeline of a callback."""
        return [one for one in self.portal.timeline.of_app() if one.fields.get("originId") == str(callback_id)]

    def to_dos_of(self, callback_id: UUID) -> list[FakeToDo]:
        """What somebody finds to do about a callback."""
        return [one for one in self.portal.reminders.to_dos.values() if str(callback_id) in one.description]

    def erase(self, callback_id: UUID) -> None:
        """Its number is erased in this moment."""
        self.erased.add(callback_id)
        self.kept |= {one.id for one in self.to_dos_of(callback_id)}

    def check(self) -> None:
        """Check what must hold at any moment; raises ``Broken``."""
        shown = Counter(one.fields.get("originId") for one in self.portal.timeline.of_app())
        if twice := [id for id, count in shown.items() if count > 1]:
            raise Broken("entry_twice", f"{twice} stand in their cards more than once")
        made = Counter(one.description for one in self.portal.reminders.to_dos.values())
        if any(count > 1 for count in made.values()):
            raise Broken("to_do_twice", f"{list(made.values())} to-dos of callbacks")
        for id in self.erased:
            if new := [one.id for one in self.to_dos_of(id) if one.id not in self.kept]:
                raise Broken("after_erasure", f"{new} were made after {id} was erased")

    def moments(self, now: datetime) -> list[datetime]:
        """When something is due about a card, or the lease of a worker that died ends, as it is promised to."""
        waiting = [row for row in (*self.entries(), *self.to_dos()) if row.due_at is not None]
        return [max(now, row.due_at, min(row.leased_until or now, now + LEASE)) for row in waiting]

    def news(self) -> int:
        """How many news nobody has followed up."""
        with self.observer.connect().execution_options(bx24app_writes=False) as connection:
            return connection.execute(select(func.count()).select_from(CallbackNews)).scalar_one()

    def check_erased(self) -> None:
        """Check that nothing is left of what was erased but what people have to do; raises ``Broken``."""
        self.check()
        for id in self.erased:
            if self.activities_of(id):
                raise Broken("after_erasure", f"{id} was erased, and still stands in its card")

    def check_end(self, seen: Snapshot) -> None:
        """Check that nothing was forgotten."""
        self.check()
        if count := self.news():
            raise Broken("to_do_forgotten", f"{count} news of callbacks were not followed up")
        entries = {row.callback_id: row for row in self.entries()}
        to_dos = {row.callback_id: row for row in self.to_dos()}
        for callback in seen.callbacks.values():
            if callback.crm_entity_id is not None:
                self._check_entry(callback, entries.get(callback.id))
                self._check_to_do(callback, to_dos.get(callback.id))

    def _check_entry(self, callback: Row[Any], entry: Row[Any] | None) -> None:
        """It shows how the callback stands; where it was never shown there is nothing to show any more."""
        activities = self.activities_of(callback.id)
        if entry is None:
            raise Broken("entry_forgotten", f"{callback.id} has a card and no entry")
        if entry.due_at is not None:
            raise Broken("entry_forgotten", f"{callback.id} waits to be shown, due {entry.due_at}")
        if entry.ended_at is not None:
            return  # Nobody could say, the card is gone, or the portal has refused it again and again.
        if not activities and callback.state not in ENDS:
            raise Broken("entry_forgotten", f"{callback.id} is {callback.state}, and stands in no card")
        if activities and activities[0].is_completed is not (callback.state in ENDS):
            raise Broken("entry_forgotten", f"{callback.id} is {callback.state}, shown as {activities[0].tag}")

    def _check_to_do(self, callback: Row[Any], to_do: Row[Any] | None) -> None:
        """Nobody who was not reached is forgotten, and nobody is called back who was."""
        asks = callback.state == "unknown" and callback.asks_since is not None
        in_vain = callback.state in IN_VAIN and callback.reason not in NOBODY_CALLS
        found = self.to_dos_of(callback.id)
        if to_do is None:
            if (asks or in_vain) and callback.source in OF_THE_TEAM and not self._was_reached(callback):
                raise Broken("to_do_forgotten", f"{callback.id} ended as {callback.state} ({callback.reason})")
            return
        if to_do.due_at is not None or (to_do.ended_at is None and to_do.activity_id is None):
            raise Broken("to_do_forgotten", f"the to-do of {callback.id} is due {to_do.due_at}")
        if to_do.activity_id is not None and to_do.activity_id not in [one.id for one in found]:
            raise Broken("to_do_forgotten", f"the to-do of {callback.id} is not {to_do.activity_id}")
        if found and to_do.is_settled and to_do.reason is None and not found[0].completed:
            raise Broken("to_do_forgotten", f"{callback.id} was reached, and somebody shall call back")

    def _was_reached(self, callback: Row[Any]) -> bool:
        """Another call of the number has reached the customer."""
        own = (Callback.to_number == callback.to_number) & (Callback.id != callback.id)
        with self.observer.connect().execution_options(bx24app_writes=False) as connection:
            return connection.execute(select(Callback.id).where(own, Callback.state == "completed")).first() is not None

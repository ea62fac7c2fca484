"""Steps of people: asking for callbacks, and deciding about them."""

import random
from datetime import timedelta
from typing import Any

from sqlalchemy import Row

from bx24app.database import writing
from bx24app.models import Callback, Form, Source, utcnow
from bx24app.services.callbacks import change, principal
from bx24app.services.callbacks import request as callback_request
from bx24app.services.callbacks.queries import get_callback
from bx24app.services.callbacks.request import CallbackRequest
from tests.faults.checks import Broken
from tests.faults.schedule import Request
from tests.faults.stage import LINES, Stage

HOURS = {"zone": "Europe/Berlin", "week": {"mon": [["09:00", "11:00"]], "thu": [["00:00", "24:00"]]}}


class People(Stage):
    """Whoever asks for callbacks, withdraws, moves, settles or repeats them."""

    def _do_request(self, rng: random.Random) -> None:
        request, self._next = self.plan.requests[self._next], self._next + 1
        if request.website:
            self._guarded(lambda: self._accept_from_form(request))
        else:
            self._ask(self._number(request.number), request.delay_minutes, f"{self.plan.seed}-{self._next}")

    def _ask(self, number: str, delay_minutes: int, key: str) -> None:
        at = utcnow() + timedelta(minutes=delay_minutes) if delay_minutes else None
        kind, card = self._card(number)
        requested = CallbackRequest(number, LINES[0], scheduled_at=at, crm_entity_type=kind, crm_entity_id=card)
        found = self._guarded(
            lambda: callback_request.request_callback(
                principal.load_employee(self.world.portal_id, self.world.user_id), requested, key
            )
        )
        if found is not None:
            self._accepted(found.callback.id, self.plan.portal_retries)
            self._kept.append((key, requested, found.callback.id))

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
                shows_in_crm=self.plan.has_cards,
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
            session.flush()
            # As when the customer was found in the CRM.
            callback.crm_entity_type, callback.crm_entity_id = self._card(number)
        self._accepted(callback.id, request.retries)

    def _do_second(self, rng: random.Random) -> None:
        """Somebody else asks for the same number."""
        self._ask(self._number(rng.randrange(3)), rng.choice([0, 0, 20]), f"{self.plan.seed}-second-{rng.random()}")

    def _do_repeat(self, rng: random.Random) -> None:
        """The same press again, under the same key."""
        key, requested, id = rng.choice(self._kept)
        found = self._guarded(
            lambda: callback_request.request_callback(
                principal.load_employee(self.world.portal_id, self.world.user_id), requested, key
            )
        )
        if found is not None and (found.callback.id != id or not found.replayed):
            raise Broken("not_idempotent", f"{key} made {found.callback.id} beside {id}")

    def _any(self, rng: random.Random, *states: str) -> Row[Any] | None:
        rows = self._seen.callbacks.values()
        found = sorted((row for row in rows if not states or row.state in states), key=lambda row: row.id)
        return rng.choice(found) if found else None

    def _do_cancel(self, rng: random.Random) -> None:
        if row := self._any(rng):
            self._cancel(row.id)

    def _do_reschedule(self, rng: random.Random) -> None:
        if row := self._any(rng):
            at = utcnow() + timedelta(minutes=rng.choice([0, 2, 45]))
            self._guarded(lambda: change.reschedule(self.world.portal_id, row.id, self.world.user_id, at))

    def _do_resolve(self, rng: random.Random) -> None:
        outcome = rng.choice(["reached", "not_reached", "dial_again", "dial_again"])
        if row := self._any(rng, "unknown"):
            self._guarded(lambda: change.resolve(self.world.portal_id, row.id, self.world.user_id, outcome))

    def _do_retry(self, rng: random.Random) -> None:
        row = self._any(rng, "missed", "failed", "expired")
        if row is None:
            return
        made = self._guarded(
            lambda: change.retry(
                principal.load_employee(self.world.portal_id, self.world.user_id),
                get_callback(self.world.portal_id, row.id),
            )
        )
        if made is not None:
            self._accepted(made.id, self.plan.portal_retries)

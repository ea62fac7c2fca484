"""Move accepted requests to other days, whose budgets they then use instead of those of the days before.

These are moves by the customer's link and by a form's key. What people of the portal move is their own decision, which
no budget refuses and no count follows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.database import insert_new, reading
from bx24app.errors import DatabaseBusy, NotFound
from bx24app.models import Attempt, BudgetDay, Callback, DecoyRequest
from bx24app.services.callbacks.decoys import first_dial
from bx24app.services.callbacks.retry_policy import retry_policy_of_form
from bx24app.services.websites import budgets, quotas
from bx24app.services.websites.submission import Submission

T = TypeVar("T")
# More often than the link of a request can be used at once.
MOST_TRIES = 10


class _MovedMeanwhile(Exception):
    """The request is not due any more when it was: what was counted for its move is not true."""


@dataclass(frozen=True)
class BudgetMove:
    """The move of a request to the time of ``submission``, with the budgets of the days that it changes.

    It was counted for the day of ``counted_at``. That day gets its place back, unless somebody was rung since
    (``is_rung``). A decoy is counted like a callback, or the budgets would tell which it is.
    """

    submission: Submission
    counted_at: datetime
    is_rung: bool

    def count(self, session: Session) -> None:
        """Count the request for its new day instead of the old one; raises ``BudgetExhausted``.

        Runs inside the caller's transaction, before the request is locked. From here to its end nobody else is counted
        for these days, so the money that is found is what is left.
        """
        submission = self.submission
        old, new = self._old_day(), quotas.budget_day_of(submission).day
        if old == new:
            return
        days = _lock_days(session, submission.form.id, old, new)
        for obstacle in quotas.exhausted_budgets(session, submission):
            raise quotas.rejection_of(submission, obstacle)
        days[new].calls += 1
        if old in days and not self.is_rung:
            days[old].moved_away = min(days[old].moved_away + 1, days[old].calls)

    def confirm(self, request: Callback | DecoyRequest) -> None:
        """Let ``move`` try again where the request, locked by now, was moved since this was planned."""
        if _counted_at(request) != self.counted_at:
            raise _MovedMeanwhile

    def _old_day(self) -> date:
        return budgets.local_day(self.counted_at, self.submission.hours.zone).day


def move(request: Callback | DecoyRequest, submission: Submission, moved: Callable[[BudgetMove | None], T]) -> T:
    """Move a request to the time of ``submission`` by ``moved``, which counts and confirms in its transaction.

    ``moved`` gets None where the form has no budget. Returns and raises as it does; raises ``BudgetExhausted``,
    ``NotFound``, and ``DatabaseBusy`` where others moved the same request in every try.
    """
    if quotas.budget_of(submission) is None:
        return moved(None)
    for _ in range(MOST_TRIES):
        try:
            return moved(_planned(request, submission))
        except _MovedMeanwhile:
            continue
    raise DatabaseBusy


def _planned(known: Callback | DecoyRequest, submission: Submission) -> BudgetMove:
    with reading() as session:
        is_callback = isinstance(known, Callback)
        request = session.get(Callback, known.id) if is_callback else session.get(DecoyRequest, known.id)
        if request is None:
            raise NotFound
        counted_at = _counted_at(request)
        dialled = select(Attempt.id).where(Attempt.callback_id == request.id, Attempt.started_at >= counted_at)
        is_rung = session.scalar(dialled.limit(1)) is not None
    if isinstance(request, DecoyRequest):
        dialled_at = first_dial(request, retry_policy_of_form(submission.portal, submission.form))
        is_rung = dialled_at is not None and dialled_at <= submission.now
    return BudgetMove(submission, counted_at, is_rung)


def _counted_at(request: Callback | DecoyRequest) -> datetime:
    """Return the time for which a request was counted: when it was made, or the later one that was chosen."""
    return max(request.scheduled_at or request.created_at, request.created_at)


def _lock_days(session: Session, form_id: int, old: date, new: date) -> dict[date, BudgetDay]:
    """Lock the counts of two days, the earlier one first; the old one may be missing."""
    insert_new(session, [BudgetDay(form_id=form_id, day=new, calls=0)], BudgetDay.id)
    counts = select(BudgetDay).where(BudgetDay.form_id == form_id, BudgetDay.day.in_((old, new)))
    return {count.day: count for count in session.scalars(counts.order_by(BudgetDay.day).with_for_update())}

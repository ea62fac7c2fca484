"""How long a visitor will wait for the call, by what the form's last requests have shown."""

from datetime import datetime, timedelta

from sqlalchemy import and_, func, select

from bx24app.database import reading
from bx24app.models import IS_WAITING, Attempt, Callback, Form, first_id

# As many of the form's last requests tell.
REQUESTS_LOOKED_AT = 20
WAIT_PERCENTILE = 0.8
# Until a colleague has picked up and heard the text.
PICK_UP = timedelta(minutes=1)
# What is said: no more exact than anybody knows.
MINUTES_SHOWN = (2, 5, 10, 15, 20, 30, 45, 60)
USUAL_MINUTES = 5
WAITS_COUNT_FOR = timedelta(days=30)


def expected_minutes(form: Form, now: datetime) -> int:
    """Within how many minutes a request of now will probably be called; a usual value while nothing is known."""
    waits = sorted(_waits(form, now))
    if not waits:
        return USUAL_MINUTES
    usual = waits[min(int(WAIT_PERCENTILE * len(waits)), len(waits) - 1)] + PICK_UP
    return next((step for step in MINUTES_SHOWN if usual <= timedelta(minutes=step)), MINUTES_SHOWN[-1])


def _waits(form: Form, now: datetime) -> list[timedelta]:
    """From the moment they were due to the first dial; of those that are due and not dialled yet, until now."""
    first = select(func.min(Attempt.started_at)).where(Attempt.callback_id == Callback.id).scalar_subquery()
    asked = select(func.coalesce(Callback.scheduled_at, Callback.created_at), first).where(Callback.form_id == form.id)
    recent = and_(Callback.id >= first_id(now - WAITS_COUNT_FOR), Callback.created_at > now - WAITS_COUNT_FOR)
    # With the portal: its waiting callbacks are few, those of a form may be many.
    overdue = asked.where(first.is_(None), Callback.portal_id == form.portal_id, IS_WAITING, Callback.due_at < now)
    with reading() as session:
        rows = [
            *session.execute(
                asked.where(first.is_not(None), recent).order_by(Callback.id.desc()).limit(REQUESTS_LOOKED_AT)
            ),
            *session.execute(overdue.limit(REQUESTS_LOOKED_AT)),
        ]
    return [(started or now) - wanted for wanted, started in rows]

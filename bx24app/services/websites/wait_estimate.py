"""Estimate how long a visitor waits for the call, by the waits of the form's last requests."""

from datetime import datetime, timedelta

from sqlalchemy import and_, func, select

from bx24app.database import reading
from bx24app.models import IS_WAITING, Attempt, Callback, Form, first_id

# The estimate uses so many of the form's last requests.
REQUESTS_LOOKED_AT = 20
WAIT_PERCENTILE = 0.8
# A colleague needs about this time to pick up and hear the text.
PICK_UP = timedelta(minutes=1)
# The estimate is rounded up to one of these, because it is not more exact.
MINUTES_SHOWN = (2, 5, 10, 15, 20, 30, 45, 60)
USUAL_MINUTES = 5
WAITS_COUNT_FOR = timedelta(days=30)


def expected_minutes(form: Form, now: datetime) -> int:
    """Estimate within how many minutes a request made now is called; a usual value while nothing is known."""
    waits = sorted(_waits(form, now))
    if not waits:
        return USUAL_MINUTES
    usual = waits[min(int(WAIT_PERCENTILE * len(waits)), len(waits) - 1)] + PICK_UP
    return next((step for step in MINUTES_SHOWN if usual <= timedelta(minutes=step)), MINUTES_SHOWN[-1])


def _waits(form: Form, now: datetime) -> list[timedelta]:
    """List the waits from the due time to the first dial; for requests that are due and not yet dialled, until now."""
    first = select(func.min(Attempt.started_at)).where(Attempt.callback_id == Callback.id).scalar_subquery()
    requests = select(func.coalesce(Callback.scheduled_at, Callback.created_at), first).where(
        Callback.form_id == form.id
    )
    recent = and_(Callback.id >= first_id(now - WAITS_COUNT_FOR), Callback.created_at > now - WAITS_COUNT_FOR)
    # The query names the portal, whose few waiting callbacks have an index; a form may have many callbacks.
    overdue = requests.where(first.is_(None), Callback.portal_id == form.portal_id, IS_WAITING, Callback.due_at < now)
    with reading() as session:
        rows = [
            *session.execute(
                requests.where(first.is_not(None), recent).order_by(Callback.id.desc()).limit(REQUESTS_LOOKED_AT)
            ),
            *session.execute(overdue.limit(REQUESTS_LOOKED_AT)),
        ]
    return [(started or now) - wanted for wanted, started in rows]

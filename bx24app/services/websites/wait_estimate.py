"""Estimate how long a visitor waits for the call, by the waits of the form's last requests.

A request for a number that is in hand or listed counts with the wait that its decoy shows: else the page would tell
whoever asked that nobody is called.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, union_all

from bx24app.database import reading
from bx24app.models import IS_WAITING, Attempt, Callback, DecoyRequest, first_id
from bx24app.services.callbacks.decoys import TELLING_REASONS, first_dial
from bx24app.services.callbacks.retry_policy import retry_policy_of_form
from bx24app.services.websites.forms import OpenForm

# The estimate uses so many of the form's last requests, and says the usual value of fewer than these.
REQUESTS_LOOKED_AT, LEAST_REQUESTS = 20, 10
WAIT_PERCENTILE = 0.8
# Of these many; others that were never dialled, however many they are, keep nobody who opens the form waiting.
REQUESTS_FOUND = 200
# A colleague needs about this time to pick up and hear the text.
PICK_UP = timedelta(minutes=1)
# The estimate is rounded up to one of these, because it is not more exact.
MINUTES_SHOWN = (2, 5, 10, 15, 20, 30, 45, 60)
USUAL_MINUTES = 5
WAITS_COUNT_FOR = timedelta(days=30)


def expected_minutes(opened: OpenForm, now: datetime) -> int:
    """Estimate within how many minutes a request made now is called; a usual value while little is known."""
    waits = sorted(_waits(opened, now))
    if len(waits) < LEAST_REQUESTS:
        return USUAL_MINUTES
    usual = waits[min(int(WAIT_PERCENTILE * len(waits)), len(waits) - 1)] + PICK_UP
    return next((step for step in MINUTES_SHOWN if usual <= timedelta(minutes=step)), MINUTES_SHOWN[-1])


def _waits(opened: OpenForm, now: datetime) -> list[timedelta]:
    """List the waits from the due time to the first dial; for requests that are due and not yet dialled, until now."""
    form, since = opened.form, now - WAITS_COUNT_FOR
    first = select(func.min(Attempt.started_at)).where(Attempt.callback_id == Callback.id).scalar_subquery()
    wanted = func.coalesce(Callback.scheduled_at, Callback.created_at)
    requests = select(Callback.id, wanted, func.coalesce(first, Callback.ended_at)).where(Callback.form_id == form.id)
    lately = select(Callback.id).where(Callback.form_id == form.id, Callback.id >= first_id(since))
    newest = lately.order_by(Callback.id.desc()).limit(REQUESTS_FOUND).subquery()
    dialled = requests.join(newest, newest.c.id == Callback.id).where(
        first.is_not(None) | Callback.reason.in_(TELLING_REASONS), Callback.created_at > since
    )
    # The query names the portal, whose few waiting callbacks have an index; a form may have many callbacks.
    due = select(Callback.id).where(Callback.portal_id == form.portal_id, IS_WAITING, Callback.due_at < now)
    longest = due.order_by(Callback.due_at).limit(REQUESTS_FOUND).subquery()
    overdue = requests.join(longest, longest.c.id == Callback.id).where(first.is_(None))
    shown_lately = select(DecoyRequest.id).where(
        DecoyRequest.form_id == form.id, DecoyRequest.id >= first_id(since), DecoyRequest.due_at < now
    )
    newest_decoys = shown_lately.order_by(DecoyRequest.id.desc()).limit(REQUESTS_FOUND).subquery()
    decoys = (
        select(DecoyRequest)
        .join(newest_decoys, newest_decoys.c.id == DecoyRequest.id)
        .where(DecoyRequest.cancelled_at.is_(None), DecoyRequest.ended_as.is_(None))
    )
    few = [query.limit(REQUESTS_LOOKED_AT).subquery() for query in (dialled.order_by(Callback.id.desc()), overdue)]
    with reading() as session:
        # Both in one question, for every opening of a form asks it.
        both = session.execute(union_all(*(select(one) for one in few)))
        rows: list[tuple[UUID, datetime, datetime | None]] = [(id, asked, began) for id, asked, began in both]
        shown = session.scalars(decoys.order_by(DecoyRequest.id.desc()).limit(REQUESTS_LOOKED_AT)).all()
    policy = retry_policy_of_form(opened.portal, form)
    rows += [(one.id, one.scheduled_at or one.created_at, first_dial(one, policy)) for one in shown]
    ended = [(id, began - asked) for id, asked, began in rows if began is not None and began <= now]
    going_on = [now - asked for _, asked, began in rows if began is None or began > now]
    return [wait for _, wait in sorted(ended, reverse=True)[:REQUESTS_LOOKED_AT]] + going_on

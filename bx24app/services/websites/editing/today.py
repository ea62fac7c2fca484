"""What the forms of a portal did today: one statement for a figure, however many forms there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from bx24app.database import reading
from bx24app.models import WAITING, Callback, Form, Rejection, State
from bx24app.services.callbacks.listing.drivers import Span
from bx24app.services.websites import rejections


@dataclass(frozen=True)
class FormDay:
    """Requests of a form on one day: taken, those that reached their customer, those not called yet, and rejected."""

    requests: int = 0
    reached: int = 0
    waiting: int = 0
    rejected: int = 0


def figures_between(portal_id: int, forms: Sequence[Form], begins_at: datetime, ends_at: datetime) -> list[FormDay]:
    """Count what forms did between two moments, in the order of the forms. Commits what was counted in memory only."""
    rejections.write_counts()
    ids = [form.id for form in forms]
    by_state = select(Callback.form_id, Callback.state, func.count())
    by_state = by_state.where(
        Callback.form_id.in_(ids),
        Callback.created_at >= begins_at,
        Callback.created_at < ends_at,
        *Span.around(begins_at, ends_at).within(Callback.id),
    )
    rejected = select(Rejection.form_id, func.sum(Rejection.count))
    rejected = rejected.where(
        Rejection.portal_id == portal_id, Rejection.made_at >= begins_at, Rejection.made_at < ends_at
    )
    with reading() as session:
        states = session.execute(by_state.group_by(Callback.form_id, Callback.state)).all()
        turned_away = {id: int(count) for id, count in session.execute(rejected.group_by(Rejection.form_id))}
    counts: dict[int, dict[str, int]] = {id: {} for id in ids}
    for form_id, state, count in states:
        counts[form_id or 0][state] = count
    return [
        FormDay(
            requests=sum(counts[id].values()),
            reached=counts[id].get(State.COMPLETED, 0),
            waiting=sum(counts[id].get(state, 0) for state in WAITING),
            rejected=turned_away.get(id, 0),
        )
        for id in ids
    ]

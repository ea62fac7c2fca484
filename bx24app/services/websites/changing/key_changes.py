"""What a site's back end changes with an API key."""

from datetime import datetime

from bx24app.errors import TooLate
from bx24app.models import WAITING, Callback, Source, utcnow
from bx24app.services.callbacks import change
from bx24app.services.callbacks.request import due_time
from bx24app.services.websites import forms
from bx24app.services.websites.changing import budget_moves
from bx24app.services.websites.changing.budget_moves import BudgetMove
from bx24app.services.websites.submission import Submission


def move_with_key(form_id: int, callback: Callback, scheduled_at: datetime) -> Callback:
    """Move a waiting callback of the form of an API key to another time; commits.

    Raises as ``change.reschedule``, and ``BudgetExhausted`` where it is another day whose budget is used up.
    """
    if callback.state not in WAITING:
        raise TooLate
    opened, now = forms.open_form_by_id(form_id), utcnow()
    due_at = due_time(scheduled_at, now)
    submission = Submission(form=opened.form, portal=opened.portal, now=now, source=Source.API, scheduled_at=due_at)

    def reschedule(step: BudgetMove | None) -> Callback:
        return change.reschedule(callback.portal_id, callback.id, None, scheduled_at, by="api", step=step)

    return budget_moves.move(callback, submission, reschedule)

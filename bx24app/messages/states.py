"""Where a callback stands, in words for staff and for customers."""

from flask_babel import gettext as _


def duration_words(seconds: int) -> str:
    """A length of time: ``3 min 12 s``."""
    minutes, rest = divmod(max(seconds, 0), 60)
    if not minutes:
        return str(_("%(count)s s", count=rest))
    return str(_("%(minutes)s min %(seconds)s s", minutes=minutes, seconds=rest))


def state_label(state: str, *, line_name: str, answered_by: str | None, duration_seconds: int | None) -> str:
    """Where a callback stands, in a few words."""
    ended = _("Ended, %(duration)s", duration=duration_words(duration_seconds or 0)) if duration_seconds else _("Ended")
    answered = _("Answered by %(name)s", name=answered_by) if answered_by else _("Answered")
    labels = {
        "scheduled": _("Planned"),
        "queued": _("In line to be dialled"),
        "dialling": _("Starting the call…"),
        "started": _("Ringing %(line)s: your team's phones", line=line_name),
        "answered": answered,
        "completed": ended,
        "missed": _("Missed"),
        "failed": _("Not dialled"),
        "unknown": _("Outcome unknown: a phone may have rung"),
        "cancelled": _("Cancelled"),
        "expired": _("Too late, not dialled"),
    }
    return str(labels.get(state, state))


def customer_state_label(state: str) -> str:
    """Where a callback stands, for the customer."""
    labels = {
        "scheduled": _("We will call you at the time below"),
        "queued": _("You are next: we are about to call you"),
        "dialling": _("We are about to call you"),
        "started": _("We are getting a colleague on the line, then your phone will ring"),
        "answered": _("A colleague is on the line, your phone is ringing"),
        "completed": _("The call has taken place"),
        "cancelled": _("The call was cancelled"),
        "expired": _("We could not call in time. Please send a new request"),
    }
    return str(labels.get(state, _("The call did not come about. Please send a new request")))

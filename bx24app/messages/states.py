"""Where a callback stands, in words for staff and for customers."""

from flask_babel import gettext as _

from bx24app.i18n import N_


def duration_words(seconds: int) -> str:
    """A length of time: ``3 min 12 s``."""
    minutes, rest = divmod(max(seconds, 0), 60)
    if not minutes:
        return str(_("%(count)s s", count=rest))
    return str(_("%(minutes)s min %(seconds)s s", minutes=minutes, seconds=rest))


_STATES = {
    "scheduled": N_("Planned"),
    "queued": N_("In line to be dialled"),
    "dialling": N_("Starting the call…"),
    "answered": N_("Answered"),
    "completed": N_("Ended"),
    "missed": N_("Missed"),
    "failed": N_("Not dialled"),
    "unknown": N_("Outcome unknown: a phone may have rung"),
    "cancelled": N_("Cancelled"),
    "expired": N_("Too late, not dialled"),
}
_CUSTOMER_STATES = {
    "scheduled": N_("We will call you at the time below"),
    "queued": N_("You are next: we are about to call you"),
    "dialling": N_("We are about to call you"),
    "started": N_("We are getting a colleague on the line, then your phone will ring"),
    "answered": N_("A colleague is on the line, your phone is ringing"),
    "completed": N_("The call has taken place"),
    "cancelled": N_("The call was cancelled"),
    "expired": N_("We could not call in time. Please send a new request"),
}
_NOT_CALLED = N_("The call did not come about. Please send a new request")


def state_label(state: str, *, line_name: str, answered_by: str | None, duration_seconds: int | None) -> str:
    """Where a callback stands, in a few words."""
    if state == "started":
        return str(_("Ringing %(line)s: your team's phones", line=line_name))
    if state == "answered" and answered_by:
        return str(_("Answered by %(name)s", name=answered_by))
    if state == "completed" and duration_seconds:
        return str(_("Ended, %(duration)s", duration=duration_words(duration_seconds)))
    return str(_(_STATES[state])) if state in _STATES else state


def customer_state_label(state: str) -> str:
    """Where a callback stands, for the customer."""
    return str(_(_CUSTOMER_STATES.get(state, _NOT_CALLED)))

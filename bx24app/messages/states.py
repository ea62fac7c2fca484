"""Where a callback stands, in words for staff and for customers."""

from dataclasses import dataclass

from flask_babel import gettext as _

from bx24app.i18n import N_


def duration_words(seconds: int) -> str:
    """A length of time: ``3 min 12 s``."""
    minutes, rest = divmod(max(seconds, 0), 60)
    if not minutes:
        return str(_("%(count)s s", count=rest))
    return str(_("%(minutes)s min %(seconds)s s", minutes=minutes, seconds=rest))


_STATES = {
    "scheduled": N_("Scheduled"),
    "queued": N_("Waiting"),
    "dialling": N_("Calling…"),
    "answered": N_("Picked up"),
    "completed": N_("Talked"),
    "failed": N_("Not called"),
    "unknown": N_("Outcome unknown"),
    "cancelled": N_("Cancelled"),
    "expired": N_("Too late, not called"),
}
# How a call ended whose customer was rung in vain (docs: CALL_FAILED_CODE), as far as the code says.
_NOBODY = frozenset({"code_304"})
_CUSTOMER_AWAY = frozenset({"code_480", "code_486", "code_404", "code_484", "code_503", "code_603"})
_CUSTOMER_STATES = {
    "scheduled": N_("We'll call you at the time below"),
    "queued": N_("You're next"),
    "dialling": N_("We're getting a colleague on the line"),
    "started": N_("We're getting a colleague on the line"),
    "answered": N_("We're connecting you now"),
    "completed": N_("We've talked"),
    "missed": N_("We couldn't connect. Ask again?"),
    "unknown": N_("We're checking your call"),
    "cancelled": N_("Cancelled"),
}
_NOT_CALLED = N_("We couldn't call you. Ask again?")


@dataclass(frozen=True)
class StateFacts:
    """What the words of a state depend on; ``reason`` is why it is so, where there is a reason."""

    state: str
    reason: str | None = None
    line_name: str = ""
    answered_by: str | None = None
    duration_seconds: int | None = None


def state_label(facts: StateFacts) -> str:
    """Where a callback stands, in a few words."""
    state = facts.state
    if state == "started":
        return str(_("Ringing · %(line)s", line=facts.line_name))
    if state == "answered" and facts.answered_by:
        return str(_("Picked up · %(name)s", name=facts.answered_by))
    if state == "completed" and facts.duration_seconds:
        return str(_("Talked %(duration)s", duration=duration_words(facts.duration_seconds)))
    if state == "missed":
        return missed_label(facts.reason or "")
    return str(_(_STATES[state])) if state in _STATES else state


def missed_label(reason: str) -> str:
    """How a call ended that did not connect the two."""
    if reason in _NOBODY:
        return str(_("Nobody answered"))
    return str(_("Customer not reached")) if reason in _CUSTOMER_AWAY else str(_("Not connected"))


def customer_state_label(state: str) -> str:
    """Where a callback stands, for the customer."""
    return str(_(_CUSTOMER_STATES.get(state, _NOT_CALLED)))

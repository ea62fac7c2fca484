"""Words of the reports."""

from flask_babel import gettext as _
from flask_babel import ngettext

from bx24app.i18n import N_
from bx24app.messages.states import duration_words
from bx24app.models import Source
from bx24app.services.callbacks.listing.periods import PeriodName
from bx24app.services.reports.figures import FunnelStep
from bx24app.services.reports.tally import Kind

MINUTE, HOUR_SECONDS = 60, 3600

SERIES_WORDS = {
    "reached": N_("Reached"),
    "nobody_answered": N_("Nobody answered"),
    "customer_not_reached": N_("Customer not reached"),
    "not_told": N_("Not told"),
    "not_called": N_("Not called"),
    "under_way": N_("Under way"),
}
_PERIODS = {
    PeriodName.TODAY: N_("Today"),
    PeriodName.YESTERDAY: N_("Yesterday"),
    PeriodName.WEEK: N_("Last 7 days"),
    PeriodName.MONTH: N_("Last 30 days"),
    PeriodName.THIS_MONTH: N_("This month"),
    PeriodName.LAST_MONTH: N_("Last month"),
}
_PART_TITLES = {Kind.FORM: N_("Form"), Kind.LINE: N_("Line"), Kind.SOURCE: N_("Source"), Kind.PERSON: N_("Person")}
_SOURCES = {
    Source.STAFF: N_("Staff"),
    Source.WEBSITE: N_("Website"),
    Source.API: N_("API"),
    Source.ROBOT: N_("Automation rule"),
}
_STEPS = {
    "asked": N_("Asked"),
    "accepted": N_("Accepted"),
    "called": N_("Called"),
    "picked_up": N_("Picked up"),
    "reached": N_("Reached"),
}
# Why most were lost on the way to a step.
_LOSSES = {
    "rejected": N_("rejected by the form's rules"),
    "expired": N_("not called in time"),
    "failed": N_("the call could not be made"),
    "cancelled": N_("cancelled"),
    "under_way": N_("still waiting"),
    "nobody_answered": N_("nobody answered"),
    "not_told": N_("Bitrix24 does not tell why"),
    "customer_not_reached": N_("the customer was not reached"),
}


def series_label(name: str) -> str:
    """What became of requests."""
    return str(_(SERIES_WORDS[name]))


def card_title(name: str) -> str:
    """The title of a share."""
    return series_label(name)


def period_label(name: PeriodName) -> str:
    """The name of a period."""
    return str(_(_PERIODS[name]))


def part_title(kind: Kind) -> str:
    """What a table divides by."""
    return str(_(_PART_TITLES[kind]))


def source_label(source: str) -> str:
    """Who asked."""
    return str(_(_SOURCES[Source(source)])) if source in list(Source) else source


def step_label(step: str) -> str:
    """A step on the way from a request to a talk."""
    return str(_(_STEPS[step]))


def loss_words(step: FunnelStep, lost: str) -> str:
    """How many were lost on the way to a step, and why most of them were; empty where none was."""
    if not step.lost or step.reason is None:
        return ""
    return str(_("%(lost)s lost, most: %(reason)s", lost=lost, reason=_(_LOSSES[step.reason])))


def wait_words(seconds: int) -> str:
    """A time as people say it: seconds below an hour, minutes above."""
    if seconds < HOUR_SECONDS:
        return duration_words(seconds)
    hours, minutes = divmod(seconds // MINUTE, MINUTE)
    said = ngettext("%(num)s h", "%(num)s h", hours)
    return str(_("%(hours)s %(minutes)s min", hours=said, minutes=minutes) if minutes else said)

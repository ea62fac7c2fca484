"""One callback's story in words: for each line who did it, what, and because of what.

Times inside sentences are elements that the reader's browser writes in the reader's own zone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flask_babel import gettext as _
from flask_babel import ngettext
from markupsafe import Markup, escape

from bx24app.i18n import N_
from bx24app.messages.decisions import NOT_REPEATED, RESOLVED, decision_words
from bx24app.messages.reasons import reason_sentence
from bx24app.messages.states import duration_words
from bx24app.models import Attempt, Callback, Outcome, Source
from bx24app.services.callbacks.detail.timeline import Moment

# Who moves a callback to a time as near as this wants it called now.
NOW = timedelta(minutes=1)
_ASKED_BY: dict[str, str] = {
    Source.WEBSITE: N_("The customer"),
    Source.API: N_("The website"),
    Source.ROBOT: N_("An automation rule"),
}
_ACTORS = {"customer": N_("The customer"), "api": N_("The website")}


@dataclass(frozen=True)
class MomentWords:
    """One line: ``actor`` is empty where the sentence names it, ``because`` where there is nothing to add."""

    actor: str
    what: Markup
    because: Markup = field(default_factory=Markup)


@dataclass(frozen=True)
class StoryTeller:
    """What the words depend on: the callback, names by user id, and how a moment is written."""

    callback: Callback
    name_of: Callable[[str | int | None], str]
    written: Callable[[datetime], Markup]

    def words(self, moment: Moment) -> MomentWords:
        """The words of one line; an unknown rule shows its name."""
        tell = _LINES.get(moment.rule)
        if tell is not None:
            return tell(self, moment)
        return MomentWords(str(_("The app")), escape(decision_words(moment.rule, self._named(moment.inputs))))

    def _named(self, inputs: Mapping[str, str]) -> dict[str, str]:
        return {**inputs, **{role: self.name_of(inputs[role]) for role in ("user", "former") if role in inputs}}

    def actor(self, moment: Moment) -> str:
        """Whoever decided: an employee, the customer, the site's server, else the app."""
        if "user" in moment.inputs:
            return self.name_of(moment.inputs["user"])
        by = moment.inputs.get("by", "")
        if by == "customer" and self.callback.customer_name:
            return self.callback.customer_name
        return str(_(_ACTORS[by])) if by in _ACTORS else str(_("The app"))

    def time_in(self, moment: Moment, name: str) -> Markup | None:
        """A time among the inputs as it is written; None where there is none that can be read."""
        try:
            return self.written(datetime.fromisoformat(moment.inputs[name]))
        except (KeyError, ValueError):
            return None


Telling = Callable[[StoryTeller, Moment], MomentWords]


def _said(text: str, **values: object) -> Markup:
    """Fill a translated sentence; what people wrote is text, and times are elements."""
    return escape(text) % values


def _app(what: str | Markup, because: str | Markup = "") -> MomentWords:
    return MomentWords(str(_("The app")), escape(what), escape(because))


def _requested(story: StoryTeller, moment: Moment) -> MomentWords:
    callback = story.callback
    asked_by = _ASKED_BY.get(callback.source)
    if "user" in moment.inputs:
        actor = story.name_of(moment.inputs["user"])
    elif callback.source == Source.WEBSITE and callback.customer_name:
        actor = callback.customer_name
    else:
        actor = str(_(asked_by)) if asked_by else ""
    if any(made.rule == "rescheduled" for made in callback.decisions):
        return MomentWords(actor, _said(_("Call requested")))
    if callback.scheduled_at is not None:
        return MomentWords(actor, _said(_("Call requested for %(at)s"), at=story.written(callback.scheduled_at)))
    return MomentWords(actor, _said(_("Call requested, as soon as possible")))


def _started(story: StoryTeller, moment: Moment) -> MomentWords:
    if moment.attempt is not None and moment.attempt.outcome == Outcome.HANDED_OVER:
        return MomentWords("Bitrix24", _said(reason_sentence("handed_over")))
    return MomentWords("Bitrix24", _said(_("“%(line)s” rings"), line=story.callback.line_name))


def _picked_up(story: StoryTeller, moment: Moment) -> MomentWords:
    user_id = moment.attempt.answered_by if moment.attempt else None
    return MomentWords(story.name_of(user_id) if user_id else "Bitrix24", _said(_("Picked up")))


def _ended(_story: StoryTeller, moment: Moment) -> MomentWords:
    return MomentWords(
        "Bitrix24", escape(_end_words(moment.attempt, moment.inputs.get("reason", "")) if moment.attempt else "")
    )


def _end_words(attempt: Attempt, reason: str) -> str:
    """How the call of an attempt ended; the portal's own words only where its code says nothing."""
    if attempt.outcome == Outcome.COMPLETED:
        if attempt.duration_seconds:
            return str(_("Talked %(duration)s", duration=duration_words(attempt.duration_seconds)))
        return str(_("Talked"))
    return reason_sentence(reason, attempt.failed_reason if reason == "code_other" else None)


def _waits(_story: StoryTeller, moment: Moment) -> MomentWords:
    return _app(_said(_("Not called yet. %(why)s"), why=reason_sentence(moment.inputs.get("reason", ""))))


def _not_called(_story: StoryTeller, moment: Moment) -> MomentWords:
    return _app(_said(_("Not called. %(why)s"), why=reason_sentence(moment.inputs.get("reason", ""))))


def _unknown(_story: StoryTeller, moment: Moment) -> MomentWords:
    why = reason_sentence(f"dial_{moment.inputs.get('reason', '')}")
    return _app(_said(_("The outcome is unknown; the app will not repeat it. %(why)s"), why=why))


def _refused(_story: StoryTeller, moment: Moment) -> MomentWords:
    why = reason_sentence(moment.inputs.get("reason", ""), moment.inputs.get("words"))
    return MomentWords("", escape(why))


def _moved(story: StoryTeller, moment: Moment) -> MomentWords:
    at = story.time_in(moment, "scheduled_at")
    if at is None or datetime.fromisoformat(moment.inputs["scheduled_at"]) - moment.at < NOW:
        return MomentWords(story.actor(moment), _said(_("To be called now")))
    return MomentWords(story.actor(moment), _said(_("Moved to %(at)s"), at=at))


def _outside_hours(story: StoryTeller, moment: Moment) -> MomentWords:
    at = story.time_in(moment, "opens_at")
    if at is None:
        return _app(_("Not called"), _("the working hours never begin"))
    return _app(_said(_("Not called; waits for %(at)s"), at=at), _("it is outside working hours"))


def _expired(story: StoryTeller, moment: Moment) -> MomentWords:
    at = story.time_in(moment, "expires_at")
    because = _said(_("there was no chance until %(at)s"), at=at) if at else escape("")
    return _app(_("Too late, not called"), because)


def _repeats(story: StoryTeller, moment: Moment) -> MomentWords:
    at = story.time_in(moment, "due_at")
    what = _said(_("Calls again at %(at)s"), at=at) if at else escape(_("Calls again"))
    left = moment.inputs.get("left", "")
    if not left.isdecimal():
        return _app(what)
    count = int(left)
    if story.callback.form_id:
        allowed = ngettext("the form allows %(num)s more attempt", "the form allows %(num)s more attempts", count)
    else:
        allowed = ngettext("the settings allow %(num)s more attempt", "the settings allow %(num)s more attempts", count)
    return _app(what, str(allowed))


def _not_repeated(_story: StoryTeller, moment: Moment) -> MomentWords:
    why = moment.inputs.get("why", "")
    return _app(_("Does not call again"), str(_(NOT_REPEATED[why])) if why in NOT_REPEATED else "")


def _not_permitted(story: StoryTeller, moment: Moment) -> MomentWords:
    user = story.name_of(moment.inputs.get("user"))
    return _app(_("Not called"), _said(_("%(user)s may not start callbacks any more"), user=user))


def _taken_over(story: StoryTeller, moment: Moment) -> MomentWords:
    what = _said(_("Taken over from %(former)s"), former=story.name_of(moment.inputs.get("former")))
    return MomentWords(story.actor(moment), what, escape(_("whoever asks last makes the call under their own access")))


def _resolved(story: StoryTeller, moment: Moment) -> MomentWords:
    outcome = moment.inputs.get("outcome", "")
    return MomentWords(story.actor(moment), escape(_(RESOLVED[outcome]) if outcome in RESOLVED else outcome))


def _by_person(what: str) -> Telling:
    return lambda story, moment: MomentWords(story.actor(moment), escape(_(what)))


def _by_app(what: str, because: str = "") -> Telling:
    return lambda _story, _moment: _app(_(what), _(because) if because else "")


_LINES: dict[str, Telling] = {
    "requested": _requested,
    "retried": _by_person(N_("Called again, after an earlier callback")),
    "called": _by_app(N_("Asked Bitrix24 to call")),
    "dialled_started": _started,
    "dialled_refused": _refused,
    "dialled_not_executed": _not_called,
    "dialled_unknown": _unknown,
    "picked_up": _picked_up,
    "ended": _ended,
    "waits": _waits,
    "not_dialled": _not_called,
    "cancelled": _by_person(N_("Cancelled")),
    "rescheduled": _moved,
    "passed_on": _by_app(
        N_("Called for itself"), N_("another request for this number was withdrawn, moved or not dialled")
    ),
    "taken_over": _taken_over,
    "resolved": _resolved,
    "expired": _expired,
    "not_permitted": _not_permitted,
    "do_not_call": _by_app(N_("Not called"), N_("the number is on the do-not-call list")),
    "already_served": _by_app(N_("Not called"), N_("another call reached the customer")),
    "outside_hours": _outside_hours,
    "repeats": _repeats,
    "not_repeated": _not_repeated,
    "ambiguous": _by_app(N_("A person has to say what happened"), N_("more than one call fits this attempt")),
    "deadline_asks": _by_app(
        N_("A person has to say what happened; the number is free again"), N_("Bitrix24 did not report in time")
    ),
    "restored": _by_app(
        N_("The outcome is unknown; the app will not call by itself"), N_("the app was restored from a backup")
    ),
    "deadline_waits_on": _by_app(
        N_("Will be called as planned"), N_("the call history shows no call since the backup")
    ),
    "deadline_dials_again": _by_app(
        N_("Calls once more"), N_("Bitrix24 did not report in time, and the form's rule says so")
    ),
    "closed_unseen": _by_app(N_("Closed"), N_("Bitrix24 never said how the call ended")),
    "abandoned": _by_app(
        N_("The outcome is unknown; the app will not repeat it"), N_("the app restarted during the call")
    ),
}

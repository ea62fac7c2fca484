"""What stands of a callback in the timeline of its CRM card, in the portal's language."""

from collections.abc import Iterator
from datetime import datetime

from babel.dates import format_datetime
from flask_babel import get_locale
from flask_babel import gettext as _

from bx24app.bitrix24.timeline import ActivityRow, ActivityView, TagColour
from bx24app.i18n import N_
from bx24app.messages.numbers import display_number
from bx24app.messages.reasons import reason_sentence
from bx24app.messages.states import StateFacts, state_label
from bx24app.models import WAITING, Callback, Source, State, utcnow
from bx24app.services.native.timeline.facts import EntryFacts, EntryWords

_COLOURS: dict[str, TagColour] = {
    State.SCHEDULED: TagColour.GREY,
    State.QUEUED: TagColour.BLUE,
    State.DIALLING: TagColour.BLUE,
    State.STARTED: TagColour.BLUE,
    State.ANSWERED: TagColour.GREEN,
    State.COMPLETED: TagColour.GREEN,
    State.MISSED: TagColour.YELLOW,
    State.UNKNOWN: TagColour.YELLOW,
    State.EXPIRED: TagColour.YELLOW,
    State.FAILED: TagColour.RED,
    State.CANCELLED: TagColour.GREY,
}
_WHO_ASKED: dict[str, str] = {
    Source.WEBSITE: N_("The customer, on the website: %(form)s"),
    Source.API: N_("The website: %(form)s"),
    Source.ROBOT: N_("An automation rule"),
}


def entry_words(facts: EntryFacts) -> EntryWords:
    """The activity of a callback, and what is written into the portal's own activity of its call."""
    callback = facts.callback
    is_planned = callback.state == State.SCHEDULED and callback.due_at > utcnow()
    view = ActivityView(
        title=str(_("Callback")),
        tag=_state(facts),
        colour=_COLOURS.get(callback.state, TagColour.GREY),
        rows=tuple(_rows(facts)),
        opens={"view": "callback", "id": str(callback.id)},
        open_label=str(_("Open")),
        call_label=str(_("Call now")) if is_planned else "",
        cancel_label=str(_("Cancel")) if callback.state in WAITING else "",
        is_over=facts.is_over,
    )
    return EntryWords(view, tuple(_call_rows(facts)))


def _state(facts: EntryFacts) -> str:
    callback = facts.callback
    last = callback.attempts[-1] if callback.attempts else None
    answered_by = _name(facts, last.answered_by) if last and last.answered_by else None
    duration = last.duration_seconds if last else None
    return state_label(StateFacts(callback.state, callback.reason, callback.line_name, answered_by, duration))


def _name(facts: EntryFacts, user_id: int) -> str:
    return facts.names.get(user_id) or str(_("employee #%(id)s", id=user_id))


def _written(facts: EntryFacts, at: datetime) -> str:
    return str(format_datetime(facts.local(at), "short", tzinfo=facts.zone, locale=get_locale()))


def _rows(facts: EntryFacts) -> Iterator[ActivityRow]:
    callback = facts.callback
    yield ActivityRow("number", _("Phone number"), display_number(callback.to_number))
    if callback.customer_name:
        yield ActivityRow("customer", _("Customer"), callback.customer_name)
    yield ActivityRow("line", _("Line"), callback.line_name)
    yield _asked(facts)
    yield from _came_with(facts)
    if facts.planned is not None:
        yield ActivityRow("next", _("Next call"), _next(facts))
    if sentence := _why(callback):
        yield ActivityRow("why", _("Why"), sentence)
    if facts.notice is not None:
        yield ActivityRow("notice", _("Not done"), _refused(facts, facts.notice))


def _asked(facts: EntryFacts) -> ActivityRow:
    callback = facts.callback
    if callback.requested_by is not None:
        by = _name(facts, callback.requested_by)
    elif callback.source in _WHO_ASKED:
        by = str(_(_WHO_ASKED[callback.source], form=facts.form_name))
    else:
        by = str(_("the app"))
    return ActivityRow("asked", _("Requested by"), f"{by}, {_written(facts, callback.created_at)}")


def _came_with(facts: EntryFacts) -> Iterator[ActivityRow]:
    request = facts.request
    if request is None:
        return
    if request.topic:
        yield ActivityRow("topic", _("Topic"), request.topic)
    if request.page:
        yield ActivityRow("page", _("Page"), request.page)


def _next(facts: EntryFacts) -> str:
    planned = facts.planned
    assert planned is not None, "asked only where a call is planned"
    at = _written(facts, planned.at)
    if planned.of == 1:
        return at
    return str(_("%(at)s, call %(number)s of %(of)s", at=at, number=planned.number, of=planned.of))


def _why(callback: Callback) -> str:
    sentence = reason_sentence(callback.reason, callback.words) if callback.reason else ""
    if callback.asks_since is None:
        return sentence
    question = _("The app can't find out by itself. What happened?")
    return f"{sentence} {question}".strip()


def _refused(facts: EntryFacts, notice: str) -> str:
    if facts.notice_for is None:
        return reason_sentence(notice)
    name = _name(facts, facts.notice_for)
    if notice in ("not_permitted", "not_found"):
        return str(_("%(name)s may not do this: an administrator of the app chooses who may.", name=name))
    return f"{name}: {reason_sentence(notice)}"


def _call_rows(facts: EntryFacts) -> Iterator[ActivityRow]:
    callback, request = facts.callback, facts.request
    yield _asked(facts)
    yield ActivityRow("text", _("Text"), callback.text)
    yield from _came_with(facts)
    if request is None:
        return
    if request.utm:
        marks = ", ".join(f"{name}={value}" for name, value in sorted(request.utm.items()))
        yield ActivityRow("utm", _("Campaign"), marks)
    if request.consent_text:
        agreed_at = _written(facts, request.consent_at) if request.consent_at else ""
        yield ActivityRow("consent", _("Consent"), ", ".join(filter(None, (agreed_at, request.consent_text))))

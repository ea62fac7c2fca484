"""A row of the list of callbacks, cell by cell."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask_babel import gettext as _

from bx24app.i18n import N_
from bx24app.messages.reports import source_label, wait_words
from bx24app.messages.states import duration_words, missed_label
from bx24app.models import WAITING, Callback, Source, State
from bx24app.services.callbacks.listing.shown import NamedForm, ShownList
from bx24app.services.callbacks.queries import NamedCallback
from bx24app.services.callbacks.retry_policy import PlannedCall
from bx24app.web.presenters.callbacks import CallbackRow, callback_row

_CARD_KINDS = {"LEAD": N_("Lead"), "DEAL": N_("Deal"), "CONTACT": N_("Contact"), "COMPANY": N_("Company")}
_SMART_PROCESS = N_("Smart process")
# The one action that a row shows by itself; the others stand in its menu.
_FIRST_ACTIONS = {
    State.UNKNOWN: "ask",
    State.SCHEDULED: "now",
    State.QUEUED: "cancel",
    State.MISSED: "retry",
    State.FAILED: "retry",
    State.EXPIRED: "retry",
}


@dataclass(frozen=True)
class ListRow:
    """A row of the list: the callback, and its cells."""

    callback: CallbackRow
    name: str
    came_from: str
    topic: str
    page: str
    person: str
    talk: str
    attempts: int
    wait: str
    card: str
    action: str
    can: str
    # How the call before ended, and the next one, where the app calls again by itself.
    missed: str
    repeats: PlannedCall | None


def list_row(named: NamedCallback, shown: ShownList, *, operates: bool) -> ListRow:
    """One row of a list; ``operates``: with what its reader may do with it now."""
    callback, row = named.callback, callback_row(named, operates=operates)
    source, sent = _came_from(callback, row, shown.forms), shown.sent.get(callback.id)
    repeats = shown.repeats.get(callback.id)
    action = _FIRST_ACTIONS.get(State(callback.state), "") if operates else ""
    may = {"cancel": row.can_cancel, "move": row.can_cancel, "retry": row.can_retry, "resolve": row.can_resolve}
    may["now"] = row.can_cancel and callback.state == State.SCHEDULED
    return ListRow(
        callback=row,
        name=callback.customer_name or "",
        came_from=source,
        topic=sent.topic if sent else "",
        page=sent.page if sent else "",
        person=row.answered_by or (row.requested_by if row.requested_by != source else None) or "",
        talk=duration_words(row.duration_seconds) if row.duration_seconds else "",
        attempts=len(callback.attempts),
        wait=_wait(callback),
        card=_card(callback),
        action=action,
        can=" ".join(name for name, is_possible in may.items() if is_possible),
        missed=missed_label((callback.reason or "").removeprefix("retry_")) if repeats else "",
        repeats=repeats,
    )


def card_kind(kind: str | None) -> str:
    """The words for a kind of cards of the CRM; empty for one that is not known."""
    words = _SMART_PROCESS if (kind or "").startswith("DYNAMIC_") else _CARD_KINDS.get(kind or "")
    return str(_(words)) if words else ""


def _card(callback: Callback) -> str:
    kind = card_kind(callback.crm_entity_type)
    return f"{kind} #{callback.crm_entity_id}" if kind and callback.crm_entity_id else ""


def _came_from(callback: Callback, row: CallbackRow, forms: Sequence[NamedForm]) -> str:
    """A form, an employee, an API key's form, an automation rule, or the card of the CRM in which an employee asked."""
    form = next((form.name for form in forms if form.id == callback.form_id), "")
    source = source_label(callback.source)
    if callback.source == Source.WEBSITE:
        return form or source
    if callback.source == Source.STAFF:
        kind = card_kind(callback.crm_entity_type)
        return f"CRM · {kind}" if kind else row.requested_by or source
    return f"{source} · {form}" if form else source


def _wait(callback: Callback) -> str:
    """From the request, or from the promised moment, to the first time that somebody picked up."""
    answered = next((one.answered_at for one in callback.attempts if one.answered_at), None)
    if answered is None or callback.state in WAITING:
        return ""
    begins = max(callback.created_at, callback.scheduled_at or callback.created_at)
    return wait_words(max(0, int((answered - begins).total_seconds())))

"""From model objects to what templates and JSON show; the only place that chooses words and forms for them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask_babel import gettext as _

from bx24app.errors import Refusal
from bx24app.messages.decisions import decision_words
from bx24app.messages.numbers import display_number
from bx24app.messages.reasons import reason_sentence
from bx24app.messages.states import StateFacts, state_label
from bx24app.models import FINAL, RETRIABLE, WAITING, Attempt, Callback, Portal, State
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.callbacks.queries import PEOPLE, NamedCallback

# Below it a cost reads as nothing with two decimals.
SHOWN_CENTS = Decimal("0.01")


@dataclass(frozen=True)
class CallbackRow:
    """One callback in a list."""

    id: str
    state: str
    label: str
    reason: str | None
    detail: str | None
    to_number: str
    display_number: str
    line_name: str
    source: str
    requested_by: str | None
    created_at: datetime
    updated_at: datetime
    scheduled_at: datetime | None
    ended_at: datetime | None
    answered_by: str | None
    duration_seconds: int | None
    cost: str | None
    cost_currency: str | None
    version: int
    can_cancel: bool
    can_retry: bool
    can_resolve: bool
    is_final: bool
    crm_entity_type: str | None
    crm_entity_id: int | None


@dataclass(frozen=True)
class DecisionRow:
    """One line of the why."""

    made_at: datetime
    rule: str
    words: str


def detail_of(callback: Callback) -> str | None:
    """The reason of a callback as a sentence with the portal's own words, or None."""
    return detail_words(callback.reason, callback.words, asks=callback.asks_since is not None)


def detail_words(reason: str | None, words: str | None, *, asks: bool) -> str | None:
    """The same of its parts; ``asks``: only a person can tell what happened."""
    sentence = reason_sentence(reason, words) if reason else None
    if not asks:
        return sentence
    question = _("The app can't find out by itself. What happened?")
    return f"{sentence} {question}" if sentence else str(question)


def name_of(names: dict[int, str], user_id: int | None) -> str | None:
    """The name of a user, or their number where nobody knows the name."""
    if user_id is None:
        return None
    return names.get(user_id) or _("employee #%(id)s", id=user_id)


def callback_row(named: NamedCallback, *, operates: bool) -> CallbackRow:
    """A callback for the list; ``operates``: with what its reader may do with it now."""
    callback, names = named.callback, named.names
    last = callback.attempts[-1] if callback.attempts else None
    answered_by = name_of(names, last.answered_by) if last else None
    duration = last.duration_seconds if last else None
    return CallbackRow(
        id=str(callback.id),
        state=callback.state,
        label=state_label(StateFacts(callback.state, callback.reason, callback.line_name, answered_by, duration)),
        reason=callback.reason,
        detail=detail_of(callback),
        to_number=callback.to_number,
        display_number=display_number(callback.to_number),
        line_name=callback.line_name,
        source=callback.source,
        requested_by=name_of(names, callback.requested_by),
        created_at=callback.created_at,
        updated_at=callback.updated_at,
        scheduled_at=planned_for(callback),
        ended_at=callback.ended_at,
        answered_by=answered_by,
        duration_seconds=duration,
        cost=_money(last),
        cost_currency=last.cost_currency if last else None,
        version=callback.version,
        can_cancel=operates and callback.state in WAITING,
        can_retry=operates and callback.state in RETRIABLE,
        can_resolve=operates and callback.state == State.UNKNOWN,
        is_final=callback.state in FINAL,
        crm_entity_type=callback.crm_entity_type,
        crm_entity_id=callback.crm_entity_id,
    )


def planned_for(callback: Callback) -> datetime | None:
    """When a waiting callback is dialled next, else when it was asked to be."""
    return callback.due_at if callback.state == State.SCHEDULED else callback.scheduled_at


def _money(attempt: Attempt | None) -> str | None:
    if attempt is None or not attempt.cost:
        return None
    return f"{attempt.cost:.2f}" if attempt.cost >= SHOWN_CENTS else f"{attempt.cost:.4f}"


def decisions(named: NamedCallback) -> list[DecisionRow]:
    """The why of a callback, oldest first, with the names of those who decided."""
    return [
        DecisionRow(
            decision.made_at, decision.rule, decision_words(decision.rule, _named(decision.inputs, named.names))
        )
        for decision in named.callback.why
    ]


def _named(inputs: dict[str, str], names: dict[int, str]) -> dict[str, str]:
    return {**inputs, **{role: name_of(names, int(inputs[role])) or "" for role in PEOPLE & inputs.keys()}}


def words_of(problem: ExchangeError | Refusal | None) -> str | None:
    """What kept something from being read, as a sentence."""
    if problem is None:
        return None
    return reason_sentence(problem.explanation, problem.words)


def settings_of(portal: Portal, usual_text: str) -> dict[str, Any]:
    """The portal's settings as an administrator sees them; empty where none is set, but for the text."""
    chosen = portal.settings
    return {
        "default_line_id": chosen.default_line_id or "",
        "default_voice_id": chosen.default_voice_id or "",
        "default_text": chosen.default_text or usual_text,
        "default_country": chosen.default_country or "",
        "stands_in": chosen.stands_in,
        "retries": chosen.retries,
        "retry_minutes": chosen.retry_minutes,
        "line_cap": "" if chosen.line_cap is None else chosen.line_cap,
        "shows_in_crm": chosen.shows_in_crm,
        "hours": chosen.hours or "",
        "websites_off": chosen.websites_off,
        "shares_callbacks": chosen.shares_callbacks,
        "smart_processes": chosen.smart_processes or [],
    }

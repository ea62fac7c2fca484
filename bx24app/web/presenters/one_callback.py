"""The view of one callback: its head, what comes next, its story, and what belongs to it."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from flask_babel import format_decimal
from flask_babel import gettext as _
from markupsafe import Markup

from bx24app.i18n import N_
from bx24app.messages.reasons import reason_sentence
from bx24app.messages.states import duration_words
from bx24app.messages.timeline import MomentWords, StoryTeller
from bx24app.models import Attempt, Callback, CrmState, Source, State
from bx24app.services.callbacks.detail.opened import OpenedCallback
from bx24app.services.callbacks.detail.recording import FoundRecording, RecordingState
from bx24app.services.callbacks.detail.timeline import ANSWERS, Chapter
from bx24app.services.callbacks.queries import NamedCallback
from bx24app.services.callbacks.roles import Role
from bx24app.web.presenters.callbacks import SHOWN_CENTS, CallbackRow, callback_row
from bx24app.web.presenters.listing.list_rows import card_kind

# Reasons that say little by themselves: there the portal's own words help.
_VAGUE = frozenset({"portal_refused", "code_other"})
_STAFF_AND_PROGRAMS = {Source.STAFF: N_("An employee"), Source.API: N_("API"), Source.ROBOT: N_("An automation rule")}
_RECORDINGS = {
    RecordingState.KEPT: N_("There is one: listen to it in the customer's card."),
    RecordingState.COMING: N_("Not there yet, try in a minute."),
    RecordingState.NONE: N_("No recording."),
    RecordingState.FORBIDDEN: N_("You may not hear recordings."),
}


@dataclass(frozen=True)
class ShownMoment:
    """One line of the story; ``earlier`` names the attempt where that is not the chapter's own."""

    at: datetime
    words: MomentWords
    earlier: int | None = None


@dataclass(frozen=True)
class ShownChapter:
    """An attempt with its facts and lines; ``attempt`` None: what was before the first."""

    attempt: int | None
    facts: list[str]
    moments: list[ShownMoment]


@dataclass(frozen=True)
class ShownCard:
    """A card of the CRM: where the portal has it."""

    title: str
    path: str
    note: str = ""


@dataclass(frozen=True)
class ShownOther:
    """Another callback of the same number."""

    row: CallbackRow
    at: datetime


@dataclass(frozen=True)
class CallbackView:
    """What the view of one callback shows; texts of others are escaped by its template."""

    row: CallbackRow
    opened: OpenedCallback
    version: str
    operates: bool
    manages: bool
    name: str
    detail: str | None
    next: Markup | None
    chapters: list[ShownChapter]
    source: str
    campaign: str
    page_link: str | None
    card: ShownCard | None
    costs: str
    others: list[ShownOther]
    customer_link: str | None
    support: str
    asks_recording: bool


def written(at: datetime) -> Markup:
    """A time to the second; the reader's browser writes it in the reader's own zone."""
    return Markup('<time datetime="{}" data-seconds>{} UTC</time>').format(
        at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S")
    )


def callback_view(opened: OpenedCallback, role: Role) -> CallbackView:
    """Choose the words of an opened callback, and what its reader may do with it."""
    operates = role >= Role.OPERATOR
    callback, names = opened.callback, opened.named.names
    row = callback_row(opened.named, operates=operates)
    request = opened.request
    teller = StoryTeller(callback, lambda user_id: _name(names, user_id), written)
    return CallbackView(
        row=row,
        opened=opened,
        version=hashlib.sha256(opened.version.encode()).hexdigest()[:16],
        operates=operates,
        manages=role is Role.ADMINISTRATOR,
        name=callback.customer_name or "",
        detail=_detail(callback),
        next=_next(opened),
        chapters=[_chapter(callback, chapter, teller) for chapter in opened.timeline.chapters],
        source=_source(opened, row.requested_by),
        campaign=" / ".join(value for value in request.utm.values() if value) if request else "",
        page_link=request.page if request and request.page.startswith(("https://", "http://")) else None,
        card=_card(opened),
        costs=_costs(callback.attempts),
        others=[_other(other) for other in opened.others],
        customer_link=opened.customer_link if operates else None,
        support=_support(callback),
        asks_recording=opened.has_conversation,
    )


def _name(names: dict[int, str], user_id: str | int | None) -> str:
    number = int(user_id) if user_id is not None and str(user_id).isdecimal() else 0
    return names.get(number) or str(_("employee #%(id)s", id=number or "?"))


def _detail(callback: Callback) -> str | None:
    """Why it is so; the portal's own words only where they add something."""
    words = callback.words if callback.reason in _VAGUE else None
    sentence = reason_sentence(callback.reason, words) if callback.reason else None
    if callback.asks_since is None:
        return sentence
    return " ".join(filter(None, (sentence, str(_("The app can't find out by itself. What happened?")))))


def _next(opened: OpenedCallback) -> Markup | None:
    planned, callback = opened.planned, opened.callback
    if planned is None:
        return None
    line = callback.line_name
    if callback.state == State.QUEUED:
        return Markup.escape(_("The app calls as soon as it can, on “%(line)s”.")) % {"line": line}
    values = {"at": written(planned.at), "number": planned.number, "of": planned.of, "line": line}
    if planned.number == 1:
        return Markup.escape(_("The app calls at %(at)s, on “%(line)s”.")) % values
    again = _("The app calls again at %(at)s, attempt %(number)s of %(of)s, on “%(line)s”.")
    stops = _("A call that reaches the customer before then stops it.")
    return Markup.escape(again) % values + " " + Markup.escape(stops)


def _chapter(callback: Callback, chapter: Chapter, teller: StoryTeller) -> ShownChapter:
    moments = [
        ShownMoment(
            moment.at,
            teller.words(moment),
            moment.attempt.number if moment.attempt and moment.attempt is not chapter.attempt else None,
        )
        for moment in chapter.moments
    ]
    attempt = chapter.attempt
    return ShownChapter(attempt.number if attempt else None, _facts(callback, attempt) if attempt else [], moments)


def _facts(callback: Callback, attempt: Attempt) -> list[str]:
    facts = [callback.line_name]
    if attempt.duration_seconds:
        facts.append(duration_words(attempt.duration_seconds))
    if attempt.call_id is not None:
        facts.append(_cost(attempt))
    return facts


def _cost(attempt: Attempt) -> str:
    if attempt.cost is None or attempt.cost_currency is None:
        return str(_("cost not told yet"))
    return _money(attempt.cost, attempt.cost_currency)


def _money(amount: Decimal, currency: str) -> str:
    places = "#,##0.00" if amount >= SHOWN_CENTS or not amount else "0.0000"
    return f"{format_decimal(amount, format=places)} {currency}"


def _costs(attempts: list[Attempt]) -> str:
    """What all calls together cost, each currency by itself."""
    called = [attempt for attempt in attempts if attempt.call_id is not None]
    told: dict[str, Decimal] = {}
    for attempt in called:
        if attempt.cost is not None and attempt.cost_currency is not None:
            told[attempt.cost_currency] = told.get(attempt.cost_currency, Decimal()) + attempt.cost
    parts = [_money(amount, currency) for currency, amount in told.items()]
    if any(attempt.cost is None for attempt in called):
        parts.append(str(_("not told yet")))
    return " + ".join(parts)


def _source(opened: OpenedCallback, requested_by: str | None) -> str:
    if opened.form is not None:
        return opened.form.name
    asked = _STAFF_AND_PROGRAMS.get(Source(opened.callback.source))
    return requested_by or (str(_(asked)) if asked else "")


def _card(opened: OpenedCallback) -> ShownCard | None:
    callback, request = opened.callback, opened.request
    kind, number = callback.crm_entity_type or "", callback.crm_entity_id
    words = card_kind(kind)
    if not words or not number:
        return None
    note = str(_("added by the app")) if request and request.crm_state == CrmState.CREATED else ""
    # docs: sdk/bx24-js-sdk/additional-functions/bx24-open-path.md
    place = kind.lower().replace("dynamic_", "type/")
    return ShownCard(f"{words} #{number}", f"/crm/{place}/details/{number}/", note)


def _other(callback: Callback) -> ShownOther:
    row = callback_row(NamedCallback(callback, {}), operates=False)
    return ShownOther(row, callback.created_at)


def _support(callback: Callback) -> str:
    """What somebody who helps wants to know, to be copied: ids, codes and the portal's own words."""
    lines = [f"callback {callback.id}", f"state {callback.state}, reason {callback.reason}, version {callback.version}"]
    if callback.words:
        lines.append(f"Bitrix24: {callback.words}")
    for attempt in callback.attempts[-50:]:
        lines.append(f"attempt {attempt.number}: {attempt.outcome}, line {attempt.line_id}, call {attempt.call_id}")
        lines[-1] += f", request {_request_seconds(callback, attempt)}"
        times = [at.isoformat() if at else "-" for at in (attempt.started_at, attempt.answered_at, attempt.ended_at)]
        lines.append(f"  {' / '.join(times)}, code {attempt.failed_code}, {attempt.failed_reason or '-'}")
    for decision in callback.why[-100:]:
        inputs = ", ".join(f"{name}={value}" for name, value in decision.inputs.items())
        lines.append(f"{decision.made_at.isoformat()} {decision.rule} {inputs}".rstrip())
    return "\n".join(lines)


def _request_seconds(callback: Callback, attempt: Attempt) -> str:
    """How long Bitrix24 took to answer the request to dial; "-" where it never did."""
    number = str(attempt.number)
    decisions = (one for one in callback.why if one.rule in ANSWERS and one.inputs.get("attempt") == number)
    answered = next(decisions, None)
    return f"{(answered.made_at - attempt.started_at).total_seconds():.1f} s" if answered else "-"


@dataclass(frozen=True)
class ShownRecording:
    """The recording of an attempt: a link, or why there is none."""

    attempt: int
    url: str
    words: str


def shown_recordings(found: list[FoundRecording]) -> list[ShownRecording]:
    """The words for what the portal says of recordings."""
    return [ShownRecording(one.attempt, one.url, "" if one.url else str(_(_RECORDINGS[one.state]))) for one in found]

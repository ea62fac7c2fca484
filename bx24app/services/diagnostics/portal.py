"""What is wrong with one portal, for its administrators and the operator."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import Select, func, select

from bx24app.bitrix24.answers import as_object
from bx24app.bitrix24.client import BatchAnswer
from bx24app.bitrix24.company.smart_processes import question_about, read_smart_processes
from bx24app.bitrix24.identity import read_scopes
from bx24app.bitrix24.place import smart_process_of
from bx24app.crypto import UnknownKey
from bx24app.database import reading
from bx24app.errors import Refusal
from bx24app.models import Attempt, Notification, Portal, PortalState, ToDo, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.calling import public_holidays
from bx24app.services.diagnostics.findings import Finding, Level, examine_clock, ok, problem, warning
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import bindings, tokens
from bx24app.services.portals.manifest import RULES_SCOPE, manifest
from bx24app.services.portals.places import smart_processes
from bx24app.services.portals.places.parts import UNKNOWN_METHOD, MissingPart, PartKind, missing_parts
from bx24app.services.websites import forms
from bx24app.settings import settings

LATELY = timedelta(days=1)
# An event of a call comes within seconds; a busy queue may take minutes.
EVENTS_TAKE = timedelta(minutes=15)
FORMS_NAMED = 5
# Why nothing is sent or made although the portal refuses nothing.
NOT_REFUSED = ("muted", "not_taken")
NO_CARD = ("to_do_no_card", "to_do_card_gone", "to_do_unknown")


def find_portal(member_id: str) -> int | None:
    """The portal with this ``member_id``, or None."""
    with reading() as session:
        return session.scalar(select(Portal.id).where(Portal.member_id == member_id))


def examine_portal(portal_id: int) -> list[Finding]:
    """Ask a portal, in one request, whether everything that the app needs is there."""
    with reading() as session:
        portal = session.get_one(Portal, portal_id)
    if portal.state in (PortalState.UNINSTALLED, PortalState.UNPAID):
        return [problem("portal", portal.state)]
    access = _access(portal)
    try:
        answer = portal_api.call_for_portal(
            portal_id, portal_api.RequestLabel("batch", {"cmd": "doctor"}), lambda c: c.batch(_questions(portal))
        )
    except UnknownKey:
        raise  # The portal was not asked.
    except (ExchangeError, Refusal) as error:
        if access.level == Level.PROBLEM:
            return [access]
        return [access, problem("portal", "silent", reason=error.explanation)]
    questions: tuple[Callable[[Portal, BatchAnswer], Finding], ...] = (_lines, _voices, _history, _bound)
    return [
        access,
        *_scopes(answer),
        *(_asked(question, portal, answer) for question in questions),
        *_refused_places(portal),
        *_smart_processes(portal, answer),
        *_rules(portal),
        _timeline(portal),
        *_notifications(portal, answer),
        _to_dos(portal),
        *_holidays(portal),
        _country(portal),
        _events(portal),
        _portal_clock(answer),
    ]


QUESTIONS: dict[str, bindings.BatchCommand] = {
    **bindings.BINDING_COMMANDS,
    "lines": ("voximplant.line.get", {}),
    "voices": ("voximplant.tts.voices.get", {}),
    "history": ("voximplant.statistic.get", {"FILTER[CALL_TYPE]": 4, "FILTER[>ID]": 2**31 - 1}),
    "time": ("server.time", {}),
}


def _questions(portal: Portal) -> dict[str, bindings.BatchCommand]:
    types = smart_processes.chosen(portal)
    return QUESTIONS | ({"types": ("crm.type.list", question_about(types))} if types else {})


def _asked(question: Callable[[Portal, BatchAnswer], Finding], portal: Portal, answer: BatchAnswer) -> Finding:
    try:
        return question(portal, answer)
    except ExchangeError as error:
        check = question.__name__.removeprefix("_")
        return problem(check, "refused", reason=error.code, words=error.words or "")


def _access(portal: Portal) -> Finding:
    serving = tokens.serving_administrators(portal.id)
    if not serving:
        return problem("access", "disconnected")
    if len(serving) == 1:
        return warning("access", "alone")
    return ok("access", count=str(len(serving)))


# What each of these costs has words of its own (messages/diagnostics.py).
COSTLY_SCOPES = ("placement", "telephony", "call", "crm", "user_brief")
# Without these the app does less; without any other it does not do what it is for.
EXTRA_SCOPES = frozenset({"user_brief"})
# The check that speaks of a scope, where that is needed for one thing alone.
MESSENGER_SCOPE = "im"
CHECKS_OF_SCOPES = {RULES_SCOPE: "rules", MESSENGER_SCOPE: "notifications"}


def _scopes(answer: BatchAnswer) -> Iterator[Finding]:
    """Each scope that was not granted, with what it costs; a portal that has not been updated may lack new ones."""
    granted = read_scopes(answer)
    if granted is None:
        error = answer.errors.get("scopes")
        yield problem("scopes", "refused", reason=error.code if error else "", words=(error and error.words) or "")
        return
    missing = [scope for scope in manifest().scopes if scope not in granted]
    for scope in missing:
        if scope in CHECKS_OF_SCOPES:
            yield warning(CHECKS_OF_SCOPES[scope], "scope", scope=scope)
        else:
            make = warning if scope in EXTRA_SCOPES else problem
            yield make("scopes", scope if scope in COSTLY_SCOPES else "missing", scope=scope)
    if not missing:
        yield ok("scopes")


def _lines(portal: Portal, answer: BatchAnswer) -> Finding:
    found = as_object(answer.result("lines"))
    if not found:
        return problem("lines", "none")
    if portal.settings.default_line_id and portal.settings.default_line_id not in found:
        return warning("lines", "default", line=portal.settings.default_line_id)
    if all(portal.is_foreign(line_id) for line_id in found):
        return warning("lines", "foreign")
    return ok("lines", count=str(len(found)))


def _voices(portal: Portal, answer: BatchAnswer) -> Finding:
    found = as_object(answer.result("voices"))
    if portal.settings.default_voice_id and portal.settings.default_voice_id not in found:
        return warning("voices", "default", voice=portal.settings.default_voice_id)
    return ok("voices", count=str(len(found)))


def _history(_: Portal, answer: BatchAnswer) -> Finding:
    """Reading it needs the right “Call statistics: view”."""
    answer.result("history")
    return ok("history")


def _bound(portal: Portal, answer: BatchAnswer) -> Finding:
    told = {part.name for part in _refused(portal)}
    found = bindings.missing_bindings(answer, smart_processes.chosen(portal))
    missing = [name for name in found if name not in told]
    return problem("bound", "missing", what=", ".join(missing)) if missing else ok("bound")


def _refused(portal: Portal) -> list[MissingPart]:
    """The places that the portal would not take, besides the tabs of smart processes, which are looked at apart."""
    missing = missing_parts(portal, PartKind.PLACES)
    return [part for part in missing if part.is_refused and not smart_process_of(part.name)]


def _refused_places(portal: Portal) -> Iterator[Finding]:
    refused = [part for part in _refused(portal) if part.name not in bindings.WHOLE]
    if refused:
        words = refused[0].words or refused[0].code
        yield warning("bound", "denied", what=", ".join(part.name for part in refused), words=words)


def _smart_processes(portal: Portal, answer: BatchAnswer) -> Iterator[Finding]:
    """Those that were chosen and have no tab: deleted meanwhile, without customers, or the portal would not take it."""
    chosen = smart_processes.chosen(portal)
    if not chosen or "types" in answer.errors:
        return  # Only administrators of the CRM may ask.
    listed = {one.type_id: one for one in read_smart_processes(answer.results.get("types"))}
    titles = {one.type_id: one.title for one in smart_processes.kept_list(portal.id) or []}
    refused = {smart_process_of(part.name) for part in missing_parts(portal, PartKind.PLACES) if part.is_refused}
    gone = [type_id for type_id in chosen if type_id not in listed]
    useless = [type_id for type_id in chosen if type_id in listed and not listed[type_id].has_customers]
    denied = [type_id for type_id in chosen if type_id in refused and type_id not in (*gone, *useless)]
    for about, types in (("gone", gone), ("useless", useless), ("denied", denied)):
        if types:
            names = ", ".join(titles.get(type_id, f"#{type_id}") for type_id in types)
            yield warning("smart_processes", about, names=names)


def _rules(portal: Portal) -> Iterator[Finding]:
    """The worker registers our automation rules; a portal that has none loses nothing else."""
    missing = missing_parts(portal, PartKind.RULES)
    if not missing:
        yield ok("rules")
    elif missing[0].code == UNKNOWN_METHOD:
        yield warning("rules", "plan")
    elif missing[0].is_refused:
        yield warning("rules", "refused", reason=missing[0].code)


def _timeline(portal: Portal) -> Finding:
    """The worker shows callbacks in the CRM's timeline; where it cannot, nothing else is lost."""
    known = portal.timeline_problem
    if known in ("timeline_lacking", "timeline_denied"):
        return warning("timeline", known.removeprefix("timeline_"))
    return warning("timeline", "refused", reason=known) if known is not None else ok("timeline")


def _notifications(portal: Portal, answer: BatchAnswer) -> Iterator[Finding]:
    """They are an extra: without them everything stands in the desk all the same."""
    if MESSENGER_SCOPE not in (read_scopes(answer) or [MESSENGER_SCOPE]):
        return  # It is said with the scopes.
    lately = select(Notification.reason).where(
        Notification.portal_id == portal.id, Notification.made_at > utcnow() - LATELY, Notification.reason.is_not(None)
    )
    refused = _last_reason(lately.where(Notification.reason.not_in(NOT_REFUSED)).order_by(Notification.id.desc()))
    yield warning("notifications", "refused", reason=refused) if refused else ok("notifications")


def _to_dos(portal: Portal) -> Finding:
    lately = select(ToDo.reason).where(
        ToDo.portal_id == portal.id, ToDo.ended_at > utcnow() - LATELY, ToDo.reason.is_not(None)
    )
    refused = _last_reason(lately.where(ToDo.reason.not_in(NO_CARD)).order_by(ToDo.id.desc()))
    return warning("to_dos", "refused", reason=refused) if refused else ok("to_dos")


def _last_reason(query: Select[str | None]) -> str | None:
    with reading() as session:
        return session.scalar(query.limit(1))


def _holidays(portal: Portal) -> Iterator[Finding]:
    # The form that has them, or none where the portal does.
    stored = {form.key: form.hours for form in reversed(forms.list_forms(portal.id))} | {"": portal.settings.hours}
    regions = {hours["holidays"]: key for key, hours in stored.items() if hours and hours.get("holidays")}
    for region, form_key in sorted(regions.items()):
        found = public_holidays.look_up(region, utcnow().date(), portal.language)
        day, name = (str(found.next.day), found.next.name) if found.next else ("", "")
        facts = {"region": region, "day": day, "name": name, "form": form_key}
        yield warning("holidays", "part", **facts) if found.parts else ok("holidays", **facts)


def _country(portal: Portal) -> Finding:
    """It is known as whose numbers national ones are read, and which countries the forms may call."""
    stopped = [form.name for form in forms.list_forms(portal.id) if not forms.callable_countries(form, portal)]
    if stopped:
        return problem("country", "forms", names=", ".join(stopped[:FORMS_NAMED]))
    country = portal.settings.default_country
    return ok("country", code=country) if country else warning("country", "unknown")


def _events(portal: Portal) -> Finding:
    """The portal reaches us: its events do."""
    now = utcnow()
    calls = select(func.count()).where(
        Attempt.portal_id == portal.id,
        Attempt.call_id.is_not(None),
        Attempt.started_at.between(now - LATELY, now - EVENTS_TAKE),
    )
    with reading() as session:
        lately = session.scalars(calls).one()
    if lately and (portal.event_at is None or portal.event_at < now - LATELY):
        return problem("events", "silent", count=str(lately), url=settings.public_origin)
    if portal.event_at is None:
        return warning("events", "never", url=settings.public_origin)
    return ok("events", at=portal.event_at.isoformat(timespec="minutes"))


def _portal_clock(answer: BatchAnswer) -> Finding:
    try:
        return examine_clock(datetime.fromisoformat(str(answer.result("time"))))
    except (ExchangeError, ValueError):
        return warning("clock", "unknown")

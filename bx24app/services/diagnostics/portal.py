"""What is wrong with one portal, for its administrators and the operator."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import func, select

from bx24app.bitrix24.answers import Json, as_object
from bx24app.bitrix24.client import BatchAnswer
from bx24app.database import reading
from bx24app.errors import Refusal
from bx24app.models import Attempt, Portal, PortalState, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.calling import public_holidays
from bx24app.services.diagnostics.findings import Finding, Level, examine_clock, ok, problem, warning
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import bindings, tokens
from bx24app.services.portals.manifest import manifest
from bx24app.services.websites import forms
from bx24app.settings import settings

LATELY = timedelta(days=1)
# An event of a call comes within seconds; a busy queue may take minutes.
EVENTS_TAKE = timedelta(minutes=15)
FORMS_NAMED = 5


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
            portal_id, portal_api.RequestLabel("batch", {"cmd": "doctor"}), lambda c: c.batch(QUESTIONS)
        )
    except (ExchangeError, Refusal) as error:
        if access.level == Level.PROBLEM:
            return [access]
        return [access, problem("portal", "silent", reason=error.explanation)]
    questions: tuple[Callable[[Portal, BatchAnswer], Finding], ...] = (_scopes, _lines, _voices, _history, _bound)
    return [
        access,
        *(_asked(question, portal, answer) for question in questions),
        *_holidays(portal),
        _country(portal),
        _events(portal),
        _portal_clock(answer),
    ]


QUESTIONS: dict[str, bindings.BatchCommand] = {
    **bindings.BINDING_COMMANDS,
    "scopes": ("scope", {}),
    "lines": ("voximplant.line.get", {}),
    "voices": ("voximplant.tts.voices.get", {}),
    "history": ("voximplant.statistic.get", {"FILTER[CALL_TYPE]": 4, "FILTER[>ID]": 2**31 - 1}),
    "time": ("server.time", {}),
}


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


def _strings(value: Json) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _scopes(_: Portal, answer: BatchAnswer) -> Finding:
    missing = [scope for scope in manifest().scopes if scope not in _strings(answer.result("scopes"))]
    return problem("scopes", "missing", scopes=", ".join(missing)) if missing else ok("scopes")


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


def _bound(_: Portal, answer: BatchAnswer) -> Finding:
    missing = bindings.missing_bindings(answer)
    return problem("bound", "missing", what=", ".join(missing)) if missing else ok("bound")


def _holidays(portal: Portal) -> Iterator[Finding]:
    stored = [portal.settings.hours, *(form.hours for form in forms.list_forms(portal.id))]
    for region in sorted({hours["holidays"] for hours in stored if hours and hours.get("holidays")}):
        found = public_holidays.look_up(region, utcnow().date(), portal.language)
        day, name = (str(found.next.day), found.next.name) if found.next else ("", "")
        facts = {"region": region, "day": day, "name": name}
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

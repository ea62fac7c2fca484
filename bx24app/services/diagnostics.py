"""What is wrong with this installation, or with one portal; the doors put the findings into words."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache

import requests
import structlog
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from bx24app.bitrix24.answers import Json, as_object
from bx24app.bitrix24.client import BatchAnswer
from bx24app.bitrix24.connections import authorization_server
from bx24app.crypto import SealError, keyring
from bx24app.database import closed_files, is_postgresql, reading, sqlite_path
from bx24app.database.files import examine_files
from bx24app.database.migrations import alembic_config
from bx24app.errors import Refusal
from bx24app.models import Attempt, Credential, CredentialState, DigestKey, Portal, PortalState, Webhook, utcnow
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.calling import public_holidays
from bx24app.services.portals import api as portal_api
from bx24app.services.portals import bindings, tokens
from bx24app.services.portals.manifest import manifest
from bx24app.services.security import digests
from bx24app.services.websites import forms
from bx24app.settings import settings

log = structlog.get_logger(__name__)

OWN_TIMEOUT = (5.0, 5.0)
# Tokens and signatures are judged by times: half a minute is forgiven everywhere.
MAX_CLOCK_DIFFERENCE = timedelta(seconds=30)
LATELY = timedelta(days=1)
# An event of a call comes within seconds; a busy queue may take minutes.
EVENTS_TAKE = timedelta(minutes=15)


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """``check`` says what was looked at, ``about`` what was found; ``facts`` fill the sentence."""

    check: str
    level: Level
    about: str = "ok"
    facts: Mapping[str, str] = field(default_factory=dict)


def _ok(check: str, **facts: str) -> Finding:
    return Finding(check, Level.OK, "ok", facts)


def _warning(check: str, about: str, **facts: str) -> Finding:
    return Finding(check, Level.WARNING, about, facts)


def _problem(check: str, about: str, **facts: str) -> Finding:
    return Finding(check, Level.PROBLEM, about, facts)


# The installation


def examine_installation() -> list[Finding]:
    """Look at what concerns every portal: database, keys, our address, the authorization server and the clock."""
    database, files = examine_database(), _files()
    if database.level != Level.OK:
        return [database, *files]
    return [database, *files, *_networks(), _keys(), *_spellings(), _address(), *_authorization()]


@cache
def _head() -> str:
    """The newest migration of this program: reading all of them takes long, and strangers may ask."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head() or ""


def examine_database() -> Finding:
    """The database answers and its migrations are at the head."""
    head = _head()
    try:
        with reading() as session:
            present = MigrationContext.configure(session.connection()).get_current_revision() or "none"
    except SQLAlchemyError as error:
        return _problem("database", "database", detail=type(error).__name__)
    if present != head:
        return _problem("database", "migrations", present=present, head=head)
    return _ok("database", head=head)


def _files() -> list[Finding]:
    """The files of a SQLite database are for nobody else on the machine."""
    if is_postgresql() or not os.path.isdir(folder := os.path.dirname(path := sqlite_path())):
        return []
    about, files = examine_files(path)
    if about in {"ok", "listed"} and (closed := closed_files()):
        about, files = "closed", closed
    make = {"ok": Level.OK, "listed": Level.WARNING, "closed": Level.WARNING}
    return [Finding("files", make.get(about, Level.PROBLEM), about, {"folder": folder, "files": ", ".join(files)})]


def _networks() -> list[Finding]:
    every = ", ".join(str(one.network) for one in settings.private_portals if not one.member_id)
    return [_warning("networks", "every", networks=every)] if every else []


def _keys() -> Finding:
    """Everything sealed opens, and under the first key."""
    key_id = func.substr(Credential.access_token_sealed, 1, 8)
    with reading() as session:
        alive = Credential.state == CredentialState.ALIVE
        rows = list(session.execute(select(key_id, func.count()).where(alive).group_by(key_id)).all())
        webhook_key = func.substr(Webhook.secret_sealed, 1, 8)
        rows += session.execute(select(webhook_key, func.count()).group_by(webhook_key)).all()
        digest_key = session.scalar(select(DigestKey.sealed).where(DigestKey.id == 1))
    used: dict[str, int] = {}
    for id, count in rows:
        used[str(id)] = used.get(str(id), 0) + int(count)
    if digest_key is not None:
        used[digest_key[:8]] = used.get(digest_key[:8], 0) + 1
    lost = {id: count for id, count in used.items() if not keyring.knows(id)}
    if lost:
        return _problem("keys", "lost", ids=", ".join(sorted(lost)), count=str(sum(lost.values())))
    try:
        digests.digest("doctor", "x")
    except SealError:
        return _problem("keys", "lost", ids=keyring.sealing_id, count="1")
    old = sum(count for id, count in used.items() if id != keyring.sealing_id)
    if old:
        return _warning("keys", "old", count=str(old))
    return _ok("keys", count=str(sum(used.values())))


def _spellings() -> Iterator[Finding]:
    """The addresses of the settings that are read in another way than they are written."""
    for name, (written, read) in settings.respelled.items():
        yield Finding("spelling", Level.OK, "respelled", {"variable": name, "written": written, "read": read})


def _address() -> Finding:
    """Our own public address, as far as this machine can tell; events prove more."""
    url = settings.public_origin
    try:
        response = requests.get(f"{url}/healthz", timeout=OWN_TIMEOUT, allow_redirects=False)
    except requests.exceptions.SSLError:
        return _problem("address", "certificate", url=url)
    except requests.RequestException as error:
        return _problem("address", "unreachable", url=url, detail=type(error).__name__)
    if response.status_code != requests.codes.ok or '"status"' not in response.text[:200]:
        return _problem("address", "other", url=url, status=str(response.status_code))
    return _ok("address", url=url)


def _authorization() -> Iterator[Finding]:
    try:
        probe = authorization_server.probe()
    except ExchangeError as error:
        yield _problem("authorization", "unreachable", address=settings.auth_origin, detail=error.code)
        return
    if probe.refuses_keys:
        yield _problem("authorization", "keys", client_id=settings.client_id)
    else:
        yield _ok("authorization", address=settings.auth_origin)
    if probe.answered_at is not None:
        yield _clock(probe.answered_at)


def _clock(theirs: datetime) -> Finding:
    seconds = (utcnow() - theirs).total_seconds()
    if abs(seconds) > MAX_CLOCK_DIFFERENCE.total_seconds():
        return _problem("clock", "ahead" if seconds > 0 else "behind", seconds=str(round(abs(seconds))))
    return _ok("clock")


# One portal


def find_portal(member_id: str) -> int | None:
    """The portal with this ``member_id``, or None."""
    with reading() as session:
        return session.scalar(select(Portal.id).where(Portal.member_id == member_id))


def examine_portal(portal_id: int) -> list[Finding]:
    """Ask a portal, in one request, whether everything that the app needs is there."""
    with reading() as session:
        portal = session.get_one(Portal, portal_id)
    if portal.state in (PortalState.UNINSTALLED, PortalState.UNPAID):
        return [_problem("portal", portal.state)]
    access = _access(portal)
    try:
        answer = portal_api.call_for_portal(
            portal_id, portal_api.RequestLabel("batch", {"cmd": "doctor"}), lambda c: c.batch(QUESTIONS)
        )
    except (ExchangeError, Refusal) as error:
        if access.level == Level.PROBLEM:
            return [access]
        return [access, _problem("portal", "silent", reason=error.explanation)]
    questions: tuple[Callable[[Portal, BatchAnswer], Finding], ...] = (_scopes, _lines, _voices, _history, _bound)
    return [
        access,
        *(_asked(question, portal, answer) for question in questions),
        *_holidays(portal),
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
        return _problem(check, "refused", reason=error.code, words=error.words or "")


def _access(portal: Portal) -> Finding:
    serving = tokens.serving_administrators(portal.id)
    if not serving:
        return _problem("access", "disconnected")
    if len(serving) == 1:
        return _warning("access", "alone")
    return _ok("access", count=str(len(serving)))


def _strings(value: Json) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _scopes(_: Portal, answer: BatchAnswer) -> Finding:
    missing = [scope for scope in manifest().scopes if scope not in _strings(answer.result("scopes"))]
    return _problem("scopes", "missing", scopes=", ".join(missing)) if missing else _ok("scopes")


def _lines(portal: Portal, answer: BatchAnswer) -> Finding:
    found = as_object(answer.result("lines"))
    if not found:
        return _problem("lines", "none")
    if portal.settings.default_line_id and portal.settings.default_line_id not in found:
        return _warning("lines", "default", line=portal.settings.default_line_id)
    if all(portal.is_foreign(line_id) for line_id in found):
        return _warning("lines", "foreign")
    return _ok("lines", count=str(len(found)))


def _voices(portal: Portal, answer: BatchAnswer) -> Finding:
    found = as_object(answer.result("voices"))
    if portal.settings.default_voice_id and portal.settings.default_voice_id not in found:
        return _warning("voices", "default", voice=portal.settings.default_voice_id)
    return _ok("voices", count=str(len(found)))


def _history(_: Portal, answer: BatchAnswer) -> Finding:
    """Reading it needs the right “Call statistics: view”."""
    answer.result("history")
    return _ok("history")


def _bound(_: Portal, answer: BatchAnswer) -> Finding:
    missing = bindings.missing_bindings(answer)
    return _problem("bound", "missing", what=", ".join(missing)) if missing else _ok("bound")


def _holidays(portal: Portal) -> Iterator[Finding]:
    stored = [portal.settings.hours, *(form.hours for form in forms.list_forms(portal.id))]
    for region in sorted({hours["holidays"] for hours in stored if hours and hours.get("holidays")}):
        found = public_holidays.look_up(region, utcnow().date(), portal.language)
        day, name = (str(found.next.day), found.next.name) if found.next else ("", "")
        facts = {"region": region, "day": day, "name": name}
        yield _warning("holidays", "part", **facts) if found.parts else _ok("holidays", **facts)


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
        return _problem("events", "silent", count=str(lately), url=settings.public_origin)
    if portal.event_at is None:
        return _warning("events", "never", url=settings.public_origin)
    return _ok("events", at=portal.event_at.isoformat(timespec="minutes"))


def _portal_clock(answer: BatchAnswer) -> Finding:
    try:
        return _clock(datetime.fromisoformat(str(answer.result("time"))))
    except (ExchangeError, ValueError):
        return _warning("clock", "unknown")

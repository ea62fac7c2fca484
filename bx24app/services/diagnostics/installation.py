"""What is wrong with this installation, for its operator."""

import os
from collections.abc import Iterator

import requests
import structlog
from sqlalchemy import func, select, union_all
from sqlalchemy.exc import SQLAlchemyError

from bx24app.bitrix24.connections import authorization_server
from bx24app.crypto import KEY_ID_LENGTH, SealError, keyring
from bx24app.database import closed_files, is_postgresql, reading, sqlite_path
from bx24app.database.files import examine_files
from bx24app.database.migrations import is_known, newest_revision, revision_of
from bx24app.models import Credential, CredentialState, DigestKey, Portal, PortalState, RuleRun, Webhook
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.diagnostics.findings import Finding, Level, examine_clock, ok, problem, warning
from bx24app.services.runtime import clock, rings
from bx24app.services.runtime.kept_answer import keep_answer
from bx24app.services.security import digests
from bx24app.settings import settings

log = structlog.get_logger(__name__)
OWN_TIMEOUT = (5.0, 5.0)
READINESS_SECONDS = 1.0
NAMED_PORTALS = 20


def examine_installation() -> list[Finding]:
    """Look at what concerns every portal: database, keys, our address, the authorization server and the clock."""
    database, files = examine_database(), _files()
    if database.level == Level.PROBLEM:
        return [database, *files]
    return [
        database,
        *files,
        *_waking(),
        *_networks(),
        _keys(),
        _portals(),
        *_spellings(),
        _address(),
        *_authorization(),
    ]


def examine_database() -> Finding:
    """The database answers, and its migrations are at the head.

    Those of a newer program are no problem: it applies them while this one serves, or has it stopped before.
    """
    head = newest_revision()
    try:
        with reading() as session:
            present = revision_of(session.connection()) or "none"
    except SQLAlchemyError as error:
        return problem("database", "database", detail=type(error).__name__)
    if present == head:
        return ok("database", head=head)
    if present == "none" or is_known(present):
        return problem("database", "migrations", present=present, head=head)
    return warning("database", "newer", present=present, head=head)


def examine_readiness() -> Finding:
    """The same, and that the clock is believed; at most a second old, or strangers would make the database answer."""
    known = keep_answer("readiness", READINESS_SECONDS, _examine_database_and_clock)
    return known or problem("database", "database", detail="no answer in time")


def _examine_database_and_clock() -> Finding:
    found = examine_database()
    return problem("database", "clock") if found.level != Level.PROBLEM and clock.is_doubted() else found


def _files() -> list[Finding]:
    """The files of a SQLite database are for nobody else on the machine."""
    if is_postgresql() or not os.path.isdir(folder := os.path.dirname(path := sqlite_path())):
        return []
    about, files = examine_files(path)
    if about in {"ok", "listed"} and (closed := closed_files()):
        about, files = "closed", closed
    make = {"ok": Level.OK, "listed": Level.WARNING, "closed": Level.WARNING}
    return [Finding("files", make.get(about, Level.PROBLEM), about, {"folder": folder, "files": ", ".join(files)})]


def _waking() -> Iterator[Finding]:
    """What a web process commits is told to the workers at once."""
    place, failure = rings.examine_rings()
    if failure:
        yield warning("waking", "polls" if is_postgresql() else "folder", place=place, detail=failure)
    elif place:
        yield ok("waking", place=place)


def _networks() -> list[Finding]:
    every = ", ".join(str(one.network) for one in settings.private_portals if not one.member_id)
    return [warning("networks", "every", networks=every)] if every else []


def _keys() -> Finding:
    """Everything sealed opens, and under the first key."""
    alive = Credential.state == CredentialState.ALIVE
    tokens = select(Credential.access_token_sealed.label("sealed")).where(alive)
    others = (Webhook.secret_sealed, RuleRun.token_sealed, DigestKey.sealed)
    sealed = union_all(tokens, *(select(one).where(one.is_not(None)) for one in others)).subquery()
    key_id = func.substr(sealed.c.sealed, 1, KEY_ID_LENGTH)
    with reading() as session:
        used = dict[str, int](session.execute(select(key_id, func.count()).group_by(key_id)).all())
    lost = {id: count for id, count in used.items() if not keyring.knows(id)}
    if lost:
        return problem("keys", "lost", ids=", ".join(sorted(lost)), count=str(sum(lost.values())))
    try:
        digests.digest("doctor", "x")
    except SealError:
        return problem("keys", "lost", ids=keyring.sealing_id, count="1")
    old = sum(count for id, count in used.items() if id != keyring.sealing_id)
    if old:
        return warning("keys", "old", count=str(old))
    return ok("keys", count=str(sum(used.values())))


def _portals() -> Finding:
    """Nobody's token serves a portal any more, as after a restore: the newer ones are lost."""
    is_lost = Portal.state == PortalState.DISCONNECTED
    with reading() as session:
        count = session.scalar(select(func.count()).select_from(Portal).where(is_lost)) or 0
        named = session.execute(select(Portal.domain, Portal.member_id).where(is_lost).limit(NAMED_PORTALS)).all()
    if not count:
        return ok("portals")
    names = ", ".join(f"{domain} ({member_id})" for domain, member_id in named)
    return warning("portals", "disconnected", count=str(count), names=names + (", ..." if count > len(named) else ""))


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
        return problem("address", "certificate", url=url)
    except requests.RequestException as error:
        return problem("address", "unreachable", url=url, detail=type(error).__name__)
    if response.status_code != requests.codes.ok or '"status"' not in response.text[:200]:
        return problem("address", "other", url=url, status=str(response.status_code))
    return ok("address", url=url)


def _authorization() -> Iterator[Finding]:
    try:
        probe = authorization_server.probe()
    except ExchangeError as error:
        yield problem("authorization", "unreachable", address=settings.auth_origin, detail=error.code)
        return
    if probe.refuses_keys:
        yield problem("authorization", "keys", client_id=settings.client_id)
    else:
        yield ok("authorization", address=settings.auth_origin)
    if probe.answered_at is not None:
        yield examine_clock(probe.answered_at)

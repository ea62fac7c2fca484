"""Restoring a backup: nothing of the older state is dialled, told or given again as if no time had passed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from flask import current_app
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from bx24app.backups import unsettled
from bx24app.crypto import SealError, keyring
from bx24app.database.copies import read_facts, replacing_database
from bx24app.database.id_gap import leave_gap
from bx24app.database.migrations import app_version, is_known, migrate, newest_revision
from bx24app.database.sole_use import sole_connection
from bx24app.errors import CommandRefused
from bx24app.models import BackupMark, DigestKey, Portal, utcnow
from bx24app.models.digest_key import DIGEST_KEY_PLACE
from bx24app.services.security import digests
from bx24app.services.security.journal import JournalPage, Recorded, record

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Restored:
    """What was restored: when the backup was made, by which version, and what nobody knows any more."""

    made_at: datetime
    version: str
    unsettled: unsettled.Unsettled


def restore(path: Path, *, replaces: bool) -> Restored:
    """Put a backup in the place of the present database, migrated and with nothing left that dials by itself.

    Raises ``CommandRefused``: while the app runs, for a file that is damaged or of a newer version, for a database
    that holds something unless ``replaces``, for a key that is missing, and for a full disk. The database is then what
    it was.
    """
    facts = read_facts(path)
    if not is_known(facts.revision):
        raise CommandRefused(
            f"{path} was made by version {facts.version} of the app (migration {facts.revision}). This is "
            f"{app_version()}, and knows migrations up to {newest_revision()}: install the newer version."
        )
    with (
        sole_connection("Nothing was restored") as live,
        replacing_database(live, path, replaces=replaces) as connection,
    ):
        migrate(connection)
        with _one_transaction(connection), Session(connection, expire_on_commit=False) as session:
            done = _settle(session)
            session.commit()
            leave_gap(connection)
    log.info("restored", made_at=done.made_at.isoformat(), version=done.version, unsettled=done.unsettled.callbacks)
    return done


@contextmanager
def _one_transaction(connection: Connection) -> Iterator[None]:
    """Begin a transaction, unless everything is in one already."""
    if connection.in_transaction():
        yield
        return
    with connection.begin():
        yield


def _settle(session: Session) -> Restored:
    _use_digest_key(session)
    mark = session.get_one(BackupMark, 1)
    mark.restored_at = now = utcnow()
    found = unsettled.forget_certainties(session, mark.made_at, now)
    for portal_id in session.scalars(select(Portal.id)):
        by = Recorded(portal_id, None, JournalPage.OPERATOR)
        record(session, by, {"restored": ""}, {"restored": f"{mark.made_at:%Y-%m-%d %H:%M} UTC"})
    return Restored(mark.made_at, mark.version, found)


def _use_digest_key(session: Session) -> None:
    """Numbers are recognised by the digests of the restored database."""
    row = session.get(DigestKey, 1)
    if row is None:
        return
    try:
        key = keyring.open_sealed(row.sealed, DIGEST_KEY_PLACE)
    except SealError:
        raise CommandRefused(
            f"The backup is sealed under key {row.sealed[:8]}, which is not in BX24APP_ENCRYPTION_KEYS: put it there."
        ) from None
    current_app.extensions[digests.KEY_CACHE] = bytes.fromhex(key)

"""When an older state of the database last came back: what was signed before may have been used up since the backup."""

from datetime import datetime

from flask import current_app
from sqlalchemy import select

from bx24app.database import reading
from bx24app.models import BackupMark

KEPT = "bx24app.last_restore"


def is_signed_since(signed_at: datetime) -> bool:
    """Tell whether the app remembers all that has happened since a moment; call it outside of transactions.

    Read once: while a process runs nothing is restored.
    """
    kept = current_app.extensions
    if KEPT not in kept:
        with reading() as session:
            kept[KEPT] = session.scalar(select(BackupMark.restored_at).where(BackupMark.id == 1))
    restored_at: datetime | None = kept[KEPT]
    return restored_at is None or signed_at >= restored_at

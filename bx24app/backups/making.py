"""Making a backup while the app runs."""

from pathlib import Path

from sqlalchemy import select

from bx24app.database import writing
from bx24app.database.copies import write_backup
from bx24app.database.migrations import app_version
from bx24app.models import BackupMark, utcnow


def back_up(target: Path, *, replaces: bool) -> None:
    """Write the database into a file, with the time and the version of the app; raises ``CommandRefused``.

    The time is from before the copy began, so nothing that happened earlier is missing in it.
    """
    with writing() as session:
        mark = session.scalar(select(BackupMark).where(BackupMark.id == 1)) or BackupMark(id=1)
        mark.made_at, mark.version = utcnow(), app_version()
        session.add(mark)
    write_backup(target, replaces=replaces)

"""When the database was last backed up, and when it was last restored: a backup holds the mark of its own making."""

from sqlalchemy.orm import Mapped

from bx24app.database import Base
from bx24app.models.columns import At, Code, Key


class BackupMark(Base):
    """The one row of this table (``id`` 1); none before the first backup."""

    __tablename__ = "backup_mark"

    id: Mapped[Key]
    # Written just before the copy begins: nothing that happened earlier is missing in it.
    made_at: Mapped[At]
    # Of the app that made the backup.
    version: Mapped[Code]
    # When an older state last came back; what was signed before may have been used since, and nobody knows.
    restored_at: Mapped[At | None]

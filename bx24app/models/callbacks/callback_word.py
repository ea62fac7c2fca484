"""The words of customers' names, by which lists find callbacks."""

from uuid import UUID

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base

MAX_WORD = 40
STEM = 2
# By the bytes of its letters on PostgreSQL too, whatever the database's language is, so that a beginning is a range.
_Word = String(MAX_WORD).with_variant(String(MAX_WORD, collation="C"), "postgresql")


class CallbackWord(Base):
    """One word of a customer's name, folded (``listing/words.py``); it goes with its callback.

    Words are found in their order by the word, and in the order of time by their first letters, the ``stem``.
    """

    __tablename__ = "callback_word"
    __table_args__ = (
        Index("ix_callback_word_word", "portal_id", "word", "callback_id"),
        Index("ix_callback_word_stem", "portal_id", "stem", "callback_id", "word"),
        {"sqlite_with_rowid": False},
    )

    callback_id: Mapped[UUID] = mapped_column(ForeignKey("callback.id", ondelete="CASCADE"), primary_key=True)
    word: Mapped[str] = mapped_column(_Word, primary_key=True)
    portal_id: Mapped[int]
    stem: Mapped[str] = mapped_column(String(STEM))

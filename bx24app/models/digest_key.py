"""The random key of all keyed digests: stored sealed, so that it survives the rotation of encryption keys."""

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import Key

DIGEST_KEY_PLACE = "digest_key.sealed.-"


class DigestKey(Base):
    """The one row of this table (``id`` 1)."""

    __tablename__ = "digest_key"

    id: Mapped[Key]
    sealed: Mapped[str] = mapped_column(Text)

"""Why something happened to a callback."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    ForeignKey,
)
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import At, Code, Key


class Decision(Base):
    """Why something happened to a callback: the rule, what it looked at, and when."""

    __tablename__ = "decision"

    id: Mapped[Key]
    callback_id: Mapped[UUID] = mapped_column(ForeignKey("callback.id", ondelete="CASCADE"), index=True)
    rule: Mapped[Code]
    inputs: Mapped[dict[str, Any]] = mapped_column(JSON)
    made_at: Mapped[At]

    @classmethod
    def of(cls, rule: str, at: datetime, inputs: dict[str, str | int | None]) -> "Decision":
        """Store inputs as text; those that are None are left out."""
        return cls(rule=rule, inputs={name: str(v) for name, v in inputs.items() if v is not None}, made_at=at)

"""Outgoing webhooks: whom a form tells of its callbacks, and each thing told."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, String, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.crypto import Keyring
from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Key, PortalKey, stored, utcnow
from bx24app.models.ids import new_id
from bx24app.models.lease import Leased

MAX_URL = 2000
# After a rotation the receiver has this long to learn the new secret; both sign meanwhile.
FORMER_SECRET_KEPT = timedelta(hours=24)
DELIVERED_WITHIN = timedelta(hours=24)
_PENDING_SQL = text("done_at IS NULL")


class Webhook(Leased, Base):
    """An address of a site that is told of every state change of a form's callbacks.

    One delivery at a time: the worker that holds the lease makes it.
    """

    __tablename__ = "webhook"
    __table_args__ = NEVER_REUSED

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    form_id: Mapped[int] = mapped_column(ForeignKey("form.id", ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(String(MAX_URL))
    secret_sealed: Mapped[str] = mapped_column(Text)
    former_secret_sealed: Mapped[str | None] = mapped_column(Text)
    former_until: Mapped[At | None]
    is_on: Mapped[bool] = mapped_column(server_default=stored(True))
    # Why it was switched off by itself; None: it was not.
    off_reason: Mapped[Code | None]
    created_by: Mapped[int | None]
    # Who last changed its address or its secret; None: nobody did.
    changed_by: Mapped[int | None]
    created_at: Mapped[At] = mapped_column(default=utcnow)
    last_ok_at: Mapped[At | None]
    # Since when every delivery fails, how often one did since, and before which moment none is tried.
    failing_since: Mapped[At | None]
    failures: Mapped[int] = mapped_column(server_default=stored(0))
    waits_until: Mapped[At | None]

    @staticmethod
    def _place(member_id: str) -> str:
        return f"webhook.secret.{member_id}"

    def keep_secret(self, keyring: Keyring, member_id: str, secret: str, at: datetime) -> None:
        """Seal a new secret; the one before goes on signing for a day."""
        if self.secret_sealed:
            self.former_secret_sealed, self.former_until = self.secret_sealed, at + FORMER_SECRET_KEPT
        self.secret_sealed = keyring.seal(secret, self._place(member_id))

    def secrets(self, keyring: Keyring, member_id: str, at: datetime) -> list[str]:
        """The secrets that sign now, the newest first; raises ``SealError``."""
        sealed = [self.secret_sealed]
        if self.former_secret_sealed and self.former_until and self.former_until > at:
            sealed.append(self.former_secret_sealed)
        return [keyring.open_sealed(one, self._place(member_id)) for one in sealed]

    def reseal(self, keyring: Keyring, member_id: str) -> None:
        """Seal the same secrets under the first key."""
        place = self._place(member_id)
        self.secret_sealed = keyring.seal(keyring.open_sealed(self.secret_sealed, place), place)
        if self.former_secret_sealed:
            self.former_secret_sealed = keyring.seal(keyring.open_sealed(self.former_secret_sealed, place), place)

    def switch(self, *, is_on: bool, reason: str | None = None) -> None:
        """Switch it on or off; on, it starts afresh."""
        self.is_on, self.off_reason = is_on, reason
        if is_on:
            self.note_success()

    def note_success(self) -> None:
        """A delivery was taken, or a person wants it tried now."""
        self.failing_since = self.waits_until = None
        self.failures = 0

    def note_failure(self, at: datetime, waits_until: datetime) -> None:
        """A delivery failed: none is tried for a while."""
        self.failing_since = self.failing_since or at
        self.failures += 1
        self.waits_until = waits_until


class WebhookDelivery(Base):
    """One thing told to one webhook; without the number, which is read when it is sent."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("ix_webhook_delivery_webhook_id_id", "webhook_id", "id"),
        # The next of a webhook, and whether the same callback has an earlier one.
        Index(
            "ix_webhook_delivery_pending",
            "webhook_id",
            "due_at",
            sqlite_where=_PENDING_SQL,
            postgresql_where=_PENDING_SQL,
        ),
        Index("ix_webhook_delivery_callback_id", "callback_id", "webhook_id", "id"),
        NEVER_REUSED,
    )

    id: Mapped[Key]
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"))
    # None: a test.
    callback_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("callback.id", ondelete="CASCADE"))
    event_id: Mapped[UUID] = mapped_column(Uuid, unique=True, default=new_id)
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    made_at: Mapped[At] = mapped_column(default=utcnow)
    due_at: Mapped[At]
    # When it is given up.
    expires_at: Mapped[At]
    attempts: Mapped[int] = mapped_column(server_default=stored(0))
    last_status: Mapped[int | None]
    # What was wrong at the last attempt; None: nothing.
    last_error: Mapped[str | None] = mapped_column(String(200))
    done_at: Mapped[At | None]

    def end(self, at: datetime, status: int | None, error: str | None) -> None:
        """It was taken (``error`` None), or is given up."""
        self.done_at, self.last_status, self.last_error = at, status, error

    def repeat(self, at: datetime) -> None:
        """A person wants it told again."""
        self.done_at, self.due_at, self.expires_at = None, at, at + DELIVERED_WITHIN

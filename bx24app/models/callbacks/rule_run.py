"""One run of an automation rule: what its document asks for, and the result that the automation waits for."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, Text, UniqueConstraint, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.crypto import Keyring
from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Digest, Key, PortalKey, stored
from bx24app.models.lease import Leased

# Written out, because SQLite uses an index over some rows only for a statement that has the same words.
CALLING_SQL = text("stage = 'calling'")
OPEN_SQL = text("(due_at IS NOT NULL OR stage = 'calling')")
_DUE_SQL = text("due_at IS NOT NULL")
_ACCESS_SQL = text("access_digest IS NOT NULL")
# From this turn on a run has to wait until nobody else has one that is due.
BEHIND_ALL = 1_000_000_000


class RuleStage(StrEnum):
    """How far a run has come; nobody could say yet whether one that is ``UNPROVEN`` is genuine."""

    UNPROVEN = "unproven"
    RECEIVED = "received"
    CALLING = "calling"
    ENDED = "ended"


@dataclass(frozen=True)
class PostedTokens:
    """The tokens of a run that could not be proven when it came; ``event_token`` "": nobody waits for its result."""

    event_token: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


class RuleRun(Leased, Base):
    """A run of a rule. Whoever starts its callback, or sends its result, holds the lease.

    The digest of its token is kept as long as the run, so that a repeated post starts nothing again.
    """

    __tablename__ = "rule_run"
    __table_args__ = (
        UniqueConstraint("token_digest", "portal_id"),
        Index("ix_rule_run_due_at", "due_at", "portal_id", sqlite_where=_DUE_SQL, postgresql_where=_DUE_SQL),
        Index("ix_rule_run_turn", "portal_id", "turn", "due_at", sqlite_where=_DUE_SQL, postgresql_where=_DUE_SQL),
        Index("ix_rule_run_calling", "callback_id", sqlite_where=CALLING_SQL, postgresql_where=CALLING_SQL),
        Index("ix_rule_run_open", "portal_id", "user_id", sqlite_where=OPEN_SQL, postgresql_where=OPEN_SQL),
        Index("ix_rule_run_callback_id", "callback_id"),
        Index(
            "ix_rule_run_access", "portal_id", "access_digest", sqlite_where=_ACCESS_SQL, postgresql_where=_ACCESS_SQL
        ),
        NEVER_REUSED,
    )

    id: Mapped[Key]
    portal_id: Mapped[PortalKey]
    token_digest: Mapped[Digest]
    # What proves the run, and a result is sent with; None: it is proven and nobody waits for one, or it was sent.
    # Of an unproven run, ``PostedTokens``.
    token_sealed: Mapped[str | None] = mapped_column(Text)
    # Of an unproven run: the digest of its access token, by which all are ended once it is refused.
    access_digest: Mapped[Digest | None]
    # Where the run came from that nobody could prove; None: the portal had proven nothing there.
    place_digest: Mapped[Digest | None]
    stage: Mapped[Code] = mapped_column(server_default=stored(RuleStage.RECEIVED))
    # Of the document in the CRM; a smart process has the number of its type.
    entity_type: Mapped[Code | None]
    entity_id: Mapped[int | None]
    type_id: Mapped[int] = mapped_column(server_default=stored(0))
    # Whose access the run came with, as Bitrix24 has proven it.
    user_id: Mapped[int]
    # What was chosen in the rule; emptied when the callback is made, which has it then.
    properties: Mapped[dict[str, Any]] = mapped_column(JSON)
    # Whether the automation goes on only with the result.
    waits: Mapped[bool] = mapped_column(server_default=stored(True))
    in_hours: Mapped[bool] = mapped_column(server_default=stored(False))
    # None: none was made, or it was erased.
    callback_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("callback.id", ondelete="SET NULL"))
    # Why no callback was made, or why there is no result of it.
    reason: Mapped[Code | None]
    tries: Mapped[int] = mapped_column(server_default=stored(0))
    # The lowest of a portal goes first. Each person's runs have one turn after the other, from the one that the portal
    # has come to, so that nobody waits for all that somebody else has sent.
    turn: Mapped[int] = mapped_column(server_default=stored(0))
    made_at: Mapped[At]
    # When its callback is started, or its result sent; None: there is nothing to do but to wait for the call.
    due_at: Mapped[At | None]
    ended_at: Mapped[At | None]

    @staticmethod
    def _place(member_id: str) -> str:
        return f"rule_run.token.{member_id}"

    def keep_token(self, keyring: Keyring, member_id: str, token: str) -> None:
        """Seal the token that a result is sent with."""
        self.token_sealed = keyring.seal(token, self._place(member_id))

    def token(self, keyring: Keyring, member_id: str) -> str:
        """Open the token that a result is sent with, "" where nobody waits for one; raises ``SealError``."""
        return self._sealed(keyring, member_id).partition("\n")[0]

    def _sealed(self, keyring: Keyring, member_id: str) -> str:
        return keyring.open_sealed(self.token_sealed or "", self._place(member_id))

    def keep_posted(self, keyring: Keyring, member_id: str, posted: PostedTokens) -> None:
        """Seal what the run is proven with later."""
        self.stage = RuleStage.UNPROVEN
        sealed = "\n".join((posted.event_token, posted.refresh_token, posted.access_token))
        self.keep_token(keyring, member_id, sealed)

    def posted(self, keyring: Keyring, member_id: str) -> PostedTokens:
        """Open what the run came with; raises ``SealError``."""
        event_token, refresh_token, access_token = self._sealed(keyring, member_id).split("\n", 2)
        return PostedTokens(event_token, access_token, refresh_token)

    def prove(self, user_id: int, at: datetime, turn: int) -> None:
        """Record whose access the run came with: it may be started now, when it is its ``turn``."""
        self.stage, self.user_id, self.due_at, self.tries = RuleStage.RECEIVED, user_id, at, 0
        self.turn, self.access_digest = turn, None
        self.release()

    def reseal(self, keyring: Keyring, member_id: str) -> None:
        """Seal the same token under the first key."""
        if self.token_sealed:
            self.keep_token(keyring, member_id, self._sealed(keyring, member_id))

    def follow(self, callback_id: UUID) -> None:
        """Wait for the end of a callback: its own, or one that had the same number in hand."""
        self._begin()
        self.stage, self.callback_id, self.due_at, self.tries = RuleStage.CALLING, callback_id, None, 0
        self.ended_at = None
        self.release()

    def end(self, at: datetime, reason: str | None = None) -> None:
        """Record that nothing more happens; the result is due where the automation waits for it."""
        self._begin()
        self.stage, self.reason, self.ended_at, self.tries = RuleStage.ENDED, reason, at, 0
        self.due_at = at if self.token_sealed else None
        self.release()

    def _begin(self) -> None:
        """Forget what only the start of the callback needed."""
        if not self.waits:
            self.token_sealed = None
        self.properties, self.access_digest = {}, None

    def put_off(self, due_at: datetime) -> None:
        """Try again later."""
        self.due_at = due_at
        self.tries += 1
        self.release()

    def settle(self) -> None:
        """Record that the result was sent, or cannot be sent any more."""
        self.token_sealed = self.due_at = None
        self.release()

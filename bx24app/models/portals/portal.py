"""A portal that installed the app: its identity, address and state, its settings and its lines."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String, and_
from sqlalchemy.orm import Mapped, attribute_keyed_dict, mapped_column, relationship

from bx24app.database import Base
from bx24app.models.columns import NEVER_REUSED, At, Code, Digest, Key, Name, Revision, new_revision, stored, utcnow
from bx24app.models.portals.portal_settings import PortalSettings


class PortalState(StrEnum):
    """Whether the app can work for the portal."""

    INSTALLED = "installed"
    DISCONNECTED = "disconnected"
    UNPAID = "unpaid"
    UNINSTALLED = "uninstalled"


# A history may name any number of lines, and all that are kept are read with the portal.
MAX_KEPT_LINES = 1000
# A line without money is tried again after this time, or when an administrator resumes it.
STOPPED_LINE_PAUSE = timedelta(hours=1)


class Portal(Base):
    """One row per ``member_id``, for ever; the domain may change."""

    __tablename__ = "portal"
    __table_args__ = NEVER_REUSED

    id: Mapped[Key]
    member_id: Mapped[str] = mapped_column(String(64), unique=True)
    domain: Mapped[Name]
    client_endpoint: Mapped[Name]
    # What app.info said at the portal when the authorization server vouched for the same token: a token of
    # another app on this portal has other values (the portal's app.info has no client_id).
    app_code: Mapped[Name]
    app_id: Mapped[Code]
    state: Mapped[Code] = mapped_column(server_default=stored(PortalState.INSTALLED))
    status: Mapped[str] = mapped_column(String(1), server_default=stored("F"))
    application_token_digest: Mapped[Digest | None]
    language: Mapped[Code] = mapped_column(server_default=stored("en"))
    # Lists change rarely and cost a REST call each: kept here, with the time they were read.
    lines_fetched_at: Mapped[At | None]
    voices: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    voices_fetched_at: Mapped[At | None]
    # "ent" has the higher rate limit (app.info); None: not told.
    license_family: Mapped[Code | None]
    # The last row of the call history that was read; None: never.
    history_cursor: Mapped[int | None] = mapped_column(BigInteger)
    history_read_at: Mapped[At | None]
    # When it is to be read next; a worker that reads it first moves this time on.
    history_due_at: Mapped[At | None]
    # Why the history could not be read the last time; None: it could.
    history_problem: Mapped[Code | None]
    bound_manifest: Mapped[Digest | None]
    bound_at: Mapped[At | None]
    # Tells what was registered of our automation rules; None: nothing. And when that was last tried; None: it is due.
    rules_digest: Mapped[Digest | None]
    rules_at: Mapped[At | None]
    # Why callbacks could not be shown in the CRM's timeline the last time; None: they could.
    timeline_problem: Mapped[Code | None]
    # The scopes that the portal has granted, as it said when its parts were last reconciled; None: it did not say.
    granted_scopes: Mapped[list[str] | None] = mapped_column(JSON)
    # What it does not have of the app, by kind (services/portals/places/parts.py).
    missing_parts: Mapped[dict[str, Any]] = mapped_column(JSON, server_default=stored({}))
    installed_at: Mapped[At]
    # What is kept of an uninstalled portal is deleted some days after this.
    uninstalled_at: Mapped[At | None]
    # When a proven event last reached us; only this shows that the portal's events can reach us.
    event_at: Mapped[At | None]
    # When the authorization server is asked next where the portal is, if it does not say so before; None: now.
    address_due_at: Mapped[At | None] = mapped_column(index=True)
    # ONAPPUNINSTALL came; we ask the authorization server before anything is deleted, next at ``removal_due_at``. None
    # beside a removal that was told: it is confirmed, and being carried out.
    removal_told_at: Mapped[At | None]
    removal_due_at: Mapped[At | None]
    removal_keeps_settings: Mapped[bool] = mapped_column(server_default=stored(False))
    # ONAPPPAYMENT proves nothing, so it only makes us ask the portal.
    payment_hinted_at: Mapped[At | None]
    payment_asked_at: Mapped[At | None]
    created_at: Mapped[At] = mapped_column(default=utcnow)
    updated_at: Mapped[At] = mapped_column(default=utcnow, onupdate=utcnow)
    revision: Mapped[Revision]

    # Both are read with the portal: a portal that is kept in memory has them too.
    settings: Mapped[PortalSettings] = relationship(
        lazy="joined", innerjoin=True, cascade="all, delete-orphan", passive_deletes=True
    )
    lines: Mapped[dict[str, "PortalLine"]] = relationship(
        collection_class=attribute_keyed_dict("line_id"),
        lazy="selectin",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )

    def __init__(self, **fields: Any) -> None:
        super().__init__(**{"settings": PortalSettings(), "lines": {}, **fields})

    @property
    def revisions(self) -> tuple[int, int]:
        """What tells whether a portal in memory is still as the database has it, with its settings and lines."""
        return self.revision, self.settings.revision

    def move(self, domain: str, client_endpoint: str) -> None:
        """Take the portal's new address, confirmed by the authorization server."""
        self.domain = domain
        self.client_endpoint = client_endpoint

    def mark_uninstalled(self, at: datetime) -> None:
        """The app was removed from the portal, or so it seems: nothing works any more."""
        if self.state != PortalState.UNINSTALLED:
            self.state, self.uninstalled_at = PortalState.UNINSTALLED, at

    def tell_removal(self, at: datetime, *, keeps_settings: bool) -> None:
        """An event says that the app was removed: Bitrix24 is asked, and meanwhile nothing works.

        Where Bitrix24 has vouched for the portal a moment ago everything works on until it is asked again. Where one
        event says that the settings are kept, another one cannot have them deleted: anybody may have sent either.
        """
        if self.is_being_removed:
            return
        is_pending = self.removal_told_at is not None
        self.removal_keeps_settings = keeps_settings or (is_pending and self.removal_keeps_settings)
        self.removal_told_at = at
        if self.removal_due_at is None or self.removal_due_at <= at:
            self.removal_due_at = at
            self.mark_uninstalled(at)

    @property
    def is_being_removed(self) -> bool:
        """Tell whether its removal is confirmed, and rows of it may still be there."""
        return self.removal_told_at is not None and self.removal_due_at is None

    def begin_removal(self, at: datetime, *, keeps_settings: bool) -> None:
        """The removal is confirmed: from now on its rows are deleted, however long that takes.

        Without its settings it gives its ``member_id`` back at once: an installation makes another portal.
        """
        self.mark_uninstalled(at)
        self.removal_told_at, self.removal_due_at = self.removal_told_at or at, None
        self.removal_keeps_settings, self.application_token_digest = keeps_settings, None
        if not keeps_settings:
            self.member_id = f"removed {self.id}"

    def end_removal(self) -> None:
        """Nothing of it is left but its settings."""
        self.removal_told_at = self.removal_due_at = None

    def doubt_removal(self, ask_at: datetime, at: datetime) -> None:
        """Nobody can say whether the app was removed."""
        self.mark_uninstalled(at)
        self.removal_due_at = ask_at

    def stay(self, state: PortalState, ask_at: datetime) -> None:
        """Bitrix24 vouches for the portal; another event of a removal is asked about no sooner than ``ask_at``."""
        if self.state == PortalState.UNINSTALLED:
            self.state, self.uninstalled_at = state, None
        self.removal_told_at, self.removal_due_at = None, ask_at

    def mark_installed(self, at: datetime) -> None:
        """Record that the app was installed, for the first time or again."""
        self.state, self.installed_at = PortalState.INSTALLED, at
        self.uninstalled_at = self.removal_told_at = self.removal_due_at = None

    @property
    def listed_lines(self) -> list["PortalLine"]:
        """The lines that the portal listed last, in its order."""
        listed = [line for line in self.lines.values() if line.position is not None]
        return sorted(listed, key=lambda line: line.position or 0)

    @property
    def usable_lines(self) -> list["PortalLine"]:
        """The lines that callbacks may ring without a person having chosen them, in the portal's order."""
        return [line for line in self.listed_lines if line.is_usable]

    def usable_line(self, line_id: str | None) -> "PortalLine | None":
        """Return one of the usable lines; None for any other id."""
        line = self.lines.get(line_id or "")
        return line if line is not None and line.is_usable else None

    def line_name(self, line_id: str) -> str:
        """The name of a line; of one that was never listed, its id."""
        line = self.lines.get(line_id)
        return line.name or line_id if line is not None else line_id

    def is_foreign(self, line_id: str) -> bool:
        """Tell whether a line has turned out to belong to another telephony app."""
        line = self.lines.get(line_id)
        return line is not None and line.is_foreign

    def _changed_line(self, line_id: str) -> "PortalLine":
        """Return a line for a change, and make every process that has the portal in memory read it again."""
        self.revision = new_revision()
        if line_id not in self.lines:
            self.lines[line_id] = PortalLine(line_id=line_id, name="", is_foreign=False)
        return self.lines[line_id]

    def keep_lines(self, names: dict[str, str], at: datetime) -> None:
        """Remember the lines the portal listed (id -> name), and of others only what was found out about them."""
        if names != {line.line_id: line.name for line in self.listed_lines}:
            self.rules_at = None  # They offer the lines to choose from.
        self._list_lines(names)
        self.lines_fetched_at = at

    def _list_lines(self, names: dict[str, str]) -> None:
        for line in self.lines.values():
            line.position = None
        for position, (line_id, name) in enumerate(names.items()):
            line = self._changed_line(line_id)
            line.name, line.position = name, position
        for line_id in [line_id for line_id, line in self.lines.items() if not line.is_worth_keeping]:
            del self.lines[line_id]

    def mark_foreign(self, line_id: str) -> None:
        """Remember that calls on this line are handed over to another telephony app."""
        self._changed_line(line_id).is_foreign = True

    def mark_redialling(self, line_id: str, at: datetime) -> bool:
        """Remember that a line redials missed callbacks by itself; returns whether that is news."""
        if line_id not in self.lines and len(self.lines) >= MAX_KEPT_LINES:
            return False
        is_news = not self.redials(line_id)
        self._changed_line(line_id).redials_seen_at = at
        return is_news

    def redials(self, line_id: str) -> bool:
        """Tell whether a line redials missed callbacks by itself, as the history has shown."""
        line = self.lines.get(line_id)
        return line is not None and line.redials_seen_at is not None

    def stop_line(self, line_id: str, until: datetime) -> None:
        """Stop a line that has no money. After ``until`` one call tries it again."""
        self._changed_line(line_id).stopped_until = until

    def resume_line(self, line_id: str) -> None:
        """Resume a line: a call on it has succeeded, or an administrator says that there is money again."""
        if line_id in self.stopped_lines:
            self._changed_line(line_id).stopped_until = None

    @property
    def stopped_lines(self) -> dict[str, datetime]:
        """The lines without money, each with the moment until which it is left alone."""
        return {line.line_id: line.stopped_until for line in self.lines.values() if line.stopped_until is not None}

    def forget_lists(self) -> None:
        """Forget lines and voices; which lines belong to another telephony app is a setting, as it were."""
        for line in self.lines.values():
            line.name, line.redials_seen_at, line.stopped_until = "", None, None
        self._list_lines({})
        self.lines_fetched_at = self.voices = self.voices_fetched_at = None

    def keep_voices(self, voices: dict[str, str], at: datetime) -> None:
        """Remember the voices the portal listed (id -> name)."""
        if voices != self.voices:
            self.rules_at = None
        self.voices, self.voices_fetched_at = dict(voices), at


class PortalLine(Base):
    """A line of a portal: as it was listed, and what was found out about it. Changed by methods of the portal."""

    __tablename__ = "portal_line"

    portal_id: Mapped[int] = mapped_column(ForeignKey("portal.id", ondelete="CASCADE"), primary_key=True)
    line_id: Mapped[Name] = mapped_column(primary_key=True)
    # Empty for a line that was never listed.
    name: Mapped[Name]
    # Its place in the portal's list; None: not listed (any more).
    position: Mapped[int | None]
    # It turned out to belong to another telephony app (CALL_ID null): marked, never a default.
    is_foreign: Mapped[bool] = mapped_column(server_default=stored(False))
    # When the history last showed that it redials missed callbacks by itself; None: never.
    redials_seen_at: Mapped[At | None]
    # It has no money; from this moment on one dial tries it again.
    stopped_until: Mapped[At | None]

    @property
    def is_usable(self) -> bool:
        """Tell whether callbacks may ring it without a person having chosen it (a person may choose a foreign one)."""
        return self.position is not None and not self.is_foreign

    @property
    def is_worth_keeping(self) -> bool:
        """Tell whether anything is known of it that a new list does not say."""
        found_out = self.is_foreign or self.redials_seen_at is not None or self.stopped_until is not None
        return self.position is not None or found_out


# As ``Portal.is_being_removed`` says.
IS_BEING_REMOVED = and_(Portal.removal_told_at.is_not(None), Portal.removal_due_at.is_(None))

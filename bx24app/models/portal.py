"""A portal that installed the app: its identity, address, state and defaults."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import At, Code, Digest, Key, Name, Revision, utcnow


class PortalState(StrEnum):
    """Whether the app can work for the portal."""

    INSTALLED = "installed"
    DISCONNECTED = "disconnected"
    UNPAID = "unpaid"
    UNINSTALLED = "uninstalled"


class Portal(Base):
    """One row per ``member_id``, for ever; the domain may change."""

    __tablename__ = "portal"

    id: Mapped[Key]
    member_id: Mapped[str] = mapped_column(String(64), unique=True)
    domain: Mapped[Name]
    client_endpoint: Mapped[Name]
    # What app.info said at the portal when the authorization server vouched for the same token: a token of
    # another app on this portal has other values (the portal's app.info has no client_id).
    app_code: Mapped[Name]
    app_id: Mapped[Code]
    state: Mapped[Code] = mapped_column(default=PortalState.INSTALLED)
    status: Mapped[str] = mapped_column(String(1), default="F")
    application_token_digest: Mapped[Digest | None]
    language: Mapped[Code] = mapped_column(default="en")
    default_line_id: Mapped[Name | None]
    default_voice_id: Mapped[Name | None]
    default_text: Mapped[str | None] = mapped_column(Text)
    default_country: Mapped[str | None] = mapped_column(String(2))
    # A person's callback whose own access has ended meanwhile may be dialled under the portal's (an administrator's
    # choice: the portal then does not check that person's rights).
    stands_in: Mapped[bool] = mapped_column(default=False)
    # Lists change rarely and cost a REST call each: kept here, with the time they were read.
    lines: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    lines_fetched_at: Mapped[At | None]
    # Lines that turned out to belong to another telephony app (CALL_ID null): marked, never a default.
    foreign_lines: Mapped[list[str]] = mapped_column(JSON, default=list)
    # Lines that redial missed callbacks by themselves, as the history has shown, with the moment it was seen.
    redialling_lines: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    # Lines without money, with the moment from which one dial tries them again.
    stopped_lines: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    # When callbacks that nobody of staff asked for are dialled (see services.hours); None: always.
    hours: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # The kill switch: no form of this portal takes requests.
    websites_off: Mapped[bool] = mapped_column(default=False)
    # Further dials after a staff callback that did not reach the customer; 0: none.
    retries: Mapped[int] = mapped_column(default=0)
    retry_minutes: Mapped[int] = mapped_column(default=10)
    # Calls under way at once on one line; None: as many as are due.
    line_cap: Mapped[int | None] = mapped_column(default=10)
    voices: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    voices_fetched_at: Mapped[At | None]
    # "ent" has the higher rate limit (app.info); None: not told.
    license_family: Mapped[Code | None]
    # The last row of the call history that was read; None: never.
    history_cursor: Mapped[int | None] = mapped_column(BigInteger)
    history_read_at: Mapped[At | None]
    # When it is to be read next; whoever reads it moves this moment on first.
    history_due_at: Mapped[At | None]
    # Why the history could not be read the last time; None: it could.
    history_problem: Mapped[Code | None]
    bound_manifest: Mapped[Digest | None]
    bound_at: Mapped[At | None]
    installed_at: Mapped[At]
    # What was kept of an uninstalled portal goes some days after this.
    uninstalled_at: Mapped[At | None]
    # When a proven event last reached us: the only proof that the portal can.
    event_at: Mapped[At | None]
    # ONAPPUNINSTALL came; we ask the authorization server before anything is deleted.
    removal_told_at: Mapped[At | None]
    removal_keeps_settings: Mapped[bool] = mapped_column(default=False)
    # ONAPPPAYMENT proves nothing: it only makes us ask.
    payment_hinted_at: Mapped[At | None]
    payment_asked_at: Mapped[At | None]
    created_at: Mapped[At] = mapped_column(default=utcnow)
    updated_at: Mapped[At] = mapped_column(default=utcnow, onupdate=utcnow)
    revision: Mapped[Revision]

    def move(self, domain: str, client_endpoint: str) -> None:
        """Take the portal's new address, confirmed by the authorization server."""
        self.domain = domain
        self.client_endpoint = client_endpoint

    def leave(self, at: datetime) -> None:
        """The app was removed from the portal."""
        self.state, self.uninstalled_at, self.removal_told_at = PortalState.UNINSTALLED, at, None

    def join(self, at: datetime) -> None:
        """The app was installed, for the first time or again."""
        self.state, self.installed_at = PortalState.INSTALLED, at
        self.uninstalled_at = self.removal_told_at = None

    def keep_lines(self, lines: dict[str, str], at: datetime) -> None:
        """Remember the lines the portal listed (id -> name)."""
        self.lines, self.lines_fetched_at = dict(lines), at

    def mark_foreign(self, line_id: str) -> None:
        """Remember that calls on this line are handed over to another telephony app."""
        self.foreign_lines = sorted({*(self.foreign_lines or []), line_id})

    def mark_redialling(self, line_id: str, at: datetime) -> bool:
        """Remember that a line redials missed callbacks by itself; returns whether that is news."""
        news = line_id not in self.redialling_lines
        self.redialling_lines = {**self.redialling_lines, line_id: at.isoformat()}
        return news

    def stop_line(self, line_id: str, until: datetime) -> None:
        """A line has no money: nothing is dialled on it until then, and then one call at first."""
        self.stopped_lines = {**self.stopped_lines, line_id: until.isoformat()}

    def resume_line(self, line_id: str) -> None:
        """A call on the line has succeeded, or an administrator says that there is money again."""
        self.stopped_lines = {line: until for line, until in self.stopped_lines.items() if line != line_id}

    def line_stops_until(self, line_id: str) -> datetime | None:
        """Until when a line without money is left alone; None for one that has any."""
        until = self.stopped_lines.get(line_id)
        return datetime.fromisoformat(until) if until else None

    def keep_voices(self, voices: dict[str, str], at: datetime) -> None:
        """Remember the voices the portal listed (id -> name)."""
        self.voices, self.voices_fetched_at = dict(voices), at

"""What the administrators of a portal have chosen."""

from typing import Any

from sqlalchemy import JSON, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import Name, Revision, stored


class PortalSettings(Base):
    """What a portal's administrators have chosen for everybody; one row per portal."""

    __tablename__ = "portal_settings"

    portal_id: Mapped[int] = mapped_column(ForeignKey("portal.id", ondelete="CASCADE"), primary_key=True)
    default_line_id: Mapped[Name | None]
    default_voice_id: Mapped[Name | None]
    default_text: Mapped[str | None] = mapped_column(Text)
    default_country: Mapped[str | None] = mapped_column(String(2))
    # True: when the person who asked for a callback has lost access meanwhile, it is dialled under the portal's access.
    # The portal then does not check that person's rights, so an administrator has to allow it.
    stands_in: Mapped[bool] = mapped_column(server_default=stored(False))
    # When callbacks that nobody of staff asked for are dialled (calling/business_hours.py); None: always.
    hours: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # The kill switch: no form of this portal takes requests.
    websites_off: Mapped[bool] = mapped_column(server_default=stored(False))
    # Further dials after a staff callback that did not reach the customer; 0: none.
    retries: Mapped[int] = mapped_column(server_default=stored(0))
    retry_minutes: Mapped[int] = mapped_column(server_default=stored(10))
    # Calls under way at once on one line; None: as many as are due.
    line_cap: Mapped[int | None] = mapped_column(server_default=stored(10))
    # Callbacks of staff and of automation rules are shown in the timeline of their card; forms choose for themselves.
    shows_in_crm: Mapped[bool] = mapped_column(server_default=stored(False))
    # Who may start callbacks, and what the others see (services/portals/settings.py ``Roles``); None: all may.
    roles: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # The smart processes whose cards have a tab of ours, by type; None: none.
    smart_processes: Mapped[list[int] | None] = mapped_column(JSON)
    # Operators see everybody's callbacks; False: only those that they asked for or answered.
    shares_callbacks: Mapped[bool] = mapped_column(server_default=stored(True))
    # Operators see the figures of everybody in the reports; False: only their own.
    shares_reports: Mapped[bool] = mapped_column(server_default=stored(True))
    # Who is told what in the messenger (services/native/follow_up/choices.py); None: the usual people.
    notifications: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # Who last changed ``roles`` or ``stands_in``, which give rights to others.
    rights_changed_by: Mapped[int | None]
    revision: Mapped[Revision]

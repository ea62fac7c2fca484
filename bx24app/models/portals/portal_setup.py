"""How a portal is set up: how far its first run has got, and what the last setup check found."""

from typing import Any

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from bx24app.database import Base
from bx24app.models.columns import At, stored


class PortalSetup(Base):
    """One row per portal, made when there is something to keep."""

    __tablename__ = "portal_setup"

    portal_id: Mapped[int] = mapped_column(ForeignKey("portal.id", ondelete="CASCADE"), primary_key=True)
    # What administrators have said of the steps of the first run (diagnostics/first_run.py).
    steps: Mapped[dict[str, str]] = mapped_column(JSON, server_default=stored({}))
    # The first run is over, for everybody and for good; None: its card is shown.
    closed_at: Mapped[At | None]
    # The smart processes as the portal listed them last (services/portals/places/smart_processes.py); None: never.
    smart_processes: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    # What the last check found (diagnostics/kept.py), and when; None: nothing is known.
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSON, server_default=stored([]))
    checked_at: Mapped[At | None]

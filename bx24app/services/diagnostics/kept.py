"""What the last check of a portal found, kept for a while, so that opening the desk asks Bitrix24 nothing."""

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from flask import current_app

from bx24app.models import utcnow
from bx24app.services.diagnostics.findings import Finding
from bx24app.services.diagnostics.portal import examine_portal

CHECK_KEPT_SECONDS = 10 * 60
MAX_CHECKS_KEPT = 1000
_CHECKS = "bx24app.kept_checks"


@dataclass(frozen=True)
class PortalCheck:
    """The findings of one check, and when it was made."""

    findings: list[Finding]
    made_at: datetime
    until: float = field(default_factory=lambda: time.monotonic() + CHECK_KEPT_SECONDS)


def _checks() -> dict[int, PortalCheck]:
    return cast("dict[int, PortalCheck]", current_app.extensions.setdefault(_CHECKS, {}))


def kept_check(portal_id: int) -> PortalCheck | None:
    """The last check of a portal by this process; None when there is none, or it is too old."""
    kept = _checks().get(portal_id)
    return kept if kept is not None and time.monotonic() < kept.until else None


def check_portal(portal_id: int) -> PortalCheck:
    """Examine a portal anew and keep what was found; one request to the portal."""
    checks, made = _checks(), PortalCheck(examine_portal(portal_id), utcnow())
    if len(checks) >= MAX_CHECKS_KEPT:
        checks.clear()
    checks[portal_id] = made
    return made

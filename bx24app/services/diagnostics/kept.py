"""What the last check of a portal found, kept for a while, so that opening the desk asks Bitrix24 nothing."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError

from bx24app.database import is_postgresql, reading, writing
from bx24app.database.statements import insert_into
from bx24app.models import PortalSetup, utcnow
from bx24app.services.diagnostics.findings import Finding, Level
from bx24app.services.diagnostics.portal import examine_portal

CHECK_KEPT = timedelta(minutes=10)
# Public holidays are looked at for every region that a form has; words come from Bitrix24, names from people.
MAX_FINDINGS_KEPT = 50
MAX_FACT_KEPT = 500


@dataclass(frozen=True)
class PortalCheck:
    """The findings of one check, the worst first, and when it was made."""

    findings: list[Finding]
    made_at: datetime


def kept_check(setup: PortalSetup | None) -> PortalCheck | None:
    """The last check of a portal, whichever process made it; None when there is none, or it is too old."""
    if setup is None or setup.checked_at is None or not timedelta(0) <= utcnow() - setup.checked_at < CHECK_KEPT:
        return None
    return PortalCheck([_read(row) for row in setup.findings], setup.checked_at)


def load_check(portal_id: int) -> PortalCheck | None:
    """The same, read now."""
    with reading() as session:
        return kept_check(session.get(PortalSetup, portal_id))


def check_portal(portal_id: int) -> PortalCheck:
    """Examine a portal anew and keep what was found; one request to the portal. Commits."""
    worst_first = sorted(examine_portal(portal_id), key=lambda one: one.level.place)
    found, now = [_bounded(one) for one in worst_first[:MAX_FINDINGS_KEPT]], utcnow()
    kept = {"findings": [_written(one) for one in found], "checked_at": now}
    new = insert_into(PortalSetup, "postgresql" if is_postgresql() else "sqlite").values(portal_id=portal_id, **kept)
    # A portal that was removed meanwhile has nothing that could be kept.
    with suppress(IntegrityError), writing(single_statement=True) as session:
        session.execute(new.on_conflict_do_update(index_elements=["portal_id"], set_=kept))
    return PortalCheck(found, now)


def _bounded(finding: Finding) -> Finding:
    facts = {name: value[:MAX_FACT_KEPT] for name, value in finding.facts.items()}
    return Finding(finding.check, finding.level, finding.about, facts)


def _written(finding: Finding) -> dict[str, object]:
    return {"check": finding.check, "level": finding.level.value, "about": finding.about, "facts": dict(finding.facts)}


def _read(row: dict[str, object]) -> Finding:
    facts = row["facts"]
    assert isinstance(facts, dict)
    return Finding(str(row["check"]), Level(str(row["level"])), str(row["about"]), facts)

"""What is wrong with this installation, or with one portal; the doors put the findings into words."""

from bx24app.services.diagnostics.findings import Finding, Level
from bx24app.services.diagnostics.gauges import read_gauges
from bx24app.services.diagnostics.installation import examine_database, examine_installation, examine_readiness
from bx24app.services.diagnostics.kept import PortalCheck, check_portal, kept_check, load_check
from bx24app.services.diagnostics.portal import examine_portal, find_portal

__all__ = [
    "Finding",
    "Level",
    "PortalCheck",
    "check_portal",
    "examine_database",
    "examine_installation",
    "examine_portal",
    "examine_readiness",
    "find_portal",
    "kept_check",
    "load_check",
    "read_gauges",
]

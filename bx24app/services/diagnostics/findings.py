"""Findings of an examination, and those that both examinations make."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from bx24app.models import utcnow

# Tokens and signatures are judged by times: half a minute is forgiven everywhere.
MAX_CLOCK_DIFFERENCE = timedelta(seconds=30)


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"

    @property
    def place(self) -> int:
        """Where it stands among others: the worst first."""
        return (Level.PROBLEM, Level.WARNING, Level.OK).index(self)


@dataclass(frozen=True)
class Finding:
    """``check`` says what was looked at, ``about`` what was found; ``facts`` fill the sentence."""

    check: str
    level: Level
    about: str = "ok"
    facts: Mapping[str, str] = field(default_factory=dict)


def ok(check: str, **facts: str) -> Finding:
    """Make the finding that all is well; ``facts`` fill its sentence, as those of the others do."""
    return Finding(check, Level.OK, "ok", facts)


def warning(check: str, about: str, **facts: str) -> Finding:
    """Make the finding of something that should be mended."""
    return Finding(check, Level.WARNING, about, facts)


def problem(check: str, about: str, **facts: str) -> Finding:
    """Make the finding of something that keeps the app from working."""
    return Finding(check, Level.PROBLEM, about, facts)


def examine_clock(theirs: datetime) -> Finding:
    """Compare our clock with that of another server."""
    seconds = (utcnow() - theirs).total_seconds()
    if abs(seconds) > MAX_CLOCK_DIFFERENCE.total_seconds():
        return problem("clock", "ahead" if seconds > 0 else "behind", seconds=str(round(abs(seconds))))
    return ok("clock")

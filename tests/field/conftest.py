"""Thousands of odd things that real portals and people send."""

import pytest

from bx24app.services.runtime.local_limit import LocalLimit
from bx24app.services.security import proof_limits


@pytest.fixture(autouse=True)
def pages_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One person opens more pages here than people do in a minute."""
    monkeypatch.setattr(proof_limits, "LAUNCHES_OF_PERSON", LocalLimit("launches_of_person", 100_000))

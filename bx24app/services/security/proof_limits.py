"""What somebody who has proven nothing may make us ask: little, and nothing of it is stored.

Kept in memory by each process, for a row would be a write on behalf of a stranger. What was proven is given back: only
what was refused, or could not be answered, counts.
"""

import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import cast

from flask import current_app

from bx24app.errors import (
    AdministratorNeeded,
    Malformed,
    NotInstalled,
    OpenedElsewhere,
    Retry,
    TooManyLaunches,
    Unverified,
    VisitorRefused,
)
from bx24app.services.security import digests

STATE = "bx24app.proof_limits"
FAILURES_PER_ADDRESS = 30
FAILURES_PER_PORTAL = 60
# Questions about portals that we do not know, over all of them: who makes up their names makes up many.
UNKNOWN_PORTALS = 60
# Questions to a portal's own address, which count against the pace of its dials; more are asked of the
# authorization server first.
QUESTIONS_TO_PORTAL = 10
# The portal of a refused token may have moved, and somebody else live at its old address: looked at this often.
MOVES_LOOKED_AT = 1
BUCKET_SECONDS = 60.0
REFUSED_SECONDS = 60.0
# As long as an access token lives.
TOKEN_SECONDS = 3600.0
ADDRESS_SECONDS = 24 * 3600.0
MAX_REMEMBERED = 10_000
# Said of people whose token was proven.
_PROVEN = (NotInstalled, AdministratorNeeded, OpenedElsewhere, VisitorRefused)


class TooManyAttempts(Unverified):
    """So much was refused of this address or portal that nothing is asked for a while."""

    code = "rate_limited"
    reason = "too_many_attempts"
    status = 429
    retry = Retry.LATER
    retry_after = int(BUCKET_SECONDS)


@dataclass
class _Memory:
    lock: Lock = field(default_factory=Lock)
    # How much was taken, and when that was counted.
    taken: OrderedDict[Hashable, tuple[float, float]] = field(default_factory=OrderedDict)
    # Digests of tokens, with the moment until which their verdict stands.
    refused: OrderedDict[str, float] = field(default_factory=OrderedDict)
    proven: OrderedDict[str, float] = field(default_factory=OrderedDict)


def _memory() -> _Memory:
    return cast("_Memory", current_app.extensions.setdefault(STATE, _Memory()))


def _take(key: Hashable, size: int) -> bool:
    state, now = _memory(), time.monotonic()
    with state.lock:
        taken, at = state.taken.pop(key, (0.0, now))
        taken = max(0.0, taken - (now - at) * size / BUCKET_SECONDS)
        has_room = taken + 1 <= size
        state.taken[key] = (taken + has_room, now)
        _forget_oldest(state.taken)
    return has_room


def _give_back(*keys: Hashable) -> None:
    state = _memory()
    with state.lock:
        for key in keys:
            taken, at = state.taken.get(key, (0.0, 0.0))
            if taken:
                state.taken[key] = (max(0.0, taken - 1), at)


def _forget_oldest(kept: "OrderedDict[Hashable, tuple[float, float]] | OrderedDict[str, float]") -> None:
    while len(kept) > MAX_REMEMBERED:
        kept.popitem(last=False)


def _remember(kept: OrderedDict[str, float], digest: str, seconds: float) -> None:
    with _memory().lock:
        kept[digest] = time.monotonic() + seconds
        _forget_oldest(kept)


def _stands(kept: OrderedDict[str, float], digest: str) -> bool:
    return kept.get(digest, 0.0) > time.monotonic()


def _digest(member_id: str, token: str) -> str:
    return digests.digest("posted_token", f"{member_id}\0{token}")


@contextmanager
def proving(address: str, member_id: str, token: str) -> Iterator[None]:
    """Let a post be proven inside, if not too much was refused of its address and its portal; keep the verdict a while.

    What was refused of a portal keeps nobody out at whose address somebody has proven a token. Raises
    ``TooManyAttempts``, and ``Unverified`` for a token that was refused a moment ago.
    """
    if not token:
        raise Unverified("no access token")
    state, digest, place = _memory(), _digest(member_id, token), _digest(member_id, address)
    if _stands(state.refused, digest):
        raise Unverified("token refused a moment ago")
    buckets: dict[Hashable, int] = {("address", address): FAILURES_PER_ADDRESS}
    if not _stands(state.proven, digest) and not _stands(state.proven, place):
        buckets["portal", member_id] = FAILURES_PER_PORTAL
    if not all(_take(key, size) for key, size in buckets.items()):
        raise TooManyAttempts("too much was refused")
    try:
        yield
    except (Malformed, TooManyLaunches, *_PROVEN):
        _give_back(*buckets)
        raise
    except Unverified as error:
        if error.retry == Retry.NEVER:
            _remember(state.refused, digest, REFUSED_SECONDS)
        raise
    _give_back(*buckets)
    _remember(state.proven, digest, TOKEN_SECONDS)
    _remember(state.proven, place, ADDRESS_SECONDS)


def _was_proven(member_id: str, token: str) -> bool:
    return _stands(_memory().proven, _digest(member_id, token))


def may_ask_portal(member_id: str, token: str) -> bool:
    """Take one of the questions that unproven tokens may put to a portal; ``note_proof`` gives it back."""
    return _was_proven(member_id, token) or _take(("asked portal", member_id), QUESTIONS_TO_PORTAL)


def note_proof(member_id: str) -> None:
    """The token that was asked about is a good one."""
    _give_back(("asked portal", member_id))


def take_unknown() -> None:
    """Take one of the questions about portals that we do not know; raises ``TooManyAttempts``."""
    if not _take("unknown portals", UNKNOWN_PORTALS):
        raise TooManyAttempts("too many unknown portals")


def give_back_unknown() -> None:
    """Bitrix24 vouches for the portal that was asked about."""
    _give_back("unknown portals")


def may_look_for_move(member_id: str) -> bool:
    """Tell whether it is time to see if a portal has moved whose address refuses a token."""
    return _take(("move", member_id), MOVES_LOOKED_AT)

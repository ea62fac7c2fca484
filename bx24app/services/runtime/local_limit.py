"""Token buckets in memory: they bound what is not worth a row, or must not cause one.

Each process has its own, and a restart forgets them. What has to hold over all processes is ``rate_limit``.
"""

import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import cast

from flask import current_app

LIMITS_STATE = "bx24app.local_limits"
# The bucket that was used longest ago is forgotten first.
MAX_BUCKETS = 10_000


@dataclass(frozen=True)
class LocalLimit:
    """Buckets of ``size`` tokens, one for each key, that fill again in ``seconds``."""

    name: str
    size: float
    seconds: float = 60.0


@dataclass
class _Buckets:
    lock: Lock = field(default_factory=Lock)
    # By the limit's name and the key: how much was taken, and when that was counted.
    taken: dict[str, OrderedDict[Hashable, tuple[float, float]]] = field(default_factory=dict)


def _buckets() -> _Buckets:
    known = current_app.extensions.get(LIMITS_STATE)
    return cast("_Buckets", known or current_app.extensions.setdefault(LIMITS_STATE, _Buckets()))


def take_local(limit: LocalLimit, key: Hashable = None) -> bool:
    """Take a token; False where there is none."""
    state, now = _buckets(), time.monotonic()
    with state.lock:
        of_limit = state.taken.setdefault(limit.name, OrderedDict())
        taken, at = of_limit.pop(key, (0.0, now))
        taken = max(0.0, taken - (now - at) * limit.size / limit.seconds)
        has_room = taken + 1 <= limit.size
        of_limit[key] = (taken + has_room, now)
        if len(of_limit) > MAX_BUCKETS:
            of_limit.popitem(last=False)
    return has_room


def give_back(limit: LocalLimit, key: Hashable = None) -> None:
    """Put a token back that was taken."""
    state = _buckets()
    with state.lock:
        of_limit = state.taken.get(limit.name, OrderedDict())
        taken, at = of_limit.get(key, (0.0, 0.0))
        if taken:
            of_limit[key] = (max(0.0, taken - 1), at)

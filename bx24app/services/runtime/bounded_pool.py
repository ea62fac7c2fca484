"""Bounded threads for errands that wait for others, so that the worker itself never does."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import structlog
from flask import Flask

log = structlog.get_logger(__name__)
T = TypeVar("T")


class BoundedPool(Generic[T]):
    """``claim`` takes what is due, or None; ``run`` follows it. A claim that is lost ends with its lease."""

    def __init__(self, app: Flask, most: int, claim: Callable[[], T | None], run: Callable[[T], None]) -> None:
        self._app = app
        self._claim, self._run = claim, run
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="courier")
        self._free = threading.Semaphore(most)

    def start_due(self) -> int:
        """Hand everything due to a courier, as far as couriers are free; returns how many."""
        started = 0
        while self._free.acquire(blocking=False):
            claimed = self._claim()
            if claimed is None:
                self._free.release()
                break
            self._pool.submit(self._go, claimed)
            started += 1
        return started

    def _go(self, claimed: T) -> None:
        try:
            with self._app.app_context():
                self._run(claimed)
        except Exception:
            # One failure must not end the courier; the lease ends by itself, and another follows.
            log.exception("courier_failed")
        finally:
            self._free.release()

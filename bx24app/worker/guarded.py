"""Doing a job so that its failure ends nothing else."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

import structlog
from flask import Flask

from bx24app import metrics
from bx24app.errors import DatabaseBusy
from bx24app.log import begin_lines, end_lines
from bx24app.services.runtime import clock
from bx24app.services.runtime.removed_portals import unless_removed

log = structlog.get_logger(__name__)

T = TypeVar("T")


def run_guarded(
    app: Flask, job: str, step: str, work: Callable[[], T], fail: Callable[[], None], portal_id: int | None = None
) -> T | None:
    """Run a step of a job, ``lease`` or ``work``, in the app's context.

    A failure is logged, counted and told to ``fail``; a failed row is leased again. ``portal_id``: of the portal whose
    row is worked at: when that was removed meanwhile, nothing has failed. While the clock is doubted nothing begins.
    """
    began = time.monotonic()
    begin_lines(job=job)
    try:
        with app.app_context():
            if portal_id is None and clock.is_doubted():
                fail()
                return None
        with metrics.watch_job(job, step, DatabaseBusy), app.app_context():
            with nullcontext() if portal_id is None else unless_removed(portal_id):
                return work()
            return None
    except DatabaseBusy:
        log.warning("job_postponed", seconds=round(time.monotonic() - began, 3))
    except Exception:
        log.exception("job_failed", seconds=round(time.monotonic() - began, 3))
    finally:
        end_lines()
    fail()
    return None

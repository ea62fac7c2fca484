"""Doing a job so that its failure ends nothing else."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from flask import Flask

from bx24app import metrics
from bx24app.errors import DatabaseBusy
from bx24app.log import begin_lines, end_lines

log = structlog.get_logger(__name__)

T = TypeVar("T")


def run_guarded(app: Flask, job: str, step: str, work: Callable[[], T], fail: Callable[[], None]) -> T | None:
    """Run a step of a job, ``lease`` or ``work``, in the app's context.

    A failure is logged, counted and told to ``fail``; a failed row is leased again.
    """
    began = time.monotonic()
    begin_lines(job=job)
    try:
        with metrics.watch_job(job, step, DatabaseBusy), app.app_context():
            return work()
    except DatabaseBusy:
        log.warning("job_postponed", seconds=round(time.monotonic() - began, 3))
    except Exception:
        log.exception("job_failed", seconds=round(time.monotonic() - began, 3))
    finally:
        end_lines()
    fail()
    return None

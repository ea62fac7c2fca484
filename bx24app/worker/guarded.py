"""Doing a job so that its failure ends nothing else."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, NoResultFound, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError

from bx24app import metrics
from bx24app.database import reading
from bx24app.errors import DatabaseBusy
from bx24app.log import begin_lines, end_lines
from bx24app.models import Portal, PortalState

log = structlog.get_logger(__name__)

T = TypeVar("T")
# What a row that has gone, or its portal, makes of reading and writing.
ROW_GONE = (NoResultFound, IntegrityError, StaleDataError)


def run_guarded(
    app: Flask, job: str, step: str, work: Callable[[], T], fail: Callable[[], None], portal_id: int | None = None
) -> T | None:
    """Run a step of a job, ``lease`` or ``work``, in the app's context.

    A failure is logged, counted and told to ``fail``; a failed row is leased again. ``portal_id``: of the portal whose
    row is worked at. When that was removed meanwhile, there is nothing more to do, and nothing has failed.
    """
    began = time.monotonic()
    begin_lines(job=job)
    try:
        with metrics.watch_job(job, step, DatabaseBusy), app.app_context():
            try:
                return work()
            except ROW_GONE:
                if portal_id is None or not _is_removed(portal_id):
                    raise
                log.info("portal_removed_meanwhile")
                return None
    except DatabaseBusy:
        log.warning("job_postponed", seconds=round(time.monotonic() - began, 3))
    except Exception:
        log.exception("job_failed", seconds=round(time.monotonic() - began, 3))
    finally:
        end_lines()
    fail()
    return None


def _is_removed(portal_id: int) -> bool:
    try:
        with reading() as session:
            # One that keeps its settings has lost all rows at which jobs work.
            there = select(Portal.id).where(Portal.id == portal_id, Portal.state != PortalState.UNINSTALLED)
            return session.scalar(there) is None
    except SQLAlchemyError:
        return False  # Nobody can say.

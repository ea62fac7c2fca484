"""Rules of the CRM's automation: registered, run for documents, and worked on as a worker does."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select, update

from bx24app.database import reading, writing
from bx24app.models import Callback, RuleRun, Throttle, utcnow
from bx24app.services.native.automation import registration, rule_results
from bx24app.worker.jobs import background_jobs
from bx24app.worker.scheduler import LeasedJob
from tests.fake_bitrix24 import FakeApp, FakePortal
from tests.fake_bitrix24.automation import RuleStep
from tests.support.actors import Actor
from tests.support.waiting import change_portal

Runs = Callable[..., RuleStep]
ONCE, WAITS = "callback_start", "callback_start_wait"
LINE = "reg150907"


@pytest.fixture
def registered(app: Flask, manager: Actor, portal: FakePortal) -> FakePortal:
    """A portal whose administrators find our rules; tables of many runs need more than a plan's pace."""
    change_portal(app, license_family="selfhosted")
    with app.app_context():
        assert registration.register_due() == 1
    return portal


@pytest.fixture
def runs(registered: FakePortal, application: FakeApp) -> Runs:
    """Let a rule run for a document, until its post is answered."""

    def run(code: str, document: str, **properties: object) -> RuleStep:
        step = registered.automation.run(application, code, document, properties=properties)
        registered.events.wait_until_idle()
        return step

    return run


def job_of_rules() -> LeasedJob:
    """The job that works on runs."""
    return next(job for job in background_jobs() if isinstance(job, LeasedJob) and job.name == "work_on_rules")


def worked(app: Flask, most: int = 20) -> int:
    """Everything that is due for rules is done, here and now; returns how many runs were worked on."""
    job, done = job_of_rules(), 0
    with app.app_context():
        rule_results.end_runs()
        while done < most and (leases := job.lease(1)):
            job.work(leases[0])
            done += 1
    return done


def stored(app: Flask) -> list[Callback]:
    """All callbacks, in their order."""
    with app.app_context(), reading() as session:
        return list(session.scalars(select(Callback).order_by(Callback.id)))


def runs_of(app: Flask) -> list[RuleRun]:
    """All runs that are stored, in their order."""
    with app.app_context(), reading() as session:
        return list(session.scalars(select(RuleRun).order_by(RuleRun.id)))


def make_runs_due(app: Flask) -> None:
    """What waits for its next try, or was leased by a worker that died, is due now."""
    with app.app_context(), writing() as session:
        session.execute(update(RuleRun).where(RuleRun.due_at.is_not(None)).values(due_at=utcnow()))
        session.execute(update(RuleRun).values(leased_until=None))
        session.execute(update(Throttle).values(level=0, dial_at=None, half_free_at=None, spare_at=None))

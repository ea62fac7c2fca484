"""Commands of the operator, in the process of the test."""

import contextlib
from collections.abc import Callable

import pytest
from flask import Flask

from bx24app.database import db
from tests.fake_bitrix24 import FakeBitrix24
from tests.support import database

Operate = Callable[..., str]


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's own programs, as an operator has them."""
    monkeypatch.setenv("PATH", database.path_with_programs())


@pytest.fixture
def operate(app: Flask, fake: FakeBitrix24) -> Operate:
    """Run ``flask --app app ...`` with nothing else connected in this process; returns what it has printed."""

    def run(*arguments: object, status: int = 0) -> str:
        with app.app_context():
            # A connection that is lent while its pool is given up, as to whoever answers an event, stays open.
            for portal in fake.portals.values():
                with contextlib.suppress(TimeoutError):  # Those that a test holds back stay.
                    portal.events.wait_until_idle(1)
            db.engine.dispose()
        done = app.test_cli_runner().invoke(args=[str(one) for one in arguments])
        assert done.exit_code == status, (done.output, done.exception)
        return done.output

    return run

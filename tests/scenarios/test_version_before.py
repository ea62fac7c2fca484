"""While an upgrade is under way the version before serves: its own code, on the schema of this one."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bx24app.database.migrations import newest_revision, steps_that_need_a_stop
from tests.attack import world as worlds
from tests.attack.deployment import deployed, documented_commands
from tests.attack.world import World
from tests.conftest import plain_environ
from tests.fake_bitrix24 import FakeBitrix24
from tests.support import database
from tests.support.actors import json_of
from tests.support.processes import kill, start
from tests.support.version_before import VersionBefore, version_before

pytestmark = pytest.mark.long


@pytest.fixture
def before() -> Iterator[VersionBefore]:
    with version_before() as found:
        if found is None:
            pytest.skip("the sources have no history here")
        if steps := steps_that_need_a_stop(found.revision):
            pytest.skip(f"{[step.revision for step in steps]} said that it needs a stop")
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with the schema of this version."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield stack.enter_context(database.copied_database(request.getfixturevalue("sqlite_template")))
        else:
            url = stack.enter_context(database.fresh_database(request.getfixturevalue("postgres")))
            database.migrate_here({**plain_environ(), "BX24APP_DATABASE_URL": url})
            yield url


def calls_to_the_end(world: World) -> None:
    """Somebody calls, a website asks, and both talk to the customer."""
    calls = world.neighbour.portal.telephony.calls
    world.neighbour_works()
    call = calls[-1]
    call.manager_answers()
    call.customer_answers()
    call.hang_up()
    worlds.wait_for(lambda: state_of(world, call.number) == "completed")


def state_of(world: World, number: str) -> str:
    listed = json_of(world.neighbour.asks("GET", "/callbacks"))["callbacks"]
    return next(str(one["state"]) for one in listed if one["to_number"] == number)


def test_the_version_before_works_on_this_schema(before: VersionBefore, url: str, tmp_path: Path) -> None:
    """Installations, a removal, forms, keys, webhooks, websites and calls; then beside a worker of this version."""
    assert before.revision <= newest_revision()
    with FakeBitrix24() as fake, deployed(fake, url, tmp_path, before.folder) as deployment:
        world = worlds.build(deployment)
        calls_to_the_end(world)
        assert world.neighbour.opens().status_code == 200
        _, old_worker = deployment.processes
        kill(old_worker)
        with (tmp_path / "new-worker.log").open("wb") as log:
            new_worker = start(documented_commands(deployment.port)["worker"], deployment.environ, log)
        try:
            calls_to_the_end(world)
        finally:
            kill(new_worker)
        said = deployment.said() + (tmp_path / "new-worker.log").read_text()
    assert not [line for line in said.splitlines() if '"level": "error"' in line]

"""One deployment for all attacks on one kind of database."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.attack import world as worlds
from tests.attack.deployment import deployed
from tests.attack.world import World
from tests.conftest import plain_environ
from tests.fake_bitrix24 import FakeBitrix24
from tests.support import database


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The app as deployed, with two portals that use it."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = stack.enter_context(database.copied_database(request.getfixturevalue("sqlite_template")))
        else:
            url = stack.enter_context(database.fresh_database(request.getfixturevalue("postgres")))
            database.migrate_here({**plain_environ(), "BX24APP_DATABASE_URL": url})
        fake = stack.enter_context(FakeBitrix24())
        yield worlds.build(stack.enter_context(deployed(fake, url, tmp_path_factory.mktemp("logs"))))

"""Find the migrations and bring a database up to date."""

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, column, inspect, select, table

from bx24app.database.sole_use import sole_connection
from bx24app.database.transactions import reading
from bx24app.errors import CommandRefused

PROJECT = Path(__file__).parent.parent.parent
# Under this name ``migrations/env.py`` finds the connection that it is to use.
CONNECTION = "connection"
# The migrations before it were written for an app that stands still.
FIRST_THAT_SAYS = "0033"
_VERSION = table("alembic_version", column("version_num"))
ALL_STAND_STILL = "it was written for an app that stands still"


def alembic_config() -> Config:
    """Read Alembic's settings from ``pyproject.toml``."""
    return Config(toml_file=PROJECT / "pyproject.toml")


def app_version() -> str:
    """The version of this program."""
    return str(tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


@cache
def _scripts() -> ScriptDirectory:
    """The migrations of this program: reading all of them takes long."""
    return ScriptDirectory.from_config(alembic_config())


def newest_revision() -> str:
    """The revision that this program needs."""
    return _scripts().get_current_head() or ""


def is_known(revision: str) -> bool:
    """Tell whether this program has the migration; if not, a newer one has made it."""
    return any(script.revision == revision for script in _scripts().walk_revisions())


def revision_of(connection: Connection) -> str | None:
    """The revision that a database is at; None: it was never migrated."""
    # Alembic's own context writes a line into the log each time.
    if not inspect(connection).has_table(_VERSION.name):
        return None
    found = connection.scalar(select(_VERSION.c.version_num))
    return None if found is None else str(found)


def reason_to_stop(script: Script) -> str | None:
    """Why the version before must not run while a migration is applied; None: it may.

    Every migration says so since ``FIRST_THAT_SAYS`` (docs/development.md, "Add a migration").
    """
    return script.module.needs_stop if script.revision >= FIRST_THAT_SAYS else ALL_STAND_STILL


def steps_that_need_a_stop(present: str | None, target: str = "head") -> Sequence[Script]:
    """The steps from a revision to a later one during which nothing else may run, in order.

    None for an empty database: no version serves from it.
    """
    if present is None:
        return []
    steps = list(_scripts().iterate_revisions(target, present))[::-1]
    return [step for step in steps if reason_to_stop(step) is not None]


def upgrade_database(revision: str = "head") -> None:
    """Upgrade the current app's database to ``revision``; idempotent.

    Web and worker of the version before may serve meanwhile, unless a step needs a stop. Then nothing is done while
    they run, and ``DatabaseInUse`` names the step. Raises ``CommandRefused`` for a newer database.
    """
    with reading() as session:
        present = revision_of(session.connection())
    if present is not None and not is_known(present):
        raise CommandRefused(
            f"The database is at migration {present}, which a newer version of the app has made. This is "
            f"{app_version()}, and knows migrations up to {newest_revision()}: install the newer version again."
        )
    stops = steps_that_need_a_stop(present, revision)
    if not stops:
        command.upgrade(alembic_config(), revision)
        return
    named = ", ".join(f"{step.revision} ({reason_to_stop(step)})" for step in stops)
    with sole_connection(f"The upgrade needs a stop, because of {named}") as connection:
        migrate(connection, revision)


def migrate(connection: Connection, revision: str = "head") -> None:
    """Upgrade the database of a connection; inside its transaction, if it has begun one."""
    config = alembic_config()
    config.attributes[CONNECTION] = connection
    command.upgrade(config, revision)

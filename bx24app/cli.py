"""The operator's commands under ``flask --app app``."""

from pathlib import Path

import click
from alembic import command
from alembic.config import Config
from flask import Flask
from flask.cli import AppGroup

PROJECT = Path(__file__).parent.parent

database = AppGroup("db", help="Migrations of the database.")


def _alembic() -> Config:
    return Config(toml_file=PROJECT / "pyproject.toml")


def upgrade_database(revision: str = "head") -> None:
    """Bring the current app's database up to ``revision``; idempotent."""
    command.upgrade(_alembic(), revision)


@database.command("upgrade")
@click.argument("revision", default="head")
def upgrade(revision: str) -> None:
    """Apply the migrations up to REVISION."""
    upgrade_database(revision)


@database.command("downgrade")
@click.argument("revision")
def downgrade(revision: str) -> None:
    """Take migrations back down to REVISION ("base" for all of them)."""
    command.downgrade(_alembic(), revision)


@database.command("current")
def current() -> None:
    """Show the revision that the database is at."""
    command.current(_alembic(), verbose=True)


@database.command("check")
def check() -> None:
    """Fail when the models have changed without a migration."""
    command.check(_alembic())


@database.command("revision")
@click.argument("message")
def revision(message: str) -> None:
    """Write a new migration from the difference between models and database."""
    command.revision(_alembic(), message, autogenerate=True)


def init_app(app: Flask) -> None:
    """Add the commands."""
    app.cli.add_command(database)

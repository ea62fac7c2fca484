"""The operator's commands under ``flask --app app``."""

import click
from alembic import command
from flask import Flask
from flask.cli import AppGroup

from bx24app.migrations import alembic_config, upgrade_database

database = AppGroup("db", help="Migrations of the database.")


@database.command("upgrade")
@click.argument("revision", default="head")
def upgrade(revision: str) -> None:
    """Apply the migrations up to REVISION."""
    upgrade_database(revision)


@database.command("downgrade")
@click.argument("revision")
def downgrade(revision: str) -> None:
    """Take migrations back down to REVISION ("base" for all of them)."""
    command.downgrade(alembic_config(), revision)


@database.command("current")
def current() -> None:
    """Show the revision that the database is at."""
    command.current(alembic_config(), verbose=True)


@database.command("check")
def check() -> None:
    """Fail when the models have changed without a migration."""
    command.check(alembic_config())


@database.command("revision")
@click.argument("message")
def revision(message: str) -> None:
    """Write a new migration from the difference between models and database."""
    command.revision(alembic_config(), message, autogenerate=True)


def init_app(app: Flask) -> None:
    """Add the commands."""
    app.cli.add_command(database)

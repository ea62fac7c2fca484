"""The operator's commands under ``flask --app app``."""

import json

import click
from alembic import command
from flask import Flask
from flask.cli import AppGroup, with_appcontext
from flask_babel import force_locale

from bx24app.database.migrations import alembic_config, upgrade_database
from bx24app.messages.diagnostics import as_document, describe
from bx24app.services import diagnostics
from bx24app.services.security import key_rotation

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


@click.command("doctor")
@click.argument("member_id", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print findings for programs.")
@with_appcontext
def examine(member_id: str | None, *, as_json: bool) -> None:
    """Say what is wrong with this installation, or with the portal MEMBER_ID, and how to mend it.

    Ends with status 1 when something is wrong.
    """
    if member_id is None:
        found = diagnostics.examine_installation()
    else:
        portal_id = diagnostics.find_portal(member_id)
        if portal_id is None:
            raise click.ClickException(f"No portal with the member_id {member_id} has ever installed the app.")
        found = diagnostics.examine_portal(portal_id)
    with force_locale("en"):
        document = as_document(told := describe(found))
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        for one in told:
            sentence = " ".join(filter(None, (one.sentence, one.at)))
            click.echo(f"{one.level:8} {one.title}: {sentence}" + (f"\n         -> {one.mend}" if one.mend else ""))
    if not document["ok"]:
        raise SystemExit(1)


@click.command("rotate-keys")
@with_appcontext
def rotate_keys() -> None:
    """Seal everything anew under the first of BX24APP_ENCRYPTION_KEYS; may run while the app works."""
    sealed = key_rotation.rotate_keys()
    click.echo(f"{sealed} values sealed anew. The older keys are no longer needed once every process has the new ones.")


def init_app(app: Flask) -> None:
    """Add the commands."""
    for command_of_ours in (database, examine, rotate_keys):
        app.cli.add_command(command_of_ours)

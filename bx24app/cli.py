"""The operator's commands under ``flask --app app``."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path

import click
from alembic import command
from flask import Flask
from flask.cli import AppGroup, with_appcontext
from flask_babel import force_locale
from sqlalchemy.exc import OperationalError

from bx24app import backups
from bx24app.backups import PortalRenewal, Restored
from bx24app.crypto import SealError
from bx24app.database.migrations import alembic_config, upgrade_database
from bx24app.errors import CommandRefused, DatabaseBusy, InvalidNumber, NotFound, NumberInHand
from bx24app.messages.diagnostics import as_document, describe
from bx24app.messages.reasons import reason_sentence
from bx24app.models import Portal
from bx24app.services import diagnostics, privacy
from bx24app.services.privacy import KnownNumber
from bx24app.services.security import key_rotation

database = AppGroup("db", help="Migrations of the database.")


@contextmanager
def _told() -> Iterator[None]:
    """Tell the operator why a command is not done; its status is 1 then."""
    try:
        yield
    except CommandRefused as error:
        raise click.ClickException(str(error)) from None
    except OperationalError as error:
        raise click.ClickException(f"The database cannot be used: {str(error.orig).strip()}") from None


@database.command("upgrade")
@click.argument("revision", default="head")
def upgrade(revision: str) -> None:
    """Apply the migrations up to REVISION, while the version before serves where every step allows it."""
    with _told():
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
            raise click.ClickException(_no_portal(member_id))
        try:
            found = diagnostics.examine_portal(portal_id)
        except SealError:
            raise click.ClickException(
                "A value of this portal is sealed under a key that is not in BX24APP_ENCRYPTION_KEYS: put it there."
            ) from None
    with force_locale("en"):
        document = as_document(told := describe(found))
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        for one in told:
            sentence = " ".join(filter(None, (one.sentence, one.at)))
            click.echo(_shown(f"{one.level:8} {one.title}: {sentence}"))
            if one.mend:
                click.echo(_shown(f"         -> {one.mend}"))
    if not document["ok"]:
        raise SystemExit(1)


def _shown(line: str) -> str:
    """A line in which nothing that a portal has said steers the terminal, or turns the line around."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


@click.command("rotate-keys")
@with_appcontext
def rotate_keys() -> None:
    """Seal everything anew under the first of BX24APP_ENCRYPTION_KEYS; may run while the app works."""
    sealed = key_rotation.rotate_keys()
    click.echo(f"{sealed} values sealed anew. The older keys are no longer needed once every process has the new ones.")


def _find_everywhere(number: str, member_id: str | None) -> list[tuple[Portal, KnownNumber]]:
    typed = sys.stdin.readline() if number == "-" else number
    try:
        return privacy.find_everywhere(typed, member_id)
    except InvalidNumber as error:
        with force_locale("en"):
            raise click.ClickException(reason_sentence(error.explanation)) from None
    except NotFound:
        raise click.ClickException(_no_portal(member_id)) from None


def _no_portal(member_id: str | None) -> str:
    return f"No portal with the member_id {member_id} has ever installed the app."


_number = click.argument("number")
_member_id = click.option("--portal", "member_id", help="Look in the portal with this member_id alone.")


@click.command("export")
@_number
@_member_id
@with_appcontext
def export_number(number: str, member_id: str | None) -> None:
    """Write all that is kept about NUMBER as JSON, portal by portal.

    With - as NUMBER it is read from the standard input, so that neither the shell nor a list of processes has it.
    """
    known = _find_everywhere(number, member_id)
    portals = [{"member_id": portal.member_id, "domain": portal.domain, **asdict(one)} for portal, one in known]
    click.echo(json.dumps({"portals": portals}, indent=2, default=_written, ensure_ascii=False))


def _written(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


@click.command("erase")
@_number
@_member_id
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask first.")
@with_appcontext
def erase_number(number: str, member_id: str | None, *, is_sure: bool) -> None:
    """Erase all that is kept about NUMBER, in every portal; on a do-not-call list a keyed digest stays.

    With - as NUMBER it is read from the standard input, so that neither the shell nor a list of processes has it. Ends
    with status 1 when something was left, because a phone may be ringing or the database was busy.
    """
    known = _find_everywhere(number, member_id)
    if not known:
        click.echo("Nothing is kept about this number.")
        return
    for portal, one in known:
        told = ", ".join(f"{name} {count}" for name, count in one.counts.items() if count)
        click.echo(f"{portal.domain} ({portal.member_id}): {told}")
    if not is_sure:
        click.confirm("Erase all of this?", abort=True)
    left = [reason for portal, one in known if (reason := _erase(portal, one))]
    for reason in left:
        click.echo(reason, err=True)
    if left:
        raise SystemExit(1)
    click.echo("Erased. Backups made before still hold it, and to-dos and notifications in Bitrix24 may name it.")


def _erase(portal: Portal, known: KnownNumber) -> str | None:
    """Erase what a portal keeps; returns why something was left."""
    try:
        privacy.erase_number(portal, known.number, known.number, None)
    except NumberInHand:
        return f"{portal.domain}: a phone may be ringing because of it. Try again when the call has ended."
    except DatabaseBusy:
        return f"{portal.domain}: not everything was erased, for the database was busy. Try again."
    return None


_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.command("backup")
@_file
@click.option("--replace", "replaces", is_flag=True, help="Replace FILE where it is there already.")
@with_appcontext
def back_up(file: Path, *, replaces: bool) -> None:
    """Write the whole database into FILE, for its owner alone; may run while the app works.

    FILE appears only when it is whole and was read once. It holds the keys of portals sealed, but numbers plainly.
    """
    with _told():
        backups.back_up(file, replaces=replaces)
    click.echo(f"{file}: {file.stat().st_size} bytes.")


@click.command("restore")
@_file
@click.option("--replace", "replaces", is_flag=True, help="Lose what is in the present database.")
@click.option("--renew", "renews", is_flag=True, help="Then ask for new tokens of every portal, and name who has none.")
@with_appcontext
def restore(file: Path, *, replaces: bool, renews: bool) -> None:
    """Put the backup in FILE in the place of the database, while nothing of the app runs.

    Where it is not done, the database is what it was. What was not over at the time of the backup is not dialled:
    the call history or a person says what became of it. --renew makes the tokens of the backup useless elsewhere, so it
    is for the machine that takes over, and for no trial.
    """
    with _told():
        restored = backups.restore(file, replaces=replaces)
    for line in _restored_lines(restored):
        click.echo(line)
    if renews:
        lost = [one for one in backups.renew_every_portal() if _tell_renewal(one)]
        click.echo(f"{len(lost)} portals are disconnected until one of their administrators opens the app.")


def _restored_lines(restored: Restored) -> Iterator[str]:
    made_at = restored.made_at.isoformat(timespec="seconds")
    yield f"Restored what was backed up at {made_at} (version {restored.version})."
    lost = restored.unsettled
    yield f"{lost.callbacks} callbacks were not over then. None is dialled by itself; people see each in the desk:"
    yield from (f"  {domain}: {count}" for domain, count in sorted(lost.by_portal.items()))
    if lost.rule_runs:
        yield f"{lost.rule_runs} runs of automation rules were ended without a call."
    yield "What was erased, revoked or put on a do-not-call list since then has to be done again."


def _tell_renewal(one: PortalRenewal) -> bool:
    """Tell what came of the renewal of a portal's tokens; returns whether it is disconnected."""
    told = f"renewed {one.renewed}, refused {one.refused}, no answer {one.unanswered}"
    click.echo(f"  {one.domain} ({one.member_id}): {told}{'; disconnected' if one.is_disconnected else ''}")
    return one.is_disconnected


def init_app(app: Flask) -> None:
    """Add the commands."""
    for command_of_ours in (database, examine, rotate_keys, export_number, erase_number, back_up, restore):
        app.cli.add_command(command_of_ours)

"""Lines and settings of a portal in tables of their own, where one of them is changed without all others."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

AT = sa.DateTime(timezone=True)


def _settings() -> list[sa.Column[Any]]:
    """The columns that move; made anew for each table."""
    return [
        sa.Column("default_line_id", sa.String(length=255), nullable=True),
        sa.Column("default_voice_id", sa.String(length=255), nullable=True),
        sa.Column("default_text", sa.Text(), nullable=True),
        sa.Column("default_country", sa.String(length=2), nullable=True),
        sa.Column("stands_in", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("hours", sa.JSON(), nullable=True),
        sa.Column("websites_off", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("retries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_minutes", sa.Integer(), server_default=sa.text("10"), nullable=False),
        sa.Column("line_cap", sa.Integer(), server_default=sa.text("10"), nullable=True),
    ]


SETTINGS = [column.name for column in _settings()]
NAMES = ", ".join(SETTINGS)
LISTS = ("foreign_lines", "redialling_lines", "stopped_lines")
MAX_NAME = 255

LINE = sa.table(
    "portal_line",
    *(sa.column(name) for name in ("portal_id", "line_id", "name", "position")),
    sa.column("is_foreign", sa.Boolean()),
    *(sa.column(name, AT) for name in ("redials_seen_at", "stopped_until")),
)
PORTAL = sa.table(
    "portal",
    sa.column("id"),
    sa.column("lines_fetched_at", AT),
    *(sa.column(name, sa.JSON(none_as_null=True)) for name in ("lines", *LISTS)),
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "portal_settings",
        sa.Column("portal_id", sa.Integer(), nullable=False),
        *_settings(),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portal.id"], name=op.f("fk_portal_settings_portal_id_portal"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("portal_id", name=op.f("pk_portal_settings")),
    )
    op.create_table(
        "portal_line",
        sa.Column("portal_id", sa.Integer(), nullable=False),
        sa.Column("line_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("is_foreign", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("redials_seen_at", AT, nullable=True),
        sa.Column("stopped_until", AT, nullable=True),
        sa.ForeignKeyConstraint(
            ["portal_id"], ["portal.id"], name=op.f("fk_portal_line_portal_id_portal"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("portal_id", "line_id", name=op.f("pk_portal_line")),
    )
    op.execute(
        f"INSERT INTO portal_settings (portal_id, {NAMES}, revision) "  # noqa: S608  Constants alone.
        f"SELECT id, {NAMES}, revision FROM portal"
    )
    for portal in op.get_bind().execute(sa.select(PORTAL)).all():
        for row in _rows(portal):
            op.execute(LINE.insert().values(row))
    with op.batch_alter_table("portal") as table:
        for name in ("lines", *LISTS, *SETTINGS):
            table.drop_column(name)


def _rows(portal: sa.Row[Any]) -> Iterator[dict[str, Any]]:
    """The lines of a portal; a marked one that it does not list any more is kept without a name."""
    names = dict(portal.lines or {})
    marks = (portal.foreign_lines or [], portal.redialling_lines or {}, portal.stopped_lines or {})
    foreign, redialling, stopped = marks
    unlisted = [line_id for line_id in dict.fromkeys([*foreign, *redialling, *stopped]) if line_id not in names]
    for position, line_id in enumerate([*names, *unlisted]):
        if len(line_id) <= MAX_NAME:  # No callback can name a longer one.
            yield {
                "portal_id": portal.id,
                "line_id": line_id,
                "name": str(names.get(line_id, ""))[:MAX_NAME],
                "position": position if line_id in names else None,
                "is_foreign": line_id in foreign,
                "redials_seen_at": _moment(redialling.get(line_id)),
                "stopped_until": _moment(stopped.get(line_id)),
            }


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("portal") as table:
        for name, empty in zip(LISTS, ("[]", "{}", "{}"), strict=True):
            table.add_column(sa.Column(name, sa.JSON(), nullable=False, server_default=empty))
        table.add_column(sa.Column("lines", sa.JSON(), nullable=True))
        for column in _settings():
            table.add_column(column)
    for name in SETTINGS:
        op.execute(
            f"UPDATE portal SET {name} = "  # noqa: S608  Constants alone.
            f"(SELECT {name} FROM portal_settings WHERE portal_settings.portal_id = portal.id)"
        )
    for id, fetched_at in op.get_bind().execute(sa.select(PORTAL.c.id, PORTAL.c.lines_fetched_at)).all():
        found = op.get_bind().execute(sa.select(LINE).where(LINE.c.portal_id == id).order_by(LINE.c.position)).all()
        listed = {line.line_id: line.name for line in found if line.position is not None}
        values = {
            "lines": listed if listed or fetched_at is not None else None,
            "foreign_lines": sorted(line.line_id for line in found if line.is_foreign),
            "redialling_lines": _texts(found, "redials_seen_at"),
            "stopped_lines": _texts(found, "stopped_until"),
        }
        op.execute(PORTAL.update().where(PORTAL.c.id == id).values(values))
    with op.batch_alter_table("portal") as table:
        for name in (*LISTS, *(column.name for column in _settings() if column.server_default is not None)):
            table.alter_column(name, server_default=None)
    op.drop_table("portal_line")
    op.drop_table("portal_settings")


def _texts(found: Sequence[sa.Row[Any]], name: str) -> dict[str, str]:
    return {line.line_id: _aware(moment).isoformat() for line in found if (moment := getattr(line, name)) is not None}


def _aware(moment: datetime) -> datetime:
    # SQLite keeps no zone: all times are UTC.
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

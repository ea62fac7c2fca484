"""Find the migrations and bring a database up to date."""

from pathlib import Path

from alembic import command
from alembic.config import Config

PROJECT = Path(__file__).parent.parent.parent


def alembic_config() -> Config:
    """Read Alembic's settings from ``pyproject.toml``."""
    return Config(toml_file=PROJECT / "pyproject.toml")


def upgrade_database(revision: str = "head") -> None:
    """Upgrade the current app's database to ``revision``; idempotent."""
    command.upgrade(alembic_config(), revision)

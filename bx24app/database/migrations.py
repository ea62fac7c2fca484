"""Where the migrations are, and bringing a database up to date."""

from pathlib import Path

from alembic import command
from alembic.config import Config

PROJECT = Path(__file__).parent.parent.parent


def alembic_config() -> Config:
    """Alembic's settings, from ``pyproject.toml``."""
    return Config(toml_file=PROJECT / "pyproject.toml")


def upgrade_database(revision: str = "head") -> None:
    """Bring the current app's database up to ``revision``; idempotent."""
    command.upgrade(alembic_config(), revision)

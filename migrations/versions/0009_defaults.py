"""Defaults in the database, where every way to insert a row finds them."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

OFF, ON, ZERO = sa.false(), sa.true(), sa.text("0")
DEFAULTS: dict[str, dict[str, Any]] = {
    "portal": {"state": "installed", "status": "F", "language": "en", "removal_keeps_settings": OFF},
    "portal_user": {"is_administrator": OFF},
    "credential": {"state": "alive", "generation": ZERO, "lease_fence": ZERO},
    "pace": {"level": sa.text("0.0")},
    "form": {
        "is_on": ON,
        "allowed_countries": "[]",
        "blocked_prefixes": "[]",
        "allowed_prefixes": "[]",
        "allowed_origins": "[]",
        "fields": '{"name": "optional", "topic": "off"}',
        "topics": "[]",
        "consent_version": ZERO,
        "languages": '["en", "ru"]',
        "limits": '{"address_hour": 5, "number_day": 3, "form_hour": 60, "form_day": 300}',
        "colour": "#0075ff",
        "creates_lead": OFF,
        "retries": sa.text("2"),
        "retry_minutes": sa.text("10"),
        "unknown_policy": "ask",
        "expiry_minutes": sa.text("60"),
    },
    "callback": {"holds_number": OFF, "lease_fence": ZERO},
    "attempt": {"outcome": "dialling"},
    "website_request": {
        "name": "",
        "topic": "",
        "page": "",
        "utm": "{}",
        "language": "en",
        "crm_state": "",
        "crm_asks": ZERO,
        "lease_fence": ZERO,
    },
    "refusal": {"count": sa.text("1")},
    "budget_day": {"calls": ZERO},
    "webhook": {"is_on": ON, "failures": ZERO, "lease_fence": ZERO},
    "webhook_delivery": {"attempts": ZERO},
}


def upgrade() -> None:
    """Apply."""
    for name, defaults in DEFAULTS.items():
        with op.batch_alter_table(name) as table:
            for column, default in defaults.items():
                table.alter_column(column, server_default=default)


def downgrade() -> None:
    """Take back."""
    for name, defaults in DEFAULTS.items():
        with op.batch_alter_table(name) as table:
            for column in defaults:
                table.alter_column(column, server_default=None)

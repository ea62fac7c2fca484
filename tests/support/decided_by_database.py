"""Which stories a database decides: ``make test`` plays them on PostgreSQL too, ``make check`` all the others."""

from pathlib import Path

MODULES = frozenset(
    {
        "test_accept",
        "test_callbacks",
        "test_database_connections",
        "test_database_errors",
        "test_dialling_promise",
        "test_idempotency_keys",
        "test_integrity_errors",
        "test_list_plans",
        "test_migrations",
        "test_query_plans",
        "test_secrets",
        "test_simultaneous_actions",
        "test_submission_processes",
        "test_token_renewal",
        "test_waking",
        "test_webhook_backlog",
    }
)


def is_decided_by_database(path: Path) -> bool:
    """Tell whether a test module is of what SQLite and PostgreSQL do in different ways.

    That is transactions of two processes, locks, the order of statements, plans, migrations and types of columns.
    """
    return path.stem in MODULES

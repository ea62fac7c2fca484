"""Which stories no database decides: what is read, refused, said or shown, and by whom."""

from pathlib import Path

FOLDERS = frozenset({"attack", "field"})
MODULES = frozenset(
    {
        "test_api_keys",
        "test_app_events",
        "test_benchmarks",
        "test_decoys",
        "test_dripping_portals",
        "test_error_table",
        "test_forged_calls",
        "test_forged_tickets",
        "test_form_countries",
        "test_fuzz_api",
        "test_fuzz_posts",
        "test_hostile_texts",
        "test_launch",
        "test_odd_input",
        "test_on_premise",
        "test_openapi",
        "test_platform_facts",
        "test_prefer_wait",
        "test_retry_policy",
        "test_roles",
        "test_rule_table",
        "test_silent_portals",
        "test_slow_clients",
        "test_status_page",
        "test_unproven",
        "test_website_submissions",
    }
)


def is_same_on_both(path: Path) -> bool:
    """Tell whether a test module has nothing that SQLite and PostgreSQL do in different ways.

    No transaction of two processes, no lock, no order of statements, no plan, no migration, no type of a column.
    """
    return path.stem in MODULES or path.parent.name in FOLDERS

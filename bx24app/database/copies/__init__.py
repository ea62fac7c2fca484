"""Copies of the whole database in one file: made while the app runs, and put in its place again.

``backup_file`` knows what both kinds have in common, ``sqlite_file`` and ``postgresql_dump`` the rest.
"""

from bx24app.database.copies.backup_file import BackupFacts, read_facts, replacing_database, write_backup

__all__ = ["BackupFacts", "read_facts", "replacing_database", "write_backup"]

"""The plans of the statements that a measurement runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import event

from bx24app.database import db, is_postgresql


@contextmanager
def explained(app: Flask, about: str, found: list[str]) -> Iterator[None]:
    """Collect the plans of the queries about a table that an app runs meanwhile."""
    with app.app_context():
        engine = db.engine
        explain = "EXPLAIN (ANALYZE, COSTS OFF, SUMMARY OFF) " if is_postgresql() else "EXPLAIN QUERY PLAN "

    def note(connection: Any, _: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.startswith(("SELECT", "(SELECT")) and about in statement:
            raw = connection.connection.cursor()
            raw.execute(explain + statement, parameters)
            found.append("\n".join(str(row[-1]) for row in raw.fetchall()))
            raw.close()

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", note)

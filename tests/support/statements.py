"""What is asked of the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from sqlalchemy import event

from bx24app.database import db


@contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    """Collect the statements that are run meanwhile."""
    ran: list[str] = []

    def note(_: object, __: object, sql: str, *___: object) -> None:
        ran.append(sql)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield ran
    finally:
        event.remove(engine, "before_cursor_execute", note)

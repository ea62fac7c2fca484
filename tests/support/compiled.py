"""What the hundreds of apps in one process compile once: templates, routes and SQL statements.

An app of its own for each test costs little but for these, which took two fifths of the time of a test. All apps have
the same code, so that what one has compiled serves the others.
"""

from types import CodeType
from typing import Any

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

from bx24app.database import db

TEMPLATES: dict[str, tuple[str, CodeType]] = {}
ROUTES: dict[tuple[object, ...], dict[str, Any]] = {}
STATEMENTS: LRUCache[Any, Any] = LRUCache(2_000)


class _Templates(BytecodeCache):
    def load_bytecode(self, bucket: Bucket) -> None:
        checksum, code = TEMPLATES.get(bucket.key, ("", None))
        if checksum == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None
        TEMPLATES[bucket.key] = (bucket.checksum, bucket.code)


class _Route(Rule):
    """A route that takes over what the same route of another app was compiled into."""

    def compile(self) -> None:
        told = tuple((name, str(value)) for name, value in vars(self).items() if name != "map")
        if told not in ROUTES:
            super().compile()
            ROUTES[told] = {name: value for name, value in vars(self).items() if name != "map"}
        vars(self).update(ROUTES[told])


def compile_once() -> None:
    """Let apps that are made from now on compile what no app before them has compiled."""
    Flask.url_rule_class = _Route
    # A compiled statement is found by its dialect; those of two engines on one kind of database are different objects.
    DefaultDialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]
    DefaultDialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]


def compiled_once(app: Flask) -> Flask:
    """Let an app take the templates and statements that others have compiled; returns the app."""
    app.jinja_env.bytecode_cache = _Templates()
    with app.app_context():
        db.engine.update_execution_options(compiled_cache=STATEMENTS)
    return app

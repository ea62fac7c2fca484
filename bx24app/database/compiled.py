"""Statements of the hottest paths: they are built and compiled once, and run on a bare connection of the pool.

What SQLAlchemy does around one execution costs several times what the driver does (docs/benchmarks.md). SQLAlchemy
still provides the statements, their types, the pool and the errors. Rows come as the driver returns them, so select
only plain numbers, texts and booleans.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from psycopg.pq import TransactionStatus
from sqlalchemy import ClauseElement, Dialect
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

from bx24app.database.engine import db, is_postgresql
from bx24app.database.errors import hide_values, is_busy
from bx24app.database.transactions import single_transaction
from bx24app.database.writer_lock import writer_lock
from bx24app.errors import DatabaseBusy

Parameters = Mapping[str, Any]
# SQLAlchemy labels what is computed, for a reader that these statements do not have; nothing refers to such a label.
_MADE_LABEL = re.compile(r" AS (?:anon_?|count|left|substr|gen_random_uuid)_\d+\b")
# PostgreSQL calls a column by its own name without being told so.
_OWN_NAME = re.compile(r"(\w+\.(\w+)) AS \2\b")
_SHORT_TYPES = {
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "DOUBLE PRECISION": "float8",
    "VARCHAR": "text",
    "INTEGER": "int",
    "BIGINT": "int8",
}
_TYPE = re.compile(rf"::({'|'.join(_SHORT_TYPES)})\b(?!\()")
# EXISTS needs no parentheses around it.
_EXISTS = re.compile(r"\((EXISTS \((?:[^()]|\([^()]*\))*\))\)")
_TYPED = re.compile(r"(%\(\d+\)s)::[\w\[\]]+")


@dataclass(frozen=True)
class _Compiled:
    """A statement compiled for one driver."""

    sql: str
    names: tuple[str, ...]
    # The names of the parameters in their order, for a driver with positional parameters; None: it knows names.
    order: list[str] | None
    constants: dict[str, Any]
    converters: dict[str, Callable[[Any], Any]]
    # The short name of each parameter (its place), and its own one.
    named: tuple[tuple[str, str], ...]

    def parameters(self, values: Parameters) -> Any:
        parameters = dict(self.constants)
        for name in self.names:
            converter = self.converters.get(name)
            parameters[name] = values[name] if converter is None else converter(values[name])
        if self.order is None:
            return {short: _as_text(parameters[name]) for short, name in self.named}
        return [parameters[name] for name in self.order]


class CompiledStatement:
    """A statement whose parameters all have names; ``make`` may build another one for each kind of database."""

    def __init__(self, make: Callable[[], ClauseElement]) -> None:
        self._make = make
        self._by_dialect: dict[str, _Compiled] = {}

    def on(self, dialect: Dialect) -> _Compiled:
        """Return the statement compiled for one kind of database."""
        if dialect.name not in self._by_dialect:
            self._by_dialect[dialect.name] = _compile(self._make(), dialect)
        return self._by_dialect[dialect.name]

    def bind(self, values: Parameters) -> "Bound":
        """Give it the values of its parameters; others among ``values`` are left out."""
        compiled = self.on(db.engine.dialect)
        return Bound(compiled.sql, compiled.parameters(values))


@dataclass(frozen=True)
class Bound:
    """A statement and its values, as the driver takes them: what is done for them holds no lock and no connection."""

    sql: str
    parameters: Any


def _compile(statement: ClauseElement, dialect: Dialect) -> _Compiled:
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    converters: dict[str, Callable[[Any], Any]] = {}
    constants: dict[str, Any] = {}
    for name, parameter in compiled.binds.items():
        converter = parameter.type.dialect_impl(dialect).bind_processor(dialect)
        if converter is not None:
            converters[name] = converter
        if not parameter.required:
            constants[name] = parameter.value if converter is None else converter(parameter.value)
    names = tuple(name for name in compiled.binds if name not in constants)
    named = tuple((str(number), name) for number, name in enumerate(compiled.binds))
    order = compiled.positiontup if dialect.positional else None
    sql = str(compiled) if order is not None else _with_short_names(str(compiled), named)
    return _Compiled(sql, names, order, constants, converters, named)


def _as_text(value: Any) -> Any:
    """Write a value as PostgreSQL reads it: each statement says the types of its parameters.

    The driver makes an object for each such value, and two for each array, which takes it longer than all the rest.
    """
    if isinstance(value, list):
        return f"{{{','.join(map(_element, value))}}}"
    return str(value) if isinstance(value, datetime | UUID) else value


def _element(value: Any) -> str:
    if not isinstance(value, str):
        return repr(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _with_short_names(sql: str, named: tuple[tuple[str, str], ...]) -> str:
    """Write it short, with parameters 0, 1, …: psycopg parses over 4,096 characters each time anew."""
    for short, name in named:
        sql = sql.replace(f"%({name})s", f"%({short})s")
    sql = _TYPE.sub(lambda found: f"::{_SHORT_TYPES[found[1]]}", " ".join(sql.split()))
    return _typed_once(_EXISTS.sub(r"\1", _OWN_NAME.sub(r"\1", _MADE_LABEL.sub("", sql))))


def _typed_once(sql: str) -> str:
    """PostgreSQL reads from left to right, and knows the type of a parameter once it was told."""
    told: set[str] = set()

    def first(found: re.Match[str]) -> str:
        if found[1] in told:
            return found[1]
        told.add(found[1])
        return found[0]

    return _TYPED.sub(first, sql)


# Runs a statement; the cursor is valid until the next one runs.
Run = Callable[[Bound], DBAPICursor]


@contextmanager
def compiled_reading() -> Iterator[Run]:
    """Run statements that only read; each of them sees the state at its own time."""
    with single_transaction(), _running(is_transaction=False) as run:
        yield run


@contextmanager
def compiled_writing(wait_seconds: float | None = None) -> Iterator[Run]:
    """Run statements that write; they are committed when the block ends without an exception.

    On SQLite they are one transaction, which waits in line for the writer lock (``writer_lock``). On PostgreSQL run
    only one statement, which is a transaction of its own.
    """
    with single_transaction(), writer_lock(wait_seconds), _running(is_transaction=not is_postgresql()) as run:
        yield run


@contextmanager
def _running(*, is_transaction: bool) -> Iterator[Run]:
    # The driver would have PostgreSQL parse and plan it five times more before it is prepared.
    options = {"prepare": True} if is_postgresql() else {}
    with (
        told_without_values(),
        _borrowed() as connection,
        _transaction(connection) if is_transaction else nullcontext(),
    ):
        cursor = connection.cursor()

        def run(bound: Bound) -> DBAPICursor:
            cursor.execute(bound.sql, bound.parameters, **options)
            return cast("DBAPICursor", cursor)

        yield run
        cursor.close()


@contextmanager
def told_without_values() -> Iterator[None]:
    """Raise SQLAlchemy's error for one of the driver, without statement and values: they may hold a visitor's data."""
    dialect = db.engine.dialect
    driver = dialect.loaded_dbapi
    try:
        yield
    except driver.Error as error:
        raised = DBAPIError.instance(None, None, error, driver.Error, dialect=dialect)
        hide_values(error, raised, driver.Error)
        raise raised from error


@contextmanager
def _borrowed() -> Iterator[Any]:
    """Lend a connection that commits each statement; restore it before it returns to the pool, or drop a broken one."""
    with closing(db.engine.raw_connection()) as borrowed:
        connection: Any = borrowed.driver_connection
        if not is_postgresql():  # The driver of SQLite commits each statement anyway.
            yield connection
            return
        connection.autocommit = True
        try:
            yield connection
        finally:
            if connection.info.transaction_status == TransactionStatus.IDLE:
                connection.autocommit = False
            else:
                borrowed.invalidate()


@contextmanager
def _transaction(connection: Any) -> Iterator[None]:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if is_busy(error):
            raise DatabaseBusy from None
        raise
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise

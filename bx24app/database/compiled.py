"""Statements of the hottest paths: put together and compiled once, then run on a bare connection of the pool.

What SQLAlchemy does around one execution costs several times what the driver does (docs/benchmarks.md). The statements,
their types, the pool and the errors are still its own. Rows come as the driver makes them: select plain numbers, texts
and truths only.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

from psycopg.pq import TransactionStatus
from sqlalchemy import ClauseElement, Dialect
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

from bx24app.database.engine import db, is_postgresql
from bx24app.database.errors import hide_values
from bx24app.database.transactions import single_transaction
from bx24app.database.writer_lock import writer_lock

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class _Compiled:
    """A statement in the words of one driver."""

    sql: str
    names: tuple[str, ...]
    # The names of the parameters in their order, for a driver that counts them.
    order: list[str] | None
    constants: dict[str, Any]
    converters: dict[str, Callable[[Any], Any]]

    def parameters(self, values: Parameters) -> Any:
        given = dict(self.constants)
        for name in self.names:
            converter = self.converters.get(name)
            given[name] = values[name] if converter is None else converter(values[name])
        return given if self.order is None else [given[name] for name in self.order]


class CompiledStatement:
    """A statement whose parameters all have names; it may differ between databases."""

    def __init__(self, make: Callable[[], ClauseElement]) -> None:
        self._make = make
        self._by_dialect: dict[str, _Compiled] = {}

    def on(self, dialect: Dialect) -> _Compiled:
        """The statement for one kind of database."""
        if dialect.name not in self._by_dialect:
            self._by_dialect[dialect.name] = _compile(self._make(), dialect)
        return self._by_dialect[dialect.name]


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
    return _Compiled(str(compiled), names, compiled.positiontup if dialect.positional else None, constants, converters)


# Runs a statement with the values of its parameters; the cursor is good until the next one.
Run = Callable[[CompiledStatement, Parameters], DBAPICursor]


@contextmanager
def compiled_reading() -> Iterator[Run]:
    """Run statements that only read, each of which sees the state of its own moment."""
    with single_transaction(), _running(is_transaction=False) as run:
        yield run


@contextmanager
def compiled_writing() -> Iterator[Run]:
    """Run statements that write, committed when the block ends without an exception.

    On SQLite they are one transaction. On PostgreSQL there may be only one: it is its own transaction.
    """
    with single_transaction(), writer_lock(), _running(is_transaction=not is_postgresql()) as run:
        yield run


@contextmanager
def _running(*, is_transaction: bool) -> Iterator[Run]:
    dialect = db.engine.dialect
    driver = dialect.loaded_dbapi
    try:
        with _borrowed() as connection, _transaction(connection) if is_transaction else nullcontext():
            cursor = connection.cursor()

            def run(statement: CompiledStatement, values: Parameters) -> DBAPICursor:
                compiled = statement.on(dialect)
                cursor.execute(compiled.sql, compiled.parameters(values))
                return cast("DBAPICursor", cursor)

            yield run
            cursor.close()
    except driver.Error as error:
        # Without statement and values, which may be a visitor's.
        raised = DBAPIError.instance(None, None, error, driver.Error, dialect=dialect)
        hide_values(error, raised, driver.Error)
        raise raised from error


@contextmanager
def _borrowed() -> Iterator[Any]:
    """A connection that commits each statement; it goes back as it was, or not at all when it broke."""
    with closing(db.engine.raw_connection()) as borrowed:
        connection: Any = borrowed.driver_connection
        if not is_postgresql():  # Its driver commits each statement anyway.
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
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise

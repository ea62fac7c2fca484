"""What an error of the database may tell: what is wrong and where, and never a value of a statement or a row.

Texts of drivers quote values, PostgreSQL adds whole rows as DETAIL. They are taken out where the error is born, so that
whoever prints it later, a server or a command too, has nothing to hide.
"""

import re
import sqlite3

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, StatementError

from bx24app.errors import DatabaseBusy

# An exception with this attribute says in it what a log may hold; of any other one a log holds the class alone.
LOGGABLE = "loggable"
NOT_SHOWN = "(its words are not shown)"
# From the first quotation mark to the last: a value may hold some itself.
_QUOTED = re.compile(r"""(["']).*\1""", re.DOTALL)
# The class of PostgreSQL's codes whose primary message quotes values (appendix A: data exception).
_DATA_EXCEPTION = "22"
_FOREIGN_KEY_VIOLATION = "23503"
_UNIQUE_VIOLATION = "23505"
# A deadlock, and what was read has changed.
_LOST_LOCK = frozenset({"40P01", "40001"})
# The server cannot be reached, or it stops or starts.
_AWAY = ("08", "57P")


def is_missing_reference(error: IntegrityError) -> bool:
    """Tell whether a row names another one that is not there, or not there any more."""
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
    return getattr(error.orig, "sqlstate", None) == _FOREIGN_KEY_VIOLATION


def is_duplicate(error: IntegrityError) -> bool:
    """Tell whether another row has what must be unique."""
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE
    return getattr(error.orig, "sqlstate", None) == _UNIQUE_VIOLATION


def is_away(error: Exception) -> bool:
    """Tell whether a server of the database cannot be reached, or has closed the connection: it may soon be back."""
    if not isinstance(error, DBAPIError) or isinstance(error.orig, sqlite3.Error):
        return False
    state = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or (
        isinstance(error, OperationalError) and str(state or "08").startswith(_AWAY)
    )


def concerns_all(error: Exception) -> bool:
    """Tell whether an error is about no single row: the database is away or busy, or a deadlock was ended."""
    lost = isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _LOST_LOCK
    return lost or isinstance(error, DatabaseBusy) or is_away(error)


def raise_for_all(error: Exception) -> None:
    """Raise an error again that ``concerns_all``.

    One of two transactions that waited for each other is ``DatabaseBusy``: nothing was written, and it is done again.
    """
    if concerns_all(error):
        raise error if is_away(error) else DatabaseBusy from None


def description(error: BaseException) -> str:
    """What the text of a driver's error says, without values."""
    text = str(error).partition("\n")[0]
    if type(error).__module__.startswith("sqlite3"):
        return _QUOTED.sub("...", text)
    state = getattr(error, "sqlstate", None)
    if state is None:
        # Without a code the server has said nothing; a lost connection names host and reason.
        return text if type(error).__name__ == "OperationalError" else NOT_SHOWN
    if state.startswith(_DATA_EXCEPTION):
        text = _QUOTED.sub("...", text).partition(":")[0]
    return f"{text} ({state})"


def hide_values(original: BaseException, wrapper: BaseException | None, driver_error: type[BaseException]) -> None:
    """Take every value out of the texts of a driver's error and of SQLAlchemy's around it."""
    told = description(original) if isinstance(original, driver_error) else NOT_SHOWN
    if isinstance(original, driver_error):
        original.args = (told,)
        setattr(original, LOGGABLE, told)
    if wrapper is not None:
        kind = type(original)
        wrapper.args = (f"({kind.__module__}.{kind.__qualname__}) {told}",)
        statement = wrapper.statement if isinstance(wrapper, StatementError) else None
        setattr(wrapper, LOGGABLE, f"{told} {statement or ''}".strip())


def _hide(context: ExceptionContext) -> None:
    hide_values(context.original_exception, context.sqlalchemy_exception, context.dialect.loaded_dbapi.Error)


def hide_values_of(engine: Engine) -> None:
    """Let no error of an engine carry a value."""
    event.listen(engine, "handle_error", _hide)


def is_busy(error: OperationalError | sqlite3.Error) -> bool:
    """Tell whether SQLite could not get its lock within ``busy_timeout``: nothing was written."""
    original = error.orig if isinstance(error, OperationalError) else error
    return getattr(original, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY

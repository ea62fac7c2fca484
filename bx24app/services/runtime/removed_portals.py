"""Working for a portal that may be removed meanwhile: then there is nothing more to do, and nothing has failed."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, NoResultFound, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError

from bx24app.database import reading
from bx24app.models import Portal, PortalState

log = structlog.get_logger(__name__)

# What a row that has gone, or its portal, makes of reading and writing.
ROW_GONE = (NoResultFound, IntegrityError, StaleDataError)


@contextmanager
def unless_removed(portal_id: int) -> Iterator[None]:
    """End what stands inside early, and quietly, when rows are missing because the portal has been removed."""
    try:
        yield
    except ROW_GONE:
        if not _is_removed(portal_id):
            raise
        log.info("portal_removed_meanwhile")


def _is_removed(portal_id: int) -> bool:
    try:
        with reading() as session:
            # One that keeps its settings has lost all rows at which jobs work.
            there = select(Portal.id).where(Portal.id == portal_id, Portal.state != PortalState.UNINSTALLED)
            return session.scalar(there) is None
    except SQLAlchemyError:
        return False  # Nobody can say.

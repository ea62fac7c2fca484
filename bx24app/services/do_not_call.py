"""The do-not-call list of a portal."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from bx24app.models import DoNotCall
from bx24app.services import digests
from bx24app.services.numbers import digits


def digest_of(number: str) -> str:
    """The keyed digest under which a number is listed; call it outside of transactions."""
    return digests.digest("number", digits(number))


def is_listed(session: Session, portal_id: int, number_digest: str) -> bool:
    """Tell whether a number, given by ``digest_of``, must not be dialled; inside the caller's transaction."""
    row = select(DoNotCall.id).where(DoNotCall.portal_id == portal_id, DoNotCall.number_digest == number_digest)
    return session.scalar(row) is not None

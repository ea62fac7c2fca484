"""What somebody asks a list for, in words of the API and the page, as the typed filter of their own portal."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from bx24app.database import reading
from bx24app.errors import ListRefused
from bx24app.models import Form, Source, State
from bx24app.services.callbacks.listing.company_day import today_of
from bx24app.services.callbacks.listing.filters import ListFilter, Quick, Scope, read_search
from bx24app.services.callbacks.principal import Principal


@dataclass(frozen=True)
class AskedFilter:
    """The filters by their names in the API; ``q`` is digits of a number from either end, or words of a name."""

    state: tuple[State, ...] = ()
    source: Source | None = None
    form_key: str | None = None
    line_id: str | None = None
    requested_by: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    q: str | None = None
    quick: Quick = Quick.ALL
    several_attempts: bool = False


def scope_of(principal: Principal) -> Scope:
    """Whose callbacks somebody may list."""
    return Scope(principal.portal.id, principal.form_id, principal.user_id, only_own=principal.own_of is not None)


def filter_of(principal: Principal, asked: AskedFilter) -> ListFilter:
    """Return the filter that is meant; raises ``ListRefused`` for a search that is too short, or of nobody's own."""
    if asked.quick is Quick.MINE and principal.user_id is None:
        raise ListRefused("quick", "nobody_is_asked_for")
    if asked.since and asked.until and asked.since > asked.until:
        raise ListRefused("to", "period_ends_before")
    searched: dict[str, Any] = read_search(asked.q, principal.portal.settings.default_country) if asked.q else {}
    return ListFilter(
        states=tuple(dict.fromkeys(asked.state)),
        source=asked.source,
        form_id=form_id_of(principal.portal.id, asked.form_key) if asked.form_key else None,
        line_id=asked.line_id,
        requested_by=asked.requested_by,
        since=asked.since,
        until=asked.until,
        quick=asked.quick,
        several_attempts=asked.several_attempts,
        today=today_of(principal.portal) if asked.quick is Quick.TODAY else None,
        **searched,
    )


def form_id_of(portal_id: int, key: str) -> int:
    """The id of a form, also of a removed one, whose callbacks are still there; 0, which no form has: not of theirs."""
    with reading() as session:
        return session.scalar(select(Form.id).where(Form.portal_id == portal_id, Form.key == key)) or 0

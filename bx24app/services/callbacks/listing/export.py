"""All callbacks of a list, some at a time: no transaction and no more rows than these are held meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy import select

from bx24app.database import reading
from bx24app.models import Form
from bx24app.services.callbacks.listing.filters import Scope, order_of
from bx24app.services.callbacks.listing.pages import ListRequest, list_page
from bx24app.services.callbacks.queries import NamedCallback

MOST_EXPORTED = 50_000
EXPORTED_AT_ONCE = 500


@dataclass(frozen=True)
class ExportedCallback:
    """A callback with the names of its people, and of its form, which is None where it has none."""

    named: NamedCallback
    form_name: str | None


def exported(scope: Scope, request: ListRequest) -> Iterator[ExportedCallback]:
    """Read the callbacks of a list one after the other, ``MOST_EXPORTED`` at most; raises ``ListRefused`` at once."""
    order_of(request.wanted, request.order)
    with reading() as session:
        forms = dict(session.execute(select(Form.id, Form.name).where(Form.portal_id == scope.portal_id)).all())
    return _rows(scope, replace(request, cursor=None, limit=EXPORTED_AT_ONCE), forms)


def _rows(scope: Scope, request: ListRequest, forms: dict[int, str]) -> Iterator[ExportedCallback]:
    left, cursor = MOST_EXPORTED, None
    while left > 0:
        page = list_page(scope, replace(request, cursor=cursor, limit=min(left, EXPORTED_AT_ONCE)))
        for named in page.callbacks:
            yield ExportedCallback(named, forms.get(named.callback.form_id or 0))
        left, cursor = left - len(page.callbacks), page.next_cursor
        if cursor is None:
            return

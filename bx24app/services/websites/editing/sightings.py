"""When a website last loaded a form's widget: written once a minute at most, and of the form's own websites only."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select

from bx24app.database import is_postgresql, reading, writing
from bx24app.database.statements import insert_into
from bx24app.errors import DatabaseBusy
from bx24app.models import Form, WidgetSighting, utcnow
from bx24app.services.runtime.local_memory import is_remembered, remember
from bx24app.urls import origin_of

SEEN_EVERY = timedelta(minutes=1)
SIGHTINGS = "widget_sighting"


def note_sighting(form: Form, page: str | None) -> None:
    """Note that a page (``Referer``) loads the widget; commits, unless it was noted a moment ago or is not the form's.

    It is a convenience: where the database is busy nothing is noted, and the widget is served all the same.
    """
    origin = _origin(page or "")
    if origin not in form.allowed_origins or is_remembered(SIGHTINGS, form.key):
        return
    remember(SIGHTINGS, form.key, SEEN_EVERY.total_seconds())
    now = utcnow()
    new = insert_into(WidgetSighting, "postgresql" if is_postgresql() else "sqlite")
    note = new.values(form_id=form.id, seen_at=now, origin=origin).on_conflict_do_update(
        index_elements=["form_id"],
        set_={"seen_at": now, "origin": origin},
        where=WidgetSighting.seen_at <= now - SEEN_EVERY,
    )
    try:
        with writing() as session:
            session.execute(note)
    except DatabaseBusy:
        return


def _origin(page: str) -> str:
    try:
        return origin_of(page)
    except ValueError:
        return ""


def last_sightings(form_ids: Sequence[int]) -> dict[int, WidgetSighting]:
    """When and where the widgets of forms were seen last, by the forms' ids."""
    with reading() as session:
        found = session.scalars(select(WidgetSighting).where(WidgetSighting.form_id.in_(form_ids)))
        return {row.form_id: row for row in found}

"""Website forms: create, change, remove and read them, and make the snippet for a site."""

import secrets
from collections.abc import Container
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.orm import Session

from bx24app.database import reading, writing
from bx24app.database.compiled import CompiledStatement, compiled_reading
from bx24app.errors import ChangedMeanwhile, CountryUnknown, LimitReached, NotFound
from bx24app.models import Form, Portal, PortalSettings, utcnow
from bx24app.services.callbacks.principal import load_portal, unconfirmed_portal
from bx24app.services.calling import spoken_text
from bx24app.services.calling.countries import with_territories
from bx24app.services.portals import lines
from bx24app.services.runtime import row_cache
from bx24app.services.security.journal import JournalPage, Recorded, record
from bx24app.services.websites.editing.form_settings import FormSettings
from bx24app.settings import settings

KEY_BYTES = 8
# Of one portal; removed ones keep their rows.
MAX_FORMS, MAX_FORMS_A_DAY = 200, 200
LATELY = timedelta(days=1)


def create_form(portal_id: int, wanted: FormSettings, user_id: int | None) -> Form:
    """Create a form; every field but its name has a safe default, and ``user_id`` is who creates it. Commits.

    Raises ``UnknownLine``, ``UnknownVoice``, ``TextInvalid``, ``UnknownVariable``, ``LimitReached``, and
    ``CountryUnknown`` when neither the form nor its portal says which countries may be called.
    """
    if not (wanted.default_country or wanted.allowed_countries or _country_of(portal_id)):
        raise CountryUnknown("default_country")
    changes = _checked(portal_id, wanted)
    form = Form(portal_id=portal_id, key=secrets.token_hex(KEY_BYTES), created_by=user_id, **changes)
    form.consent_version = 1 if form.consent_texts else 0
    with writing() as session:
        # One at a time for a portal, or many at once would pass the limit.
        session.get(Portal, portal_id, with_for_update={"key_share": True})
        present = select(func.count()).where(Form.portal_id == portal_id, Form.removed_at.is_(None))
        made_lately = select(func.count()).where(Form.portal_id == portal_id, Form.created_at > utcnow() - LATELY)
        if session.scalars(present).one() >= MAX_FORMS or session.scalars(made_lately).one() >= MAX_FORMS_A_DAY:
            raise LimitReached
        session.add(form)
        record(
            session, Recorded(portal_id, user_id, JournalPage.FORMS, form.name), {"is_on": None}, {"is_on": "created"}
        )
    return form


def change_form(
    portal_id: int, key: str, wanted: FormSettings, user_id: int | None, known: Container[str] | None = None
) -> Form:
    """Change a form, all given fields or none; ``user_id`` is who does. Commits.

    ``known`` are the versions that the caller has seen; None: whatever it is now. A form that is left without a country
    takes nothing. Raises ``NotFound``, ``ChangedMeanwhile``, and as ``create_form`` does for the rest.
    """
    changes = _checked(portal_id, wanted)
    with writing() as session:
        form = lock_form(session, portal_id, key)
        if known is not None and form_version(form) not in known:
            raise ChangedMeanwhile
        if changes.get("consent_texts", form.consent_texts) != form.consent_texts:
            form.consent_version += 1
        old = {name: getattr(form, name) for name in changes}
        record(session, Recorded(portal_id, user_id, JournalPage.FORMS, form.name), old, changes)
        for name, value in changes.items():
            setattr(form, name, value)
        form.updated_at = utcnow()
    return form


def form_version(form: Form) -> str:
    """What tells one state of a form's settings from every other one."""
    return f"{form.revision:x}"


def _country_of(portal_id: int) -> str | None:
    with reading() as session:
        return session.scalar(select(PortalSettings.default_country).where(PortalSettings.portal_id == portal_id))


def _checked(portal_id: int, wanted: FormSettings) -> dict[str, Any]:
    if wanted.line_id:
        lines.require_line(portal_id, wanted.line_id)
    if wanted.voice_id:
        lines.require_voice(portal_id, wanted.voice_id)
    changes = wanted.changes()
    if wanted.text:
        changes["text"] = spoken_text.check_template(wanted.text)
    return changes


def remove_form(portal_id: int, key: str, user_id: int | None) -> None:
    """Remove a form for the user ``user_id``; its callbacks stay and are dialled. Commits. Raises ``NotFound``."""
    with writing() as session:
        form = lock_form(session, portal_id, key)
        form.removed_at, form.is_on = utcnow(), False
        record(session, Recorded(portal_id, user_id, JournalPage.FORMS, form.name), {"is_on": ""}, {"is_on": "removed"})


def lock_form(session: Session, portal_id: int, key: str) -> Form:
    """Lock a form for a change, or for a count of what belongs to it; raises ``NotFound``."""
    query = select(Form).where(Form.portal_id == portal_id, Form.key == key, Form.removed_at.is_(None))
    form = session.scalar(query.with_for_update())
    if form is None:
        raise NotFound
    return form


def get_form(portal_id: int, key: str) -> Form:
    """Return a form of a portal; raises ``NotFound``, also when it was removed."""
    query = select(Form).where(Form.portal_id == portal_id, Form.key == key, Form.removed_at.is_(None))
    with reading() as session:
        form = session.scalar(query)
    if form is None:
        raise NotFound
    return form


def list_forms(portal_id: int) -> list[Form]:
    """List the forms of a portal, the oldest first."""
    with reading() as session:
        return read_forms(session, portal_id)


def read_forms(session: Session, portal_id: int) -> list[Form]:
    """List the forms of a portal, the oldest first, inside the caller's transaction."""
    query = select(Form).where(Form.portal_id == portal_id, Form.removed_at.is_(None)).order_by(Form.id)
    return list(session.scalars(query))


@dataclass(frozen=True)
class OpenForm:
    """A form with its portal, as a public address names it.

    ``is_unconfirmed``: both come from memory and may have changed since. What is decided by them has to be confirmed:
    an acceptance by the condition ``form_unchanged`` with its ``revisions``, a rejection by ``confirm``.
    """

    form: Form
    portal: Portal
    is_unconfirmed: bool = False

    @property
    def revisions(self) -> tuple[int, int, int]:
        """The revisions of the form, its portal, and the portal's settings."""
        return self.form.revision, *self.portal.revisions


def open_form(key: str) -> OpenForm:
    """Return the form with a public key, whatever its state; raises ``NotFound`` when it was removed.

    Both rows come from the row cache where they have not changed.
    """
    return _open(_BY_KEY, key)


def open_unconfirmed_form(key: str) -> OpenForm:
    """Return the form with a public key from memory, without asking whether it has changed; else as ``open_form``."""
    form: Form | None = row_cache.get_unconfirmed(("form", key))
    portal: Portal | None = unconfirmed_portal(form.portal_id) if form is not None else None
    if form is None or portal is None:
        return open_form(key)
    return OpenForm(form, portal, is_unconfirmed=True)


def confirm(opened: OpenForm) -> None:
    """Raise ``ChangedMeanwhile`` when a form that came from memory has changed since, or is gone."""
    if opened.is_unconfirmed:
        with compiled_reading() as run:
            known = run(_REVISIONS[_BY_KEY].bind({"named": opened.form.key})).fetchone()
        if known is None or tuple(known[2:]) != opened.revisions:
            raise ChangedMeanwhile


def open_form_by_id(form_id: int) -> OpenForm:
    """Return a form by its id, for API keys and the rule tester; otherwise as ``open_form``."""
    return _open(_BY_ID, form_id)


_OPENED = select(Form).where(Form.removed_at.is_(None))
_BY_KEY = _OPENED.where(Form.key == bindparam("named"))
_BY_ID = _OPENED.where(Form.id == bindparam("named"))


def _revisions(query: Select[Form]) -> CompiledStatement:
    revisions = query.join(Portal, Portal.id == Form.portal_id)
    revisions = revisions.join(PortalSettings, PortalSettings.portal_id == Portal.id)
    return CompiledStatement(
        lambda: revisions.with_only_columns(
            Form.key, Form.portal_id, Form.revision, Portal.revision, PortalSettings.revision
        )
    )


_REVISIONS = {query: _revisions(query) for query in (_BY_KEY, _BY_ID)}


def _open(query: Select[Form], named: str | int) -> OpenForm:
    with compiled_reading() as run:
        known = run(_REVISIONS[query].bind({"named": named})).fetchone()
    if known is None:
        raise NotFound
    key, portal_id, revision, *revisions = known
    form: Form | None = row_cache.get_cached(("form", key), (revision,))
    if form is None:
        with reading() as session:
            form = session.scalar(query, {"named": named})
        if form is None:
            raise NotFound
        row_cache.put_cached(("form", key), (form.revision,), form)
    # All forms of a portal share it, so that most forms which nobody opened lately cost one small row.
    portal = load_portal(portal_id, tuple(revisions))
    if portal is None:
        raise NotFound
    return OpenForm(form, portal)


def form_line(form: Form, portal: Portal) -> tuple[str, str] | None:
    """Return id and name of the line that a form's callbacks ring, from the stored list; None: no usable line."""
    line = portal.usable_line(form.line_id or portal.settings.default_line_id)
    return None if line is None else (line.line_id, line.name)


def form_country(form: Form, portal: Portal) -> str | None:
    """Return the country as whose national numbers a form's numbers are read; None: nobody has named it."""
    return form.default_country or portal.settings.default_country


def callable_countries(form: Form, portal: Portal) -> tuple[str, ...]:
    """Return the countries that a form's callbacks may go to; empty: none, because nobody has named a country."""
    country = form_country(form, portal)
    return tuple(form.allowed_countries) or (with_territories(country) if country else ())


def form_url(form: Form) -> str:
    """Return the address of the hosted form."""
    return f"{settings.public_origin}/w/{form.key}"


def form_snippet(form: Form) -> str:
    """Return the HTML that a site pastes into its pages to show the button and the form."""
    return f'<script src="{form_url(form)}/widget.js" async></script>'

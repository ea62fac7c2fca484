"""A form as it would be with settings that nobody has saved yet."""

from bx24app.models import Form
from bx24app.services.websites.editing.form_settings import FormSettings


def unsaved_form(form: Form, wanted: FormSettings) -> Form:
    """Copy a form with changed settings; the copy belongs to no session and is never stored."""
    columns = {column.key: getattr(form, column.key) for column in Form.__mapper__.column_attrs}
    return Form(**{**columns, **wanted.changes()})

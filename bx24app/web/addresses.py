"""What stands in the addresses of the app: ids and keys, only such as can exist."""

import re
from typing import Annotated

from flask import Flask
from pydantic import Field
from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter

from bx24app.inputs import AlsoWritten, copied

# Ids are 32 bits wide in the database.
MAX_ID = 2**31 - 1
# A form's key, as ``services/forms.py`` makes it, and any other that an operator may have given.
KEY_PATTERN = r"[0-9A-Za-z_-]{1,32}"
FormKey = Annotated[
    str,
    Field(pattern=f"^{KEY_PATTERN}$"),
    AlsoWritten(copied, ({"type": "string", "pattern": rf"^\s*{KEY_PATTERN}\s*$"},)),
]


class IdConverter(BaseConverter):
    """``<id:webhook_id>``: a number that a row may have."""

    regex = "[0-9]+"

    def to_python(self, value: str) -> int:
        """The number; one that no row has is not found, where a limit of a rule would make it a wrong method."""
        if len(value) > len(str(MAX_ID)) or int(value) > MAX_ID:
            raise NotFound
        return int(value)


class FormKeyConverter(BaseConverter):
    """``<key:form_key>``: the public name of a form."""

    regex = KEY_PATTERN


def init_app(app: Flask) -> None:
    """Let rules name ids and keys; call it before rules are added."""
    app.url_map.converters.update(id=IdConverter, key=FormKeyConverter)


PLACEHOLDER = re.compile(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>")
SCHEMAS: dict[str | None, dict[str, object]] = {
    None: {"type": "string", "minLength": 1, "pattern": "^[^/]+$"},
    "path": {"type": "string", "minLength": 1},
    "uuid": {"type": "string", "format": "uuid"},
    "id": {"type": "integer", "minimum": 0, "maximum": MAX_ID},
    "key": {"type": "string", "pattern": f"^{KEY_PATTERN}$"},
}

"""What stands in the addresses of the app: ids and keys, only such as can exist."""

import re
from typing import Annotated

from flask import Flask
from pydantic import Field
from werkzeug.routing import BaseConverter

# Ids are 32 bits wide in the database.
MAX_ID = 2**31 - 1
ID = f"int(max={MAX_ID})"
# A form's key, as ``services/forms.py`` makes it, and any other that an operator may have given.
KEY = r"[0-9A-Za-z_-]{1,32}"
FormKey = Annotated[str, Field(pattern=f"^{KEY}$")]


class FormKeyConverter(BaseConverter):
    """``<key:form_key>``: the public name of a form."""

    regex = KEY


def init_app(app: Flask) -> None:
    """Let rules name keys; call it before rules are added."""
    app.url_map.converters["key"] = FormKeyConverter


# ``<int(max=9):webhook_id>``
PLACEHOLDER = re.compile(r"<(?:(?P<kind>\w+)(?:\([^()<>]*\))?:)?(?P<name>\w+)>")
SCHEMAS: dict[str | None, dict[str, object]] = {
    None: {"type": "string", "minLength": 1, "pattern": "^[^/]+$"},
    "path": {"type": "string", "minLength": 1},
    "uuid": {"type": "string", "format": "uuid"},
    "int": {"type": "integer", "minimum": 0, "maximum": MAX_ID},
    "key": {"type": "string", "pattern": f"^{KEY}$"},
}

"""The languages of the interface, and the translations."""

from flask_babel import Babel

LANGUAGES = ("en", "ru")
babel = Babel()


def N_(text: str) -> str:  # noqa: N802  pybabel extracts texts by this name.
    """Mark a text in a table for translation, and return it unchanged; it is translated when it is shown."""
    return text

"""The languages of the interface, and the translations."""

from flask_babel import Babel

LANGUAGES = ("en", "ru")
babel = Babel()


def N_(text: str) -> str:  # noqa: N802  The name by which the extraction of texts knows it.
    """Mark a text that stands in a table; it is translated when it is looked up."""
    return text

"""The languages of the interface, and the translations."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask_babel import Babel, force_locale

LANGUAGES = ("en", "ru")
babel = Babel()


def N_(text: str) -> str:  # noqa: N802  pybabel extracts texts by this name.
    """Mark a text in a table for translation, and return it unchanged; it is translated when it is shown."""
    return text


def language_for(portal_language: str) -> str:
    """In which language of ours a portal is spoken to.

    Its codes are not ISO (``ua``, ``vn``, ``tc``; ``la`` is Spanish), but those of our languages are the same.
    """
    return portal_language.lower() if portal_language.lower() in LANGUAGES else LANGUAGES[0]


@contextmanager
def speaking_to(portal_language: str) -> Iterator[None]:
    """Write texts in the language in which a portal is spoken to."""
    with force_locale(language_for(portal_language)):
        yield

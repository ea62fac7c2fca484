"""The languages of the interface, and the translations."""

from flask_babel import Babel

LANGUAGES = ("en", "ru")
babel = Babel()

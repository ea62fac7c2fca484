"""Which language an answer speaks: the portal's for frame posts, else the browser's."""

from flask import Flask, g, request
from flask_babel import get_locale

from bx24app.i18n import LANGUAGES, babel, language_for
from bx24app.inputs import language_of


def speak(portal_language: str) -> None:
    """Answer in a portal's language, or the one nearest to it."""
    g.language = language_for(portal_language)


def speak_one_of(languages: list[str]) -> str:
    """Answer a visitor in the language that fits best among a form's; returns it. ``lang`` in the address wins."""
    wanted = language_of(request.args.get("lang"))
    best = request.accept_languages.best_match(languages, languages[0])
    g.language = wanted if wanted in languages else best
    return str(g.language)


def _select() -> str:
    return g.get("language") or request.accept_languages.best_match(LANGUAGES, "en")


def _direction() -> str:
    """From which side the language of an answer is read: ``ltr`` or ``rtl``."""
    locale = get_locale()
    return locale.text_direction if locale else "ltr"


def init_app(app: Flask) -> None:
    """Connect the translations."""
    babel.init_app(app, locale_selector=_select, default_translation_directories="translations")
    app.add_template_global(_select, "current_language")
    app.add_template_global(_direction, "text_direction")

"""``/w/<form_key>/widget.js``: the script that a website pastes, and the colours of the hosted form."""

import json
from pathlib import Path

from flask import Blueprint, Response
from flask_babel import force_locale
from flask_babel import gettext as _

from bx24app.models import Form
from bx24app.services.websites import forms
from bx24app.services.websites.availability import form_problems
from bx24app.web.static import DIRECTORY

blueprint = Blueprint("widget", __name__, url_prefix="/w")

SOURCE = (Path(DIRECTORY) / "widget.js").read_text()
# A change of the form reaches websites within this time.
KEPT_SECONDS = 300
DARK, LIGHT = "#1f2933", "#ffffff"


@blueprint.get("/<key:form_key>/widget.js")
def script(form_key: str) -> Response:
    """The widget with the form's values; one that takes no requests draws nothing on the website."""
    opened = forms.open_form(form_key)
    if form_problems(opened.form, opened.portal):
        return _kept("/* The form takes no requests now. */\n", "text/javascript")
    return _kept(f"({SOURCE})({json.dumps(_values(opened.form))});\n", "text/javascript")


@blueprint.get("/<key:form_key>/colours.css")
def colours(form_key: str) -> Response:
    """The form's colour; a file of its own, for pages with a strict policy have no inline style."""
    form = forms.open_form(form_key).form
    text = f":root {{ --accent: {form.colour}; --on-accent: {readable_on(form.colour)}; }}\n"
    return _kept(text, "text/css")


def _kept(text: str, kind: str) -> Response:
    response = Response(text, content_type=f"{kind}; charset=utf-8")
    response.cache_control.public = True
    response.cache_control.max_age = KEPT_SECONDS
    # A website may hold its scripts to CORS, or isolate itself from other origins.
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _values(form: Form) -> dict[str, object]:
    return {
        "key": form.key,
        "url": forms.form_url(form),
        "origins": form.allowed_origins,
        "colour": form.colour,
        "onColour": readable_on(form.colour),
        "texts": {language: _texts(language) for language in form.languages},
    }


def _texts(language: str) -> dict[str, str]:
    with force_locale(language):
        return {
            "open": _("Call me back"),
            "close": _("Close"),
            "slow": _("The form does not open here."),
            "tab": _("Open it in a tab of its own"),
        }


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of ``#rrggbb``."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)  # noqa: PLR2004  The numbers of the definition.
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def readable_on(colour: str) -> str:
    """White or dark, whichever is easier to read on a colour: the contrast is 3.8 at least, enough for large text."""
    ground = _luminance(colour)
    white = 1.05 / (ground + 0.05)
    dark = (ground + 0.05) / (_luminance(DARK) + 0.05)
    return LIGHT if white >= dark else DARK

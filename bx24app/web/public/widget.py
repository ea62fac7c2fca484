"""``/w/<form_key>/widget.js``: the script that a website pastes, and the colours of the hosted form."""

import json
from pathlib import Path

from flask import Blueprint, Response, request
from flask_babel import force_locale
from flask_babel import gettext as _

from bx24app.models import Form, utcnow
from bx24app.services.websites import forms
from bx24app.services.websites.availability import form_problems
from bx24app.services.websites.editing import sightings
from bx24app.services.websites.editing.contrast import readable_on
from bx24app.services.websites.submission import Submission
from bx24app.web.static import DIRECTORY

blueprint = Blueprint("widget", __name__, url_prefix="/w")

SOURCE = (Path(DIRECTORY) / "widget.js").read_text()
# A change of the form reaches websites within this time.
KEPT_SECONDS = 300
IN_HOURS = "in_hours"


@blueprint.get("/<key:form_key>/widget.js")
def script(form_key: str) -> Response:
    """The widget with the form's values; one that takes no requests draws nothing on the website."""
    opened = forms.open_form(form_key)
    if form_problems(opened.form, opened.portal):
        return _kept("/* The form takes no requests now. */\n", "text/javascript")
    sightings.note_sighting(opened.form, request.headers.get("Referer"))
    case = Submission(form=opened.form, portal=opened.portal, now=utcnow())
    values = _values(opened.form, is_open=case.hours.is_open(case.now))
    return _kept(f"({SOURCE})({json.dumps(values)});\n", "text/javascript")


@blueprint.get("/<key:form_key>/colours.css")
def colours(form_key: str) -> Response:
    """The form's colour; a file of its own, for pages with a strict policy have no inline style."""
    form = forms.open_form(form_key).form
    text = f":root {{ --accent: {form.colour}; --on-accent: {readable_on(form.colour).colour}; }}\n"
    return _kept(text, "text/css")


def _kept(text: str, kind: str) -> Response:
    response = Response(text, content_type=f"{kind}; charset=utf-8")
    response.cache_control.public = True
    response.cache_control.max_age = KEPT_SECONDS
    # A website may hold its scripts to CORS, or isolate itself from other origins.
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _values(form: Form, *, is_open: bool) -> dict[str, object]:
    return {
        "key": form.key,
        "url": forms.form_url(form),
        "origins": form.allowed_origins,
        "colour": form.colour,
        "onColour": readable_on(form.colour).colour,
        "corner": form.corner,
        "isHidden": form.shown == IN_HOURS and not is_open,
        "texts": {language: _texts(form, language) for language in form.languages},
    }


def _texts(form: Form, language: str) -> dict[str, str]:
    with force_locale(language):
        return {
            "open": form.own_text(language, "button") or _("Call me back"),
            "close": _("Close"),
            "slow": _("The form does not open here."),
            "tab": _("Open it in a tab of its own"),
        }

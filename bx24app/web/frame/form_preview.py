"""``POST /desk/forms/<form_key>/preview``: the page of visitors with settings that are not saved yet."""

from typing import Annotated, Literal

from flask import Blueprint, Response, jsonify, render_template
from flask_babel import force_locale

from bx24app.inputs import SPELLED, TolerantModel
from bx24app.messages.states import customer_state_label
from bx24app.models import State, utcnow
from bx24app.services.callbacks.principal import Principal
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling.field_types import Language
from bx24app.services.websites import forms, rules, wait_estimate
from bx24app.services.websites.editing.contrast import readable_on
from bx24app.services.websites.editing.form_settings import FormSettings
from bx24app.services.websites.editing.unsaved import unsaved_form
from bx24app.services.websites.forms import OpenForm
from bx24app.services.websites.status_page import RequestStatus
from bx24app.services.websites.submission import Submission
from bx24app.web.guards import principal_required, read_body
from bx24app.web.presenters import forms as form_presenter
from bx24app.web.presenters import visitors as visitor_presenter

blueprint = Blueprint("form_preview", __name__, url_prefix="/desk/forms")
TIMES_SHOWN = 8


class PreviewBody(TolerantModel):
    """What is to be shown: settings as the editor has them, in a language, at a moment of a visit."""

    settings: FormSettings
    language: Language = "en"
    moment: Annotated[Literal["open", "closed", "sent"], SPELLED] = "open"


@blueprint.post("/<key:form_key>/preview")
@principal_required(Role.ADMINISTRATOR, only_reads=True)
def preview(principal: Principal, form_key: str) -> Response:
    """Render the very template of visitors; nothing is stored."""
    wanted = read_body(PreviewBody)
    form = unsaved_form(forms.get_form(principal.portal.id, form_key), wanted.settings)
    opened = OpenForm(form, principal.portal)
    text = readable_on(form.colour)
    with force_locale(wanted.language):
        html = _sent(opened) if wanted.moment == "sent" else _form(opened, is_open=wanted.moment == "open")
        button = visitor_presenter.own_words(form)["button"]
    shown = {"html": html, "button": button, "colour": form.colour, "text_colour": text.colour}
    return jsonify(shown | {"contrast": form_presenter.contrast_words(text)})


def _form(opened: OpenForm, *, is_open: bool) -> str:
    case = Submission(form=opened.form, portal=opened.portal, now=utcnow())
    minutes = wait_estimate.expected_minutes(opened, case.now) if is_open else None
    free = rules.free_slots(case, case.now, TIMES_SHOWN)
    return render_template(
        "w/form.html",
        form=opened.form,
        shown=visitor_presenter.hosted_form(case, minutes, free),
        honeypot=rules.HONEYPOT,
        values={},
        errors={},
        framed=True,
    )


def _sent(opened: OpenForm) -> str:
    status = RequestStatus(opened, State.QUEUED, None, None, ())
    zone = Submission(form=opened.form, portal=opened.portal, now=utcnow()).hours.zone
    label = customer_state_label(State.QUEUED)
    shown = visitor_presenter.follow_request(status, label, zone)
    return render_template("c/page.html", form=opened.form, signed="preview", status=shown, framed=True)

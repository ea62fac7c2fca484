"""What the desk's page shows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import phonenumbers
from flask_babel import gettext as _

from bx24app.bitrix24.company.cards import OF_THE_CALL
from bx24app.messages.numbers import country_name, display_number, number_notices, number_problem
from bx24app.messages.reasons import reason_sentence
from bx24app.models import Portal, PortalState
from bx24app.services.callbacks.desk import Choices, Customer, Desk, OfferedNumber
from bx24app.services.callbacks.roles import Role
from bx24app.services.calling.spoken_text import MAX_SPOKEN_LENGTH
from bx24app.services.portals.places.parts import MissingPart
from bx24app.services.websites.availability import StoppedForm
from bx24app.web.presenters.callbacks import words_of
from bx24app.web.presenters.start import asked_words, said_words

# So much is shown of what a card keeps instead of a number.
UNUSABLE_SHOWN = 64


def missing_words(missing: Iterable[MissingPart]) -> list[str]:
    """What a portal does not have of the app, for the administrator; what has the same cause stands together."""
    causes: dict[tuple[str, str], list[str]] = {}
    for part in missing:
        causes.setdefault((part.lacks, "" if part.lacks else part.words or part.code), []).append(part.name)
    return [
        _("%(what)s: the permission (scope) “%(scope)s” is not granted.", what=", ".join(names), scope=scope)
        if scope
        else _("%(what)s. Bitrix24 says: “%(words)s”", what=", ".join(names), words=words)
        for (scope, words), names in causes.items()
    ]


def no_access_page(administrators: list[str]) -> dict[str, str]:
    """What somebody reads who may see nothing: whom to ask; without the name of anybody, any administrator."""
    return {
        "heading": _("You have no access to the app"),
        "explanation": _("Administrators of your Bitrix24 choose who sees and starts callbacks here."),
        "advice": _whom_to_ask(administrators),
    }


def no_tab_page(administrators: list[str]) -> dict[str, str]:
    """What somebody reads in a smart process that is not chosen."""
    return {
        "heading": _("The app is not used in this smart process"),
        "explanation": _("Administrators of your Bitrix24 choose the smart processes under Settings in the app."),
        "advice": _whom_to_ask(administrators),
    }


def _whom_to_ask(administrators: list[str]) -> str:
    if administrators:
        return str(_("Ask an administrator of your Bitrix24: %(names)s.", names=", ".join(administrators)))
    return str(_("Ask an administrator of your Bitrix24."))


@dataclass(frozen=True)
class DeskAlert:
    """Something that an administrator should know first; ``resume`` names a line that they may let go on."""

    level: str
    words: str
    resume: str = ""


def desk_page(desk: Desk, stopped: Iterable[StoppedForm]) -> dict[str, Any]:
    """What the start bar and the list show; ``stopped`` are the forms that an administrator is told of."""
    principal, choices = desk.principal, desk.choices
    portal, operates = principal.portal, principal.role >= Role.OPERATOR
    out_of_order = _portal_problem(portal)
    manages = principal.role is Role.ADMINISTRATOR and desk.customer is None
    return {
        "operates": operates,
        "customer": _customer(desk.customer, portal.settings.default_country),
        "start_bar_open": True,
        "administrators": ", ".join(desk.administrators),
        "lacks_default_line": choices.lacks_default,
        "asked": asked_words(desk.in_call, desk.website_request) if desk.in_call else None,
        "lines": _lines(choices, portal),
        "portal_problem": out_of_order,
        "lines_problem": None if out_of_order else words_of(choices.lines.problem),
        "voices": [
            {"id": id, "name": name, "is_selected": id == choices.voice_id} for id, name in choices.voices.names.items()
        ],
        "voices_problem": None if out_of_order else words_of(choices.voices.problem),
        "text": choices.text,
        "text_max": MAX_SPOKEN_LENGTH,
        "said": said_words(desk.said),
        "alerts": _alerts(portal, stopped, app_retries=desk.app_retries) if manages else [],
    }


def _alerts(portal: Portal, stopped: Iterable[StoppedForm], *, app_retries: bool) -> list[DeskAlert]:
    """The alert strip: lines without money and lines that redial by themselves, then forms that take nothing."""
    without_money = _("Line “%(line)s” has no money. Its callbacks wait; the app tries again within the hour.")
    found = [
        DeskAlert("failure", without_money % {"line": portal.line_name(line_id)}, line_id)
        for line_id in portal.stopped_lines
    ]
    redialling = [portal.line_name(line_id) for line_id in portal.lines if portal.redials(line_id)]
    forms = _form_alerts(portal, stopped)
    if not (app_retries and redialling):
        return [*found, *forms]
    words = _(
        "These lines redial missed callbacks by themselves: %(lines)s. The app does not repeat calls on them, so that "
        "nobody is called twice. To let the app repeat them, switch it off in the line's settings.",
        lines=", ".join(redialling),
    )
    return [*found, *forms, DeskAlert("warning", words)]


def _form_alerts(portal: Portal, stopped: Iterable[StoppedForm]) -> list[DeskAlert]:
    if portal.settings.websites_off:
        return [DeskAlert("failure", _("All website forms are paused. Resume them under Websites."))]
    words = {
        "budget_calls": _(
            "The form “%(name)s” has used up today's calls. Until midnight it only accepts requests for later days."
        ),
        "budget_money": _(
            "The form “%(name)s” has used up today's money. Until midnight it only accepts requests for later days."
        ),
        "country_known": _("The form “%(name)s” accepts no requests. Choose its country under Websites."),
    }
    return [DeskAlert("failure", words[stop.rule] % {"name": stop.form_name}) for stop in stopped]


# States in which nothing can be dialled, told to everybody with the way back.
_OUT_OF_ORDER: dict[str, str] = {
    PortalState.DISCONNECTED: "portal_disconnected",
    PortalState.UNPAID: "payment_required",
}


def _portal_problem(portal: Portal) -> str | None:
    code = _OUT_OF_ORDER.get(portal.state)
    return reason_sentence(code) if code else None


def _offered(number: OfferedNumber, name: str) -> dict[str, Any]:
    return {
        "e164": number.e164,
        "display": display_number(number.e164),
        "label": _label(number),
        "name": number.owner or name,
        "zone": number.zone,
    }


def _customer(customer: Customer | None, country: str | None) -> dict[str, Any] | None:
    if customer is None:
        return None
    notices = [(number, number_notices(number.number, country)) for number in customer.numbers]
    return {
        "title": customer.title,
        "entity_type": customer.entity_type,
        "entity_id": customer.entity_id,
        "name": customer.name,
        "numbers": [_offered(number, customer.name) for number in customer.numbers],
        "notices": [(display_number(number.e164), " ".join(words)) for number, words in notices if words],
        "unusable": [(number.text[:UNUSABLE_SHOWN], number_problem(number.number)) for number in customer.unusable],
        "problem": words_of(customer.problem),
    }


def _label(number: OfferedNumber) -> str:
    """Say what kind of number it is, and whose."""
    return ", ".join(filter(None, (_kind(number.kind), number.owner)))


def _kind(kind: str) -> str:
    kinds = {
        "WORK": _("work"),
        "MOBILE": _("mobile"),
        "HOME": _("home"),
        "FAX": _("fax"),
        "PAGER": _("pager"),
        OF_THE_CALL: _("of this call"),
    }
    return str(kinds.get(kind, ""))


def _lines(choices: Choices, portal: Portal) -> list[dict[str, Any]]:
    return [
        {
            "id": id,
            "name": name,
            "is_default": id == portal.settings.default_line_id,
            "is_selected": id == choices.line_id,
            "is_foreign": portal.is_foreign(id),
        }
        for id, name in choices.lines.names.items()
    ]


def countries() -> list[tuple[str, str]]:
    """The countries whose national numbers can be read, by name in the reader's language."""
    named = [(code, country_name(code)) for code in phonenumbers.SUPPORTED_REGIONS]
    return sorted(named, key=lambda pair: pair[1])

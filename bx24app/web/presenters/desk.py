"""What the desk's page shows."""

from collections.abc import Iterable
from typing import Any

import phonenumbers
from flask_babel import get_locale
from flask_babel import gettext as _

from bx24app.messages.reasons import reason_sentence
from bx24app.models import Callback, Portal, PortalState
from bx24app.services.callbacks import desk
from bx24app.services.callbacks.desk import Choices, Customer
from bx24app.services.calling import spoken_text
from bx24app.services.portals.bindings import BindingProblem
from bx24app.services.portals.launch import Launch
from bx24app.web.presenters.callbacks import callback_rows, words_of


def binding_problems(problems: Iterable[BindingProblem]) -> list[str]:
    """What could not be bound, for the administrator; what has the same cause stands together."""
    causes: dict[str, list[str]] = {}
    for problem in problems:
        causes.setdefault(problem.words or problem.code, []).append(problem.what)
    return [
        _("%(what)s. Bitrix24 says: “%(words)s”", what=", ".join(names), words=words) for words, names in causes.items()
    ]


def desk_page(opening: Launch, customer: Customer | None, found: list[Callback], *, compact: bool) -> dict[str, Any]:
    """Everything that the desk's template shows."""
    portal, user = opening.portal, opening.user
    choices = desk.choices_for(portal, user)
    out_of_order = _portal_problem(portal)
    return {
        "placement": opening.place.placement,
        "compact": compact,
        "viewer": {"name": user.name, "is_administrator": user.is_administrator, "may_call": True},
        "customer": _customer(customer),
        "lines": _lines(choices, portal),
        "portal_problem": out_of_order,
        "lines_problem": None if out_of_order else words_of(choices.lines.problem),
        "voices": [
            {"id": id, "name": name, "is_selected": id == choices.voice_id} for id, name in choices.voices.names.items()
        ],
        "voices_problem": None if out_of_order else words_of(choices.voices.problem),
        "text": choices.text,
        "text_max": spoken_text.MAX_SPOKEN_LENGTH,
        "callbacks": callback_rows(portal.id, found),
        "notices": notices(portal) if user.is_administrator and not compact else None,
    }


# States in which nothing can be dialled, told to everybody with the way back.
_OUT_OF_ORDER: dict[str, str] = {
    PortalState.DISCONNECTED: "portal_disconnected",
    PortalState.UNPAID: "payment_required",
}


def _portal_problem(portal: Portal) -> str | None:
    code = _OUT_OF_ORDER.get(portal.state)
    return reason_sentence(code) if code else None


def notices(portal: Portal) -> dict[str, Any]:
    """What an administrator should know about the lines: those without money, and those that redial by themselves."""
    redialling = [line_id for line_id in portal.lines if portal.redials(line_id)]
    return {
        "stopped": [(line_id, portal.line_name(line_id)) for line_id in portal.stopped_lines],
        "redialling": [portal.line_name(line_id) for line_id in redialling] if desk.app_retries(portal) else [],
    }


def _customer(customer: Customer | None) -> dict[str, Any] | None:
    if customer is None:
        return None
    return {
        "title": customer.title,
        "entity_type": customer.entity_type,
        "entity_id": customer.entity_id,
        "numbers": [(n.e164, n.display, _kind(n.kind)) for n in customer.numbers],
        "problem": words_of(customer.problem),
    }


def _kind(kind: str) -> str:
    kinds = {
        "WORK": _("work"),
        "MOBILE": _("mobile"),
        "HOME": _("home"),
        "FAX": _("fax"),
        "PAGER": _("pager"),
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
    locale = get_locale()
    territories = locale.territories if locale else {}
    named = [(code, str(territories.get(code, code))) for code in phonenumbers.SUPPORTED_REGIONS]
    return sorted(named, key=lambda pair: pair[1])

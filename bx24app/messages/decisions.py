"""The why of a callback: one sentence for each decision."""

from collections.abc import Callable, Mapping

from flask_babel import gettext as _

from bx24app.i18n import N_
from bx24app.messages.reasons import reason_sentence

DecisionSentence = Callable[[Mapping[str, str]], str]


_OTHERS = {"customer": N_("the customer"), "api": N_("the website")}
NOT_REPEATED = {
    "off": N_("repeating is switched off"),
    "used_up": N_("all attempts are used up"),
    "line_redials": N_("the line redials by itself, so the app does not"),
    "stop_line": N_("the line has no money"),
    "never": N_("another attempt would end the same way"),
    "restored": N_("it may have called again before it was restored from a backup"),
}
_CARDS = {"LEAD": N_("lead"), "CONTACT": N_("contact"), "COMPANY": N_("company"), "DEAL": N_("deal")}
_EVENTS = {
    "ONVOXIMPLANTCALLINIT": N_("Bitrix24 reported: the call has begun"),
    "ONVOXIMPLANTCALLSTART": N_("Bitrix24 reported: a phone was picked up"),
    "ONVOXIMPLANTCALLEND": N_("Bitrix24 reported: the call has ended"),
    "HISTORY": N_("The call history of Bitrix24 says how the call ended"),
}
RESOLVED = {
    "reached": N_("Decided: we talked to the customer"),
    "not_reached": N_("Decided: the customer was not reached"),
    "dial_again": N_("Decided: call again"),
}


def _named(table: Mapping[str, str], name: str) -> str:
    """The text of a table in the present language; an unknown name shows itself."""
    return str(_(table[name])) if name in table else name


def _by(inputs: Mapping[str, str]) -> str:
    if inputs.get("by") in _OTHERS:
        return f" ({_named(_OTHERS, inputs['by'])})"
    return f" ({inputs['user']})" if "user" in inputs else ""


def _card(inputs: Mapping[str, str]) -> str:
    kind = _CARDS.get(inputs.get("entity", ""))
    return f"{_(kind) if kind else ''} {inputs.get('id', '')}".strip()


_FIELDS = {"name": N_("name"), "topic": N_("topic"), "page": N_("page"), "language": N_("language")}


def _decoration(inputs: Mapping[str, str]) -> str:
    """What was not kept of a request; unknown fields show the name that they were sent under."""
    names = {what: ", ".join(_named(_FIELDS, name) for name in sent.split(", ")) for what, sent in inputs.items()}
    told = []
    if "cut" in names:
        told.append(_("Shortened because of their length: %(fields)s", fields=names["cut"]))
    if "left_out" in names:
        told.append(_("Left out, because they cannot be used: %(fields)s", fields=names["left_out"]))
    return ". ".join(told)


_DECISIONS: dict[str, DecisionSentence] = {
    "requested": lambda i: _("Requested") + _by(i),
    "decoration": _decoration,
    "waits": lambda i: _("Not called yet: %(why)s", why=reason_sentence(i.get("reason", ""))),
    "not_dialled": lambda i: _("Not called: %(why)s", why=reason_sentence(i.get("reason", ""))),
    "fenced": lambda i: _("The app asked Bitrix24 to call (attempt %(number)s)", number=i.get("attempt", "?")),
    "dialled_started": lambda i: _("Bitrix24 started the call (attempt %(number)s)", number=i.get("attempt", "?")),
    "dialled_refused": lambda i: _("Bitrix24 refused the call (attempt %(number)s)", number=i.get("attempt", "?")),
    "dialled_not_executed": lambda i: _(
        "Attempt %(number)s was not made; another one follows", number=i.get("attempt", "?")
    ),
    "dialled_unknown": lambda i: _(
        "The outcome of attempt %(number)s is unknown; the app will not repeat it",
        number=i.get("attempt", "?"),
    ),
    "event_applied": lambda i: _named(_EVENTS, i.get("event", "")),
    "cancelled": lambda i: _("Cancelled") + _by(i),
    "rescheduled": lambda i: _("Moved to another time") + _by(i),
    "passed_on": lambda _inputs: _(
        "Asked for while another request for this number waited, which was withdrawn, moved or not dialled"
    ),
    "taken_over": lambda i: _(
        "Taken over from %(former)s: it is called under the access of %(user)s",
        former=i.get("former", "?"),
        user=i.get("user", "?"),
    ),
    "retried": lambda i: _("Called again") + _by(i),
    "resolved": lambda i: _named(RESOLVED, i.get("outcome", "")) + _by(i),
    "crm_found": lambda i: _("Found in the CRM: %(card)s", card=_card(i)),
    "crm_created": lambda i: _("Added to the CRM: %(card)s", card=_card(i)),
    "crm_failed": lambda i: _("Not found in the CRM and not added: %(why)s", why=reason_sentence(i.get("reason", ""))),
    "expired": lambda _inputs: _("Not called: there was no chance in time"),
    "not_permitted": lambda i: _("Not called: %(user)s may not start callbacks any more", user=i.get("user", "?")),
    "do_not_call": lambda _inputs: _("Not called: the number is on the do-not-call list"),
    "already_served": lambda _inputs: _("Not called: another call reached the customer"),
    "outside_hours": lambda i: (
        _("Not called: outside working hours; waits for their beginning")
        if "opens_at" in i
        else _("Not called: outside working hours, which never begin")
    ),
    "repeats": lambda i: _(
        "The call ended with code %(code)s; the app calls again, attempts left: %(left)s",
        code=i.get("code", "?"),
        left=i.get("left", "?"),
    ),
    "not_repeated": lambda i: _(
        "The call ended with code %(code)s; the app does not call again: %(why)s",
        code=i.get("code", "?"),
        why=_named(NOT_REPEATED, i.get("why", "")),
    ),
    "ambiguous": lambda i: _(
        "More than one call fits the attempt (%(calls)s); only a person can tell", calls=i.get("calls", "?")
    ),
    "deadline_asks": lambda _inputs: _(
        "Bitrix24 did not report in time; only a person can tell. The number is free again"
    ),
    "restored": lambda _inputs: _("The app was restored from a backup: since then it may have been called"),
    "deadline_waits_on": lambda _inputs: _("The call history shows no call since the backup; it is called as planned"),
    "deadline_dials_again": lambda _inputs: _("Bitrix24 did not report in time; the form's rule is to call once more"),
    "closed_unseen": lambda _inputs: _("Closed: Bitrix24 never said how the call ended"),
    "abandoned": lambda _inputs: _("The app restarted during the call and will not repeat it"),
}


def decision_words(rule: str, inputs: Mapping[str, str]) -> str:
    """One line of the why; an unknown rule shows its name."""
    words = _DECISIONS.get(rule)
    return str(words(inputs)) if words else rule

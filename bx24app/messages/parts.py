"""Words for the parts of the app that a portal has or lacks: what a missing permission costs, and what helps."""

from collections.abc import Callable

from flask_babel import gettext as _

from bx24app.i18n import N_
from bx24app.messages.installation import FindingFacts, Sentences
from bx24app.messages.reasons import reason_sentence

# What does not work where a scope is not granted (diagnostics/portal.py ``COSTLY_SCOPES``).
_COSTS = {
    "placement": N_("Cards and lists show no tabs, buttons and menus of the app; only its own page opens."),
    "telephony": N_("Lines, voices and the call history cannot be read, so that no callback can be followed."),
    "call": N_("No callback can be started."),
    "crm": N_("Cards show no tabs, buttons and menus of the app, and customers are not found in the CRM."),
    "user_brief": N_(
        "Departments that you have chosen are not recognised, and some people stand there without a name."
    ),
}


def refused(facts: FindingFacts, mend: str) -> Sentences:
    """What Bitrix24 does not let the app read, in its own words, and what helps."""
    sentence = _("Bitrix24 does not let the app read this.")
    if facts.get("words"):
        sentence += " " + _("Bitrix24 says: “%(words)s”", words=facts["words"])
    return sentence, mend


def reinstall() -> str:
    """What helps where an installation is not whole."""
    return str(_("An administrator installs the app again from the marketplace; nothing is lost by that."))


def _grant() -> str:
    return str(
        _(
            "An administrator updates the app on its card in the marketplace, or installs it again, confirms its "
            "permissions, and opens the app once. Nothing is lost by that."
        )
    )


def _costs(scope: str) -> Callable[[FindingFacts], Sentences]:
    return lambda _f: (
        _("This Bitrix24 has not granted “%(scope)s”.", scope=scope) + " " + _(_COSTS[scope]),
        _grant(),
    )


PART_SENTENCES: dict[tuple[str, str], Callable[[FindingFacts], Sentences]] = {
    ("scopes", "ok"): lambda _f: (_("All are granted."), ""),
    ("scopes", "missing"): lambda f: (_("This Bitrix24 has not granted “%(scope)s”.", scope=f["scope"]), _grant()),
    ("scopes", "refused"): lambda f: refused(f, reinstall()),
    **{("scopes", scope): _costs(scope) for scope in _COSTS},
    ("bound", "ok"): lambda _f: (_("All tabs and event handlers are in place."), ""),
    ("bound", "missing"): lambda f: (
        _("Missing or out of date: %(what)s.", what=f["what"]),
        _("The app sets them up by itself within the hour. If they stay missing, install the app again."),
    ),
    ("bound", "denied"): lambda f: (
        _("Bitrix24 does not take: %(what)s.", what=f["what"])
        + " "
        + _("Bitrix24 says: “%(words)s”", words=f["words"]),
        _("The app tries again every hour. Everything else works."),
    ),
    ("bound", "refused"): lambda f: refused(f, reinstall()),
    ("smart_processes", "gone"): lambda f: (
        _(
            "These smart processes do not exist any more, so their cards have no tab of the app: %(names)s.",
            names=f["names"],
        ),
        _("Take them out of the choice under Settings, Smart processes."),
    ),
    ("smart_processes", "useless"): lambda f: (
        _(
            "Cards of these smart processes name no customers any more, so nobody can be called: %(names)s.",
            names=f["names"],
        ),
        _("Switch on the field “Client” in their settings, or take them out of the choice."),
    ),
    ("smart_processes", "denied"): lambda f: (
        _("Bitrix24 does not let the app add a tab to the cards of: %(names)s.", names=f["names"]),
        _("The app tries again every hour. Everything else works."),
    ),
    ("rules", "ok"): lambda _f: (_("The rules “Start a callback” are in the automation of the CRM."), ""),
    ("rules", "plan"): lambda _f: (
        _("This Bitrix24 has no automation rules of apps; its plan does not include them. Everything else works."),
        "",
    ),
    ("rules", "scope"): lambda f: (
        _("This Bitrix24 has not granted “%(scope)s”.", scope=f["scope"])
        + " "
        + _("Callbacks from deals' automation do not start."),
        _grant(),
    ),
    ("notifications", "scope"): lambda f: (
        _("This Bitrix24 has not granted “%(scope)s”.", scope=f["scope"])
        + " "
        + _("The app tells nobody in the messenger."),
        _grant(),
    ),
    ("rules", "refused"): lambda f: (
        _("The automation rules could not be set up.") + " " + reason_sentence(f["reason"]),
        _("The app tries again within the hour."),
    ),
}

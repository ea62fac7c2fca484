"""The sentence for every reason: what happened, whether a phone may have rung, and what to do."""

from flask_babel import format_date
from flask_babel import gettext as _

from bx24app.errors import NumberListed, Refusal
from bx24app.i18n import N_
from bx24app.messages.refusals import NUMBER_PROBLEMS, PUBLIC_REFUSALS, REFUSALS

# What the portal, or the way to it, had against the call.
_PORTAL_REASONS = {
    "not_permitted": N_(
        "Your access to the app on this Bitrix24 is no longer valid, or your role does not allow it. No call "
        "was made. Reload the page; if that does not help, ask an administrator."
    ),
    "bitrix24_access_denied": N_(
        "Bitrix24 does not allow it: the right “Outgoing call: perform” (for the list of lines: “Manage "
        "numbers: modify”) is missing. No phone rang. Ask an administrator for it."
    ),
    "bitrix24_closed_to_user": N_(
        "The app is not open to you on this Bitrix24. No phone rang. Ask an administrator: they choose who may "
        "use it, on the app's card under Applications."
    ),
    "bitrix24_confirmation_needed": N_(
        "An administrator of this Bitrix24 has to confirm that the app may do this. No phone rang. They find the "
        "question in their notifications, or on the app's card under Applications."
    ),
    "bitrix24_overloaded": N_(
        "Bitrix24 has stopped all requests to this portal for overload. No call was made yet. An "
        "administrator should ask the support of Bitrix24."
    ),
    "bitrix24_portal_closed": N_(
        "This Bitrix24 is closed for maintenance, or was removed. No call was made yet. The app continues "
        "when it is open again."
    ),
    "bitrix24_insufficient_scope": N_(
        "The app lacks a permission (scope) on this Bitrix24. No phone rang. An administrator has to install "
        "the app again and confirm its permissions."
    ),
    "bitrix24_unavailable": N_("Bitrix24 does not answer now. No call was made. Try again in a minute."),
    "bitrix24_unreachable": N_("Bitrix24 could not be reached. No call was made. Try again in a minute."),
    "bitrix24_busy": N_("Bitrix24 accepts no more requests for the moment. No call was made yet."),
    "portal_refused": N_("Bitrix24 refused the call. No phone should have rung."),
    "portal_disconnected": N_(
        "The app is not connected with this Bitrix24 any more. No call was made. An administrator has to "
        "open the app once, or install it again."
    ),
    "handed_over": N_("The line belongs to another telephony app. It received the request; the result appears there."),
    "due_too_late": N_("The app could not call in time. No phone rang. Call again if it is still wanted."),
    "application_removed": N_("The app was removed from this Bitrix24. No call was made."),
    "payment_required": N_(
        "The paid period of the app or of Bitrix24 is over. No call was made. An administrator has to renew "
        "it; the app then continues."
    ),
    "credential_refused": N_("Bitrix24 no longer accepts the access that the app has. No call was made."),
    "method_unknown": N_("This Bitrix24 does not offer the function. No call was made."),
}


# How a call ended (docs: CALL_FAILED_CODE), or what a person has decided about it.
_CALL_REASONS = {
    "code_304": N_("Nobody answered."),
    "code_603": N_("The call was declined."),
    "code_603_s": N_("The call was cancelled."),
    "code_403": N_("Calls to this number are forbidden on the line. Ask an administrator."),
    "code_404": N_("The telephone operator says that the number is wrong. Check it before you call again."),
    "code_486": N_("The number was busy."),
    "code_484": N_("This destination cannot be reached from the line."),
    "code_503": N_("This destination cannot be reached from the line."),
    "code_480": N_("The number could not be reached just now."),
    "code_402": N_("The line's balance is empty. Ask an administrator to top it up."),
    "code_402_b24": N_("The line's balance is empty. Ask an administrator to top it up."),
    "code_423": N_("The line or the number is blocked. Ask an administrator."),
    "code_other": N_("The call ended before the two were connected."),
    "retry_restored": N_(
        "The app was restored from a backup. The call history shows no call since, so it will be called as planned."
    ),
    "resolved_reached": N_("A colleague says that you talked to the customer."),
    "resolved_not_reached": N_("A colleague says that the customer was not reached."),
}


# Why nobody knows how it ended; what to do follows.
_UNCERTAIN = {
    "dial_timeout": N_("Bitrix24 did not reply in time. A phone may have rung. "),
    "dial_reset": N_("The connection to Bitrix24 broke during the call. A phone may have rung. "),
    "dial_interrupted": N_("The app was interrupted during the call. A phone may have rung. "),
    "dial_unreadable": N_("Bitrix24 sent a reply that the app cannot read. A phone may have rung. "),
    "restored": N_(
        "The app was restored from a backup, and does not know what happened since. A phone may have rung. "
    ),
    "end_not_seen": N_("Bitrix24 never said how this call ended. The customer may have been reached. "),
}
_LOOK_FIRST = N_("Ask your colleagues or look into the call history before you call again.")


# Why the customer of a website's request was not found in the CRM and no card was made.
_CRM_REASONS = {
    "crm_denied": N_(
        "Bitrix24 does not let the app look into the CRM or add to it. An administrator with these rights should "
        "open the app once."
    ),
    "crm_scope": N_("The app lacks the permission (scope) for the CRM. An administrator has to install it again."),
    "crm_refused": N_("Bitrix24 refused the card."),
    "crm_silent": N_("The CRM could not be reached for a day. Look for the customer by the number."),
    "crm_unknown": N_(
        "Bitrix24 did not say whether it made a card, and none is found. Look into the CRM before you make one."
    ),
}


# What somebody may not read of the CRM, or what is gone.
_CARD_REASONS = {
    "types_denied": N_("Bitrix24 tells administrators of the CRM alone which smart processes there are."),
    "card_gone": N_("The card was deleted, or you may not see it."),
    "activity_gone": N_("The activity was deleted, or you may not see it."),
}


# Why an automation rule has led to no call.
_RULE_REASONS = {
    "rule_number": N_(
        "The document is none of the CRM, so it names no customer. Choose a number in the rule. No call was made."
    ),
    "rule_card_gone": N_("The card was deleted, or the app may not read it. No call was made."),
    "rule_card_empty": N_("The card has no phone number. No call was made."),
    "rule_card_number": N_("The card has no phone number that can be called. No call was made."),
    "rule_delay": N_("The minutes in the rule are no whole number, or more than a year. No call was made."),
    "rule_time": N_("The time in the rule cannot be read. Write it like 24.12.2026 15:00. No call was made."),
    "rule_time_past": N_("The time in the rule has passed already. No call was made."),
    "rule_time_far": N_("The time in the rule is more than a year away. No call was made."),
    "rule_line": N_("No line is chosen in the rule, and the app has none by default. No call was made."),
    "rule_hours": N_("The working hours do not open in the next weeks. No call was made."),
    "rule_token": N_("The app cannot read any more what the rule came with. No call was made."),
    "rule_not_permitted": N_("The rule runs for a person who may not start callbacks in the app. No call was made."),
    "rule_not_proven": N_("Bitrix24 did not confirm in time for whom the rule runs. No call was made."),
    "erased": N_("What was kept of the callback was erased."),
}


# Why a button in the timeline has done nothing.
_CLICK_REASONS = {
    "click_not_proven": N_("Bitrix24 did not say in time who pressed the button. Press it again."),
}


_REASONS = {
    **REFUSALS,
    **NUMBER_PROBLEMS,
    **PUBLIC_REFUSALS,
    **_PORTAL_REASONS,
    **_CALL_REASONS,
    **_CRM_REASONS,
    **_CARD_REASONS,
    **_RULE_REASONS,
    **_CLICK_REASONS,
}


def refusal_sentence(error: Refusal) -> str:
    """Why a use case refused, as sentences for the user."""
    if not isinstance(error, NumberListed):
        return reason_sentence(error.explanation, error.words)
    day = format_date(error.listed_at, "medium")
    if error.by is None:
        return str(_("This number is on the do-not-call list since %(day)s. No call was made.", day=day))
    words = _("%(name)s put this number on the do-not-call list on %(day)s. No call was made.", name=error.by, day=day)
    return str(words)


def reason_sentence(reason: str, words: str | None = None) -> str:
    """A reason as sentences for the user; ``words`` are the portal's own and are quoted."""
    if reason == "unknown_variable":
        known_ones = "{name}, {topic}, {form}, {page}"
        return str(_("The text names %(variable)s, but only these are filled in: ", variable=words) + known_ones + ".")
    sentence = _sentence(reason)
    return sentence + " " + str(_("Bitrix24 says: “%(words)s”", words=words)) if words else sentence


def _sentence(reason: str) -> str:
    if reason in _UNCERTAIN:
        return str(_(_UNCERTAIN[reason]) + _(_LOOK_FIRST))
    if reason in _REASONS:
        return str(_(_REASONS[reason]))
    if reason.startswith("retry_code_"):
        return _sentence(reason.removeprefix("retry_")) + " " + str(_("The app will call again."))
    if reason.startswith("retry_"):
        return str(_("Bitrix24 did not accept the call; nothing rang. The app will try again."))
    if reason.startswith("dial_"):
        return _sentence("dial_unreadable")
    return _sentence("code_other" if reason.startswith("code_") else "portal_refused")

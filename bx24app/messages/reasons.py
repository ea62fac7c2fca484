"""Words for states, reasons and decisions: what happened, whether a phone may have rung, and what to do."""

from flask_babel import gettext as _


def _refusals() -> dict[str, str]:
    """Codes with which a request is answered, or a callback fails before anything rings."""
    return {
        "invalid_request": _("Something in the request is missing or has a wrong form. Nothing was dialled."),
        "address_refused": _(
            "Callbacks can only be told to a public address that begins with https:// and holds no password."
        ),
        "invalid_number": _(
            "This is not a telephone number that can be dialled. Write it with the country code, such as "
            "+49 30 901820, and without an extension."
        ),
        "number_not_allowed": _("Premium, shared-cost and satellite numbers are never dialled."),
        "unknown_line": _("Your Bitrix24 has no such line now. Refresh the list of lines and choose another one."),
        "unknown_voice": _("Your Bitrix24 has no such voice now. Refresh the list of voices and choose another one."),
        "text_invalid": _(
            "Write one or two sentences for the manager, 300 characters at most: the customer waits meanwhile."
        ),
        "duplicate_open_callback": _(
            "A callback for this number is already under way. Wait for its end, or cancel it first."
        ),
        "idempotency_key_reused": _("The same key came with another request before. Nothing new was started."),
        "outside_hours": _("It is outside of the working hours. Choose a later time."),
        "do_not_call": _("This number is on the do-not-call list. Nothing was dialled."),
        "rate_limited": _("Too many requests. Wait a minute and try again."),
        "budget_exhausted": _("Today's budget for callbacks is used up. Nothing was dialled."),
        "already_served": _("The customer has been called meanwhile. Nothing more was dialled."),
        "not_found": _("There is no such callback."),
        "key_refused": _("The API key is not known, or was revoked. Nothing was dialled."),
        "ticket_expired": _("This page has been open for too long. Reload it; nothing was dialled."),
        "line_full": _("All calls that the line may carry at once are under way. It is dialled as soon as one ends."),
        "line_stopped": _(
            "There was not enough money on the line's account. It is tried again within the hour, or when an "
            "administrator says that there is money again."
        ),
        "too_late": _("It is too late for that: the callback has moved on. Look at its present state."),
    }


def _public_refusals() -> dict[str, str]:
    """What visitors of a website are told: nothing that helps somebody who tries things out."""
    return {
        "form_closed": _("No requests are taken here at the moment. Please use another way to reach us."),
        "origin_refused": _("This page may not send requests. Please use the form on our website."),
        "not_human": _("The request could not be confirmed. Please reload the page and send it again."),
        "field_refused": _("Something is missing, or has a form that cannot be read. Please look through the fields."),
        "number_refused": _("We cannot call this number from here. Please give another one."),
        "public_number": _("This is not a telephone number. Please write it with the country code, without letters."),
        "public_hours": _("Nobody is there at that time. Please choose one of the free times."),
        "public_limit": _("There were too many requests. Please try again later."),
        "public_budget": _("No more calls can be taken today. Please try again tomorrow."),
    }


def _portal_reasons() -> dict[str, str]:
    """What the portal, or the way to it, had against the call."""
    return {
        "not_permitted": _(
            "Your access to the app on this Bitrix24 is no longer valid, or your role does not allow it. Nothing "
            "was dialled. Reload the page; if that does not help, ask an administrator."
        ),
        "bitrix24_access_denied": _(
            "Bitrix24 does not allow it: the right “Outgoing call: perform” (for the list of lines: “Manage "
            "numbers: modify”) is missing. No phone rang. Ask an administrator for it."
        ),
        "bitrix24_closed_to_user": _(
            "The app is not open to you on this Bitrix24. No phone rang. Ask an administrator: they choose who may "
            "use it, on the app's card under Applications."
        ),
        "bitrix24_confirmation_needed": _(
            "An administrator of this Bitrix24 has to confirm that the app may do this. No phone rang. They find the "
            "question in their notifications, or on the app's card under Applications."
        ),
        "bitrix24_overloaded": _(
            "Bitrix24 has stopped all requests to this portal for overload. Nothing was dialled yet. An "
            "administrator should ask the support of Bitrix24."
        ),
        "bitrix24_insufficient_scope": _(
            "The app lacks a permission (scope) on this Bitrix24. No phone rang. An administrator has to install "
            "the app again and confirm its permissions."
        ),
        "bitrix24_unavailable": _("Bitrix24 does not answer now. Nothing was dialled. Try again in a minute."),
        "bitrix24_unreachable": _("Bitrix24 could not be reached. Nothing was dialled. Try again in a minute."),
        "bitrix24_busy": _("Bitrix24 takes no more requests for the moment. Nothing was dialled yet."),
        "portal_refused": _("Bitrix24 refused the call. No phone should have rung."),
        "portal_disconnected": _(
            "The app is not connected with this Bitrix24 any more. Nothing was dialled. An administrator has to "
            "open the app once, or install it again."
        ),
        "handed_over": _(
            "The line belongs to another telephony app, which was given the request. Its outcome is shown there."
        ),
        "due_too_late": _("It could not be dialled in time. No phone rang. Call again if it is still wanted."),
        "application_removed": _("The app was removed from this Bitrix24. Nothing was dialled."),
        "payment_required": _(
            "The paid period of the app or of Bitrix24 is over. Nothing was dialled. An administrator has to renew "
            "it; the app then goes on by itself."
        ),
        "portal_gone": _("This Bitrix24 was closed. Nothing was dialled."),
        "credential_refused": _("Bitrix24 no longer accepts the access that the app has. Nothing was dialled."),
        "method_unknown": _("This Bitrix24 does not offer the function. Nothing was dialled."),
    }


def _call_reasons() -> dict[str, str]:
    """How a call ended (docs: CALL_FAILED_CODE), or why nobody knows."""
    unsure = _("Ask your colleagues or look into the call history before you call again.")
    return {
        "code_304": _("Nobody of the line picked up, or the call was missed."),
        "code_603": _("The call was declined."),
        "code_603_s": _("The call was cancelled."),
        "code_403": _("Calls to this number are forbidden on the line. Ask an administrator."),
        "code_404": _("The telephone operator says that the number is wrong. Check it before you call again."),
        "code_486": _("The number was busy."),
        "code_484": _("This destination cannot be reached from the line."),
        "code_503": _("This destination cannot be reached from the line."),
        "code_480": _("The number could not be reached just now."),
        "code_402": _("There is not enough money on the line's account. Ask an administrator to top it up."),
        "code_402_b24": _("There is not enough money on the line's account. Ask an administrator to top it up."),
        "code_423": _("The line or the number is blocked. Ask an administrator."),
        "code_other": _("The call ended without joining the two."),
        "dial_timeout": _("Bitrix24 fell silent after it was asked to dial. A phone may have rung. ") + unsure,
        "dial_reset": _("The connection to Bitrix24 broke while it was dialling. A phone may have rung. ") + unsure,
        "dial_interrupted": _("The app was interrupted while it was dialling. A phone may have rung. ") + unsure,
        "dial_unreadable": _("Bitrix24 answered something unreadable. A phone may have rung. ") + unsure,
        "end_not_seen": _("Bitrix24 never said how this call ended. The customer may have been reached. ") + unsure,
        "resolved_reached": _("A colleague says that the customer was reached."),
        "resolved_not_reached": _("A colleague says that the customer was not reached."),
    }


def _crm_reasons() -> dict[str, str]:
    """Why the customer of a website's request was not found in the CRM and no card was made."""
    return {
        "crm_denied": _(
            "Bitrix24 does not let the app look into the CRM or add to it. An administrator with these rights should "
            "open the app once."
        ),
        "crm_scope": _("The app lacks the permission (scope) for the CRM. An administrator has to install it again."),
        "crm_refused": _("Bitrix24 refused the card."),
        "crm_silent": _("The CRM could not be reached for a day. Look for the customer by the number."),
        "crm_unknown": _(
            "Bitrix24 did not say whether it made a card, and none is found. Look into the CRM before you make one."
        ),
    }


def reason_sentence(reason: str, words: str | None = None) -> str:
    """A reason as sentences for the user; ``words`` are the portal's own and are quoted."""
    if reason == "unknown_variable":
        known_ones = "{name}, {topic}, {form}, {page}"
        return str(_("The text names %(variable)s, but only these are filled in: ", variable=words) + known_ones + ".")
    known = {**_refusals(), **_public_refusals(), **_portal_reasons(), **_call_reasons(), **_crm_reasons()}
    if reason in known:
        sentence = known[reason]
    elif reason.startswith("retry_code_"):
        ended = known.get(reason.removeprefix("retry_"), known["code_other"])
        sentence = ended + " " + _("It will be dialled again by itself.")
    elif reason.startswith("retry_"):
        sentence = _("Bitrix24 did not take the call; nothing rang. It will be tried again by itself.")
    elif reason.startswith("dial_"):
        sentence = known["dial_unreadable"]
    elif reason.startswith("code_"):
        sentence = known["code_other"]
    else:
        sentence = known["portal_refused"]
    return str(sentence + " " + _("Bitrix24 says: “%(words)s”", words=words) if words else sentence)

"""The sentences for what a use case refuses, for staff and for visitors of a website."""

from bx24app.i18n import N_

# Codes with which a request is answered, or a callback fails before anything rings.
REFUSALS = {
    "invalid_request": N_("Something in the request is missing or has a wrong form. No call was made."),
    "unknown_filter": N_("There is no such filter. Its name is below; nothing was listed, so that nothing is missed."),
    "filter_twice": N_("This is in the address twice. Write several values behind one name, with commas between them."),
    "cursor_of_other_list": N_("This place belongs to another list. Begin at the first page of this one."),
    "order_needs_planned": N_(
        "Only planned callbacks can be put in the order of their calls. Choose only such states."
    ),
    "search_too_short": N_("Write at least three digits of the number, or two letters of the name."),
    "search_too_long": N_("That is longer than any number. Write fewer digits."),
    "nobody_is_asked_for": N_("A key belongs to no person, so nothing is “mine”."),
    "ids_and_filters": N_("Choose callbacks by their ids or by filters, not by both."),
    "too_many_files": N_("Other files are being written at the moment. Try again in a few seconds."),
    "too_many_erasures": N_(
        "Another number is being erased, or many were a moment ago. This one was not. Try again in a few seconds."
    ),
    "too_many_listed": N_(
        "You have added many numbers today. This one was not added. Wait a quarter of an hour, or ask an administrator "
        "to import a list."
    ),
    "hour_needs_period": N_("An hour of a weekday is looked for between two days, at most a year apart."),
    "hour_needs_weekday": N_("Choose a weekday together with an hour."),
    "period_ends_before": N_("The period ends before it begins."),
    "two_quick_filters": N_("Two filters contradict each other: choose one of them."),
    "limit_reached": N_("There are as many of these as there may be. Remove one that is not needed any more."),
    "address_refused": N_(
        "Callbacks can only be told to a public address that begins with https:// and holds no password."
    ),
    "country_unknown": N_(
        "Name the country in which your customers live: without it, the form would not know which numbers it may call."
    ),
    "report_day": N_("Write days as year, month and day, such as 2026-11-27."),
    "report_order": N_("The first day comes after the last one. Choose the earlier day first."),
    "report_length": N_("A report covers a year at most. Choose a shorter period."),
    "report_zone": N_("There is no such time zone. Write it like Europe/Berlin."),
    "report_together": N_("These cannot be chosen together: form, line and source can, a person stands alone."),
    "report_period": N_("Choose a period by its name or by its days, not by both."),
    "invalid_number": N_(
        "This is not a phone number that can be called. Write it with the country code, such as +49 30 901820."
    ),
    "number_not_allowed": N_("Premium, shared-cost, personal, pager and satellite numbers are never called."),
    "unknown_line": N_("Your Bitrix24 has no such line now. Refresh the list of lines and choose another one."),
    "unknown_voice": N_("Your Bitrix24 has no such voice now. Refresh the list of voices and choose another one."),
    "text_invalid": N_(
        "Write one or two sentences for the manager, 300 characters at most: the customer waits meanwhile."
    ),
    # ``NumberInHand``: another callback has the number in hand.
    "duplicate_open_callback": N_(
        "A callback for this number is already under way. Wait for its end, or cancel it first."
    ),
    "idempotency_key_reused": N_("The same key came with another request before. Nothing new was started."),
    "outside_hours": N_("Outside working hours. Choose a later time."),
    "do_not_call": N_("This number is on the do-not-call list. No call was made."),
    "rate_limited": N_("Too many requests. Wait a minute and try again."),
    "budget_exhausted": N_("The day's budget for callbacks is used up. No call was made."),
    "already_served": N_("The customer has been called meanwhile. No further call was made."),
    "changed_meanwhile": N_(
        "A colleague has changed the same settings meanwhile. Nothing was saved, and what you typed is still here."
    ),
    "not_found": N_("There is no such callback."),
    "key_refused": N_("The API key is not known, or was revoked. No call was made."),
    "ticket_expired": N_("This page has been open for too long. Reload it; no call was made."),
    "proof_too_old": N_(
        "Bitrix24 has to confirm again who you are and what you may do. Reload the page and try once more."
    ),
    "own_access_needed": N_(
        "A colleague asked for this callback. It would go on under your own access, which the app does not have. "
        "Please open the app again in Bitrix24."
    ),
    "line_full": N_("The line carries as many calls as it may. This one starts as soon as another ends."),
    "line_stopped": N_(
        "The line's balance was empty. The app tries again within the hour, or when an administrator has topped it up."
    ),
    "too_late": N_("Too late: the callback has moved on. Look at its present state."),
}


# Why a text is no number (``NumberProblem``), for staff and visitors alike.
NUMBER_PROBLEMS = {
    "number_empty": N_("There is no telephone number in it. Write its digits, such as +49 30 901820."),
    "number_long": N_("This is too long for a telephone number. Write nothing but the number."),
    "number_short": N_(
        "This is not a phone number that can be called: digits are missing, or it is a service. Write the whole number."
    ),
    "number_invalid": REFUSALS["invalid_number"],
    "number_several": N_("There is more than one number. Write only the one to call."),
    "number_unclear": N_("Other digits, letters or signs may be a part of the number. Write nothing but the number."),
    "number_ambiguous": N_("Numbers of two countries are written like this. Begin with + and the country code."),
    "number_country_code": N_("It is not known which country the number is of. Begin with + and the country code."),
}


# What visitors of a website are told: nothing that helps somebody who tries things out.
PUBLIC_REFUSALS = {
    "form_closed": N_("We can't take requests right now. Please use another way to reach us."),
    "origin_refused": N_("This page may not send requests. Please use the form on our website."),
    "not_human": N_(
        "The request could not be confirmed. Please send it again. If that does not help, open the page anew."
    ),
    "trap_filled": N_("Your browser has filled in a field that should stay empty. Empty it and send the form again."),
    "field_refused": N_("Something is missing, or has a form that cannot be read. Please look through the fields."),
    "number_refused": N_("We cannot call this number from here. Please give another one."),
    "public_hours": N_("We're closed at that time. Please choose one of the free times."),
    "public_limit": N_("There were too many requests. Please try again later."),
    "public_budget": N_("We can't take more requests for today. Please choose another day, or try again tomorrow."),
    "public_later_budget": N_("We can't take more requests for that day. Please choose another day."),
}

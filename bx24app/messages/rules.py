"""Words for the rules of website forms, for the people of the portal: what a rule asks, and why it decided."""

from collections.abc import Mapping

from flask_babel import gettext as _

from bx24app.i18n import N_

# What each rule asks.
_ASKED = {
    "portal_ready": N_("The app is connected with this Bitrix24."),
    "websites_on": N_("Website forms are switched on."),
    "form_on": N_("The form is switched on."),
    "country_known": N_("It is known which countries the form may call."),
    "shape": N_("The request can be read."),
    "origin": N_("It comes from our own form or from a site of the form."),
    "fields": N_("Name and topic are there, where the form asks for them."),
    "consent": N_("The visitor agrees to the text of the form."),
    "honeypot": N_("The hidden field, which only programs see, is empty."),
    "proof": N_("The browser has worked for it, or the page is fresh."),
    "fill_time": N_("The form was filled in no faster than a person can."),
    "number_short": N_("It is not a short number."),
    "number_shape": N_("It is a telephone number."),
    "number_kind": N_("It is not a premium, shared-cost, personal, pager or satellite number."),
    "country": N_("Its country is allowed."),
    "blocked_prefix": N_("It begins with no blocked prefix."),
    "allowed_prefix": N_("It begins with an allowed prefix, where there are any."),
    "time": N_("The time can be read, is not past, and not more than 60 days away."),
    "hours": N_("Somebody is there at that time."),
    "line": N_("There is a line to ring."),
    "do_not_call": N_("It is not on the do-not-call list."),
    "proof_unspent": N_("The proof was not used before."),
    "address_hour": N_("Not too many requests from this address within an hour."),
    "network_hour": N_("Not too many requests from this network within an hour."),
    "network_day": N_("Not too many requests from this network within a day."),
    "number_day": N_("Not too many requests for this number within a day."),
    "form_hour": N_("Not too many requests of this form within an hour."),
    "form_day": N_("Not too many requests of this form within a day."),
    "budget_calls": N_("The day on which it is due has calls left."),
    "budget_money": N_("The day on which it is due has money left."),
}


# Why each rule refuses.
_REFUSED = {
    "portal_ready": N_("The app is not connected with this Bitrix24, or the paid period is over."),
    "websites_on": N_("All website forms are paused."),
    "form_on": N_("The form is switched off."),
    "country_known": N_("Nobody has named the country of the form or of the portal, so no number may be called."),
    "shape": N_("The request could not be read."),
    "origin": N_("It comes from a page that is not in the list of sites."),
    "fields": N_("A field is missing."),
    "consent": N_("The visitor did not agree to the text of the form."),
    "honeypot": N_("The hidden field was filled in: probably a program."),
    "proof": N_("There was no valid proof that a browser had shown the form."),
    "fill_time": N_("The form was filled in faster than a person can."),
    "number_short": N_("Short numbers are never called."),
    "number_shape": N_("It is not a phone number that can be called."),
    "number_kind": N_("Premium, shared-cost, personal, pager and satellite numbers are never called."),
    "country": N_("Its country is not among the allowed ones."),
    "blocked_prefix": N_("It begins with a blocked prefix."),
    "allowed_prefix": N_("It begins with none of the allowed prefixes."),
    "time": N_("The time could not be read, is past, or is more than 60 days away."),
    "hours": N_("Outside working hours."),
    "line": N_("There is no line to ring: choose one in the form or as default, and refresh the list of lines."),
    "do_not_call": N_("The number is on the do-not-call list."),
    "proof_unspent": N_("The proof was used before: the request was sent again, or copied."),
    "address_hour": N_("Too many requests from one address within an hour."),
    "network_hour": N_("Too many requests from one network within an hour."),
    "network_day": N_("Too many requests from one network within a day."),
    "number_day": N_("Too many requests for this number within a day."),
    "form_hour": N_("Too many requests of this form within an hour."),
    "form_day": N_("Too many requests of this form within a day."),
    "budget_calls": N_("The calls of the day on which it is due are used up."),
    "budget_money": N_(
        "The money of the day on which it is due is used up, counting a reserve for calls whose cost is not known yet."
    ),
}


def rule_words(rule: str, inputs: Mapping[str, object], *, is_tried: bool) -> str:
    """A rule as a sentence: with ``inputs`` why it decided, without what it asks."""
    if inputs:
        return str(_(_REFUSED[rule])) if rule in _REFUSED else rule
    sentence = str(_(_ASKED[rule])) if rule in _ASKED else rule
    return str(
        sentence if is_tried else sentence + " " + _("(Not checked in a test: only a real visitor can show it.)")
    )

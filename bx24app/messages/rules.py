"""Words for the rules of website forms, for the people of the portal: what a rule asks, and why it decided."""

from collections.abc import Mapping

from flask_babel import gettext as _


def _held() -> dict[str, str]:
    """What each rule asks."""
    return {
        "portal_ready": _("The app is connected with this Bitrix24."),
        "websites_on": _("Website forms are switched on."),
        "form_on": _("The form is switched on."),
        "shape": _("The request can be read."),
        "origin": _("It comes from our own form or from a site of the form."),
        "fields": _("Name and topic are there and not too long."),
        "consent": _("The visitor agrees to the text of the form."),
        "honeypot": _("The hidden field, which only programs see, is empty."),
        "proof": _("The browser has worked for it, or the page is fresh."),
        "fill_time": _("The form was filled in no faster than a person can."),
        "number_short": _("It is not a short number."),
        "number_shape": _("It is a telephone number."),
        "number_kind": _("It is not a premium, shared-cost or satellite number."),
        "country": _("Its country is allowed."),
        "blocked_prefix": _("It begins with no blocked prefix."),
        "allowed_prefix": _("It begins with an allowed prefix, where there are any."),
        "time": _("The time can be read, is not past, and not more than 60 days away."),
        "hours": _("Somebody is there at that time."),
        "line": _("There is a line to ring."),
        "do_not_call": _("It is not on the do-not-call list."),
        "proof_unspent": _("The proof was not used before."),
        "address_hour": _("Not too many requests from this address within an hour."),
        "number_day": _("Not too many requests for this number within a day."),
        "form_hour": _("Not too many requests of this form within an hour."),
        "form_day": _("Not too many requests of this form within a day."),
        "budget_calls": _("The number of calls for today is not used up."),
        "budget_money": _("The money for today is not used up."),
    }


def _decided() -> dict[str, str]:
    """Why each rule refuses."""
    return {
        "portal_ready": _("The app is not connected with this Bitrix24, or the paid period is over."),
        "websites_on": _("All website forms are switched off."),
        "form_on": _("The form is switched off."),
        "shape": _("The request could not be read."),
        "origin": _("It comes from a page that is not in the list of sites."),
        "fields": _("A field is missing, too long, or not one of the choices."),
        "consent": _("The visitor did not agree to the text of the form."),
        "honeypot": _("The hidden field was filled in: probably a program."),
        "proof": _("There was no valid proof that a browser had shown the form."),
        "fill_time": _("The form was filled in faster than a person can."),
        "number_short": _("Short numbers are never dialled."),
        "number_shape": _("It is not a telephone number that can be dialled."),
        "number_kind": _("Premium, shared-cost and satellite numbers are never dialled."),
        "country": _("Its country is not among the allowed ones."),
        "blocked_prefix": _("It begins with a blocked prefix."),
        "allowed_prefix": _("It begins with none of the allowed prefixes."),
        "time": _("The time could not be read, is past, or is more than 60 days away."),
        "hours": _("It is outside of the working hours."),
        "line": _("There is no line to ring: choose one in the form or as default, and refresh the list of lines."),
        "do_not_call": _("The number is on the do-not-call list."),
        "proof_unspent": _("The proof was used before: the request was sent again, or copied."),
        "address_hour": _("Too many requests from one address within an hour."),
        "number_day": _("Too many requests for this number within a day."),
        "form_hour": _("Too many requests of this form within an hour."),
        "form_day": _("Too many requests of this form within a day."),
        "budget_calls": _("The number of calls for today is used up."),
        "budget_money": _("The money for today is used up, counting a reserve for calls whose cost is not known yet."),
    }


def rule_words(rule: str, inputs: Mapping[str, object], *, is_tried: bool) -> str:
    """A rule as a sentence: with ``inputs`` why it decided, without what it asks."""
    if inputs:
        return str(_decided().get(rule, rule))
    sentence = _held().get(rule, rule)
    return str(sentence if is_tried else sentence + " " + _("(Taken to be so: only a real visitor can show it.)"))

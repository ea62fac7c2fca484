"""What people are told of callbacks that ended without a conversation: notifications, and the to-do's words."""

from flask_babel import gettext as _
from flask_babel import ngettext

from bx24app.bitrix24.people.reminders import NoticeText, plain
from bx24app.messages.links import desk_path, desk_url
from bx24app.messages.numbers import display_number
from bx24app.messages.reasons import reason_sentence
from bx24app.messages.states import StateFacts, state_label
from bx24app.models import Callback, Portal
from bx24app.services.native.follow_up.choices import NoticeEvent
from bx24app.services.native.follow_up.sending import SUMMARY, ToldThing
from bx24app.services.native.follow_up.to_dos import ToDoWords

# Names and topics are typed by strangers.
MAX_SHOWN_NAME, MAX_SHOWN_WORDS = 60, 300


def todo_words(portal: Portal, callback: Callback) -> ToDoWords:
    """The to-do "Call back" of a callback; its description ends with the link, which holds the callback's id."""
    number = display_number(callback.to_number)
    name = plain(callback.customer_name or "", MAX_SHOWN_NAME)
    title = (
        _("Call back %(name)s, %(number)s", name=name, number=number)
        if name
        else _("Call back %(number)s", number=number)
    )
    link = desk_url(portal, "callback", str(callback.id))
    return ToDoWords(title, f"{_what_happened(callback)}\n{link}")


def notice_text(told: ToldThing) -> NoticeText:
    """What a notification says, with the way to what it is about."""
    words, view, id, label = _told(told)
    path, url = desk_path(told.portal, view, id), desk_url(told.portal, view, id)
    return NoticeText(f"{words} [url={path}]{label}[/url]", f"{words} {url}")


def _told(told: ToldThing) -> tuple[str, str, str, str]:
    """The words, the view of the desk, its id, and what the link is called."""
    facts = {name: plain(text, MAX_SHOWN_NAME) for name, text in told.facts.items()}
    if told.event == SUMMARY:
        words = ngettext("%(num)s more callback needs somebody.", "%(num)s more callbacks need somebody.", told.count)
        return words, "callbacks", "", _("Open the list")
    if told.event == NoticeEvent.BUDGET:
        used_up = {
            "calls": _(
                "The form “%(name)s” has used up today's calls. Until midnight it only accepts requests for later days."
            ),
            "money": _(
                "The form “%(name)s” has used up today's money. Until midnight it only accepts requests for later days."
            ),
        }
        return used_up[facts["spent"]] % {"name": facts["form"]}, "form", facts["key"], _("Open the form")
    if told.event == NoticeEvent.LINE:
        words = _("The line “%(line)s” has no money. Its calls wait until it is topped up.", line=facts["line"])
        return words, "callbacks", "", _("Open the app")
    if told.event == NoticeEvent.ACCESS:
        return _access_words(facts.get("name", "")), "check", "", _("Open the app")
    return (
        _callback_words(told.callback),
        "callback",
        str(told.callback.id) if told.callback else "",
        _("Open the callback"),
    )


def _access_words(name: str) -> str:
    if not name:
        return reason_sentence("portal_disconnected")
    return str(
        _("The app lost the access that %(name)s gave it. It now works through another administrator.", name=name)
    )


def _callback_words(callback: Callback | None) -> str:
    if callback is None:
        return ""
    name = plain(callback.customer_name or "", MAX_SHOWN_NAME)
    number = display_number(callback.to_number)
    return f"{name}, {number}: {_what_happened(callback)}" if name else f"{number}: {_what_happened(callback)}"


def _what_happened(callback: Callback) -> str:
    """Where it ended and why, in a sentence or two."""
    label = state_label(StateFacts(callback.state, callback.reason, callback.line_name))
    reason = reason_sentence(callback.reason, callback.words) if callback.reason else ""
    return plain(f"{label}. {reason}", MAX_SHOWN_WORDS)

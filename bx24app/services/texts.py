"""What is spoken to the manager when nobody has written a text."""

from bx24app.errors import TextInvalid

# About 15 seconds of speech: the customer waits meanwhile.
MAX_LENGTH = 300

_DEFAULTS = {
    "en": "Callback request. Connecting you with the customer.",
    "ru": "Заказан обратный звонок. Соединяю с клиентом.",
}


def checked(text: str) -> str:
    """A text fit to be spoken, on one line; raises ``TextInvalid`` for an empty or too long one."""
    spoken = " ".join(text.split())
    if not any(map(str.isalnum, spoken)) or len(spoken) > MAX_LENGTH:
        raise TextInvalid("text")
    return spoken


def default_text(language: str) -> str:
    """The sentence for a portal's language, in English where there is none."""
    return _DEFAULTS.get(language.lower(), _DEFAULTS["en"])

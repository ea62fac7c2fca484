"""Every text of the app has its Russian form, and every code its own sentence."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from flask import Flask
from flask_babel import force_locale

from bx24app.messages.decisions import decision_words
from bx24app.messages.reasons import reason_sentence

ROOT = Path(__file__).parent.parent.parent
CATALOGUE = ROOT / "bx24app" / "translations" / "ru" / "LC_MESSAGES" / "messages.po"
METHODS = [("bx24app/**.py", "python"), ("templates/**.html", "jinja2")]

# The codes of docs/api.md, and the reasons.
CODES = """
invalid_request invalid_number number_not_allowed unknown_line unknown_voice text_invalid duplicate_open_callback
idempotency_key_reused outside_hours do_not_call rate_limited budget_exhausted not_permitted bitrix24_access_denied
bitrix24_insufficient_scope bitrix24_unavailable portal_refused portal_disconnected handed_over already_served
not_found ticket_expired too_late
"""
# The codes of docs/calls.md.
FAILED_CODES = "304 603 603-S 403 404 486 484 503 480 402 402-B24 423 OTHER"


def messages() -> set[str]:
    found = extract_from_dir(ROOT, method_map=METHODS, directory_filter=lambda path: "." not in Path(path).name)
    return {message if isinstance(message, str) else message[0] for _, _, message, _, _ in found}


def forms(message: Message) -> tuple[object, ...]:
    """The translation, or every plural form of it."""
    return tuple(message.string or ("",)) if message.pluralizable else (message.string,)


def test_the_russian_catalogue_is_complete_and_holds_nothing_else() -> None:
    with CATALOGUE.open("rb") as file:
        catalogue = read_po(file, locale="ru")
    done = [message.id for message in catalogue if message.id and not message.fuzzy and all(forms(message))]
    assert {id if isinstance(id, str) else id[0] for id in done} == messages()


@pytest.fixture
def speaking(app: Flask) -> Iterator[None]:
    with app.test_request_context():
        yield


@pytest.mark.usefixtures("speaking")
@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_code_has_a_sentence_of_its_own(language: str) -> None:
    with force_locale(language):
        unknown = reason_sentence("never heard of")
        for code in CODES.split():
            sentence = reason_sentence(code)
            assert sentence.endswith(".")
            assert (sentence == unknown) == (code == "portal_refused")
        for failed in FAILED_CODES.split():
            code = f"code_{failed.lower().replace('-', '_')}"
            assert (reason_sentence(code) == reason_sentence("code_other")) == (failed == "OTHER")


@pytest.mark.usefixtures("speaking")
def test_an_unknown_outcome_says_that_a_phone_may_have_rung() -> None:
    for reason in ("dial_timeout", "dial_reset", "dial_interrupted", "dial_unreadable", "dial_something_new"):
        assert "A phone may have rung" in reason_sentence(reason)


@pytest.mark.usefixtures("speaking")
def test_the_portals_own_words_are_quoted() -> None:
    assert "Bitrix24 says: “Leeres Konto”" in reason_sentence("portal_refused", "Leeres Konto")
    assert decision_words("fenced", {"attempt": "2"}) == "The app asked Bitrix24 to call (attempt 2)"

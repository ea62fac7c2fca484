"""What every class of error means, in one table; and that callers read it there instead of listing classes."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import bx24app
from bx24app import errors
from bx24app.bitrix24 import errors as bitrix24
from bx24app.crypto import UnknownKey
from bx24app.errors import Executed, KnownError, Refusal, Retry, Unverified
from bx24app.errors.unverified import TooManyLaunches
from bx24app.outgoing import errors as outgoing
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.dialling import dial  # noqa: F401  Brings every class of the app with it.
from bx24app.services.native.automation.unproven_runs import OthersAsked
from bx24app.services.security.proof_limits import TooManyAttempts, TooManyPages
from bx24app.web import errors as web_errors


class Meaning(NamedTuple):
    """``revokes``: the credential is of no use any more; ``api``: what our own API answers because of it."""

    retry: Retry
    executed: Executed
    revokes: bool
    api: tuple[int, str]


NO, UNKNOWN = Executed.NO, Executed.UNKNOWN
SILENT = (503, "bitrix24_unavailable")
SAID_NO = (409, "bitrix24_unavailable")
EXCHANGES: dict[type[ExchangeError], Meaning] = {
    outgoing.ExchangeError: Meaning(Retry.NEVER, UNKNOWN, False, SILENT),
    outgoing.NotSent: Meaning(Retry.LATER, NO, False, (503, "bitrix24_unreachable")),
    outgoing.AddressForbidden: Meaning(Retry.LATER, NO, False, (503, "bitrix24_address_forbidden")),
    outgoing.NoUsableAnswer: Meaning(Retry.LATER, UNKNOWN, False, SILENT),
    outgoing.ReadTimeout: Meaning(Retry.LATER, UNKNOWN, False, SILENT),
    outgoing.ConnectionReset: Meaning(Retry.LATER, UNKNOWN, False, SILENT),
    outgoing.UnreadableAnswer: Meaning(Retry.LATER, UNKNOWN, False, SILENT),
    bitrix24.ServerFailed: Meaning(Retry.LATER, UNKNOWN, False, SILENT),
    bitrix24.InternalServerError: Meaning(Retry.LATER, UNKNOWN, False, SILENT),
    bitrix24.UnexpectedAnswer: Meaning(Retry.LATER, UNKNOWN, False, SILENT),
    bitrix24.Moved: Meaning(Retry.AFTER_MOVE, NO, False, SILENT),
    bitrix24.Bitrix24Error: Meaning(Retry.NEVER, NO, False, SAID_NO),
    bitrix24.RefusedForNow: Meaning(Retry.LATER, NO, False, (409, "bitrix24_busy")),
    bitrix24.Overloaded: Meaning(Retry.LATER, NO, False, (409, "bitrix24_overloaded")),
    bitrix24.TokenExpired: Meaning(Retry.AFTER_RENEWAL, NO, False, SAID_NO),
    bitrix24.CredentialRefused: Meaning(Retry.NEVER, NO, True, SAID_NO),
    bitrix24.RemovedSomewhere: Meaning(Retry.NEVER, NO, True, SAID_NO),
    bitrix24.AccessDenied: Meaning(Retry.NEVER, NO, False, (409, "bitrix24_access_denied")),
    bitrix24.ClosedToUser: Meaning(Retry.NEVER, NO, False, (409, "bitrix24_closed_to_user")),
    bitrix24.ConfirmationNeeded: Meaning(Retry.NEVER, NO, False, (409, "bitrix24_confirmation_needed")),
    bitrix24.InsufficientScope: Meaning(Retry.NEVER, NO, False, (409, "bitrix24_insufficient_scope")),
    bitrix24.ApplicationRemoved: Meaning(Retry.NEVER, NO, True, SAID_NO),
    bitrix24.PortalClosed: Meaning(Retry.LATER, NO, False, (409, "bitrix24_portal_closed")),
    bitrix24.PaymentRequired: Meaning(Retry.NEVER, NO, True, SAID_NO),
    bitrix24.UnpaidSomewhere: Meaning(Retry.NEVER, NO, True, SAID_NO),
    bitrix24.MethodUnknown: Meaning(Retry.NEVER, NO, False, SAID_NO),
    bitrix24.MethodRefused: Meaning(Retry.NEVER, NO, False, SAID_NO),
}
# Our own refusals did nothing; these may succeed later as they are.
LATER = {errors.Bitrix24Unavailable, UnknownKey, errors.RateLimited, errors.BudgetExhausted, errors.PortalUnreachable}
LATER |= {
    TooManyLaunches,
    TooManyAttempts,
    TooManyPages,
    OthersAsked,
    errors.TooManyFiles,
    errors.TooManyErasures,
    errors.TooManyListed,
    errors.StillRemoving,
    errors.LaterBudgetExhausted,
}
# What a callback that fails by it says, where that is not the code of the error.
CALLBACK_REASONS: dict[type[ExchangeError], str] = {
    bitrix24.CredentialRefused: "not_permitted",
    bitrix24.RemovedSomewhere: "not_permitted",
    bitrix24.UnpaidSomewhere: "payment_required",
    bitrix24.ApplicationRemoved: "portal_disconnected",
}


def with_subclasses(kind: type[KnownError]) -> Iterator[type[KnownError]]:
    if kind.__module__.startswith("bx24app."):
        yield kind
        for narrower in kind.__subclasses__():
            yield from with_subclasses(narrower)


def made(kind: type[ExchangeError]) -> ExchangeError:
    if issubclass(kind, bitrix24.Bitrix24Error | bitrix24.ServerFailed):
        return kind("SOME_CODE", "Some words", 418)
    return kind("some text")


def test_the_table_has_every_error_of_an_exchange() -> None:
    assert set(with_subclasses(ExchangeError)) == set(EXCHANGES)


@pytest.mark.parametrize("kind", EXCHANGES, ids=lambda kind: kind.__name__)
def test_an_error_of_an_exchange_means(kind: type[ExchangeError]) -> None:
    error, meaning = made(kind), EXCHANGES[kind]
    assert (error.retry, error.executed, error.revokes_credential) == meaning[:3]
    assert web_errors.answer_to(kind) == meaning.api
    assert error.explanation == error.code
    assert error.callback_reason == CALLBACK_REASONS.get(kind, error.code)


@pytest.mark.parametrize("kind", EXCHANGES, ids=lambda kind: kind.__name__)
def test_an_answer_keeps_its_status_and_a_request_without_answer_has_none(kind: type[ExchangeError]) -> None:
    error = made(kind)
    answered = issubclass(kind, bitrix24.Bitrix24Error | bitrix24.ServerFailed)
    assert (error.status, error.foreign_code) == ((418, "SOME_CODE") if answered else (None, ""))
    assert error.words == ("Some words" if issubclass(kind, bitrix24.Bitrix24Error) else None)


def test_no_error_of_an_exchange_shares_its_code_unless_it_is_the_methods_own() -> None:
    codes = [kind.code for kind in EXCHANGES if kind not in (bitrix24.MethodRefused, outgoing.NoUsableAnswer)]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "kind",
    [kind for tree in (Refusal, Unverified) for kind in with_subclasses(tree)],
    ids=lambda kind: kind.__name__,
)
def test_a_refusal_of_our_own_did_nothing_and_has_a_status(kind: type[KnownError]) -> None:
    assert (kind.executed, kind.revokes_credential) == (NO, False)
    assert kind.retry is (Retry.LATER if kind in LATER else Retry.NEVER)
    assert kind.status in (400, 401, 403, 404, 409, 422, 429, 503)
    # 503 and 429 promise that it is worth trying again.
    assert (kind.status in (429, 503)) == (kind.retry is Retry.LATER)


def listed_classes(node: ast.AST) -> set[str]:
    """The names in an ``isinstance`` or an ``except``."""
    found: ast.AST | None = node.type if isinstance(node, ast.ExceptHandler) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
        found = node.args[1]
    return {part.id for part in ast.walk(found) if isinstance(part, ast.Name)} if found else set()


def test_no_module_decides_by_a_list_of_classes() -> None:
    """Two may be told apart where each has a consequence of its own; more are a list that an attribute replaces."""
    ours = {kind.__name__ for kind in with_subclasses(KnownError)}
    assert listed_classes(ast.parse("isinstance(error, Moved | NotSent)", mode="eval").body) == {"Moved", "NotSent"}
    lists = [
        f"{path.name}: {sorted(names)}"
        for path in sorted(Path(bx24app.__file__).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if len(names := ours & listed_classes(node)) > 2
    ]
    assert lists == []


def test_only_the_words_that_are_shown_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of what is refused is a flood: 21 texts that nobody read were a fifth of its cost."""
    translated: list[str] = []

    def note(text: str) -> str:
        translated.append(text)
        return text

    monkeypatch.setattr(web_errors, "_", note)
    assert web_errors._page_words(TooManyAttempts("too much was refused")) == tuple(translated)

"""Errors to answers, in one place: a problem document for programs, a short page for people."""

from collections.abc import Callable, Iterable
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

import structlog
from flask import Flask, Response, make_response, render_template, request
from flask_babel import gettext as _
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException

from bx24app.database.errors import is_away
from bx24app.errors import DatabaseBusy, OpenedElsewhere, Refusal, Retry, Unverified, VisitorRefused
from bx24app.messages.reasons import reason_sentence, refusal_sentence
from bx24app.outgoing.errors import ExchangeError
from bx24app.settings import settings
from bx24app.web.api.schemas import FieldError, Problem
from bx24app.web.headers import frame_anywhere

log = structlog.get_logger(__name__)


def prefers_page() -> bool:
    """Tell whether a person's browser asks, and not a script."""
    kinds = request.accept_mimetypes
    return kinds["text/html"] > kinds["application/json"] and kinds.accept_html


def answer_to(kind: type[Refusal | ExchangeError]) -> tuple[int, str]:
    """The HTTP status and the promised code with which a class of our errors is told to programs."""
    return (kind.api_status, kind.api_code) if issubclass(kind, ExchangeError) else (kind.status, kind.code)


def _wants_page() -> bool:
    if request.path.startswith(("/w/", "/c/")):
        return prefers_page()
    return not request.path.startswith(("/api/", "/session", "/events", "/desk/"))


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Iterable[FieldError] = (),
    id: UUID | None = None,
    slots: list[datetime] | None = None,
) -> Response:
    """An RFC 9457 problem document; ``id`` is that of the thing in the way, ``slots`` are times to choose instead."""
    told = Problem(
        type="about:blank",
        title=reason_title(code),
        status=status,
        detail=detail,
        code=code,
        errors=list(errors),
        id=id,
        slots=slots,
    )
    return Response(told.model_dump_json(exclude_none=True), status, content_type="application/problem+json")


def reason_title(code: str) -> str:
    """The code in words, in English: a title is the same for every reader."""
    return code.replace("_", " ").capitalize()


def page(status: int, heading: str, explanation: str, advice: str, *, may_retry: bool = False) -> Response:
    """A short page without data, which any portal may frame; ``may_retry``: with a button that asks for it again."""
    frame_anywhere(insecure=settings.allow_insecure_portals)
    words = {"heading": heading, "explanation": explanation, "advice": advice}
    return make_response(render_template("problems/page.html", **words, may_retry=may_retry), status)


def _refused(error: Refusal) -> Response:
    detail = refusal_sentence(error)
    if _wants_page() and request.path.startswith(("/w/", "/c/")):
        return page(error.status, _("This is not possible"), detail, "")
    wrong = error.errors or ([(error.field, detail)] if error.field else [])
    response = problem(
        error.status,
        error.code,
        detail,
        errors=[FieldError(field=field, message=message) for field, message in wrong],
        id=error.open_id,
        slots=None if error.slots is None else list(error.slots),
    )
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _exchange_failed(error: ExchangeError) -> Response:
    status, code = answer_to(type(error))
    return problem(status, code, reason_sentence(code, error.words))


def _route() -> str:
    """The pattern of the address, for the log: the address itself may be a customer's link."""
    return str(request.url_rule or "")


def _unverified(error: Unverified) -> Response:
    log.info("unverified", reason=str(error), route=_route())
    if _wants_page():
        response = page(error.status, *_page_words(error), may_retry=error.retry is Retry.LATER)
        if isinstance(error, OpenedElsewhere):
            # The page has no data, and whoever opened the portal over http should read it too.
            frame_anywhere(insecure=True)
    else:
        response = problem(error.status, error.code, _problem_words()[error.code])
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _problem_words() -> dict[str, str]:
    """What a program is told that could not prove who it is, by code."""
    return {
        "invalid_request": _("The request is not what a Bitrix24 portal sends."),
        "bitrix24_unavailable": _("Bitrix24 does not answer now. Try again in a minute."),
        "not_permitted": _("The request does not prove who sends it."),
        "rate_limited": _("Too many attempts were refused. Try again in a minute."),
    }


def _words_elsewhere(error: OpenedElsewhere) -> tuple[str, str, str]:
    return (
        _("This Bitrix24 is open at another address"),
        _(
            "The app knows it as %(known)s, and only that address may show the app's pages. It is open at %(opened)s.",
            known=error.known,
            opened=error.opened,
        ),
        _(
            "Open your Bitrix24 at %(known)s. If its address has changed, reload this page in a minute.",
            known=error.known,
        ),
    )


def _words_of_removal() -> tuple[str, str, str]:
    return (
        _("The app is still being removed"),
        _("It was removed from your Bitrix24 a moment ago, and what it kept is still being deleted."),
        _("Wait a minute and reload the page."),
    )


def _page_words(error: Unverified) -> tuple[str, str, str]:
    """Heading, explanation and advice for whoever opened a page that was not let in."""
    if isinstance(error, VisitorRefused):
        return (
            _("Bitrix24 does not let you use the app"),
            reason_sentence(error.cause, error.words),
            _("Reload the page once an administrator of your Bitrix24 has opened the way."),
        )
    if isinstance(error, OpenedElsewhere):
        return _words_elsewhere(error)
    words: dict[str, Callable[[], tuple[str, str, str]]] = {
        "malformed": lambda: (
            _("This page was opened in an unusual way"),
            _("The request is not what a Bitrix24 portal sends."),
            _("Open the app from your Bitrix24: the left menu, or a tab in a CRM card."),
        ),
        "not_installed": lambda: (
            _("The app is not installed here yet"),
            _("Your Bitrix24 knows the app, but its installation was never finished, or it was removed."),
            _("Ask an administrator of your Bitrix24 to install Callback Desk again. It takes a few seconds."),
        ),
        "administrator_needed": lambda: (
            _("An administrator has to install the app"),
            _("Installing adds the app to CRM cards for everybody, which only an administrator may do."),
            _("Ask an administrator of your Bitrix24 to open this page."),
        ),
        "portal_unreachable": lambda: (
            _("Bitrix24 does not answer"),
            _("The app could not ask your Bitrix24 who you are. No call was made."),
            _("Wait a minute and reload the page."),
        ),
        "still_removing": _words_of_removal,
        "too_many_launches": lambda: (
            _("Bitrix24 answers slowly"),
            _("Other pages of your Bitrix24 are still waiting for its answer. No call was made."),
            _("Wait a few seconds and press Retry."),
        ),
        "too_many_attempts": lambda: (
            _("Too many attempts"),
            _("Too many attempts were refused. Try again in a minute."),
            _("Wait a minute and reload the page."),
        ),
        "unverified": lambda: (
            _("The app could not recognise you"),
            _("Bitrix24 did not confirm this visit. It may be too old, or your access to the app was closed."),
            _("Reload the page in Bitrix24. If that does not help, ask an administrator of your Bitrix24."),
        ),
    }
    # Whoever is refused most often is a flood: only what is shown is translated.
    return words[error.explanation]()


def _busy(error: DatabaseBusy) -> Response:
    log.warning("database_busy", route=_route())
    words = _("The app has too much to do now. No call was made.")
    advice = _("Wait a few seconds and press Retry.")
    if _wants_page():
        response = page(error.status, _("The app is busy"), words, advice, may_retry=True)
    else:
        response = problem(error.status, error.code, words)
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if not _wants_page():
        code = "not_found" if status == HTTPStatus.NOT_FOUND else "invalid_request"
        return problem(status, code, _http_words(status))
    return page(status, _http_words(status), "", _("Open the app from your Bitrix24."))


def _http_words(status: int) -> str:
    words = {
        404: _("There is no such page."),
        405: _("This address does not work that way."),
        413: _("The request is too large."),
        415: _("The request has a content type that is not read here."),
    }
    return str(words.get(status) or _("The request cannot be read."))


def _database_failed(error: DBAPIError) -> Response:
    """The database is away for a while, or it has failed in another way."""
    if not is_away(error):
        return _failed(error)
    log.warning("database_away", route=_route())
    # What was to be committed at that moment may have been.
    response = _went_wrong(HTTPStatus.SERVICE_UNAVAILABLE)
    response.headers["Retry-After"] = str(DatabaseBusy.retry_after)
    return response


def _failed(error: Exception) -> Response:
    """A mistake of ours: logged whole, told without details."""
    log.error("failed", route=_route(), exc_info=error)
    return _went_wrong(HTTPStatus.INTERNAL_SERVER_ERROR)


def _went_wrong(status: int) -> Response:
    words = _("Something went wrong on our side. Look at the list of callbacks before you try again.")
    if _wants_page():
        return page(status, _("Something went wrong"), words, _("Reload the page in a minute."))
    return problem(status, "internal_error", words)


def init_app(app: Flask) -> None:
    """Answer every error with words."""
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(ExchangeError, _exchange_failed)
    app.register_error_handler(Unverified, _unverified)
    app.register_error_handler(DatabaseBusy, _busy)
    app.register_error_handler(DBAPIError, _database_failed)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _failed)

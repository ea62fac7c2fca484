"""Errors to answers, in one place: a problem document for programs, a short page for people."""

from collections.abc import Iterable
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

import structlog
from flask import Flask, Response, make_response, render_template, request
from flask_babel import gettext as _
from werkzeug.exceptions import HTTPException

from bx24app.bitrix24.errors import Bitrix24Error, Refused
from bx24app.errors import (
    AdministratorNeeded,
    Bitrix24Unavailable,
    BudgetExhausted,
    DuplicateOpenCallback,
    FormClosed,
    IdempotencyKeyReused,
    InvalidNumber,
    InvalidRequest,
    Malformed,
    NotFound,
    NotInstalled,
    NotPermitted,
    NumberNotAllowed,
    OnDoNotCallList,
    OriginRefused,
    OutsideHours,
    PortalDisconnected,
    PortalUnreachable,
    PublicNumberInvalid,
    PublicNumberRefused,
    RateLimited,
    Refusal,
    RuleRefused,
    TextInvalid,
    TicketExpired,
    TooLate,
    UnknownLine,
    UnknownVoice,
    Unverified,
    VisitorRefused,
)
from bx24app.messages.reasons import reason_sentence
from bx24app.settings import settings
from bx24app.web.api.schemas import FieldError, Problem
from bx24app.web.guards import InvalidBody
from bx24app.web.headers import frame_anywhere

log = structlog.get_logger(__name__)

# The first class that fits decides: narrower ones stand first.
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (InvalidNumber, 422),
    (NumberNotAllowed, 422),
    (UnknownLine, 422),
    (UnknownVoice, 422),
    (TextInvalid, 422),
    (InvalidRequest, 400),
    (DuplicateOpenCallback, 409),
    (IdempotencyKeyReused, 422),
    (TooLate, 409),
    (NotFound, 404),
    (NotPermitted, 403),
    (TicketExpired, 401),
    (PortalDisconnected, 409),
    (FormClosed, 403),
    (OriginRefused, 403),
    (PublicNumberInvalid, 422),
    (PublicNumberRefused, 422),
    (OnDoNotCallList, 422),
    (OutsideHours, 409),
    (RateLimited, 429),
    (BudgetExhausted, 429),
    (RuleRefused, 400),
    (Bitrix24Unavailable, 503),
    (Malformed, 400),
    (PortalUnreachable, 503),
    (Unverified, 403),
    (Refused, 409),
    (Bitrix24Error, 503),
)


def prefers_page() -> bool:
    """Tell whether a person's browser asks, and not a script."""
    kinds = request.accept_mimetypes
    return kinds["text/html"] > kinds["application/json"] and kinds.accept_html


def status_of(error: type[Exception]) -> int:
    """The HTTP status for a class of our errors."""
    return next(status for kind, status in STATUSES if issubclass(error, kind))


def code_of(error: type[Exception] | Exception) -> str:
    """The promised code for one of our errors, or for its class."""
    code = str(getattr(error, "code", InvalidRequest.code))
    if isinstance(error, Refusal) or (isinstance(error, type) and issubclass(error, Refusal)):
        return code
    return code if code.startswith("bitrix24_") else Bitrix24Unavailable.code


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


def page(status: int, heading: str, explanation: str, advice: str) -> Response:
    """A short page without data, which any portal may frame."""
    frame_anywhere(insecure=settings.allow_insecure_portals)
    text = render_template("problems/page.html", heading=heading, explanation=explanation, advice=advice)
    return make_response(text, status)


def _refused(error: Refusal) -> Response:
    code = error.code
    detail = reason_sentence(error.explanation, error.words)
    errors = [FieldError(field=error.field, message=detail)] if error.field else []
    if isinstance(error, InvalidBody):
        errors = [FieldError(field=field, message=message) for field, message in error.errors]
    if _wants_page() and request.path.startswith(("/w/", "/c/")):
        return page(status_of(type(error)), _("This is not possible"), detail, "")
    return problem_of(error, code, detail, errors)


def problem_of(error: Refusal, code: str, detail: str, errors: list[FieldError]) -> Response:
    """The problem document of a refusal, with what may be done instead."""
    open_id = error.open_id if isinstance(error, DuplicateOpenCallback) else None
    slots = list(error.slots) if isinstance(error, OutsideHours) else None
    response = problem(status_of(type(error)), code, detail, errors=errors, id=open_id, slots=slots)
    if isinstance(error, RateLimited | BudgetExhausted) and error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _portal_refused(error: Bitrix24Error) -> Response:
    code = code_of(error)
    words = error.words if isinstance(error, Refused) else None
    return problem(status_of(type(error)), code, reason_sentence(code, words))


def _unverified(error: Unverified) -> Response:
    log.info("unverified", reason=error.reason, path=request.path)
    status = status_of(type(error))
    if not _wants_page():
        return problem(status, *_problem_of(error))
    return page(status, *_page_of(error))


def _problem_of(error: Unverified) -> tuple[str, str]:
    if isinstance(error, Malformed):
        return "invalid_request", _("The request is not what a Bitrix24 portal sends.")
    if isinstance(error, PortalUnreachable):
        return "bitrix24_unavailable", _("Bitrix24 does not answer now. Try again in a minute.")
    return "not_permitted", _("The request does not prove who sends it.")


def _page_of(error: Unverified) -> tuple[str, str, str]:
    if isinstance(error, Malformed):
        return (
            _("This page was opened in an unusual way"),
            _("The request is not what a Bitrix24 portal sends."),
            _("Open the app from your Bitrix24: the left menu, or a tab in a CRM card."),
        )
    if isinstance(error, NotInstalled):
        return (
            _("The app is not installed here yet"),
            _("Your Bitrix24 knows the app, but its installation was never finished, or it was removed."),
            _("Ask an administrator of your Bitrix24 to install Callback Desk again. It takes a few seconds."),
        )
    if isinstance(error, AdministratorNeeded):
        return (
            _("An administrator has to install the app"),
            _("Installing adds the app to CRM cards for everybody, which only an administrator may do."),
            _("Ask an administrator of your Bitrix24 to open this page."),
        )
    if isinstance(error, VisitorRefused):
        return (
            _("Bitrix24 does not let you use the app"),
            reason_sentence(error.code, error.words),
            _("Reload the page once an administrator of your Bitrix24 has opened the way."),
        )
    if isinstance(error, PortalUnreachable):
        return (
            _("Bitrix24 does not answer"),
            _("The app could not ask your Bitrix24 who you are. Nothing was dialled."),
            _("Wait a minute and reload the page."),
        )
    return (
        _("The app could not recognise you"),
        _("Bitrix24 did not confirm this visit. It may be too old, or your access to the app was closed."),
        _("Reload the page in Bitrix24. If that does not help, ask an administrator of your Bitrix24."),
    )


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


def _failed(error: Exception) -> Response:
    """A mistake of ours: logged whole, told without details."""
    log.error("failed", path=request.path, exc_info=error)
    words = _("Something went wrong on our side. Look at the list of callbacks before you try again.")
    if _wants_page():
        return page(500, _("Something went wrong"), words, _("Reload the page in a minute."))
    return problem(500, "internal_error", words)


def init_app(app: Flask) -> None:
    """Answer every error with words."""
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(Bitrix24Error, _portal_refused)
    app.register_error_handler(Unverified, _unverified)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _failed)

"""Guards: they verify the caller and pass a typed value as the view's first argument."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from bx24app.bitrix24.launch import FramePost, read_frame_post
from bx24app.errors import InvalidRequest, NotPermitted
from bx24app.models import ApiKey
from bx24app.services.callbacks import principal
from bx24app.services.callbacks.principal import Employee
from bx24app.services.security import tickets
from bx24app.services.security.tickets import Ticket
from bx24app.services.websites import api_keys
from bx24app.web.languages import speak

P = ParamSpec("P")
R = TypeVar("R")
B = TypeVar("B", bound=BaseModel)


class Caller(StrEnum):
    """Whom a guard lets in."""

    ANYBODY = "anybody"
    TICKET = "ticket"
    REQUESTER = "requester"
    ADMINISTRATOR = "administrator"


def caller_of(view: Callable[..., object]) -> Caller:
    """Whom the view's guard lets in; without a guard, anybody."""
    return Caller(view.__dict__.get("caller", Caller.ANYBODY))


def _lets_in(caller: Caller, guarded: Callable[P, R]) -> Callable[P, R]:
    guarded.__dict__["caller"] = caller
    return guarded


class InvalidBody(InvalidRequest):
    """A JSON body that does not fit; ``errors`` are (field, message) pairs."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__()
        self.errors = errors


def frame_post_required(view: Callable[Concatenate[FramePost, P], R]) -> Callable[P, R]:
    """Pass the frame post, read but not yet proven; the use case proves it."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        speak(request.args.get("LANG", ""))
        return view(read_frame_post(request.args, request.form), *args, **kwargs)

    return guarded


def ticket_required(view: Callable[Concatenate[Ticket, P], R]) -> Callable[P, R]:
    """Pass the ticket of the ``Authorization: Bearer`` header; raises ``TicketExpired`` without a good one."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        return view(tickets.authenticate_ticket(_bearer()), *args, **kwargs)

    return _lets_in(Caller.TICKET, guarded)


def administrator_required(view: Callable[Concatenate[Ticket, P], R]) -> Callable[P, R]:
    """Like ``ticket_required``, for administrators of the portal only; raises ``NotPermitted``."""

    @wraps(view)
    def guarded(ticket: Ticket, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if not ticket.is_administrator:
            raise NotPermitted
        return view(ticket, *args, **kwargs)

    return _lets_in(Caller.ADMINISTRATOR, ticket_required(guarded))


@dataclass(frozen=True)
class Requester:
    """Who asks for callbacks: a person with a ticket, or a site's back end, whose key reaches one form only."""

    portal_id: int
    user_id: int | None
    form_id: int | None = None


def requester_required(view: Callable[Concatenate[Requester, P], R]) -> Callable[P, R]:
    """Pass who sends the ticket or the API key of ``Authorization: Bearer``.

    Raises ``TicketExpired``, for a key ``KeyRefused`` or ``RateLimited``.
    """

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        secret = _bearer()
        if secret.startswith(api_keys.KEY_PREFIX):
            key = api_keys.authenticate(secret)
            return view(Requester(key.portal_id, None, key.form_id), *args, **kwargs)
        ticket = tickets.authenticate_ticket(secret)
        return view(Requester(ticket.portal_id, ticket.user_id), *args, **kwargs)

    return _lets_in(Caller.REQUESTER, guarded)


def asker_required(view: Callable[Concatenate[Employee | ApiKey, P], R]) -> Callable[P, R]:
    """Like ``requester_required``, for a new request: pass all that is known of who asks, read in one go."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        secret = _bearer()
        if secret.startswith(api_keys.KEY_PREFIX):
            return view(api_keys.authenticate(secret), *args, **kwargs)
        ticket = tickets.read_ticket(secret)
        return view(principal.load_employee(ticket.portal_id, ticket.user_id), *args, **kwargs)

    return _lets_in(Caller.REQUESTER, guarded)


def _bearer() -> str:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def read_body(model: type[B]) -> B:
    """Read the JSON body as ``model``; raises ``InvalidBody`` naming every wrong field."""
    try:
        return model.model_validate_json(request.get_data())
    except ValidationError as error:
        raise InvalidBody(
            [(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors(include_input=False)]
        ) from None
    except RecursionError:
        raise InvalidBody([("", "nested too deeply")]) from None


def read_query(model: type[B]) -> B:
    """Read the query string as ``model``; raises ``InvalidRequest`` naming the first wrong parameter."""
    return _read_texts(model, request.args.to_dict())


def read_headers(model: type[B]) -> B:
    """Read the headers that ``model`` names, likewise."""
    names = (field.alias or name for name, field in model.model_fields.items())
    return _read_texts(model, {name: request.headers[name] for name in names if name in request.headers})


def _read_texts(model: type[B], texts: dict[str, str]) -> B:
    try:
        return model.model_validate(texts)
    except ValidationError as error:
        raise InvalidRequest(str(error.errors()[0]["loc"][0])) from None

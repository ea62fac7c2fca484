"""What ``/api/v1`` promises to programs: OpenAPI 3.1, made of the models that the views read and answer with.

A view says so once, above its guard::

    @blueprint.post("")
    @operation({201: CallbackSchema}, body=CallbackBody, refuses=(NumberInHand,))
    @principal_required(Role.OPERATOR)
    def start(principal: Principal) -> Response:

Who may call it comes from the guard, its path parameters from the rule, its summary from the docstring.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response, current_app, jsonify
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from bx24app.errors import InvalidRequest, NotFound, NotPermitted, RateLimited, Refusal, TicketExpired
from bx24app.inputs import BLANK
from bx24app.outgoing.errors import ExchangeError
from bx24app.services.callbacks.roles import Role
from bx24app.web.addresses import PLACEHOLDER, SCHEMAS
from bx24app.web.api.schemas import Problem
from bx24app.web.errors import answer_to
from bx24app.web.guards import Guard, guard_of

blueprint = Blueprint("openapi", __name__, url_prefix="/api/v1")

API_PREFIX = "/api/v1"
CACHE = "bx24app.openapi"
_making = threading.Lock()
REFERENCE = "#/components/schemas/{model}"
PROBLEM_TYPE = "application/problem+json"
SCHEMES = {
    "ticket": {"type": "http", "scheme": "bearer", "description": "The ticket of an open page; it lasts an hour."},
    "key": {"type": "http", "scheme": "bearer", "description": "The API key of a form; it reaches what came by it."},
}
JsonObject = dict[str, Any]
Model = type[BaseModel]
# A shape, the media type of an answer that is not JSON, or None for one without content.
Answers = Mapping[int, Model | str | None]
View = TypeVar("View", bound=Callable[..., object])
Schemas = Mapping[Model, JsonObject]


@dataclass(frozen=True)
class Operation:
    """What one view promises beyond its rule and its guard."""

    answers: Answers
    body: Model | str | None = None
    query: Model | None = None
    headers: Model | None = None
    refuses: tuple[type[Refusal | ExchangeError], ...] = ()

    def taken(self) -> Iterator[Model]:
        """The models that it reads."""
        yield from (model for model in (self.body, self.query, self.headers) if isinstance(model, type))

    def given(self) -> Iterator[Model]:
        """The models that it answers with."""
        yield from (shape for shape in self.answers.values() if isinstance(shape, type))


def operation(
    answers: Answers,
    *,
    body: Model | str | None = None,
    query: Model | None = None,
    headers: Model | None = None,
    refuses: tuple[type[Refusal | ExchangeError], ...] = (),
) -> Callable[[View], View]:
    """Describe a view: its answers by status, what it reads, and its refusals (each with its subclasses).

    ``body`` is a model, or the media type of plain text. Missing tickets, roles, ids and malformed input need no
    mention.
    """

    def describe(view: View) -> View:
        view.__dict__["operation"] = Operation(answers, body, query, headers, refuses)
        return view

    return describe


def _described(app: Flask) -> Iterator[tuple[Rule, str, Callable[..., object], Operation]]:
    """Every described view with its rule and method."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        described = view.__dict__.get("operation")
        if rule.rule.startswith(API_PREFIX) and isinstance(described, Operation):
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method.lower(), view, described


def _path_of(rule: Rule) -> str:
    """``/callbacks/{callback_id}``: the rule as OpenAPI writes it."""
    return PLACEHOLDER.sub(r"{\g<name>}", rule.rule)


def _parameters(rule: Rule, described: Operation, schemas: Schemas) -> list[JsonObject]:
    found: list[JsonObject] = [
        {"name": match["name"], "in": "path", "required": True, "schema": SCHEMAS[match["kind"]]}
        for match in PLACEHOLDER.finditer(rule.rule)
    ]
    for place, model in (("query", described.query), ("header", described.headers)):
        if model:
            schema = schemas[model]
            required = schema.get("required", [])
            found += [
                {
                    "name": name,
                    "in": place,
                    "required": name in required,
                    "schema": _parameter(place, properties, is_required=name in required),
                }
                for name, properties in schema["properties"].items()
            ]
    return found


def _as_text(schema: JsonObject) -> JsonObject:
    """A field as a parameter, which is there or not but never null."""
    kept: list[JsonObject] = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    if len(kept) != 1:
        return schema
    return {name: value for name, value in schema.items() if name not in ("anyOf", "default")} | kept[0]


def _parameter(place: str, schema: JsonObject, *, is_required: bool) -> JsonObject:
    """The schema of a parameter; an optional one in the query may be there without a value."""
    whole = _as_text(schema)
    return {"anyOf": [whole, BLANK]} if place == "query" and not is_required else whole


def _with_subclasses(
    kinds: Iterable[type[Refusal | ExchangeError]],
) -> Iterator[type[Refusal | ExchangeError]]:
    for kind in kinds:
        yield kind
        yield from _with_subclasses(kind.__subclasses__())


def _security(guard: Guard | None) -> list[JsonObject]:
    if guard is None:
        return []
    return [{"ticket": []}, {"key": []}] if guard.lets_keys_in else [{"ticket": []}]


def _refusals(rule: Rule, guard: Guard | None, described: Operation) -> dict[int, set[str]]:
    """The codes of every refusal by status."""
    kinds = set(_with_subclasses(described.refuses))
    if guard:
        kinds |= {TicketExpired, RateLimited}
    if guard and guard.role > Role.NONE:
        kinds.add(NotPermitted)
    if rule.arguments:
        kinds.add(NotFound)
    if described.body or any(described.taken()):
        kinds.add(InvalidRequest)
    codes: dict[int, set[str]] = {}
    for kind in kinds:
        status, code = answer_to(kind)
        codes.setdefault(status, set()).add(code)
    if described.body:
        codes[HTTPStatus.REQUEST_ENTITY_TOO_LARGE] = {InvalidRequest.code}
    return codes


def _content(shape: Model | str | None, schemas: Schemas) -> JsonObject:
    if shape is None:
        return {}
    return {"content": {shape: {}} if isinstance(shape, str) else {"application/json": {"schema": schemas[shape]}}}


def _responses(described: Operation, refusals: Mapping[int, set[str]], schemas: Schemas) -> JsonObject:
    responses: JsonObject = {}
    for status, shape in described.answers.items():
        responses[str(status)] = {"description": HTTPStatus(status).phrase, **_content(shape, schemas)}
    for status, codes in sorted(refusals.items()):
        one_of = {"type": "object", "properties": {"code": {"enum": sorted(codes)}}}
        schema = {"allOf": [schemas[Problem], one_of]}
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_TYPE: {"schema": schema}},
        }
    return responses


def _operation(
    rule: Rule, view: Callable[..., object], described: Operation, taken: Schemas, given: Schemas
) -> JsonObject:
    guard = guard_of(view)
    shown: JsonObject = {
        "operationId": rule.endpoint,
        "summary": (view.__doc__ or "").partition("\n")[0],
        "tags": [rule.endpoint.partition(".")[0]],
        "security": _security(guard),
        "parameters": _parameters(rule, described, taken),
        "responses": _responses(described, _refusals(rule, guard, described), given),
    }
    if described.body:
        shown["requestBody"] = {"required": True, "content": _body(described.body, taken)}
    return shown


def _body(body: Model | str, taken: Schemas) -> JsonObject:
    if isinstance(body, str):
        return {body: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": taken[body]}}


def document(app: Flask) -> JsonObject:
    """The whole description, from the rules that exist."""
    found = list(_described(app))
    taken = {model for *_, described in found for model in described.taken()}
    given = {Problem} | {model for *_, described in found for model in described.given()}
    # Parameters have no models of their own in OpenAPI: theirs are taken apart.
    apart = {model for *_, described in found for model in (described.query, described.headers) if model}
    references, definitions = models_json_schema(
        [(model, "validation") for model in sorted(taken - apart, key=str)]
        + [(model, "serialization") for model in sorted(given, key=str)],
        ref_template=REFERENCE,
    )
    inputs = {model: references[model, "validation"] for model in taken - apart}
    inputs |= {model: model.model_json_schema(ref_template=REFERENCE) for model in apart}
    outputs = {model: references[model, "serialization"] for model in given}
    schemas = {name: schema for model in apart for name, schema in inputs[model].get("$defs", {}).items()}
    paths: JsonObject = {}
    for rule, method, view, described in found:
        paths.setdefault(_path_of(rule), {})[method] = _operation(rule, view, described, inputs, outputs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Callback Desk", "version": "1", "description": "Callbacks for Bitrix24."},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas | definitions.get("$defs", {}), "securitySchemes": SCHEMES},
    }


@blueprint.get("/openapi.json")
@operation({200: "application/json"})
def show() -> Response:
    """This description."""
    made = current_app.extensions
    # It takes a second or two: whoever asks meanwhile waits for the one that makes it, and makes no other.
    with _making:
        if CACHE not in made:
            made[CACHE] = jsonify(document(current_app)).get_data()
    return Response(made[CACHE], mimetype="application/json")

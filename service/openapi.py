"""The HTTP interface as an OpenAPI 3.1 document, made of the code that it tells about.

Fields come from the Structs of `forms` and `answers`, statuses and reasons from `errors`; what
these can't tell is in `interface`. A route that isn't described there fails `document`.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Final

import msgspec

from service import __version__, errors, forms
from service.answers import SpotifyError, TokenAnswer
from service.errors import ErrorBody, ServiceError
from service.interface import (
    ABOUT,
    FLOWS,
    HEADERS,
    OF_EVERY_FLOW,
    OF_EVERY_PATH,
    PAGES,
    PARAMETERS,
    REASONS,
    SPOTIFYS,
    SPOTIFYS_OTHERS,
    STATUSES,
    TAGS,
    TOKEN_HEADERS,
    Flow,
    Page,
    Schema,
)

Problem = tuple[type[ServiceError], str]
"""An error, and one of its reasons."""

_JSON: Final = "application/json"
_TEXT: Final = "Text"
"""What a form's name ends in where its fields can only be text: everywhere but in JSON."""
_ANYTHING: Final = "*/*"


def document(methods: Mapping[str, Iterable[str]]) -> Schema:
    """Return the document of a service with these paths and their methods.

    Raises KeyError for a path that is not described.
    """
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "spotify-api-server",
            "version": __version__,
            "summary": "Token-swap backend for Spotify apps",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [],
        "tags": [{"name": name, "description": told} for name, told in TAGS.items()],
        "paths": {path: _operations(path, methods[path]) for path in _in_order(methods)},
        "components": {
            "schemas": dict(_schemas()),
            "responses": dict(_responses()),
            "parameters": dict(PARAMETERS),
            "headers": dict(HEADERS),
        },
    }


# Paths ---------------------------------------------------------------------------------------


def _in_order(paths: Iterable[str]) -> list[str]:
    order = {path: number for number, path in enumerate((*FLOWS, *PAGES))}
    return sorted(paths, key=order.__getitem__)


def _operations(path: str, methods: Iterable[str]) -> Schema:
    operation = _flow(FLOWS[path]) if path in FLOWS else _page(PAGES[path])
    as_told: Callable[[Schema], Schema] = dict
    make = {"GET": as_told, "POST": as_told, "HEAD": _head}
    return {method.lower(): make[method](operation) for method in sorted(methods)}


def _head(operation: Schema) -> Schema:
    """Return what HEAD does where GET does `operation`: the same without a body."""
    responses = {
        status: {name: value for name, value in answer.items() if name != "content"}
        for status, answer in operation["responses"].items()
    }
    name = operation["operationId"].replace("get", "head", 1)
    return {**operation, "operationId": name, "responses": responses}


def _page(page: Page) -> Schema:
    responses = {
        str(status): _answer(told, page.headers, {media_type: _fixed(body)})
        for status, (told, media_type, body) in page.answers.items()
    }
    parameters = ["RequestID"]
    if "ETag" in page.headers:
        parameters.append("IfNoneMatch")
        responses["304"] = _answer("The caller has it.", page.headers)
    return {
        "operationId": page.operation_id,
        "tags": [page.tag],
        "summary": page.summary,
        "parameters": [_ref("parameters", name) for name in parameters],
        "responses": responses,
    }


def _fixed(body: str) -> Schema:
    return {"schema": {"const": body}, "example": body} if body else {}


def _flow(flow: Flow) -> Schema:
    return {
        "operationId": flow.operation_id,
        "tags": ["Tokens"],
        "summary": flow.summary,
        "description": flow.description,
        "parameters": [_ref("parameters", name) for name in flow.parameters],
        "requestBody": {"required": True, "content": dict(_bodies(flow.form))},
        "responses": dict(_flow_responses(flow)),
    }


def _bodies(form: type[msgspec.Struct]) -> Iterator[tuple[str, Schema]]:
    """Yield what a body is in each media type."""
    fields = _schema(form)["properties"]
    example = {name: told["examples"][0] for name, told in fields.items() if "examples" in told}
    for media_type in forms.MEDIA_TYPES:
        name = form.__name__ + ("" if media_type == _JSON else _TEXT)
        yield media_type, {"schema": _ref("schemas", name), "example": example}


def _flow_responses(flow: Flow) -> Iterator[tuple[str, Schema]]:
    """Yield answers by status: what is this flow's, then what all flows share."""
    yield "200", _success(flow, "Spotify's answer; a refresh token in it is sealed.")
    yield "2XX", _success(flow, "The same, should Spotify answer with another status of success.")
    problems = [*_field_problems(flow), *_problems(errors.MalformedBody)]
    yield "400", _failure(problems, SPOTIFYS)
    for name, kinds in _by_status(OF_EVERY_FLOW):
        yield str(int(kinds[0].status)), _ref("responses", name)
    for statuses in SPOTIFYS_OTHERS:
        yield statuses, _ref("responses", f"Spotify{statuses}")


# Answers -------------------------------------------------------------------------------------


def _answer(told: str, headers: Iterable[str], content: Schema | None = None) -> Schema:
    answer: Schema = {"description": told}
    answer["headers"] = {name: _ref("headers", name) for name in headers}
    return {**answer, "content": content} if content else answer


def _success(flow: Flow, told: str) -> Schema:
    fields = _schema(TokenAnswer)["properties"]
    example = {name: fields[name]["examples"][0] for name in fields if name not in flow.left_out}
    always = ("access_token", "token_type", "expires_in", *flow.answered)
    schema = {"allOf": [_ref("schemas", "TokenAnswer")], "required": [*always]}
    return _answer(told, TOKEN_HEADERS, {_JSON: {"schema": schema, "example": example}})


def _field_problems(flow: Flow) -> Iterator[Problem]:
    fields = _schema(flow.form)["properties"]
    for name, told in fields.items():
        if not _is_ignored(told):
            yield errors.MissingField, errors.MissingField(name).reason
    for kind in flow.errors:
        yield from _problems(kind)
    name = next(iter(fields))
    for problem in REASONS[errors.InvalidField]:
        yield errors.InvalidField, errors.InvalidField(name, problem).reason


def _problems(kind: type[ServiceError]) -> Iterator[Problem]:
    for reason in REASONS.get(kind, (kind.reason,)):
        yield kind, reason


def _by_status(
    kinds: Iterable[type[ServiceError]],
) -> Iterator[tuple[str, list[type[ServiceError]]]]:
    """Yield errors of one status together, under the name of the first."""
    status = attrgetter("status")
    for _, group in groupby(sorted(kinds, key=status), status):
        together = list(group)
        yield together[0].__name__, together


def _responses() -> Iterator[tuple[str, Schema]]:
    """Yield the answers that paths share."""
    for kinds, spotifys in ((OF_EVERY_FLOW, {}), (OF_EVERY_PATH, None)):
        for name, together in _by_status(kinds):
            problems = [problem for kind in together for problem in _problems(kind)]
            yield name, _failure(problems, spotifys)
    content = _error_content([_ref("schemas", "SpotifyError")], _spotify_examples(SPOTIFYS))
    for statuses, told in SPOTIFYS_OTHERS.items():
        yield f"Spotify{statuses}", _answer(told, (*TOKEN_HEADERS, "Retry-After"), content)


def _failure(problems: list[Problem], spotifys: Mapping[str, Schema] | None) -> Schema:
    """Return an error of ours, of which one of Spotify's has the status too unless it is None."""
    status = problems[0][0].status
    told, more = STATUSES[status]
    headers = (*TOKEN_HEADERS, *more)
    own = dict(_examples(problems))
    if spotifys is None:
        content = {_JSON: {"schema": _ref("schemas", "Error"), "examples": own}}
    else:
        schemas = [_ref("schemas", "Error"), _ref("schemas", "SpotifyError")]
        content = _error_content(schemas, {**own, **_spotify_examples(spotifys)})
    return _answer(told, headers, content)


def _error_content(schemas: list[Schema], examples: Schema) -> Schema:
    """Return what an error is that may be Spotify's, which can have any media type."""
    return {_JSON: {"schema": {"anyOf": schemas}, "examples": examples}, _ANYTHING: {}}


def _examples(problems: Iterable[Problem]) -> Iterator[tuple[str, Schema]]:
    numbers: dict[str, int] = {}
    for kind, reason in problems:
        name = kind.__name__
        number = numbers[name] = numbers.get(name, 0) + 1
        value = {"error": True, "reason": reason}
        yield f"{name}{number if number > 1 else ''}", {"summary": _about(kind), "value": value}


def _spotify_examples(bodies: Mapping[str, Schema]) -> Schema:
    return {name: {"summary": "Spotify's own.", "value": body} for name, body in bodies.items()}


# Schemas -------------------------------------------------------------------------------------


def _schemas() -> Iterator[tuple[str, Schema]]:
    for form in dict.fromkeys(flow.form for flow in FLOWS.values()):
        schema = _schema(form)
        yield form.__name__, schema
        yield form.__name__ + _TEXT, _as_text(schema)
    yield "TokenAnswer", _token_answer()
    own = _schema(ErrorBody)
    yield "Error", {**own, "required": [*own["properties"]], "additionalProperties": False}
    theirs = _schema(SpotifyError)
    theirs["properties"]["error"]["type"] = ["string", "object"]
    yield "SpotifyError", theirs


def _token_answer() -> Schema:
    schema = _schema(TokenAnswer)
    schema["properties"]["expiration_date"]["format"] = "date-time"
    schema["description"] = (
        "Spotify's success (RFC 6749, section 5.1); what else Spotify sends is in it too."
    )
    return schema


def _schema(struct: type[msgspec.Struct]) -> Schema:
    """Return the schema of a Struct, without defaults: they are ours to know."""
    schema = msgspec.json.schema_components([struct])[1][struct.__name__]
    for told in schema["properties"].values():
        told.pop("default", None)
    return {**schema, "description": _about(struct)}


def _as_text(schema: Schema) -> Schema:
    """Return the schema of a form in which every value is a text."""
    kept = ("description", "examples", "minLength")
    fields = {
        name: {"type": "string", **{key: told[key] for key in kept if key in told}}
        for name, told in schema["properties"].items()
    }
    return {**schema, "title": schema["title"] + _TEXT, "properties": fields}


def _is_ignored(told: Schema) -> bool:
    """Tell whether a field may have any value: it has no type."""
    return not told.keys() & {"type", "anyOf"}


def _about(kind: type) -> str:
    """Return the first paragraph of a class' docstring, on one line."""
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


def _ref(of: str, name: str) -> Schema:
    return {"$ref": f"#/components/{of}/{name}"}

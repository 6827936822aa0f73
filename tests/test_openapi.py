"""The document is good OpenAPI, and tells of every route, field, error and reason that there is."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from litestar.handlers import HTTPRouteHandler
from openapi_spec_validator import OpenAPIV31SpecValidator

from service import documents, errors, forms, interface, openapi, probes, routes, trying
from service import settings as service_settings
from service.errors import ServiceError
from service.grants import Context
from service.sealing import Sealer
from tests.conftest import Start
from tests.running import environment
from tests.simulator.requests import REDIRECT_URI
from tests.test_routes import (
    CODE,
    CREDENTIALS,
    FLOWS,
    JSON,
    MALFORMED,
    PKCE_CODE,
    PKCE_REFRESH,
    REFRESH,
    REFRESHES,
    good_form,
    order,
    others,
    send,
    send_fields,
    well_formed,
)

Data = dict[str, Any]

FORMS: dict[str, type[msgspec.Struct]] = {
    CREDENTIALS: forms.ClientCredentialsForm,
    CODE: forms.AuthorizationCodeForm,
    REFRESH: forms.RefreshForm,
    PKCE_CODE: forms.PKCEAuthorizationCodeForm,
    PKCE_REFRESH: forms.PKCERefreshForm,
}
FIELDS = {path: form.__struct_fields__ for path, form in FORMS.items()}


def handlers() -> list[HTTPRouteHandler]:
    async def nobody(_grant: object) -> None: ...

    settings = service_settings.load(environment("http://127.0.0.1:1/api/token"))
    swap = routes.Swap(Context(settings, Sealer("key")), nobody)  # type: ignore[arg-type]
    served = [*routes.handlers(swap, None, client_credentials=True), *probes.handlers]
    served.append(trying.page(settings))
    return [*served, *documents.handlers(served)]


def methods() -> dict[str, list[str]]:
    return routes.methods(handlers())


@pytest.fixture(scope="module")
def document() -> Data:
    made: Data = json.loads(msgspec.json.encode(openapi.document(methods())))
    return made


def resolved(document: Data, thing: Data) -> Data:
    found: Any = document
    if "$ref" not in thing:
        return thing
    for name in thing["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


def operations(document: Data) -> Iterator[tuple[str, str, Data]]:
    for path, known in document["paths"].items():
        for method, operation in known.items():
            yield path, method, operation


def responses(document: Data) -> Iterator[tuple[str, Data]]:
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            yield f"{method} {path} {status}", resolved(document, response)


def problems(document: Data, schema: Data, value: object) -> list[str]:
    """Return what is wrong with `value` by a schema of `document`."""
    whole = {"components": document["components"], **schema}
    checked = Draft202012Validator(whole, format_checker=FormatChecker())
    return [error.message for error in checked.iter_errors(value)]


def kinds(base: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    """Yield the errors that are answered: those that others aren't made of."""
    subclasses = [kind for kind in base.__subclasses__() if kind.__module__.startswith("service.")]
    if not subclasses:
        yield base
    for kind in subclasses:
        yield from kinds(kind)


def reasons(document: Data) -> set[str]:
    return {
        example["value"]["reason"]
        for response in [
            *document["components"]["responses"].values(),
            *dict(responses(document)).values(),
        ]
        for content in response.get("content", {}).values()
        for example in content.get("examples", {}).values()
        if example["value"].get("error") is True
    }


# The document by itself ----------------------------------------------------------------------


def test_the_document_is_valid_openapi(document: Data) -> None:
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_example_is_good_by_its_schema(document: Data) -> None:
    checked = 0
    contents = [
        content
        for _, response in responses(document)
        for content in response.get("content", {}).items()
    ]
    for _, _, operation in operations(document):
        contents += operation.get("requestBody", {}).get("content", {}).items()
    for media_type, content in contents:
        examples = [example["value"] for example in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        for example in examples:
            assert problems(document, content["schema"], example) == [], (media_type, example)
            checked += 1
    assert checked > 100


def test_the_schemas_refuse_what_is_not_so(document: Data) -> None:
    schemas = document["components"]["schemas"]
    for name, value in (
        ("Error", {"error": "invalid_grant", "reason": "a"}),
        ("Error", {"error": True}),
        ("SpotifyError", {"error": True, "reason": "a"}),
        ("TokenAnswer", {"expiration_date": "tomorrow"}),
        ("AuthorizationCodeForm", {"code": ""}),
        ("AuthorizationCodeFormText", {"code": "a", "redirect_uri": None}),
    ):
        assert problems(document, schemas[name], value), name


def test_operations_have_names_of_their_own(document: Data) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


# The document and the code -------------------------------------------------------------------


def test_every_route_and_method_is_told_and_no_other(document: Data) -> None:
    told = {path: sorted(map(str.upper, known)) for path, known in document["paths"].items()}
    assert told == methods()


def test_everything_that_is_described_is_served() -> None:
    assert {*interface.FLOWS, *interface.PAGES} == set(methods())


def test_a_route_that_is_not_described_makes_no_document() -> None:
    with pytest.raises(KeyError, match="/new"):
        openapi.document({**methods(), "/new": ["GET"]})


def test_a_method_that_is_not_described_makes_no_document() -> None:
    with pytest.raises(KeyError, match="DELETE"):
        openapi.document({**methods(), "/": ["DELETE"]})


@pytest.mark.parametrize("path", FLOWS)
@pytest.mark.parametrize("media_type", forms.MEDIA_TYPES)
def test_a_flows_fields_are_its_forms(document: Data, path: str, media_type: str) -> None:
    body = document["paths"][path]["post"]["requestBody"]
    schema = resolved(document, body["content"][media_type]["schema"])
    fields = msgspec.structs.fields(FORMS[path])
    assert set(schema["properties"]) == {field.encode_name for field in fields}
    assert schema["required"] == [field.encode_name for field in fields if field.required]
    assert set(body["content"]) == set(forms.MEDIA_TYPES)
    assert body["required"]


def test_every_field_is_described_and_none_has_a_default(document: Data) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, told in schema["properties"].items():
            assert told.get("description"), f"{name}.{field}"
            assert "default" not in told, f"{name}.{field}"


@pytest.mark.parametrize("path", FLOWS)
def test_a_route_reads_the_fields_that_are_told_and_no_other(start: Start, path: str) -> None:
    """A repeated field is refused by its name; one that the route doesn't know is ignored."""
    client = start(REDIRECT_URI=REDIRECT_URI)
    for field in sorted({name for names in FIELDS.values() for name in names}):
        fields = [*others(path, field), (field, b"a"), (field, b"a")]
        reason = send_fields(client, path, fields).json().get("reason")
        repeated = errors.InvalidField(field, "is repeated").reason
        assert (reason == repeated) == (field in FIELDS[path]), field


def test_every_error_is_told(document: Data) -> None:
    told = {*interface.OF_EVERY_FLOW, *interface.OF_EVERY_PATH, *interface.UNSEEN}
    told |= {errors.MissingField, errors.InvalidField, errors.MalformedBody}
    told |= {kind for flow in interface.FLOWS.values() for kind in flow.errors}
    assert told == set(kinds())
    for kind in told - {*interface.UNSEEN}:
        names = document["components"]["responses"]
        shown = [name for _, response in responses(document) for name in examples(response)]
        shown += [name for response in names.values() for name in examples(response)]
        assert kind.__name__ in shown


def examples(response: Data) -> list[str]:
    return [
        name
        for content in response.get("content", {}).values()
        for name in content.get("examples", {})
    ]


def test_an_error_has_the_status_of_its_answer(document: Data) -> None:
    by_name = {kind.__name__: kind for kind in kinds()}
    for where, response in responses(document):
        for name in examples(response):
            if (kind := by_name.get(name.rstrip("0123456789"))) is not None:
                assert where.endswith(f" {kind.status:d}"), where


def raised() -> Iterator[tuple[str, str]]:
    """Yield the name of an error and the text for each place of the code that gives one."""
    names = {kind.__name__ for kind in kinds()}
    for path in Path("service").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = ast.unparse(node.func).removeprefix("errors.")
            text = node.args[-1]
            if name in names and isinstance(text, ast.Constant):
                yield name, str(text.value)


# NOTE: what Litestar alone could refuse never reaches a route; the reason stands in for its text.
FALLBACK = ("MalformedBody", "Bad Request")


def test_every_reason_in_the_code_is_told(document: Data) -> None:
    told = reasons(document)
    found = set(raised()) - {FALLBACK}
    assert len(found) >= 10
    for name, text in found:
        wanted = errors.InvalidField("x", text).reason[26:] if name == "InvalidField" else text
        assert any(wanted in reason for reason in told), (name, text)
    for kind in set(kinds()) - {*interface.UNSEEN}:
        if "reason" in vars(kind):
            assert kind.reason in told, kind


def test_every_reason_that_is_told_is_in_the_code() -> None:
    """InvalidField's are its problems."""
    texts = {text for _, text in raised()}
    for kind, known in interface.REASONS.items():
        for reason in known:
            assert reason in texts or reason == vars(kind).get("reason"), reason


# The document and a running service ----------------------------------------------------------


class Conformance:
    """Holds answers of a running service against the document that it serves itself."""

    def __init__(self, client: httpx.Client) -> None:
        self.document: Data = client.get("/openapi.json").json()

    def check(self, answer: httpx.Response) -> None:
        status = answer.status_code
        operation = self.document["paths"][answer.request.url.path][answer.request.method.lower()]
        known = operation["responses"]
        response = resolved(self.document, known.get(str(status)) or known[f"{status // 100}XX"])
        self._check_headers(answer, response["headers"])
        media_type = forms.media_type(answer.headers.get("content-type", ""))
        content = response.get("content", {})
        assert not answer.content or media_type in content or "*/*" in content, media_type
        if schema := content.get(media_type, {}).get("schema"):
            body = answer.json() if media_type == JSON else answer.text
            assert problems(self.document, schema, body) == [], answer.text

    def _check_headers(self, answer: httpx.Response, headers: Data) -> None:
        for name, reference in headers.items():
            told = resolved(self.document, reference)
            assert name in answer.headers or not told.get("required"), name
            if name in answer.headers:
                assert problems(self.document, told["schema"], answer.headers[name]) == [], name


@pytest.mark.parametrize("path", FLOWS)
def test_successes_are_as_told(start: Start, simulator: httpx.Client, path: str) -> None:
    client = start()
    conformance = Conformance(client)
    for media_type in forms.MEDIA_TYPES:
        if media_type == "multipart/form-data":
            media_type = f"{media_type}; boundary=lim.it"  # noqa: PLW2901
        fields = [(name, value.encode()) for name, value in good_form(simulator, path).items()]
        answer = send_fields(client, path, fields, media_type)
        assert answer.status_code == 200
        conformance.check(answer)


@pytest.mark.parametrize("path", FLOWS)
def test_refusals_of_ours_are_as_told(start: Start, path: str) -> None:
    client = start(ALLOWED_REDIRECT_URIS="https://other.example/callback")
    conformance = Conformance(client)
    answers = [send(client, path, media_type, body) for media_type, body in MALFORMED]
    for field in FIELDS[path]:
        answers.append(send_fields(client, path, others(path, field)))
        answers.append(send_fields(client, path, [*others(path, field), (field, b"\xff")]))
    answers.append(client.post(path, data=well_formed(path, refresh_token="x", redirect_uri="x")))
    answers.append(send(client, path, "text/plain", b"code=a"))
    answers.append(send(client, path, JSON, b"{" + b" " * 20_000))
    for answer in answers:
        conformance.check(answer)
    seen = {answer.json()["reason"] for answer in answers if answer.json().get("error") is True}
    assert set(map(of_any_field, seen)) <= set(map(of_any_field, reasons(conformance.document)))
    assert {answer.status_code for answer in answers} >= {400, 413, 415}


def of_any_field(reason: str) -> str:
    return re.sub(r"'\w+'", "'…'", reason)


SPOTIFYS = [
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 418},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 599},
    {"kind": "html"},
    {"kind": "ratelimit"},
    {"kind": "garbage"},
    {"kind": "notobject"},
    {"kind": "redirect"},
    {"kind": "bomb"},
    {"kind": "huge"},
    {"kind": "reset"},
    {"kind": "silence"},
]


@pytest.mark.parametrize("fault", SPOTIFYS, ids=lambda fault: "-".join(map(str, fault.values())))
def test_failures_of_spotifys_are_as_told(
    start: Start, simulator: httpx.Client, fault: Data
) -> None:
    client = start(UPSTREAM_TIMEOUT="0.5")
    conformance = Conformance(client)
    for path in FLOWS:
        order(simulator, {**fault, "times": 1})
        answer = client.post(path, data=well_formed(path, redirect_uri=REDIRECT_URI))
        conformance.check(answer)
        conformance.check(client.post(path, data=well_formed(path)))
        assert answer.status_code >= 400
        assert answer.status_code != 499
        simulator.post("/admin/reset").raise_for_status()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", interface.PAGES)
def test_pages_are_as_told(start: Start, path: str, method: str) -> None:
    client = start(TRY_PAGE="true")
    conformance = Conformance(client)
    answer = client.request(method, path)
    assert answer.status_code == 200
    conformance.check(answer)
    tag = answer.headers.get("etag")
    if tag is not None:
        unchanged = client.request(method, path, headers={"If-None-Match": tag})
        assert unchanged.status_code == 304
        conformance.check(unchanged)


def test_what_every_path_answers_is_as_told(client: httpx.Client) -> None:
    document = Conformance(client).document
    for name, answer in (
        ("NotFound", client.get("/nothing")),
        ("MethodNotAllowed", client.delete(CODE)),
    ):
        response = document["components"]["responses"][name]
        schema = response["content"][JSON]["schema"]
        assert problems(document, schema, answer.json()) == []
        assert answer.json()["reason"] in reasons(document)
        assert set(map(str.lower, response["headers"])) <= set(answer.headers)


def test_a_flow_that_is_switched_off_is_not_told(start: Start) -> None:
    client = start(CLIENT_CREDENTIALS_ENABLED="false", TRY_PAGE="true")
    told = client.get("/openapi.json").json()["paths"]
    assert set(told) == set(methods()) - {CREDENTIALS}
    assert REFRESHES[0] in told


def test_the_guide_tells_every_status_and_reasons_that_there_are(document: Data) -> None:
    guide = Path("docs/http.md").read_text()
    section = guide.partition("## Errors of ours")[2]
    table = "".join(re.findall(r"^\| ([0-9, ]+) \|", section, re.MULTILINE))
    assert set(map(int, re.findall(r"[0-9]{3}", table))) == set(interface.STATUSES)
    promised = re.findall(r"^- `([^`]+)`", section, re.MULTILINE)
    assert len(promised) == 4
    assert set(promised) <= reasons(document)

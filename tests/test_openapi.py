"""/openapi.json and /docs match the service."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from service import errors, forms, oauth, openapi
from service import settings as service_settings
from service.app import create_app
from service.sealing import Sealer
from tests.conftest import Start
from tests.running import SECRET_KEY, environment
from tests.simulator.requests import (
    CHALLENGE,
    REDIRECT_URI,
    minted_code,
    minted_refresh_token,
)

Object = dict[str, Any]

CREDENTIALS = "/client-credentials-flow/retrieve-tokens"
CODE = "/authorization-code-flow/retrieve-tokens"
REFRESH = "/authorization-code-flow/refresh-tokens"
PKCE_CODE = "/authorization-code-flow-pkce/retrieve-tokens"
PKCE_REFRESH = "/authorization-code-flow-pkce/refresh-tokens"
TOKEN, *ALIASES = oauth.TOKEN_PATHS
FORMS: dict[str, type[msgspec.Struct]] = {
    CREDENTIALS: forms.ClientCredentialsForm,
    CODE: forms.AuthorizationCodeForm,
    REFRESH: forms.RefreshForm,
    PKCE_CODE: forms.PKCEAuthorizationCodeForm,
    PKCE_REFRESH: forms.PKCERefreshForm,
    TOKEN: forms.OAuthForm,
}
FORM, JSON, MULTIPART = forms.MEDIA_TYPES
SERVED = {
    "/openapi.json": "application/json",
    "/docs": "text/html; charset=utf-8",
    "/docs/style.css": "text/css; charset=utf-8",
}


@pytest.fixture
def document(client: httpx.Client) -> Object:
    loaded: Object = client.get("/openapi.json").json()
    return loaded


def resolve(document: Object, part: Object) -> Object:
    for name in part.get("$ref", "").split("/")[1:]:
        document = document[name]
    return document if "$ref" in part else part


def operations(document: Object) -> Iterator[tuple[str, str, Object]]:
    for path, item in document["paths"].items():
        for method in item.keys() - {"servers"}:
            yield path, method, item[method]


def contents(document: Object) -> Iterator[Object]:
    for _, _, operation in operations(document):
        for part in [operation.get("requestBody", {}), *operation["responses"].values()]:
            yield from resolve(document, part).get("content", {}).values()


def problems(document: Object, schema: Object, value: object) -> list[str]:
    """Return how `value` violates a schema of the document."""
    schema = {"components": document["components"], **schema}
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    return [error.message for error in validator.iter_errors(value)]


def check(document: Object, response: httpx.Response) -> None:
    """Compare a response with the document: status, media type, body and headers."""
    request, status = response.request, str(response.status_code)
    responses = document["paths"][request.url.path][request.method.lower()]["responses"]
    described = resolve(document, responses.get(status) or responses[f"{status[0]}XX"])
    media_type = response.headers["content-type"].partition(";")[0]
    content = described["content"].get(media_type) or described["content"]["*/*"]
    body = response.json() if media_type == JSON else response.text
    assert problems(document, content.get("schema", {}), body) == []
    for name, reference in described["headers"].items():
        header = resolve(document, reference)
        assert name in response.headers or not header.get("required"), name
        if name in response.headers:
            assert problems(document, header["schema"], response.headers[name]) == [], name


# The document --------------------------------------------------------------------------------


def test_document_is_valid_openapi(document: Object) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_examples_match_their_schemas(document: Object) -> None:
    for content in contents(document):
        examples = [example["value"] for example in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        for example in examples:
            assert problems(document, content["schema"], example) == []


def test_paths_and_methods_are_those_of_the_app(document: Object) -> None:
    app = create_app(service_settings.load(environment("http://127.0.0.1:1/api/token")))
    routes = {
        (route.path, method)
        for route in app.routes
        for method in getattr(route, "methods", ())
        if method not in {"HEAD", "OPTIONS"} and route.path not in {*SERVED, *ALIASES}
    }
    assert {(path, method.upper()) for path, method, _ in operations(document)} == routes


def test_request_schemas_are_those_of_the_forms(document: Object) -> None:
    for path, form in FORMS.items():
        content = document["paths"][path]["post"]["requestBody"]["content"]
        assert tuple(content) == forms.MEDIA_TYPES
        fields = msgspec.structs.fields(form)
        for body in content.values():
            schema = resolve(document, body["schema"])
            assert list(schema["properties"]) == [field.encode_name for field in fields]
            required = [field.encode_name for field in fields if field.required]
            assert schema.get("required", []) == required


def test_error_schema_is_that_of_the_error_body(document: Object) -> None:
    schema = document["components"]["schemas"]["Error"]
    fields = {field.encode_name for field in msgspec.structs.fields(errors.ErrorBody)}
    assert set(schema["properties"]) == set(schema["required"]) == fields
    assert problems(document, schema, {"error": "invalid_grant", "reason": "a"})


def test_metadata_is_that_of_the_document(start: Start) -> None:
    client = start(PUBLIC_URL="https://tokens.example.com")
    path = "/.well-known/oauth-authorization-server"
    content = client.get("/openapi.json").json()["paths"][path]["get"]["responses"]["200"]
    assert client.get(path).json() == content["content"]["application/json"]["example"]


def kinds(base: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_fixed_reason_is_documented(document: Object) -> None:
    documented = examples(document).values()
    oauth_only = {errors.UnsupportedGrantType, errors.UnauthorizedClient, errors.InvalidClient}
    for kind in set(kinds(errors.ServiceError)) - {errors.ClientGone}:
        if "reason" not in vars(kind):
            continue
        body: Object = {"error": True, "reason": kind.reason}
        if kind in oauth_only:
            body = {"error": kind.code, "error_description": kind.reason}
        assert (int(kind.status), body) in documented


def test_client_credentials_can_be_left_out(start: Start) -> None:
    paths = start(CLIENT_CREDENTIALS_ENABLED="false").get("/openapi.json").json()["paths"]
    assert CREDENTIALS not in paths
    assert CODE in paths


def test_server_is_the_one_that_the_client_called(client: httpx.Client, document: Object) -> None:
    assert document["servers"] == [{"url": str(client.base_url).rstrip("/")}]
    answer = client.get("/openapi.json", headers={"Host": "swap.example:8443"})
    assert answer.json()["servers"] == [{"url": "http://swap.example:8443"}]


def test_public_url_is_the_server(start: Start) -> None:
    client = start(PUBLIC_URL="https://swap.example/spotify")
    assert client.get("/openapi.json").json()["servers"] == [
        {"url": "https://swap.example/spotify"}
    ]


def test_unusable_host_is_not_repeated(client: httpx.Client) -> None:
    for host in ("[", "a'b", 'a"><b', "a/b?c", "a b"):
        for path in ("/openapi.json", "/docs"):
            response = client.get(path, headers={"Host": host})
            assert response.status_code in {200, 400}
            assert "http://localhost" in response.text or response.status_code == 400


def test_probes_have_no_path_prefix() -> None:
    settings = service_settings.load(environment("http://127.0.0.1:1/api/token"))
    document = openapi.document(settings, "https://swap.example/spotify")
    assert document["servers"] == [{"url": "https://swap.example/spotify"}]
    page = openapi.Page(document, "").render()
    assert f"curl https://swap.example/spotify{CODE} " in page
    assert "curl https://swap.example/healthz<" in page


# The service ---------------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", forms.MEDIA_TYPES)
def test_example_requests_succeed_as_documented(
    client: httpx.Client, simulator: httpx.Client, document: Object, media_type: str
) -> None:
    """A code and a token are valid once and here only: they are replaced, other fields are not."""
    for path in FORMS:
        pkce = {"code_challenge": CHALLENGE} if path == PKCE_CODE else {}
        token = minted_refresh_token(simulator, pkce=path != REFRESH)
        valid = {
            "code": minted_code(simulator, **pkce),
            "redirect_uri": REDIRECT_URI,
            "refresh_token": Sealer(SECRET_KEY).seal(token),
        }
        content = document["paths"][path]["post"]["requestBody"]["content"][media_type]
        fields = {name: valid.get(name, value) for name, value in content["example"].items()}
        response = client.post(path, **encoded(media_type, fields))
        assert response.status_code == 200, path
        check(document, response)


def encoded(media_type: str, fields: dict[str, str]) -> Object:
    """Return the arguments with which httpx sends the fields."""
    if media_type == MULTIPART:
        return {"files": {name: (None, value) for name, value in fields.items()}}
    return {"json": fields} if media_type == JSON else {"data": fields}


def test_examples_without_body_are_as_documented(client: httpx.Client, document: Object) -> None:
    for path in ("/", "/healthz", "/readyz"):
        response = client.get(path)
        check(document, response)
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        assert response.text == content["text/plain"]["example"]


def examples(document: Object) -> dict[str, tuple[int, object]]:
    """Return status and body of each example of an error, by name."""
    return {
        name: (int(status), example["value"])
        for path in FORMS
        for status, response in document["paths"][path]["post"]["responses"].items()
        if status.isdigit()
        for content in resolve(document, response)["content"].values()
        for name, example in content.get("examples", {}).items()
    }


TYPE = {"Content-Type": FORM}
WELL_FORMED: Object = {"data": {"code": "a", "redirect_uri": "my-app://callback"}}
REFUSED: dict[str, tuple[str, Object]] = {
    "MissingField": (CODE, {"data": {"redirect_uri": "my-app://callback"}}),
    "MissingRedirectURI": (CODE, {"data": {"code": "a"}}),
    "UndecryptableToken": (REFRESH, {"data": {"refresh_token": "a"}}),
    "RepeatedField": (CODE, {"content": b"code=a&code=b", "headers": TYPE}),
    "NotUTF8": (CODE, {"content": b"code=%ff", "headers": TYPE}),
    "MalformedBody": (CODE, {"content": b"{", "headers": {"Content-Type": JSON}}),
    "InvalidGrant": (CODE, WELL_FORMED),
    "InvalidRequest": (TOKEN, {"content": b"", "headers": TYPE}),
    "OAuthInvalidGrant": (TOKEN, {"data": {"refresh_token": "a"}}),
    "UnsupportedGrantType": (TOKEN, {"data": {"grant_type": "password"}}),
    "OAuthInvalidClient": (TOKEN, {"data": {"client_id": "another", "code": "a"}}),
    "PayloadTooLarge": (CODE, {"data": {"code": "a" * 16 * 1024}}),
    "UnsupportedMediaType": (CODE, {"content": b"a", "headers": {"Content-Type": "text/plain"}}),
}


def test_example_errors_are_returned(client: httpx.Client, document: Object) -> None:
    for name, (path, request) in REFUSED.items():
        response = client.post(path, **request)
        assert (response.status_code, response.json()) == examples(document)[name]
        check(document, response)


def test_example_error_of_the_settings_is_returned(start: Start) -> None:
    client = start(ALLOWED_REDIRECT_URIS="https://other.example/callback")
    response = client.post(CODE, **WELL_FORMED)
    document = client.get("/openapi.json").json()
    documented = examples(document)["RedirectURINotAllowed"]
    assert (response.status_code, response.json()) == documented


FAULTS: list[Object] = [
    {"kind": "status", "status": 418},
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 599},
    {"kind": "html"},
    {"kind": "garbage"},
    {"kind": "reset"},
]


def test_failures_of_spotify_are_as_documented(
    client: httpx.Client, simulator: httpx.Client, document: Object
) -> None:
    for fault in FAULTS:
        simulator.post("/admin/faults", json=[fault]).raise_for_status()
        check(document, client.post(CODE, **WELL_FORMED))


def test_timeout_of_spotify_is_as_documented(start: Start, simulator: httpx.Client) -> None:
    client = start(UPSTREAM_TIMEOUT="0.2")
    simulator.post("/admin/faults", json={"kind": "silence"}).raise_for_status()
    response = client.post(CODE, **WELL_FORMED)
    assert response.status_code == 504
    check(client.get("/openapi.json").json(), response)


# Serving -------------------------------------------------------------------------------------


def test_files_are_served_with_their_headers(client: httpx.Client) -> None:
    for path, media_type in SERVED.items():
        response, head = client.get(path), client.head(path)
        assert response.status_code == head.status_code == 200
        assert head.content == b""
        assert response.headers["content-type"] == head.headers["content-type"] == media_type
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-content-type-options"] == "nosniff"


def test_docs_false_removes_the_files(start: Start) -> None:
    client = start(DOCS="false")
    for path in SERVED:
        response = client.get(path)
        assert (response.status_code, response.json()["reason"]) == (404, "Not Found")


def test_files_contain_no_setting(start: Start) -> None:
    secrets = {"CLIENT_ID": "hidden-a", "CLIENT_SECRET": "hidden-b", "SECRET_KEY": "hidden-c"}
    client = start(**secrets, REDIRECT_URI="https://hidden.example")
    for path in SERVED:
        assert "hidden" not in client.get(path).text


# The page ------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The tags, attributes and text of a page; wrongly nested tags are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]


@pytest.fixture
def page(client: httpx.Client) -> Page:
    return Page(client.get("/docs").text)


def test_page_has_no_script_and_loads_one_style_sheet(client: httpx.Client, page: Page) -> None:
    assert not page.tags & {"script", "style", "img", "iframe", "form", "base", "object", "embed"}
    names = {name for name, _ in page.attributes}
    assert names == {"charset", "class", "content", "href", "id", "lang", "name", "rel"} | {
        "aria-label",
        "tabindex",
    }
    style = client.get("/docs/style.css").text
    assert not re.search(r"url\(|@import", style)
    policy = client.get("/docs").headers["content-security-policy"].split("; ")
    none = ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
    assert sorted(policy) == sorted([*none, "style-src 'self'"])


def test_links_of_the_page_resolve(client: httpx.Client) -> None:
    for address in ("/docs", "/docs/"):
        page = Page(client.get(address).text)
        ids = page.all("id")
        assert len(set(ids)) == len(ids)
        for link in page.all("href"):
            if link.startswith("#"):
                assert link[1:] in ids
            else:
                assert client.get(httpx.URL(address).join(link)).status_code == 200, link


def test_page_shows_every_operation_field_and_error(page: Page, document: Object) -> None:
    text = " ".join(page.text.split())
    for path, method, operation in operations(document):
        assert f"{method.upper()} {path}" in text
        assert operation["summary"] in text
        assert operation["operationId"] in page.all("id")
    for schema in document["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            assert name in text
            assert " ".join(field["description"].replace("`", "").split()) in text
    for _, body in examples(document).values():
        assert json.dumps(body) in text
    assert "code string, not empty required" in text
    assert "redirect_uri string or null optional" in text


def test_page_escapes_the_document(document: Object) -> None:
    """Every string of the document gets markup, except identifiers."""

    def marked(part: object, key: str = "") -> object:
        if isinstance(part, dict):
            return {name: marked(value, name) for name, value in part.items()}
        if isinstance(part, list):
            return [marked(value, key) for value in part]
        return f"{part}<x y='\"&" if isinstance(part, str) and key != "$ref" else part

    text = openapi.Page(marked(document), "").render()  # type: ignore[arg-type]
    assert "x" not in Page(text).tags
    assert "y" not in dict(Page(text).attributes)
    assert "<x" in Page(text).text

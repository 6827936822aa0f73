"""What clients send and what they get, for every path: the service and the simulator on sockets."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple, get_args
from urllib.parse import quote_plus

import httpx
import pytest

from service import settings as service_settings
from service.app import create_app
from service.sealing import Sealer
from simulator.faults import AnyFault
from tests.conftest import Start
from tests.running import SECRET_KEY, environment, running
from tests.simulator.requests import (
    CHALLENGE,
    REDIRECT_URI,
    VERIFIER,
    minted_code,
    minted_refresh_token,
)

CREDENTIALS = "/client-credentials-flow/retrieve-tokens"
CODE = "/authorization-code-flow/retrieve-tokens"
REFRESH = "/authorization-code-flow/refresh-tokens"
PKCE_CODE = "/authorization-code-flow-pkce/retrieve-tokens"
PKCE_REFRESH = "/authorization-code-flow-pkce/refresh-tokens"
FLOWS = (CREDENTIALS, CODE, REFRESH, PKCE_CODE, PKCE_REFRESH)
REFRESHES = (REFRESH, PKCE_REFRESH)

URLENCODED = "application/x-www-form-urlencoded"
JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=lim.it"

LIMIT = 16 * 1024
SEALER = Sealer(SECRET_KEY)
VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())["vectors"]

Pairs = list[tuple[str, bytes]]
Order = dict[str, Any]
Serve = Callable[..., httpx.Client]

MISSING_REDIRECT_URI = (
    "the redirect URI must be present in either the body of this request "
    "or the 'REDIRECT_URI' environment variable"
)
UNDECRYPTABLE = "could not decrypt refresh token"
UNREACHABLE = "Spotify could not be reached"
LATE = "Spotify did not respond in time"


def missing(field: str) -> str:
    return f"Value of type 'String' required for key '{field}'."


# Requests ------------------------------------------------------------------------------------


def good_form(simulator: httpx.Client, path: str) -> dict[str, str]:
    """Return fields with which this flow succeeds."""
    if path == CREDENTIALS:
        return {"grant_type": "client_credentials"}
    if path == CODE:
        return {"code": minted_code(simulator), "redirect_uri": REDIRECT_URI}
    if path == PKCE_CODE:
        code = minted_code(simulator, code_challenge=CHALLENGE)
        return {"code": code, "code_verifier": VERIFIER, "redirect_uri": REDIRECT_URI}
    token = minted_refresh_token(simulator, pkce=path == PKCE_REFRESH)
    return {"refresh_token": SEALER.seal(token)}


def well_formed(path: str, **changes: str) -> dict[str, str]:
    """Return fields that we take for good; Spotify may not."""
    code = {"code": "a-code", "redirect_uri": REDIRECT_URI}
    token = {"refresh_token": SEALER.seal("a-token")}
    forms: dict[str, dict[str, str]] = {
        CREDENTIALS: {"grant_type": "client_credentials"},
        CODE: code,
        PKCE_CODE: code | {"code_verifier": VERIFIER},
        REFRESH: token,
        PKCE_REFRESH: token,
    }
    return forms[path] | changes


def pairs(form: dict[str, str]) -> Pairs:
    return [(name, value.encode()) for name, value in form.items()]


def as_urlencoded(fields: Pairs) -> bytes:
    return "&".join(f"{name}={quote_plus(value)}" for name, value in fields).encode()


def as_json(fields: Pairs) -> bytes:
    return b"{%b}" % b",".join(b'"%b":"%b"' % (name.encode(), value) for name, value in fields)


def as_multipart(fields: Pairs) -> bytes:
    part = b'--lim.it\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    return b"".join(part % (name.encode(), value) for name, value in fields) + b"--lim.it--\r\n"


ENCODERS = {URLENCODED: as_urlencoded, JSON: as_json, MULTIPART: as_multipart}
in_every_media_type = pytest.mark.parametrize(
    "media_type", ENCODERS, ids=["urlencoded", "json", "multipart"]
)
on_every_flow = pytest.mark.parametrize("path", FLOWS)
on_every_refresh = pytest.mark.parametrize("path", REFRESHES)


def send(client: httpx.Client, path: str, media_type: str, content: bytes) -> httpx.Response:
    return client.post(path, content=content, headers={"Content-Type": media_type})


def send_fields(
    client: httpx.Client, path: str, fields: Pairs, media_type: str = URLENCODED
) -> httpx.Response:
    return send(client, path, media_type, ENCODERS[media_type](fields))


def order(simulator: httpx.Client, *faults: Order) -> None:
    simulator.post("/admin/faults", json=list(faults)).raise_for_status()


def recorded(simulator: httpx.Client) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = simulator.get("/admin/requests").json()
    return entries


def assert_refused(answer: httpx.Response, status: int, reason: str) -> None:
    """Compare with an error of our own, to the letter."""
    assert (answer.status_code, answer.json()) == (status, {"error": True, "reason": reason})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


# Services ------------------------------------------------------------------------------------


@contextmanager
def services(simulator_url: str) -> Iterator[Serve]:
    """Yield what returns a client of a service with these settings, started when first wanted.

    It asks Spotify for the app's own token each time, since many tests share it.
    """
    started: dict[tuple[tuple[str, str], ...], httpx.Client] = {}
    with ExitStack() as stack:

        def serve(
            transport: httpx.AsyncBaseTransport | None = None, **changes: str
        ) -> httpx.Client:
            key = tuple(sorted(changes.items()))
            if key not in started:
                settings = {"CLIENT_CREDENTIALS_CACHE": "false", **changes}
                environ = environment(f"{simulator_url}/api/token", **settings)
                app = create_app(service_settings.load(environ), transport=transport)
                url = stack.enter_context(running(app, environ))
                client = httpx.Client(base_url=url, trust_env=False, timeout=20)
                started[key] = stack.enter_context(client)
            return started[key]

        yield serve


@pytest.fixture(scope="module")
def serve(simulator_url: str) -> Iterator[Serve]:
    with services(simulator_url) as serve:
        yield serve


@pytest.fixture
def client(serve: Serve, simulator: httpx.Client) -> httpx.Client:  # noqa: ARG001
    """Return a client of the service with default settings, which all tests here share."""
    return serve()


@pytest.fixture
def hasty(serve: Serve, simulator: httpx.Client) -> httpx.Client:  # noqa: ARG001
    """Return a client of a service that doesn't wait long for Spotify."""
    return serve(UPSTREAM_TIMEOUT="0.2")


# Success -------------------------------------------------------------------------------------


@in_every_media_type
@on_every_flow
def test_every_flow_answers_spotifys_tokens_sealed(
    client: httpx.Client, simulator: httpx.Client, path: str, media_type: str
) -> None:
    answer = send_fields(client, path, pairs(good_form(simulator, path)), media_type)
    tokens = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    assert tokens["access_token"].startswith("BQ")
    has_refresh_token = path not in {CREDENTIALS, REFRESH}
    assert ("refresh_token" in tokens, "expiration_date" in tokens) == (has_refresh_token,) * 2
    if has_refresh_token:
        assert SEALER.open(tokens["refresh_token"]).token.startswith("AQ")


@on_every_flow
@pytest.mark.parametrize("grant_type", ["", "refresh token", "no such grant", "authorization_code"])
def test_grant_type_and_method_are_taken_with_any_value(
    client: httpx.Client, simulator: httpx.Client, path: str, grant_type: str
) -> None:
    form = good_form(simulator, path) | {"grant_type": grant_type, "method": "PKCE"}
    assert client.post(path, data=form).status_code == 200


@on_every_flow
@pytest.mark.parametrize("value", [None, 7, 0.5, True, [], {"grant_type": "x"}])
def test_grant_type_need_not_even_be_a_text(
    client: httpx.Client, simulator: httpx.Client, path: str, value: object
) -> None:
    form = good_form(simulator, path) | {"grant_type": value, "method": value}
    assert client.post(path, json=form).status_code == 200


@on_every_flow
def test_unknown_fields_are_ignored_whatever_they_hold(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    unknown = [("x", b""), ("x", b"\xff"), ("client_id", b"other"), ("client_secret", b"other")]
    fields = pairs(good_form(simulator, path)) + unknown
    assert send_fields(client, path, fields).status_code == 200


@pytest.mark.parametrize(
    "media_type",
    [
        "APPLICATION/X-WWW-FORM-URLENCODED",
        "application/x-www-form-urlencoded; charset=utf-8",
        "Application/X-WWW-Form-Urlencoded ;charset=UTF-8; x=y",
    ],
)
def test_a_media_type_has_any_letter_case_and_parameters(
    client: httpx.Client, simulator: httpx.Client, media_type: str
) -> None:
    body = as_urlencoded(pairs(good_form(simulator, CODE)))
    assert send(client, CODE, media_type, body).status_code == 200


@on_every_flow
def test_a_trailing_slash_changes_nothing(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    assert client.post(f"{path}/", data=good_form(simulator, path)).status_code == 200


# Spotify's errors ----------------------------------------------------------------------------


class Refusal(NamedTuple):
    """An error of Spotify's, and what in the request or in the simulator's settings causes it."""

    path: str
    changes: dict[str, str]
    error: str
    description: str
    settings: dict[str, object] = {}  # noqa: RUF012 - never changed


REFUSALS = [
    *(
        refusal
        for path in (CODE, PKCE_CODE)
        for refusal in (
            Refusal(path, {"code": "no-code"}, "invalid_grant", "Invalid authorization code"),
            Refusal(
                path, {"redirect_uri": "https://b.example"}, "invalid_grant", "Invalid redirect URI"
            ),
            Refusal(path, {}, "invalid_grant", "Authorization code expired", {"code_lifetime": 0}),
        )
    ),
    Refusal(PKCE_CODE, {"code_verifier": "x" * 43}, "invalid_grant", "code_verifier was incorrect"),
    *(
        Refusal(
            path,
            {"refresh_token": SEALER.seal("nobody's")},
            "invalid_grant",
            "Invalid refresh token",
        )
        for path in REFRESHES
    ),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: f"{case.path}: {case.description}")
def test_spotifys_refusals_are_answered_as_they_are(
    client: httpx.Client, simulator: httpx.Client, case: Refusal
) -> None:
    simulator.patch("/admin/settings", json=case.settings).raise_for_status()
    answer = client.post(case.path, data=good_form(simulator, case.path) | case.changes)
    expected = {"error": case.error, "error_description": case.description}
    assert (answer.status_code, answer.json()) == (400, expected)
    assert answer.headers["cache-control"] == "no-store"


@on_every_refresh
def test_a_revoked_token_is_refused_in_spotifys_words(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    simulator.patch("/admin/settings", json={"rotation": "on"}).raise_for_status()
    form = good_form(simulator, path)
    assert client.post(path, data=form).status_code == 200
    answer = client.post(path, data=form)
    assert answer.status_code == 400
    assert answer.json()["error_description"] == "Refresh token revoked"


@on_every_flow
@pytest.mark.parametrize(
    ("setting", "description"),
    [("CLIENT_ID", "Invalid client"), ("CLIENT_SECRET", "Invalid client secret")],
)
def test_wrong_credentials_of_the_operator_are_spotifys_to_refuse(
    serve: Serve, simulator: httpx.Client, path: str, setting: str, description: str
) -> None:
    answer = serve(**{setting: "wrong"}).post(path, data=good_form(simulator, path))
    if (setting, path) == ("CLIENT_SECRET", PKCE_CODE):  # the one flow that shows no secret
        assert answer.status_code == 200
    else:
        expected = {"error": "invalid_client", "error_description": description}
        assert (answer.status_code, answer.json()) == (400, expected)


@on_every_flow
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 418, 429, 500, 502, 503, 504, 599])
def test_every_error_status_of_spotifys_passes(
    client: httpx.Client, simulator: httpx.Client, path: str, status: int
) -> None:
    order(simulator, {"kind": "status", "status": status, "body": "no, and why"})
    answer = client.post(path, data=well_formed(path))
    assert (answer.status_code, answer.text) == (status, "no, and why")
    assert answer.headers["content-type"] == "text/plain"


# Faults --------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Order, int, str | None]] = {
    "delay": ({"kind": "delay", "seconds": 0.01}, 200, None),
    "gzip": ({"kind": "gzip"}, 200, None),
    "slow": ({"kind": "slow", "interval": 0.0001}, 200, None),
    "reset": ({"kind": "reset"}, 502, UNREACHABLE),
    "close": ({"kind": "close"}, 502, UNREACHABLE),
    "truncated": ({"kind": "truncated"}, 502, UNREACHABLE),
    "badheader": ({"kind": "badheader"}, 502, UNREACHABLE),
    "garbage": ({"kind": "garbage"}, 502, "Spotify's response could not be understood"),
    "notobject": ({"kind": "notobject"}, 502, "Spotify's response could not be understood"),
    "bomb": ({"kind": "bomb", "size": 2**23}, 502, "Spotify's response was too long"),
    "huge": ({"kind": "huge"}, 502, "Spotify's response was too long"),
    "redirect": ({"kind": "redirect"}, 502, "Spotify responded with an unexpected status"),
}
WORDS = {  # forwarded word for word
    "status": (503, "text/plain", "upstream connect error or disconnect/reset before headers"),
    "html": (503, "text/html; charset=utf-8", "<!doctype html>"),
    "spotify": (400, "application/json", '{"error":"invalid_grant"'),
    "answer": (200, "application/json", "{}"),
}
LATE_FAULTS = (
    {"kind": "silence"},
    {"kind": "delay", "seconds": 30},
    {"kind": "slow", "interval": 0.05},
)


def test_every_kind_of_fault_is_in_these_tables() -> None:
    kinds = {str(kind.__struct_config__.tag) for kind in get_args(AnyFault)}
    assert kinds == {*FAULTS, *WORDS, "ratelimit", "silence"}


@on_every_flow
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_spotifys_is_answered_as_the_contract_says(
    client: httpx.Client, simulator: httpx.Client, path: str, kind: str
) -> None:
    fault, status, reason = FAULTS[kind]
    order(simulator, fault)
    answer = client.post(path, data=good_form(simulator, path))
    assert [entry["path"] for entry in recorded(simulator)] == ["/api/token"]
    if reason is not None:
        assert_refused(answer, status, reason)
    else:
        assert (answer.status_code, answer.json()["token_type"]) == (status, "Bearer")


@on_every_flow
@pytest.mark.parametrize("kind", WORDS)
def test_an_answer_of_spotifys_edge_is_forwarded(
    client: httpx.Client, simulator: httpx.Client, path: str, kind: str
) -> None:
    verbatim = {"body": "{}"} if kind == "answer" else {}
    order(simulator, {"kind": kind, **verbatim})
    answer = client.post(path, data=well_formed(path))
    status, content_type, text = WORDS[kind]
    assert (answer.status_code, answer.headers["content-type"]) == (status, content_type)
    if (kind, path) != ("answer", PKCE_REFRESH):  # which always answers a token
        assert answer.text.startswith(text)


@on_every_flow
def test_a_429_of_spotifys_is_forwarded(start: Start, simulator: httpx.Client, path: str) -> None:
    order(simulator, {"kind": "ratelimit"})
    answer = start().post(path, data=well_formed(path))
    assert answer.status_code == 429
    assert answer.json() == {"error": {"status": 429, "message": "API rate limit exceeded"}}
    assert answer.headers["retry-after"] == "7"


@on_every_flow
@pytest.mark.parametrize("fault", LATE_FAULTS, ids=lambda fault: fault["kind"])
def test_spotifys_silence_is_a_504(
    hasty: httpx.Client, simulator: httpx.Client, path: str, fault: Order
) -> None:
    order(simulator, fault)
    assert_refused(hasty.post(path, data=good_form(simulator, path)), 504, LATE)


# Bad bodies ----------------------------------------------------------------------------------

REQUIRED = [
    (CODE, "code"),
    (PKCE_CODE, "code"),
    (PKCE_CODE, "code_verifier"),
    (REFRESH, "refresh_token"),
    (PKCE_REFRESH, "refresh_token"),
]
KNOWN = [
    *REQUIRED,
    (CODE, "redirect_uri"),
    (PKCE_CODE, "redirect_uri"),
    *((path, "grant_type") for path in FLOWS),
    (PKCE_REFRESH, "method"),
]
for_every_required_field = pytest.mark.parametrize(("path", "field"), REQUIRED)
for_every_known_field = pytest.mark.parametrize(("path", "field"), KNOWN)


def others(path: str, field: str) -> Pairs:
    """Return the good fields of a flow but this one."""
    return [pair for pair in pairs(well_formed(path)) if pair[0] != field]


@in_every_media_type
@for_every_required_field
def test_a_missing_field_is_named(
    client: httpx.Client, simulator: httpx.Client, path: str, field: str, media_type: str
) -> None:
    answer = send_fields(client, path, others(path, field), media_type)
    assert_refused(answer, 400, missing(field))
    assert recorded(simulator) == []


@in_every_media_type
@for_every_required_field
def test_an_empty_field_is_named_as_missing(
    client: httpx.Client, path: str, field: str, media_type: str
) -> None:
    fields = [*others(path, field), (field, b"")]
    assert_refused(send_fields(client, path, fields, media_type), 400, missing(field))


@in_every_media_type
@for_every_known_field
def test_a_repeated_field_is_named(
    client: httpx.Client, simulator: httpx.Client, path: str, field: str, media_type: str
) -> None:
    fields = [*others(path, field), (field, b"a"), (field, b"a")]
    answer = send_fields(client, path, fields, media_type)
    assert_refused(answer, 400, f"The value for key '{field}' is repeated.")
    assert recorded(simulator) == []


@in_every_media_type
@for_every_known_field
@pytest.mark.parametrize("value", [b"caf\xe9", b"\xed\xa0\x80"], ids=["latin-1", "surrogate"])
def test_a_field_that_is_not_utf8_is_named(
    client: httpx.Client, path: str, field: str, media_type: str, value: bytes
) -> None:
    fields = [*others(path, field), (field, value)]
    answer = send_fields(client, path, fields, media_type)
    assert_refused(answer, 400, f"The value for key '{field}' is not UTF-8 text.")


@for_every_known_field
@pytest.mark.parametrize("value", [rb"\ud800", rb"x\udc00\ud800"])
def test_a_lone_surrogate_in_json_is_not_utf8(
    client: httpx.Client, path: str, field: str, value: bytes
) -> None:
    fields = [*others(path, field), (field, value)]
    answer = send_fields(client, path, fields, JSON)
    assert_refused(answer, 400, f"The value for key '{field}' is not UTF-8 text.")


@for_every_required_field
@pytest.mark.parametrize("value", [None, 7, 0.5, True, ["a"], {"a": "b"}], ids=repr)
def test_a_field_that_is_no_string_is_named_as_missing(
    client: httpx.Client, path: str, field: str, value: object
) -> None:
    answer = client.post(path, json=well_formed(path) | {field: value})
    assert_refused(answer, 400, missing(field))


@for_every_required_field
def test_a_file_is_no_text(client: httpx.Client, path: str, field: str) -> None:
    data = dict(others(path, field))
    answer = client.post(path, data=data, files={field: ("code.txt", b"text")})
    assert_refused(answer, 400, missing(field))


@pytest.mark.parametrize("path", [CODE, PKCE_CODE])
def test_a_redirect_uri_that_is_no_string_is_named(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json=well_formed(path) | {"redirect_uri": 7})
    assert_refused(answer, 400, missing("redirect_uri"))


MALFORMED = [
    (JSON, b""),
    (JSON, b"{"),
    (JSON, b'{"code":"a"} trailing'),
    (JSON, b"code=a"),
    (JSON, b"[" * 16_000),
    (JSON, b"[]"),
    (JSON, b'"code"'),
    (JSON, b"null"),
    (MULTIPART, b""),
    (MULTIPART, b"code=a"),
    (MULTIPART, b"--lim.it\r\n"),
    (MULTIPART, b'--lim.it\r\nContent-Disposition: form-data; name="code"\r\n\r\na'),
    (MULTIPART, b"--lim.it\r\nno header\r\n\r\na\r\n--lim.it--\r\n"),
    (MULTIPART, b"--lim.it\r\n\r\na\r\n--lim.it--\r\n"),
    ("multipart/form-data", as_multipart([("code", b"a")])),
    ("multipart/form-data; boundary=", as_multipart([("code", b"a")])),
    ("multipart/form-data; boundary=other", as_multipart([("code", b"a")])),
]


@on_every_flow
@pytest.mark.parametrize(("media_type", "body"), MALFORMED)
def test_a_malformed_body_is_a_400(
    client: httpx.Client, simulator: httpx.Client, path: str, media_type: str, body: bytes
) -> None:
    answer = send(client, path, media_type, body)
    refusal = answer.json()
    assert (answer.status_code, refusal["error"]) == (400, True)
    assert refusal["reason"].startswith("The body is not ")
    assert recorded(simulator) == []


@on_every_flow
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": ";"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/octet-stream"},
        {"Content-Type": "application/x-www-form-urlencodedx"},
        {"Content-Type": "multipart/mixed; boundary=lim.it"},
    ],
    ids=str,
)
def test_no_or_another_media_type_is_a_415(
    client: httpx.Client, simulator: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    body = as_urlencoded(pairs(well_formed(path)))
    answer = client.post(path, content=body, headers=headers)
    assert_refused(answer, 415, "Unsupported Media Type")
    assert recorded(simulator) == []


# The limit of 16 KiB -------------------------------------------------------------------------


def padded(simulator: httpx.Client, path: str, media_type: str, size: int) -> bytes:
    """Return a good body of so many bytes."""
    fields, encode = pairs(good_form(simulator, path)), ENCODERS[media_type]
    rest = size - len(encode([*fields, ("x", b"")]))
    return encode([*fields, ("x", b"x" * rest)])


@in_every_media_type
@on_every_flow
@pytest.mark.parametrize(("size", "status"), [(LIMIT - 1, 200), (LIMIT, 413), (2 * LIMIT, 413)])
def test_a_body_of_16_kib_or_more_is_a_413(
    client: httpx.Client,
    simulator: httpx.Client,
    path: str,
    media_type: str,
    size: int,
    status: int,
) -> None:
    answer = send(client, path, media_type, padded(simulator, path, media_type, size))
    assert answer.status_code == status
    if status == 413:
        assert_refused(answer, 413, "Payload Too Large")
        assert recorded(simulator) == []


@on_every_flow
@pytest.mark.parametrize(("size", "status"), [(LIMIT - 1, 200), (LIMIT, 413)])
def test_the_limit_holds_for_a_chunked_body_too(
    client: httpx.Client, simulator: httpx.Client, path: str, size: int, status: int
) -> None:
    body = padded(simulator, path, URLENCODED, size)
    pieces = (body[start : start + 1000] for start in range(0, size, 1000))
    answer = client.post(path, content=pieces, headers={"Content-Type": URLENCODED})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("framing", "sent"),
    [
        (b"Content-Length: 16384", b""),
        (b"Content-Length: 9999999999999999999", b""),
        (b"Transfer-Encoding: chunked", b"4000\r\n" + b"x" * LIMIT),
        (b"Transfer-Encoding: chunked", b"FFFFFF\r\n" + b"x" * LIMIT),
    ],
)
def test_a_body_over_the_limit_is_refused_without_waiting_for_the_rest(
    client: httpx.Client, framing: bytes, sent: bytes
) -> None:
    url = client.base_url
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: %b\r\n%b\r\n\r\n"
    address = (url.host, url.port or 80)
    with socket.create_connection(address, timeout=5) as line, HTTPResponse(line) as answer:
        line.sendall(head % (CODE.encode(), URLENCODED.encode(), framing) + sent)
        answer.begin()
        assert answer.status == 413


# Sealed tokens -------------------------------------------------------------------------------


def flipped(sealed: str, position: int) -> str:
    other = "B" if sealed[position] == "A" else "A"
    return sealed[:position] + other + sealed[position + 1 :]


SPOILED: dict[str, Callable[[str], str]] = {
    "space before": lambda sealed: f" {sealed}",
    "space after": lambda sealed: f"{sealed} ",
    "line end after": lambda sealed: f"{sealed}\n",
    "white space within": lambda sealed: f"{sealed[:40]} {sealed[40:]}",
    "line end within": lambda sealed: f"{sealed[:40]}\r\n{sealed[40:]}",
    "tab after": lambda sealed: f"{sealed}\t",
    "nonce flipped": lambda sealed: flipped(sealed, 3),
    "text flipped": lambda sealed: flipped(sealed, 20),
    "tag flipped": lambda sealed: flipped(sealed, -4),
    "cut short": lambda sealed: sealed[:-4],
    "cut to the nonce": lambda sealed: sealed[:16],
    "one character": lambda _: "A",
    "lengthened": lambda sealed: f"{sealed}AAAA",
    "twice": lambda sealed: sealed * 2,
    "padding within": lambda sealed: f"{sealed[:40]}={sealed[40:]}",
    "padding alone": lambda _: "====",
    "too much padding": lambda sealed: f"{sealed}=====",
    "not base64": lambda sealed: f"{sealed[:-1]}!",
    "not ASCII": lambda sealed: f"{sealed[:-1]}é",
    "digits of another script": lambda sealed: f"{sealed[:-1]}٣",
    "NUL": lambda sealed: f"{sealed}\0",
    "unsealed": lambda sealed: SEALER.open(sealed).token,
    "of another key": lambda sealed: Sealer("another").seal(SEALER.open(sealed).token),
}


@on_every_refresh
@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_token_that_does_not_open_is_refused_in_one_sentence(
    client: httpx.Client, simulator: httpx.Client, path: str, spoil: Callable[[str], str]
) -> None:
    form = good_form(simulator, path)
    answer = client.post(path, data={"refresh_token": spoil(form["refresh_token"])})
    assert_refused(answer, 400, UNDECRYPTABLE)
    assert recorded(simulator) == []


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as the original wrote it": lambda sealed: sealed,
    "padded": lambda sealed: sealed + "=" * (-len(sealed) % 4),
    "in base64's own alphabet": lambda sealed: sealed.replace("-", "+").replace("_", "/"),
}


@on_every_refresh
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["ciphertext"][:8])
def test_tokens_of_the_original_server_reach_spotify_opened(
    serve: Serve, simulator: httpx.Client, path: str, spelling: str, vector: dict[str, str]
) -> None:
    client = serve(SECRET_KEY=vector["secret_key"])
    client.post(path, data={"refresh_token": SPELLINGS[spelling](vector["ciphertext"])})
    [entry] = recorded(simulator)
    assert dict(entry["form"])["refresh_token"] == vector["plaintext"]


# Paths and methods ---------------------------------------------------------------------------

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")
READ = "GET, HEAD, OPTIONS"
ALLOWED = {"/": READ, "/healthz": READ, "/readyz": READ} | dict.fromkeys(FLOWS, "OPTIONS, POST")


def test_the_root_answers_success(client: httpx.Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.content) == (200, b"success")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/healthz/", "/readyz/"])
def test_head_answers_as_get_without_the_body(client: httpx.Client, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert (get.status_code, head.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == str(len(get.content))


def test_probes_do_not_ask_spotify(client: httpx.Client, simulator: httpx.Client) -> None:
    order(simulator, {"kind": "silence", "times": 0})
    assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    assert recorded(simulator) == []


WRONG = [(path, method) for path in ALLOWED for method in METHODS if method not in ALLOWED[path]]


@pytest.mark.parametrize(("path", "method"), WRONG)
def test_a_wrong_method_is_a_405_that_says_which_are_right(
    client: httpx.Client, path: str, method: str
) -> None:
    for spelling in {path, path.rstrip("/") + "/"}:
        answer = client.request(method, spelling)
        assert (answer.status_code, answer.headers.get("allow")) == (405, ALLOWED[path])
        if method != "HEAD":
            assert_refused(answer, 405, "Method Not Allowed")


@pytest.mark.parametrize("path", ALLOWED)
def test_options_lists_the_methods(client: httpx.Client, path: str) -> None:
    answer = client.options(path)
    assert answer.status_code == 204
    assert set(answer.headers["allow"].split(", ")) == set(ALLOWED[path].split(", "))


@pytest.mark.parametrize(
    "path",
    [
        "//client-credentials-flow/retrieve-tokens",
        "/client-credentials-flow//retrieve-tokens",
        "/client-credentials-flow/retrieve-tokens//",
        "/%63lient-credentials-flow/retrieve-tokens",
        "/client-credentials-flow%2fretrieve-tokens",
        "/client-credentials-flow/./retrieve-tokens",
        "/x/../client-credentials-flow/retrieve-tokens",
    ],
)
def test_other_spellings_of_a_path_are_404(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    host = client.base_url.netloc
    head = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Length: 1\r\n" % (path.encode(), host)
    body = b"Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\nx"
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as line:
        line.sendall(head + body)
        assert line.makefile("rb").readline() == b"HTTP/1.1 404 Not Found\r\n"
    assert recorded(simulator) == []


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/metrics",
        "/authorization-code-flow",
        "/authorization-code-flow/",
        "/authorization-code-flow/retrieve-tokens/more",
        "/Authorization-Code-Flow/retrieve-tokens",
        "/schema",
        "/%2e%2e/etc/passwd",
        "/client-credentials-flow/refresh-tokens",
    ],
)
def test_an_unknown_path_is_a_404(client: httpx.Client, path: str, method: str) -> None:
    assert_refused(client.request(method, path), 404, "Not Found")


def test_client_credentials_can_be_switched_off(serve: Serve, simulator: httpx.Client) -> None:
    client = serve(CLIENT_CREDENTIALS_ENABLED="false")
    statuses = {
        path: client.post(path, data=good_form(simulator, path)).status_code for path in FLOWS
    }
    assert statuses == dict.fromkeys(FLOWS, 200) | {CREDENTIALS: 404}
    assert_refused(client.post(CREDENTIALS), 404, "Not Found")
    assert_refused(client.options(CREDENTIALS), 404, "Not Found")


# Redirect URIs -------------------------------------------------------------------------------

OTHER_URI = "my-app://callback"

with_a_redirect_uri = pytest.mark.parametrize("path", [CODE, PKCE_CODE])


def redirect_uri_sent(client: httpx.Client, simulator: httpx.Client, path: str, uri: str) -> str:
    """Return the redirect URI that Spotify gets for one in the body; empty is sent as such."""
    client.post(path, data=well_formed(path, redirect_uri=uri))
    return str(dict(recorded(simulator)[-1]["form"])["redirect_uri"])


@with_a_redirect_uri
@in_every_media_type
@pytest.mark.parametrize("sent", [[], [("redirect_uri", b"")]], ids=["missing", "empty"])
def test_without_any_redirect_uri_the_reason_is_the_one_clients_match_on(
    client: httpx.Client, simulator: httpx.Client, path: str, media_type: str, sent: Pairs
) -> None:
    fields = others(path, "redirect_uri") + sent
    assert_refused(send_fields(client, path, fields, media_type), 400, MISSING_REDIRECT_URI)
    assert recorded(simulator) == []


@with_a_redirect_uri
def test_null_is_no_redirect_uri(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json=well_formed(path) | {"redirect_uri": None})
    assert_refused(answer, 400, MISSING_REDIRECT_URI)


@with_a_redirect_uri
def test_the_setting_stands_in_for_a_redirect_uri_that_is_missing_or_empty(
    serve: Serve, simulator: httpx.Client, path: str
) -> None:
    client = serve(REDIRECT_URI=REDIRECT_URI)
    send_fields(client, path, others(path, "redirect_uri"))
    assert dict(recorded(simulator)[0]["form"])["redirect_uri"] == REDIRECT_URI
    assert redirect_uri_sent(client, simulator, path, "") == REDIRECT_URI


@with_a_redirect_uri
def test_the_bodys_redirect_uri_wins_over_the_setting(
    serve: Serve, simulator: httpx.Client, path: str
) -> None:
    client = serve(REDIRECT_URI=REDIRECT_URI)
    assert redirect_uri_sent(client, simulator, path, OTHER_URI) == OTHER_URI


@with_a_redirect_uri
@pytest.mark.parametrize("uri", [REDIRECT_URI, OTHER_URI])
def test_a_listed_redirect_uri_is_accepted(
    serve: Serve, simulator: httpx.Client, path: str, uri: str
) -> None:
    client = serve(ALLOWED_REDIRECT_URIS=f"{REDIRECT_URI}, {OTHER_URI}")
    assert redirect_uri_sent(client, simulator, path, uri) == uri


@with_a_redirect_uri
@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/",
        f"{REDIRECT_URI}/",
        f"{REDIRECT_URI}?x=y",
        f" {REDIRECT_URI}",
        f"{REDIRECT_URI},{OTHER_URI}",
        REDIRECT_URI.upper(),
        REDIRECT_URI[:-1],
    ],
)
def test_a_redirect_uri_that_is_not_listed_is_refused_and_not_repeated(
    serve: Serve, simulator: httpx.Client, path: str, uri: str
) -> None:
    client = serve(ALLOWED_REDIRECT_URIS=f"{REDIRECT_URI}, {OTHER_URI}")
    answer = client.post(path, data=well_formed(path, redirect_uri=uri))
    assert_refused(answer, 400, "the redirect URI is not one of those that this server allows")
    assert recorded(simulator) == []


# Headers of requests -------------------------------------------------------------------------


def test_a_body_with_a_content_coding_is_415(client: httpx.Client) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": URLENCODED}
    answer = client.post(CREDENTIALS, content=b"x", headers=headers)
    assert_refused(answer, 415, "Unsupported Media Type")


def test_a_repeated_content_type_is_400(client: httpx.Client) -> None:
    types = [("Content-Type", "text/plain"), ("Content-Type", URLENCODED)]
    answer = client.post(CREDENTIALS, content=b"x=1", headers=types)
    assert_refused(answer, 400, "The Content-Type is repeated.")


def test_the_plain_endpoint_forwards_a_code_verifier(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    form = good_form(simulator, PKCE_CODE)
    assert client.post(CODE, data=form).status_code == 200
    [entry] = recorded(simulator)
    assert dict(entry["form"])["code_verifier"] == VERIFIER
    assert "client_secret" in dict(entry["form"])


# CORS ----------------------------------------------------------------------------------------

ORIGIN = "https://app.example.com"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type",
}


def cors(answer: httpx.Response) -> dict[str, str]:
    headers = answer.headers
    return {name: headers[name] for name in headers if name.startswith("access-control-")}


@on_every_flow
def test_without_origins_there_is_no_cors(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    origin = {"Origin": ORIGIN}
    preflight = client.options(path, headers=origin | PREFLIGHT)
    answer = client.post(path, data=good_form(simulator, path), headers=origin)
    assert (preflight.status_code, answer.status_code) == (204, 200)
    assert (cors(preflight), cors(answer)) == ({}, {})


@pytest.fixture
def cors_client(serve: Serve, simulator: httpx.Client) -> httpx.Client:  # noqa: ARG001
    return serve(CORS_ALLOW_ORIGINS=f"{ORIGIN},http://127.0.0.1:3000")


@on_every_flow
@pytest.mark.parametrize("origin", [ORIGIN, "http://127.0.0.1:3000"])
def test_a_listed_origin_may_read_every_answer(
    cors_client: httpx.Client, simulator: httpx.Client, path: str, origin: str
) -> None:
    headers = {"Origin": origin}
    preflight = cors_client.options(path, headers=headers | PREFLIGHT)
    good = cors_client.post(path, data=good_form(simulator, path), headers=headers)
    order(simulator, {"kind": "status"})
    failed = cors_client.post(path, data=well_formed(path), headers=headers)
    refused = cors_client.post(path, headers=headers)
    assert preflight.status_code in {200, 204}
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert [answer.status_code for answer in (good, failed, refused)] == [200, 503, 415]
    for answer in (preflight, good, failed, refused):
        assert cors(answer)["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in cors(answer)
        assert "origin" in answer.headers["vary"].lower()


@on_every_flow
@pytest.mark.parametrize("origin", ["https://evil.example", f"{ORIGIN}.evil.example", "null", "*"])
def test_another_origin_may_not(cors_client: httpx.Client, path: str, origin: str) -> None:
    headers = {"Origin": origin}
    preflight = cors_client.options(path, headers=headers | PREFLIGHT)
    answer = cors_client.post(path, headers=headers)
    for response in (preflight, answer):
        assert "access-control-allow-origin" not in cors(response)


def test_a_preflight_allows_any_header(cors_client: httpx.Client) -> None:
    wanted = "authorization,baggage,content-type,sentry-trace,x-requested-with"
    headers = {"Origin": ORIGIN, **PREFLIGHT, "Access-Control-Request-Headers": wanted}
    answer = cors_client.options(CREDENTIALS, headers=headers)
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert set(wanted.split(",")) <= set(allowed)


def test_error_headers_are_exposed(cors_client: httpx.Client) -> None:
    answer = cors_client.post(CREDENTIALS, headers={"Origin": ORIGIN})
    exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
    assert exposed == ["retry-after", "www-authenticate", "x-request-id"]


def test_spotifys_own_cors_headers_do_not_mix_with_ours(
    cors_client: httpx.Client, simulator: httpx.Client
) -> None:
    theirs = [["Access-Control-Allow-Origin", "*"], ["Access-Control-Allow-Credentials", "true"]]
    order(simulator, {"kind": "answer", "status": 400, "headers": theirs})
    answer = cors_client.post(
        CREDENTIALS, data={}, headers={"Origin": ORIGIN, "Content-Type": URLENCODED}
    )
    assert answer.headers.get_list("access-control-allow-origin") == [ORIGIN]
    assert "access-control-allow-credentials" not in answer.headers


# Request ids ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nothing", "/healthz", *FLOWS])
@pytest.mark.parametrize("sent", ["a", "A-b_c.9", "x" * 128])
def test_a_sane_request_id_comes_back(client: httpx.Client, path: str, sent: str) -> None:
    answer = client.post(path, headers={"X-Request-ID": sent})
    assert answer.headers.get_list("x-request-id") == [sent]


@pytest.mark.parametrize(
    "sent", [b"", b"x" * 129, b"a b", b"a\tb", b'a"b', b"a/b", b"caf\xe9", b"a,b", b"{}", b"a\\n"]
)
def test_an_insane_request_id_is_replaced(client: httpx.Client, sent: bytes) -> None:
    answer = client.get("/", headers=[(b"X-Request-ID", sent)])
    [given] = answer.headers.get_list("x-request-id")
    assert len(given) == 32
    assert set(given) <= set("0123456789abcdef")


def test_every_request_without_an_id_gets_its_own(client: httpx.Client) -> None:
    assert len({client.get("/").headers["x-request-id"] for _ in range(10)}) == 10

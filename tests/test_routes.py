"""The original endpoints over HTTP: the service and the simulator on real sockets.

test_forms.py has the rules for bodies, test_sealing.py those for sealed tokens, test_upstream.py
what is sent to Spotify and what becomes of its response.
"""

import json
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from service.sealing import Sealer
from tests.flows import (
    CODE,
    CREDENTIALS,
    FLOWS,
    JSON,
    MISSING_REDIRECT_URI,
    NOT_ALLOWED,
    PKCE_CODE,
    PKCE_REFRESH,
    REFRESH,
    SEALER,
    UNDECRYPTABLE,
    URLENCODED,
    Serve,
    assert_refused,
    missing,
    on_every_flow,
    on_every_refresh,
    queue_faults,
    recorded,
    send,
    sent_form,
    services,
    valid_form,
    well_formed,
    without,
)
from tests.simulator.requests import (
    REDIRECT_URI,
)

on_every_code = pytest.mark.parametrize("path", [CODE, PKCE_CODE])

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())["vectors"]
LIMIT = 16 * 1024
MULTIPART = "multipart/form-data; boundary=limit"


@pytest.fixture(scope="module")
def serve(simulator_url: str) -> Iterator[Serve]:
    with services(simulator_url) as serve:
        yield serve


@pytest.fixture
def client(serve: Serve, simulator: httpx.Client) -> httpx.Client:  # noqa: ARG001
    """Return a client of the service with default settings, shared by the tests here."""
    return serve()


# Success -------------------------------------------------------------------------------------


def assert_tokens(response: httpx.Response, path: str) -> None:
    """Check a success: Spotify's tokens, the refresh token sealed."""
    tokens = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["pragma"] == "no-cache"
    assert tokens["access_token"].startswith("BQ")
    has_refresh_token = path not in {CREDENTIALS, REFRESH}
    assert ("refresh_token" in tokens, "expiration_date" in tokens) == (has_refresh_token,) * 2
    if has_refresh_token:
        assert SEALER.open(tokens["refresh_token"]).token.startswith("AQ")


@on_every_flow
def test_flow_returns_sealed_tokens(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    assert_tokens(client.post(path, data=valid_form(simulator, path)), path)


def test_json_is_accepted(client: httpx.Client, simulator: httpx.Client) -> None:
    assert_tokens(client.post(PKCE_CODE, json=valid_form(simulator, PKCE_CODE)), PKCE_CODE)


def test_multipart_is_accepted(client: httpx.Client, simulator: httpx.Client) -> None:
    fields = {name: (None, value) for name, value in valid_form(simulator, PKCE_CODE).items()}
    assert_tokens(client.post(PKCE_CODE, files=fields), PKCE_CODE)


@on_every_flow
def test_grant_type_and_method_may_be_anything(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    for value in ("", "refresh token", "password", None, 7, ["x"]):
        form = valid_form(simulator, path) | {"grant_type": value, "method": value}
        assert client.post(path, json=form).status_code == 200


@on_every_flow
def test_trailing_slash_is_accepted(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    assert client.post(f"{path}/", data=valid_form(simulator, path)).status_code == 200


# Bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (CODE, "code"),
        (PKCE_CODE, "code"),
        (PKCE_CODE, "code_verifier"),
        (REFRESH, "refresh_token"),
        (PKCE_REFRESH, "refresh_token"),
    ],
)
def test_required_field_is_named(
    client: httpx.Client, simulator: httpx.Client, path: str, field: str
) -> None:
    form = without(field, well_formed(path))
    for body in (form, form | {field: ""}):
        response = send(client, path, URLENCODED, urlencode(body).encode())
        assert_refused(response, 400, missing(field))
    assert recorded(simulator) == []


PART = b'--limit\r\nContent-Disposition: form-data; name="code"'
BAD_BODIES: dict[str, tuple[str, bytes, int, str]] = {
    "repeated": (URLENCODED, b"code=a&code=b", 400, "The value for key 'code' is repeated."),
    "not UTF-8": (URLENCODED, b"code=%FF", 400, "The value for key 'code' is not UTF-8 text."),
    "not a string": (JSON, b'{"code":7}', 400, missing("code")),
    "file": (MULTIPART, PART + b'; filename="x"\r\n\r\na\r\n--limit--', 400, missing("code")),
    "not JSON": (JSON, b"code=a", 400, "The body is not valid JSON."),
    "not an object": (JSON, b"[]", 400, "The body is not a JSON object."),
    "incomplete": (MULTIPART, PART, 400, "The body is not valid multipart/form-data."),
    "other media type": ("text/plain", b"code=a", 415, "Unsupported Media Type"),
    "no media type": ("", b"code=a", 415, "Unsupported Media Type"),
}


@pytest.mark.parametrize("case", BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_body_is_refused(
    client: httpx.Client, simulator: httpx.Client, case: tuple[str, bytes, int, str]
) -> None:
    media_type, body, status, reason = case
    assert_refused(send(client, PKCE_CODE, media_type, body), status, reason)
    assert recorded(simulator) == []


def test_body_without_content_type_is_415(client: httpx.Client) -> None:
    assert_refused(client.post(CREDENTIALS, content=b"x=1"), 415, "Unsupported Media Type")


def test_body_with_content_encoding_is_415(client: httpx.Client) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": URLENCODED}
    response = client.post(CREDENTIALS, content=b"x", headers=headers)
    assert_refused(response, 415, "Unsupported Media Type")


def test_repeated_content_type_is_400(client: httpx.Client) -> None:
    types = [("Content-Type", "text/plain"), ("Content-Type", URLENCODED)]
    response = client.post(CREDENTIALS, content=b"x=1", headers=types)
    assert_refused(response, 400, "The Content-Type is repeated.")


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(("size", "status"), [(LIMIT - 1, 200), (LIMIT, 413), (2 * LIMIT, 413)])
def test_body_of_16_kib_or_more_is_413(
    client: httpx.Client, simulator: httpx.Client, framing: str, size: int, status: int
) -> None:
    body = b"x=".ljust(size, b"x")
    pieces = (body[start : start + 1000] for start in range(0, size, 1000))
    content = pieces if framing == "chunked" else body
    response = client.post(CREDENTIALS, content=content, headers={"Content-Type": URLENCODED})
    assert response.status_code == status
    if status == 413:
        assert_refused(response, 413, "Payload Too Large")
        assert recorded(simulator) == []


@pytest.mark.parametrize(
    ("framing", "sent"),
    [
        (b"Content-Length: 16384", b""),
        (b"Content-Length: 9999999999999999999", b""),
        (b"Transfer-Encoding: chunked", b"FFFFFF\r\n" + b"x" * LIMIT),
    ],
)
def test_body_over_the_limit_is_refused_before_the_rest_arrives(
    client: httpx.Client, framing: bytes, sent: bytes
) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: %b\r\n%b\r\n\r\n"
    address = (client.base_url.host, client.base_url.port or 80)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(head % (CODE.encode(), URLENCODED.encode(), framing) + sent)
        with HTTPResponse(connection) as response:
            response.begin()
            assert response.status == 413


# Sealed tokens -------------------------------------------------------------------------------


@on_every_refresh
@pytest.mark.parametrize(
    "spoil",
    [
        lambda sealed: sealed[:-4] + ("AAAA" if sealed[-4:] != "AAAA" else "BBBB"),
        lambda sealed: SEALER.open(sealed).token,
        lambda sealed: Sealer("another").seal(SEALER.open(sealed).token),
    ],
    ids=["tampered", "not sealed", "sealed with another key"],
)
def test_token_that_cannot_be_opened_is_refused(
    client: httpx.Client, simulator: httpx.Client, path: str, spoil: Callable[[str], str]
) -> None:
    sealed = well_formed(path)["refresh_token"]
    response = client.post(path, data={"refresh_token": spoil(sealed)})
    assert_refused(response, 400, UNDECRYPTABLE)
    assert recorded(simulator) == []


@on_every_refresh
def test_tokens_of_the_original_server_reach_spotify_opened(
    serve: Serve, simulator: httpx.Client, path: str
) -> None:
    for vector in VECTORS:
        client = serve(SECRET_KEY=vector["secret_key"])
        client.post(path, data={"refresh_token": vector["ciphertext"]})
        assert sent_form(simulator)["refresh_token"] == vector["plaintext"]


# Paths and methods ---------------------------------------------------------------------------

READ = "GET, HEAD, OPTIONS"
ALLOWED = dict.fromkeys(("/", "/healthz", "/readyz"), READ) | dict.fromkeys(FLOWS, "OPTIONS, POST")


def test_root_returns_success(client: httpx.Client) -> None:
    response = client.get("/")
    assert (response.status_code, response.content) == (200, b"success")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz/"])
def test_head_returns_the_headers_of_get(client: httpx.Client, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert (get.status_code, head.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == str(len(get.content))


def test_probes_make_no_upstream_call(client: httpx.Client, simulator: httpx.Client) -> None:
    queue_faults(simulator, {"kind": "silence", "times": 0})
    assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    assert recorded(simulator) == []


@pytest.mark.parametrize("path", ALLOWED)
def test_wrong_method_is_405_with_allow(client: httpx.Client, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
        if method not in ALLOWED[path]:
            response = client.request(method, path)
            assert (response.status_code, response.headers["allow"]) == (405, ALLOWED[path])
            if method != "HEAD":
                assert_refused(response, 405, "Method Not Allowed")
    options = client.options(path)
    assert options.status_code == 204
    assert sorted(options.headers["allow"].split(", ")) == ALLOWED[path].split(", ")


@pytest.mark.parametrize(
    "path",
    [
        "//client-credentials-flow/retrieve-tokens",
        "/client-credentials-flow//retrieve-tokens",
        "/client-credentials-flow/retrieve-tokens//",
        "/%63lient-credentials-flow/retrieve-tokens",
        "/client-credentials-flow%2fretrieve-tokens",
        "/x/../client-credentials-flow/retrieve-tokens",
        "/Client-Credentials-Flow/retrieve-tokens",
        "/client-credentials-flow/retrieve-tokens/more",
        "/client-credentials-flow/",
        "/metrics",
    ],
)
def test_other_paths_are_404(client: httpx.Client, simulator: httpx.Client, path: str) -> None:
    """Over a socket, because httpx would normalise some of the paths."""
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {URLENCODED}\r\n"
    address = (client.base_url.host, client.base_url.port or 80)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: 3\r\n\r\nx=y".encode())
        with HTTPResponse(connection) as response:
            response.begin()
            assert response.status == 404
            assert json.loads(response.read()) == {"error": True, "reason": "Not Found"}
    assert recorded(simulator) == []


def test_client_credentials_can_be_disabled(serve: Serve, simulator: httpx.Client) -> None:
    client = serve(CLIENT_CREDENTIALS_ENABLED="false")
    for method in ("POST", "OPTIONS"):
        assert_refused(client.request(method, CREDENTIALS), 404, "Not Found")
    assert client.post(CODE, data=valid_form(simulator, CODE)).status_code == 200


# Redirect URIs -------------------------------------------------------------------------------

OTHER_URI = "my-app://callback"


@on_every_code
def test_missing_redirect_uri_is_refused(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    form = without("redirect_uri", well_formed(path))
    for sent in ({}, {"redirect_uri": ""}, {"redirect_uri": None}):
        assert_refused(client.post(path, json=form | sent), 400, MISSING_REDIRECT_URI)
    assert recorded(simulator) == []


@on_every_code
def test_setting_replaces_a_missing_or_empty_redirect_uri(
    serve: Serve, simulator: httpx.Client, path: str
) -> None:
    client = serve(REDIRECT_URI=REDIRECT_URI)
    form = without("redirect_uri", well_formed(path))
    for sent, used in (({}, REDIRECT_URI), ({"redirect_uri": ""}, REDIRECT_URI)):
        client.post(path, data=form | sent)
        assert sent_form(simulator)["redirect_uri"] == used
    client.post(path, data=form | {"redirect_uri": OTHER_URI})
    assert sent_form(simulator)["redirect_uri"] == OTHER_URI


@on_every_code
def test_only_listed_redirect_uris_are_accepted(
    serve: Serve, simulator: httpx.Client, path: str
) -> None:
    client = serve(ALLOWED_REDIRECT_URIS=f"{REDIRECT_URI}, {OTHER_URI}")
    for uri in (REDIRECT_URI, OTHER_URI):
        client.post(path, data=well_formed(path, redirect_uri=uri))
        assert sent_form(simulator)["redirect_uri"] == uri
    for uri in (
        "https://evil.example/",
        f"{REDIRECT_URI}/",
        f"{REDIRECT_URI}?x=y",
        f" {REDIRECT_URI}",
        f"{REDIRECT_URI},{OTHER_URI}",
        REDIRECT_URI.upper(),
        REDIRECT_URI[:-1],
    ):
        response = client.post(path, data=well_formed(path, redirect_uri=uri))
        assert_refused(response, 400, NOT_ALLOWED)
    assert len(recorded(simulator)) == 2


# CORS ----------------------------------------------------------------------------------------

ORIGIN = "https://app.example.com"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type",
}


def cors(response: httpx.Response) -> dict[str, str]:
    headers = response.headers
    return {name: headers[name] for name in headers if name.startswith("access-control-")}


@pytest.fixture
def cors_client(serve: Serve, simulator: httpx.Client) -> httpx.Client:  # noqa: ARG001
    return serve(CORS_ALLOW_ORIGINS=f"{ORIGIN},http://127.0.0.1:3000")


def test_cors_is_off_without_origins(client: httpx.Client) -> None:
    origin = {"Origin": ORIGIN}
    preflight = client.options(CREDENTIALS, headers=origin | PREFLIGHT)
    response = client.post(CREDENTIALS, data=well_formed(CREDENTIALS), headers=origin)
    assert (preflight.status_code, response.status_code) == (204, 200)
    assert (cors(preflight), cors(response)) == ({}, {})


@pytest.mark.parametrize("origin", [ORIGIN, "http://127.0.0.1:3000"])
def test_listed_origin_can_read_every_response(
    cors_client: httpx.Client, simulator: httpx.Client, origin: str
) -> None:
    headers = {"Origin": origin}
    form = well_formed(CREDENTIALS)
    preflight = cors_client.options(CREDENTIALS, headers=headers | PREFLIGHT)
    success = cors_client.post(CREDENTIALS, data=form, headers=headers)
    queue_faults(simulator, {"kind": "status"})
    failure = cors_client.post(CREDENTIALS, data=form, headers=headers)
    refusal = cors_client.post(CREDENTIALS, headers=headers)
    assert preflight.status_code in {200, 204}
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert [response.status_code for response in (success, failure, refusal)] == [200, 503, 415]
    for response in (preflight, success, failure, refusal):
        assert cors(response)["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in cors(response)
        assert "origin" in response.headers["vary"].lower()


@pytest.mark.parametrize("origin", ["https://evil.example", f"{ORIGIN}.evil.example", "null", "*"])
def test_other_origin_gets_no_cors_header(cors_client: httpx.Client, origin: str) -> None:
    headers = {"Origin": origin}
    preflight = cors_client.options(CREDENTIALS, headers=headers | PREFLIGHT)
    for response in (preflight, cors_client.post(CREDENTIALS, headers=headers)):
        assert "access-control-allow-origin" not in cors(response)


def test_preflight_allows_any_header(cors_client: httpx.Client) -> None:
    requested = "authorization,baggage,content-type,sentry-trace,x-requested-with"
    headers = {"Origin": ORIGIN, **PREFLIGHT, "Access-Control-Request-Headers": requested}
    response = cors_client.options(CREDENTIALS, headers=headers)
    allowed = response.headers["access-control-allow-headers"].lower().split(", ")
    assert set(requested.split(",")) <= set(allowed)


def test_error_headers_are_exposed(cors_client: httpx.Client) -> None:
    response = cors_client.post(CREDENTIALS, headers={"Origin": ORIGIN})
    exposed = response.headers["access-control-expose-headers"].lower().split(", ")
    assert exposed == ["retry-after", "www-authenticate", "x-request-id"]


def test_spotifys_cors_headers_are_not_forwarded(
    cors_client: httpx.Client, simulator: httpx.Client
) -> None:
    theirs = [["Access-Control-Allow-Origin", "*"], ["Access-Control-Allow-Credentials", "true"]]
    queue_faults(simulator, {"kind": "answer", "status": 400, "headers": theirs})
    response = cors_client.post(
        CREDENTIALS, data=well_formed(CREDENTIALS), headers={"Origin": ORIGIN}
    )
    assert response.headers.get_list("access-control-allow-origin") == [ORIGIN]
    assert "access-control-allow-credentials" not in response.headers


# Request ids ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nothing", "/healthz", CREDENTIALS])
def test_valid_request_id_is_returned(client: httpx.Client, path: str) -> None:
    for sent in ("a", "A-b_c.9", "x" * 128):
        response = client.post(path, headers={"X-Request-ID": sent})
        assert response.headers.get_list("x-request-id") == [sent]


@pytest.mark.parametrize(
    "sent", [None, b"", b"x" * 129, b"a b", b"a\tb", b'a"b', b"a/b", b"caf\xe9", b"a,b", b"a\\n"]
)
def test_missing_or_invalid_request_id_is_replaced(
    client: httpx.Client, sent: bytes | None
) -> None:
    headers = [] if sent is None else [(b"X-Request-ID", sent)]
    ids = {client.get("/", headers=headers).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(len(each) == 32 and set(each) <= set("0123456789abcdef") for each in ids)

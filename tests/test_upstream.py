"""Calls to Spotify over HTTP: requests, responses, and failures.

test_responses.py has the rules for responses, test_transport.py the connections.
"""

import asyncio
import base64
import gzip
import itertools
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, get_args

import httpx
import pytest

from service import settings as service_settings
from service.errors import UpstreamFailed
from service.grants import Flow, TokenRequest
from service.sealing import Sealer
from service.upstream import Spotify, Transport
from simulator.faults import AnyFault
from tests.conftest import LogLines, Start
from tests.fakes import HeldTransport
from tests.flows import (
    CODE,
    CREDENTIALS,
    LATE,
    PKCE_CODE,
    PKCE_REFRESH,
    REFRESH,
    SEALER,
    UNREACHABLE,
    Serve,
    assert_refused,
    on_every_flow,
    on_every_refresh,
    queue_faults,
    recorded,
    sent_form,
    services,
    valid_form,
    well_formed,
)
from tests.running import CLIENT_ID, CLIENT_SECRET, SECRET_KEY, environment
from tests.simulator.requests import REDIRECT_URI, VERIFIER, minted_refresh_token

NOT_UNDERSTOOD = "Spotify's response could not be understood"
TOO_LONG = "Spotify's response was too long"
UNEXPECTED = "Spotify responded with an unexpected status"
UNKNOWN_CODING = "Spotify's response had an unknown content coding"
NOT_DECODED = "Spotify's response could not be decoded"
TOKENS = b'{"access_token":"BQ","token_type":"Bearer"}'

Headers = list[list[str]]


@pytest.fixture(scope="module")
def serve(simulator_url: str) -> Iterator[Serve]:
    with services(simulator_url) as serve:
        yield serve


@pytest.fixture
def client(serve: Serve, simulator: httpx.Client) -> httpx.Client:  # noqa: ARG001
    """Return a client of the service with default settings, shared by the tests here."""
    return serve()


def respond(
    simulator: httpx.Client, body: bytes, status: int = 200, headers: Headers | None = None
) -> None:
    """Queue the simulator's next response."""
    encoded = base64.b64encode(body).decode()
    headers = [["Content-Type", "application/json"]] if headers is None else headers
    fault = {"kind": "answer", "status": status, "headers": headers, "body_base64": encoded}
    queue_faults(simulator, fault)


def post(client: httpx.Client, path: str = CODE, **changes: str) -> httpx.Response:
    """Send a request that the service accepts."""
    return client.post(path, data=well_formed(path, **changes))


# Requests ------------------------------------------------------------------------------------


def expected_form(path: str, form: dict[str, str]) -> list[list[str]]:
    """Return the contract's form to Spotify for the fields that a client sent."""
    client = {"client_id": CLIENT_ID}
    code = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI} | client
    sealed = form.get("refresh_token")
    opened = SEALER.open(sealed).token if sealed else None
    refresh = {"grant_type": "refresh_token", "refresh_token": opened}
    forms: dict[str, Mapping[str, str | None]] = {
        CREDENTIALS: {"grant_type": "client_credentials"},
        CODE: {**code, "code": form.get("code"), "client_secret": CLIENT_SECRET},
        PKCE_CODE: {**code, "code": form.get("code"), "code_verifier": VERIFIER},
        REFRESH: refresh,
        PKCE_REFRESH: refresh | client,
    }
    return sorted([name, str(value)] for name, value in forms[path].items())


def expected_headers(path: str, simulator: httpx.Client, length: int) -> dict[str, str]:
    """Return all headers to Spotify but User-Agent."""
    pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    basic = {"authorization": f"Basic {pair}"} if path not in {CODE, PKCE_CODE} else {}
    return basic | {
        "host": simulator.base_url.netloc.decode(),
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/x-www-form-urlencoded",
        "content-length": str(length),
    }


def assert_exact(path: str, form: dict[str, str], simulator: httpx.Client) -> None:
    """Check that the last request to Spotify is the contract's, and nothing more."""
    entry = recorded(simulator)[-1]
    assert (entry["method"], entry["path"], entry["query"]) == ("POST", "/api/token", "")
    assert sorted(entry["form"]) == expected_form(path, form)
    headers = {name.lower(): value for name, value in entry["headers"]}
    assert len(headers) == len(entry["headers"])
    assert headers.pop("user-agent").startswith("spotify-api-server/")
    assert headers == expected_headers(path, simulator, len(entry["body"]))


PRIVATE_HEADERS = {
    "Accept": "text/html",
    "Accept-Language": "de",
    "Accept-Encoding": "br",
    "Authorization": "Basic Y2xpZW50OnNlY3JldA==",
    "Baggage": "user=me",
    "Cookie": "sp_dc=cookie",
    "Forwarded": "for=192.0.2.7",
    "Origin": "https://app.example",
    "Referer": "https://app.example/page",
    "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "Tracestate": "vendor=value",
    "User-Agent": "App/1.0",
    "X-Forwarded-For": "192.0.2.7",
    "X-Request-ID": "the-clients-own",
}
UNKNOWN_FIELDS = {
    "client_id": "theirs",
    "client_secret": "theirs",
    "scope": "everything",
    "method": "PKCE",
    "code_challenge": "x",
}


def post_with_extras(client: httpx.Client, path: str, form: dict[str, str]) -> httpx.Response:
    """Send a request with everything that must not reach Spotify."""
    query = {"code": "from-query", "client_secret": "from-query"}
    fields = UNKNOWN_FIELDS | form | {"grant_type": "password"}
    return client.post(path, data=fields, params=query, headers=PRIVATE_HEADERS)


@on_every_flow
def test_spotify_gets_the_contracts_request_and_nothing_else(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    form = valid_form(simulator, path)
    assert post_with_extras(client, path, form).status_code == 200
    assert_exact(path, form, simulator)


def test_trace_headers_do_not_reach_spotify(
    start: Start, simulator: httpx.Client, log_lines: LogLines
) -> None:
    client = start(OTEL_EXPORTER_OTLP_ENDPOINT=str(simulator.base_url))
    form = valid_form(simulator, CODE)
    assert post_with_extras(client, CODE, form).status_code == 200
    assert_exact(CODE, form, simulator)
    [line] = log_lines.of("token.retrieved")
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"  # tracing is on


def test_plain_flow_forwards_a_code_verifier(client: httpx.Client, simulator: httpx.Client) -> None:
    assert client.post(CODE, data=valid_form(simulator, PKCE_CODE)).status_code == 200
    form = sent_form(simulator)
    assert (form["code_verifier"], form["client_secret"]) == (VERIFIER, CLIENT_SECRET)


def test_code_is_sent_unchanged(client: httpx.Client, simulator: httpx.Client) -> None:
    for code in ("a+b c&d=e%26", "é€😀", "\x00\x01\r\n", "a" * 5000, "x;y?z#", '"\\'):
        post(client, CODE, code=code)
        assert sent_form(simulator)["code"] == code


def test_cookies_are_not_kept(client: httpx.Client, simulator: httpx.Client) -> None:
    respond(simulator, TOKENS, headers=[["Set-Cookie", "sp=1; Path=/"]])
    responses = [post(client, CREDENTIALS) for _ in range(2)]
    assert all("set-cookie" not in response.headers for response in responses)
    names = [name.lower() for entry in recorded(simulator) for name, _ in entry["headers"]]
    assert "cookie" not in names


def test_proxies_and_netrc_of_the_environment_are_ignored(
    start: Start, simulator: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    client = start()
    form = valid_form(simulator, CODE)
    assert client.post(CODE, data=form).status_code == 200
    assert_exact(CODE, form, simulator)


# Responses -----------------------------------------------------------------------------------


def test_error_is_forwarded_with_its_end_to_end_headers(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    theirs = {"content-type": "text/x-odd", "sp-trace-id": "1", "etag": '"caf\xe9"'}
    dropped = {"Set-Cookie": "sp=1", "Server": "envoy", "Date": "Thu, 01 Jan 1970 00:00:00 GMT"}
    dropped |= {"Cache-Control": "public", "X-Request-ID": "theirs"}
    respond(simulator, b"\xff no", 503, headers=[list(each) for each in (theirs | dropped).items()])
    response = client.post(CODE, data=well_formed(CODE), headers={"X-Request-ID": "ours"})
    assert (response.status_code, response.content) == (503, b"\xff no")
    raw = {name.decode().lower(): value.decode("latin-1") for name, value in response.headers.raw}
    assert len(raw) == len(response.headers.raw)
    assert "1970" not in raw.pop("date")
    assert raw == theirs | {
        "cache-control": "no-store",
        "content-length": "4",
        "pragma": "no-cache",
        "x-content-type-options": "nosniff",
        "x-request-id": "ours",
    }


def test_success_has_none_of_spotifys_headers(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    respond(simulator, TOKENS, 201, headers=[["sp-trace-id", "1"], ["X-Request-ID", "theirs"]])
    response = post(client)
    assert response.status_code == 201
    assert set(response.headers) == {
        *("cache-control", "content-length", "content-type", "date", "pragma", "x-request-id")
    }
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


@pytest.mark.parametrize(
    ("path", "changes", "description"),
    [
        (CODE, {"code": "unknown"}, "Invalid authorization code"),
        (CODE, {"redirect_uri": "https://b.example"}, "Invalid redirect URI"),
        (PKCE_CODE, {"code_verifier": "x" * 43}, "code_verifier was incorrect"),
        (REFRESH, {"refresh_token": SEALER.seal("unknown")}, "Invalid refresh token"),
        (PKCE_REFRESH, {"refresh_token": SEALER.seal("unknown")}, "Invalid refresh token"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_grant_is_forwarded(
    client: httpx.Client,
    simulator: httpx.Client,
    path: str,
    changes: dict[str, str],
    description: str,
) -> None:
    response = client.post(path, data=valid_form(simulator, path) | changes)
    expected = {"error": "invalid_grant", "error_description": description}
    assert (response.status_code, response.json()) == (400, expected)


@pytest.mark.parametrize("setting", ["CLIENT_ID", "CLIENT_SECRET"])
def test_wrong_credentials_of_the_operator_are_forwarded_as_invalid_client(
    serve: Serve, simulator: httpx.Client, setting: str
) -> None:
    response = serve(**{setting: "wrong"}).post(CODE, data=valid_form(simulator, CODE))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client")


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "GZIP": gzip.compress,
    "x-gzip": gzip.compress,
    "identity": bytes,
    "": bytes,
}


def test_content_coding_is_undone(client: httpx.Client, simulator: httpx.Client) -> None:
    for coding, encode in CODINGS.items():
        for status in (200, 400):
            respond(simulator, encode(TOKENS), status, headers=[["Content-Encoding", coding]])
            response = post(client)
            assert (response.status_code, response.content) == (status, TOKENS)
            assert "content-encoding" not in response.headers


@pytest.mark.parametrize(
    ("coding", "body", "reason"),
    [
        ("br", b"\x8b\x02", UNKNOWN_CODING),
        ("gzip, gzip", gzip.compress(gzip.compress(TOKENS, mtime=0), mtime=0), UNKNOWN_CODING),
        ("deflate", zlib.compress(TOKENS), UNKNOWN_CODING),
        ("gzip", b"not gzip", NOT_DECODED),
        ("gzip", gzip.compress(TOKENS, mtime=0)[:-9], NOT_DECODED),
        ("gzip", gzip.compress(TOKENS, mtime=0)[:-8] + bytes(8), NOT_DECODED),
        ("gzip", gzip.compress(bytes(2**24), mtime=0), TOO_LONG),
        ("identity", b"x" * (2**20 + 1), TOO_LONG),
    ],
    ids=range(8),
)
def test_body_that_cannot_be_decoded_is_502(
    client: httpx.Client, simulator: httpx.Client, coding: str, body: bytes, reason: str
) -> None:
    for status in (200, 500):
        respond(simulator, body, status, headers=[["Content-Encoding", coding]])
        assert_refused(post(client), 502, reason)


def test_body_of_one_mebibyte_is_accepted(client: httpx.Client, simulator: httpx.Client) -> None:
    queue_faults(simulator, {"kind": "huge", "size": 2**20})
    response = post(client)
    assert (response.status_code, len(response.content)) == (200, 2**20)


def test_redirect_is_502_and_not_followed(client: httpx.Client, simulator: httpx.Client) -> None:
    for status in (301, 302, 303, 307, 308):
        respond(simulator, b"{}", status, headers=[["Location", "/trap"]])
        response = post(client)
        assert_refused(response, 502, UNEXPECTED)
        assert "location" not in response.headers
    assert {entry["path"] for entry in recorded(simulator)} == {"/api/token"}


def test_success_without_a_body_is_502(client: httpx.Client, simulator: httpx.Client) -> None:
    for status in (204, 205):
        respond(simulator, b"", status)
        assert_refused(post(client), 502, NOT_UNDERSTOOD)


@on_every_flow
def test_every_flow_seals_a_refresh_token(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    respond(simulator, b'{"refresh_token":"AQ-raw"}')
    response = post(client, path)
    assert "AQ-raw" not in response.text
    assert SEALER.open(response.json()["refresh_token"]).token == "AQ-raw"


def test_only_a_pkce_refresh_returns_the_callers_token(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    for path in (CREDENTIALS, CODE, PKCE_CODE, REFRESH):
        respond(simulator, b'{"expires_in":3600,"refresh_token":null}')
        assert post(client, path).content == b'{"expires_in":3600}'
    respond(simulator, b'{"expires_in":3600,"refresh_token":null}')
    tokens = post(client, PKCE_REFRESH).json()
    assert SEALER.open(tokens["refresh_token"]).token == "a-token"
    assert tokens["expiration_date"].endswith("Z")


def test_pkce_refresh_returns_a_new_token_if_there_is_one(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    for rotation, is_new in (("spotify", True), ("on", True), ("off", False), ("same", False)):
        simulator.patch("/admin/settings", json={"rotation": rotation}).raise_for_status()
        own = minted_refresh_token(simulator, pkce=True)
        tokens = client.post(PKCE_REFRESH, data={"refresh_token": SEALER.seal(own)}).json()
        assert (SEALER.open(tokens["refresh_token"]).token != own) == is_new


OLD, OLDER = "the-key-before-0123456789", "the-key-before-that-0123456789"


@on_every_refresh
def test_token_of_a_previous_key_moves_to_the_current_key(
    serve: Serve, simulator: httpx.Client, path: str
) -> None:
    client = serve(SECRET_KEYS_PREVIOUS=f"{OLD}\n{OLDER}")
    for key, rotation in ((OLD, "on"), (OLDER, "off"), (OLDER, "same")):
        simulator.patch("/admin/settings", json={"rotation": rotation}).raise_for_status()
        own = minted_refresh_token(simulator, pkce=path == PKCE_REFRESH)
        tokens = client.post(path, data={"refresh_token": Sealer(key).seal(own)}).json()
        opened = Sealer(SECRET_KEY).open(tokens["refresh_token"])
        assert (opened.token != own) == (rotation == "on")
        assert "expiration_date" in tokens


# Failures ------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "delay": ({"seconds": 0.01}, 200, '{"access_token"'),
    "gzip": ({}, 200, '{"access_token"'),
    "slow": ({"interval": 0.0001}, 200, '{"access_token"'),
    "status": ({}, 503, "upstream connect error or disconnect/reset before headers"),
    "html": ({}, 503, "<!doctype html>"),
    "spotify": ({}, 400, '{"error":"invalid_grant"'),
    "answer": ({"body": "{}"}, 200, "{}"),
    "reset": ({}, 502, UNREACHABLE),
    "close": ({}, 502, UNREACHABLE),
    "truncated": ({}, 502, UNREACHABLE),
    "badheader": ({}, 502, UNREACHABLE),
    "garbage": ({}, 502, NOT_UNDERSTOOD),
    "notobject": ({}, 502, NOT_UNDERSTOOD),
    "bomb": ({"size": 2**23}, 502, TOO_LONG),
    "huge": ({}, 502, TOO_LONG),
    "redirect": ({}, 502, UNEXPECTED),
}
"""Settings of each fault; status and beginning of the body, or reason, of our response."""


def test_every_kind_of_fault_is_tested() -> None:
    kinds = {str(kind.__struct_config__.tag) for kind in get_args(AnyFault)}
    assert kinds == {*FAULTS, "ratelimit", "silence"}


@pytest.mark.parametrize("kind", FAULTS)
def test_fault_is_handled_without_another_call(
    client: httpx.Client, simulator: httpx.Client, kind: str
) -> None:
    """On a connection that has been used before: the call may have reached Spotify."""
    assert client.post(CODE, data=valid_form(simulator, CODE)).status_code == 200
    settings, status, expected = FAULTS[kind]
    queue_faults(simulator, {"kind": kind, **settings})
    response = client.post(CODE, data=valid_form(simulator, CODE))
    assert [entry["fault"] for entry in recorded(simulator)] == [None, kind]
    if status == 502:
        assert_refused(response, 502, expected)
    else:
        assert response.status_code == status
        assert response.text.startswith(expected)


@pytest.mark.parametrize("kind", ["reset", "close"])
def test_fault_on_a_new_connection_is_handled_without_another_call(
    start: Start, simulator: httpx.Client, kind: str
) -> None:
    queue_faults(simulator, {"kind": kind})
    assert_refused(post(start()), 502, UNREACHABLE)
    assert len(recorded(simulator)) == 1


def test_407_without_a_proxy_is_forwarded(start: Start, simulator: httpx.Client) -> None:
    queue_faults(simulator, {"kind": "answer", "status": 407, "body": "{}"})
    assert post(start()).status_code == 407


def test_429_is_forwarded(start: Start, simulator: httpx.Client) -> None:
    queue_faults(simulator, {"kind": "ratelimit"})
    response = post(start())
    assert response.status_code == 429
    assert response.json() == {"error": {"status": 429, "message": "API rate limit exceeded"}}
    assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "fault",
    [{"kind": "silence"}, {"kind": "delay", "seconds": 60}, {"kind": "slow", "interval": 0.05}],
    ids=lambda fault: str(fault["kind"]),
)
def test_upstream_timeout_bounds_the_whole_call(
    serve: Serve, simulator: httpx.Client, fault: dict[str, Any]
) -> None:
    client = serve(UPSTREAM_TIMEOUT="0.2")
    form = valid_form(simulator, CODE)
    queue_faults(simulator, fault)
    assert_refused(client.post(CODE, data=form), 504, LATE)


class Failing(httpx.AsyncBaseTransport):
    """Raises `error` for every call and counts the calls."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.calls = 0

    async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
        self.calls += 1
        raise self._error


REQUEST = TokenRequest(Flow.REFRESH, (("refresh_token", "AQ"),), basic=True)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (httpx.ConnectError(""), 502),
        (httpx.ReadError(""), 502),
        (httpx.RemoteProtocolError(""), 502),
        (httpx.ConnectTimeout(""), 504),
        (httpx.ReadTimeout(""), 504),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_call_is_retried(start: Start, error: Exception, status: int) -> None:
    transport = Failing(error)
    client = start(transport)
    assert post(client).status_code == status
    assert transport.calls == 1


def test_refused_connection_is_502(serve: Serve) -> None:
    client = serve(SPOTIFY_TOKEN_URL="http://127.0.0.1:1/api/token")
    assert_refused(post(client), 502, UNREACHABLE)


def test_calls_beyond_the_limit_are_503(start: Start) -> None:
    transport = HeldTransport(httpx.MockTransport(lambda _: httpx.Response(200, content=TOKENS)))
    client = start(transport, UPSTREAM_MAX_IN_FLIGHT="1")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, client)
        transport.wait_for_call()
        second = post(client)
        transport.release()
        assert first.result().status_code == 200
    assert_refused(second, 503, "too many requests are waiting for Spotify")
    assert second.headers["retry-after"] == "1"
    assert post(client).status_code == 200


@pytest.mark.parametrize("kind", ["reset", "garbage", "bomb", "silence"])
def test_failed_call_no_longer_counts_towards_the_limit(
    serve: Serve, simulator: httpx.Client, kind: str
) -> None:
    client = serve(UPSTREAM_MAX_IN_FLIGHT="1", UPSTREAM_TIMEOUT="0.2")
    queue_faults(simulator, {"kind": kind})
    assert post(client, CREDENTIALS).status_code in {502, 504}
    assert post(client, CREDENTIALS).status_code != 503


# HTTP/1.1 ------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """Bytes to send for a request; the connection is closed afterwards if `closes`."""

    sent: bytes
    closes: bool = False


class Scripted:
    """A server that sends the next reply to each request, whatever the reply is.

    `connections` has the number of the connection of each request.
    """

    def __init__(self, *replies: Reply) -> None:
        self.connections: list[int] = []
        self._replies = deque(replies)
        self._numbers = itertools.count()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self._numbers)
        try:
            while not reader.at_eof():
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head.lower())
                assert length is not None
                await reader.readexactly(int(length[1]))
                self.connections.append(number)
                reply = self._replies.popleft()
                writer.write(reply.sent)
                await writer.drain()
                if reply.closes:
                    break
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has closed the connection
        finally:
            writer.transport.abort()


def fetch(scripted: Scripted, times: int = 2) -> list[bytes | str | int]:
    """Make calls in turn; return the body of a success, another status, or our reason for 502."""

    async def main() -> list[bytes | str | int]:
        async with await asyncio.start_server(scripted, "127.0.0.1", 0) as server:
            url = "http://{}:{}/api/token".format(*server.sockets[0].getsockname())
            settings = service_settings.load(environment(url))
            spotify = Spotify(settings, Transport(settings))
            outcomes: list[bytes | str | int] = []
            for _ in range(times):
                try:
                    result = await spotify.fetch(REQUEST)
                    outcomes.append(result.body if result.is_success else result.status)
                except UpstreamFailed as error:
                    outcomes.append(error.reason)
            await spotify.aclose()
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
            return outcomes

    return asyncio.run(main())


def message(status: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    """Return a response; a Content-Length only if it is among the headers."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/{version} {status}", *headers))
    return head.encode() + b"\r\n" + body


def framed(status: str, body: bytes, *headers: str) -> bytes:
    return message(status, body, f"Content-Length: {len(body)}", *headers)


GOOD = framed("200 OK", TOKENS)
CHUNKED = b"5\r\n%b\r\n%x;extension=1\r\n%b\r\n0\r\n" % (TOKENS[:5], len(TOKENS) - 5, TOKENS[5:])
HINTS = message("103 Early Hints", b"", "Link: </x>; rel=preload", "X-Early: 1")
CHUNKS = "Transfer-Encoding: chunked"

VALID = {
    "chunked": Reply(message("200 OK", CHUNKED + b"\r\n", CHUNKS)),
    "chunked with a trailer": Reply(message("200 OK", CHUNKED + b"X-Trailer: 1\r\n\r\n", CHUNKS)),
    "until the connection closes": Reply(message("200 OK", TOKENS), closes=True),
    "HTTP/1.0": Reply(message("200 OK", TOKENS, version="1.0"), closes=True),
    "after two informational responses": Reply(message("100 Continue", b"") + HINTS + GOOD),
    "without a reason phrase": Reply(framed("200", TOKENS)),
    "offers another protocol": Reply(framed("200 OK", TOKENS, "Connection: upgrade", "Upgrade: x")),
    "announces its close": Reply(framed("200 OK", TOKENS, "Connection: close"), closes=True),
}


@pytest.mark.parametrize("reply", VALID.values(), ids=VALID)
def test_valid_response_is_understood(reply: Reply) -> None:
    scripted = Scripted(reply, Reply(GOOD))
    assert fetch(scripted) == [TOKENS, TOKENS]
    assert len(scripted.connections) == 2


INVALID = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "half a status line": b"HTTP/1.1 2",
    "half a head": b"HTTP/1.1 503 Unavailable\r\nRetry-After: 7\r\n",
    "half a body": message("200 OK", TOKENS, f"Content-Length: {len(TOKENS) + 1}"),
    "half a chunk": message("200 OK", CHUNKED[:9], CHUNKS),
    "no last chunk": message("503 Unavailable", b"1\r\nx\r\n", CHUNKS),
    "invalid chunks": message("200 OK", TOKENS, CHUNKS),
    "early hints alone": HINTS,
    "switched protocols": message("101 Switching Protocols", b"", "Connection: upgrade"),
    "two lengths": message("200 OK", TOKENS, "Content-Length: 43", "Content-Length: 44"),
    "length and chunks": message("200 OK", CHUNKED + b"\r\n", "Content-Length: 43", CHUNKS),
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500_000,
    "status of four digits": framed("2000 OK", TOKENS),
    "status under 100": framed("099 Odd", TOKENS),
}


@pytest.mark.parametrize("sent", INVALID.values(), ids=INVALID)
def test_invalid_response_fails_without_a_retry(sent: bytes) -> None:
    scripted = Scripted(Reply(sent, closes=True), Reply(GOOD))
    first, second = fetch(scripted)
    assert first == UNREACHABLE or isinstance(first, int)
    assert second == TOKENS
    assert len(scripted.connections) == 2


def test_connection_is_used_again() -> None:
    scripted = Scripted(*[Reply(GOOD)] * 5)
    assert fetch(scripted, 5) == [TOKENS] * 5
    assert len(set(scripted.connections)) == 1


@pytest.mark.parametrize("stray", [GOOD.replace(b"BQ", b"XX"), GOOD[:9], GOOD[:-1], b"\r\n"])
def test_bytes_after_a_response_reach_no_other_call(stray: bytes) -> None:
    assert fetch(Scripted(Reply(GOOD + stray), Reply(GOOD))) == [TOKENS, TOKENS]

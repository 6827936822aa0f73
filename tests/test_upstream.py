"""What goes to Spotify, what of its answers comes back, and what happens when it doesn't answer."""

import base64
import gzip
import itertools
import json
import re
import socket
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from service.sealing import Sealer
from tests.conftest import LogLines, Start
from tests.running import CLIENT_ID, CLIENT_SECRET, SECRET_KEY
from tests.simulator.requests import (
    REDIRECT_URI,
    VERIFIER,
    minted_refresh_token,
)
from tests.test_routes import (
    CODE,
    CREDENTIALS,
    FLOWS,
    LATE,
    PKCE_CODE,
    PKCE_REFRESH,
    REFRESH,
    SEALER,
    UNDECRYPTABLE,
    UNREACHABLE,
    Serve,
    assert_refused,
    good_form,
    on_every_flow,
    on_every_refresh,
    order,
    recorded,
    services,
    well_formed,
)

NOT_UNDERSTOOD = "Spotify's response could not be understood"
TOO_LONG = "Spotify's response was too long"
UNEXPECTED = "Spotify responded with an unexpected status"

Headers = list[list[str]]


@pytest.fixture(scope="module")
def serve(simulator_url: str) -> Iterator[Serve]:
    with services(simulator_url) as serve:
        yield serve


@pytest.fixture
def client(serve: Serve, simulator: httpx.Client) -> httpx.Client:  # noqa: ARG001
    """Return a client of the service with default settings, which all tests here share."""
    return serve()


def answering(
    simulator: httpx.Client, body: str | bytes, status: int = 200, headers: Headers | None = None
) -> None:
    """Let Spotify's next answer be this one."""
    content = body.encode() if isinstance(body, str) else body
    encoded = base64.b64encode(content).decode()
    headers = [["Content-Type", "application/json"]] if headers is None else headers
    fault = {"kind": "answer", "status": status, "headers": headers, "body_base64": encoded}
    order(simulator, fault)


def swapped(client: httpx.Client, path: str = CODE, **changes: str) -> httpx.Response:
    """Send a request that is good as far as we can tell."""
    return client.post(path, data=well_formed(path, **changes))


# What goes out -------------------------------------------------------------------------------


def expected_form(path: str, form: dict[str, str]) -> list[list[str]]:
    """Return what Spotify has to get for the fields that a client sent."""
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
    """Return all headers that Spotify has to get, User-Agent apart."""
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
    """Compare the last request to Spotify with what it has to be, and nothing more."""
    entry = recorded(simulator)[-1]
    assert (entry["method"], entry["path"], entry["query"]) == ("POST", "/api/token", "")
    assert sorted(entry["form"]) == expected_form(path, form)
    headers = {name.lower(): value for name, value in entry["headers"]}
    assert len(headers) == len(entry["headers"])
    assert headers.pop("user-agent").startswith("spotify-api-server/")
    assert headers == expected_headers(path, simulator, len(entry["body"]))


CHATTER = {
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
"""Headers that are the client's business alone."""
UNKNOWN = {
    "client_id": "theirs",
    "client_secret": "theirs",
    "scope": "everything",
    "grant_type": "password",
    "method": "PKCE",
    "code_challenge": "x",
}


def chatty(client: httpx.Client, path: str, form: dict[str, str]) -> httpx.Response:
    """Send a good request with all that must not get to Spotify."""
    query = {"code": "from-query", "client_secret": "from-query"}
    return client.post(path, data=UNKNOWN | form, params=query, headers=CHATTER)


@on_every_flow
def test_spotify_gets_this_form_and_these_headers(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    form = good_form(simulator, path)
    assert client.post(path, data=form).status_code == 200
    assert_exact(path, form, simulator)


@on_every_flow
def test_nothing_else_of_the_clients_gets_to_spotify(
    client: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    form = good_form(simulator, path) | {"grant_type": "password"}
    assert chatty(client, path, form).status_code == 200
    assert_exact(path, form, simulator)


def test_no_trace_header_gets_to_spotify_though_tracing_is_on(
    start: Start, simulator: httpx.Client, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": str(simulator.base_url)}
    monkeypatch.setenv(*endpoint.copy().popitem())
    client = start(**endpoint)
    for path in FLOWS:
        form = good_form(simulator, path)
        assert chatty(client, path, form).status_code == 200
        assert_exact(path, form, simulator)
    traces = {line["trace_id"] for line in log_lines.of("token.retrieved")}
    assert traces == {"0af7651916cd43dd8448eb211c80319c"}  # it is on


@pytest.mark.parametrize(
    "code", ["a+b c&d=e%26", "é€😀", "\x00\x01\r\n", "a" * 5000, "x;y?z#", '"\\']
)
def test_a_code_gets_to_spotify_as_it_is(
    client: httpx.Client, simulator: httpx.Client, code: str
) -> None:
    form = well_formed(CODE, code=code)
    client.post(CODE, data=form)
    client.post(CODE, json=form)
    assert [dict(entry["form"])["code"] for entry in recorded(simulator)] == [code, code]


def test_a_clients_cookies_and_spotifys_are_kept_from_each_other(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    answering(simulator, '{"access_token":"BQ"}', headers=[["Set-Cookie", "sp=1; Path=/"]])
    answers = [client.post(CREDENTIALS, data={"a": "b"}) for _ in range(2)]
    assert all("set-cookie" not in answer.headers for answer in answers)
    names = [name.lower() for entry in recorded(simulator) for name, _ in entry["headers"]]
    assert "cookie" not in names


# Headers that come back ----------------------------------------------------------------------

PASSING: Headers = [
    ["Content-Type", "text/x-odd; charset=latin-1"],
    ["Retry-After", "120"],
    ["WWW-Authenticate", 'Basic realm="spotify"'],
    ["WWW-Authenticate", 'Bearer realm="spotify"'],
    ["Vary", "Accept-Encoding"],
    ["sp-trace-id", "0123456789abcdef"],
    ["X-Envoy-Upstream-Service-Time", "11"],
    ["X-Empty", ""],
    ["ETag", '"caf\xe9"'],
]
STAYING: Headers = [
    ["Connection", "close, X-Nominated"],
    ["Connection", "x-also-nominated"],
    ["X-Nominated", "1"],
    ["X-Also-Nominated", "1"],
    ["Keep-Alive", "timeout=5"],
    ["Proxy-Authenticate", "Basic"],
    ["Proxy-Authorization", "Basic eA=="],
    ["Proxy-Connection", "keep-alive"],
    ["TE", "trailers"],
    ["Trailer", "X-Trailer"],
    ["Upgrade", "h2c"],
    ["Set-Cookie", "sp=1; Path=/"],
    ["Set-Cookie", "sp=2; Path=/"],
    ["Set-Cookie2", "sp=3"],
    ["X-Accel-Redirect", "/internal"],
    ["X-Accel-Buffering", "no"],
    ["X-Sendfile", "/etc/passwd"],
    ["X-LIGHTTPD-Send-File", "/etc/passwd"],
    ["X-Reproxy-URL", "http://127.0.0.1/internal"],
    ["Surrogate-Control", "max-age=600"],
    ["Content-Location", "/elsewhere"],
    ["Reporting-Endpoints", 'main="https://elsewhere.example"'],
    ["Speculation-Rules", '"/rules.json"'],
    ["SourceMap", "/x.map"],
    ["X-SourceMap", "/x.map"],
    ["Location", "https://elsewhere.example"],
    ["Refresh", "0; url=https://elsewhere.example"],
    ["Clear-Site-Data", "*"],
    ["Link", "</x.css>; rel=preload"],
    ["Service-Worker-Allowed", "/"],
    ["Content-Disposition", "attachment"],
    ["Strict-Transport-Security", "max-age=31536000"],
    ["Alt-Svc", 'h3=":443"'],
    ["Server", "envoy"],
    ["Date", "Thu, 01 Jan 1970 00:00:00 GMT"],
    ["Via", "1.1 google"],
    ["NEL", "{}"],
    ["Report-To", "{}"],
    ["Access-Control-Allow-Origin", "*"],
    ["Access-Control-Allow-Credentials", "true"],
    ["Access-Control-Odd", "x"],
    ["Cache-Control", "public, max-age=600"],
    ["Pragma", "cache"],
    ["X-Request-ID", "spotifys-own"],
]
OURS = {"cache-control", "pragma", "date", "content-length", "x-request-id"}
ON_ERRORS = OURS | {"x-content-type-options"}


def assert_ours(answer: httpx.Response) -> None:
    """Check the headers that are ours to say, each of which has to be there once."""
    values = {name: answer.headers.get_list(name) for name in OURS}
    assert (values["cache-control"], values["pragma"]) == (["no-store"], ["no-cache"])
    assert values["content-length"] == [str(len(answer.content))]
    assert values["x-request-id"] == ["mine"]
    assert len(values["date"]) == 1
    assert "1970" not in values["date"][0]


@on_every_flow
@pytest.mark.parametrize("status", [400, 401, 500, 503])
def test_an_error_has_spotifys_end_to_end_headers_and_no_others(
    client: httpx.Client, simulator: httpx.Client, path: str, status: int
) -> None:
    assert_end_to_end(client, simulator, path, status)


@on_every_flow
def test_so_has_a_429(start: Start, simulator: httpx.Client, path: str) -> None:
    assert_end_to_end(start(), simulator, path, 429)


def assert_end_to_end(
    client: httpx.Client, simulator: httpx.Client, path: str, status: int
) -> None:
    mixed = [*STAYING[:6], *PASSING, *STAYING[6:]]
    answering(simulator, "x", status=status, headers=mixed)
    answer = client.post(path, data=well_formed(path), headers={"X-Request-ID": "mine"})
    assert_ours(answer)
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    rest = [(n.lower(), v) for n, v in answer.headers.raw if n.decode().lower() not in ON_ERRORS]
    expected = [(n.lower().encode(), v.encode("latin-1")) for n, v in PASSING]
    assert sorted(rest) == sorted(expected)


@on_every_flow
@pytest.mark.parametrize("status", [200, 201])
def test_a_success_has_headers_of_ours_alone(
    client: httpx.Client, simulator: httpx.Client, path: str, status: int
) -> None:
    answering(simulator, '{"access_token":"BQ"}', status=status, headers=[*PASSING, *STAYING])
    answer = client.post(path, data=well_formed(path), headers={"X-Request-ID": "mine"})
    assert_ours(answer)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.headers) == OURS | {"content-type"}


@pytest.mark.parametrize("status", [200, 400])
def test_without_a_request_id_ours_is_not_spotifys(
    client: httpx.Client, simulator: httpx.Client, status: int
) -> None:
    answering(simulator, "{}", status=status, headers=[["X-Request-ID", "spotifys-own"]])
    [given] = swapped(client).headers.get_list("x-request-id")
    assert re.fullmatch("[0-9a-f]{32}", given)


def test_an_error_without_content_type_is_not_guessed(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    answering(simulator, b"\x00", status=500, headers=[])
    answer = swapped(client)
    assert (answer.status_code, answer.content) == (500, b"\x00")
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("value", ["caf\xe9", "\xe2\x82\xac", "\xff\x80"])
def test_a_header_that_is_not_ascii_passes_byte_for_byte(
    client: httpx.Client, simulator: httpx.Client, value: str
) -> None:
    answering(simulator, "{}", status=400, headers=[["X-Odd", value]])
    raw = dict(swapped(client).headers.raw)
    assert raw[b"x-odd"] == value.encode("latin-1")


# Bodies that come back -----------------------------------------------------------------------

ALL_BYTES = bytes(range(256))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html; charset=utf-8", "<h1>Störung</h1>\r\n".encode()),
        ("text/html; charset=latin-1", b"<h1>St\xf6rung</h1>"),
        ("text/plain", b"upstream connect error"),
        ("application/octet-stream", ALL_BYTES),
        ("application/json", b'{"error": "invalid_grant",\n "error_description": "\\u00e9"}'),
        ("application/json", b'{"error":{"status":429,"message":"x"}}'),
        ("application/json", b'{"error":"a","error":"b", "refresh_token":"not ours to judge"}'),
        ("application/json", b"{no json"),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"error":"\xff"}'),
        ("text/plain", b""),
        ("text/plain", b"x" * 100_000),
    ],
)
@pytest.mark.parametrize("status", [400, 503])
def test_the_body_of_an_error_is_not_touched(
    client: httpx.Client, simulator: httpx.Client, content_type: str, body: bytes, status: int
) -> None:
    answering(simulator, body, status=status, headers=[["Content-Type", content_type]])
    answer = swapped(client)
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers["content-type"] == content_type


TOKENS = b'{"access_token":"BQ","token_type":"Bearer"}'
GZIPPED = gzip.compress(TOKENS, mtime=0)
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "GZIP": gzip.compress,
    "x-gzip": gzip.compress,
    "identity": bytes,
    "": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("status", [200, 400])
def test_a_content_coding_is_undone(
    client: httpx.Client, simulator: httpx.Client, coding: str, status: int
) -> None:
    coded = CODINGS[coding](TOKENS)
    answering(simulator, coded, status=status, headers=[["Content-Encoding", coding]])
    answer = swapped(client)
    assert (answer.status_code, answer.content) == (status, TOKENS)
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("coding", "body", "reason"),
    [
        ("br", b"\x8b\x02", "Spotify's response had an unknown content coding"),
        ("zstd", b"x", "Spotify's response had an unknown content coding"),
        ("gzip, gzip", gzip.compress(GZIPPED, mtime=0), None),
        ("gzip", b"no gzip", "Spotify's response could not be decoded"),
        ("gzip", GZIPPED[:-9], "Spotify's response could not be decoded"),
        ("gzip", GZIPPED[:-8] + bytes(8), "Spotify's response could not be decoded"),
        ("gzip", gzip.compress(bytes(2**24), mtime=0), TOO_LONG),
        ("deflate", zlib.compress(TOKENS), None),
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_cannot_be_decoded_is_a_502(
    client: httpx.Client,
    simulator: httpx.Client,
    coding: str,
    body: bytes,
    reason: str | None,
    status: int,
) -> None:
    answering(simulator, body, status=status, headers=[["Content-Encoding", coding]])
    answer = swapped(client)
    assert_refused(answer, 502, reason or "Spotify's response had an unknown content coding")


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_of_more_than_a_mebibyte_is_a_502(
    client: httpx.Client, simulator: httpx.Client, status: int
) -> None:
    answering(simulator, b"x" * (2**20 + 1), status=status)
    assert_refused(swapped(client), 502, TOO_LONG)


def test_a_long_answer_is_not_yet_too_long(client: httpx.Client, simulator: httpx.Client) -> None:
    order(simulator, {"kind": "huge", "size": 2**20})
    answer = swapped(client)
    assert (answer.status_code, len(answer.content)) == (200, 2**20)


# Statuses ------------------------------------------------------------------------------------


@on_every_flow
@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 226, 299])
def test_every_2xx_is_sealed(
    client: httpx.Client, simulator: httpx.Client, path: str, status: int
) -> None:
    answering(simulator, '{"refresh_token":"AQ-raw"}', status=status)
    answer = swapped(client, path)
    assert answer.status_code == status
    assert "AQ-raw" not in answer.text
    assert SEALER.open(answer.json()["refresh_token"]).token == "AQ-raw"


@on_every_flow
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308, 399])
def test_a_3xx_is_a_502_and_not_followed(
    client: httpx.Client, simulator: httpx.Client, path: str, status: int
) -> None:
    answering(simulator, "{}", status=status, headers=[["Location", "/trap"]])
    answer = swapped(client, path)
    assert_refused(answer, 502, UNEXPECTED)
    assert "location" not in answer.headers
    assert [entry["path"] for entry in recorded(simulator)] == ["/api/token"]


@pytest.mark.parametrize("status", [204, 205])
def test_a_2xx_without_a_body_is_a_502(
    client: httpx.Client, simulator: httpx.Client, status: int
) -> None:
    answering(simulator, "", status=status)
    assert_refused(swapped(client), 502, NOT_UNDERSTOOD)


# A success's fields --------------------------------------------------------------------------

ODD_MEMBERS = [
    b'"integer":123456789012345678901234567890123456789',
    b'"negative":-0',
    b'"decimal":1.10',
    b'"precise":0.1000000000000000055511151231257827',
    b'"exponent":1E400',
    b'"escapes":"\\u00e9\\/\\ud83d\\ude00"',
    '"text":"é€😀"'.encode(),
    b'"nested":{ "b" : [1 , 2.50, {"a":null}],"a":true }',
    b'"\\u0061":"an escaped name"',
    b'"empty":""',
    b'"":"no name"',
    b'"expires_in":3600',
    b'"scope":""',
    b'"token_type":["odd"]',
    b'"access_token":7',
]


def without_ours(content: bytes) -> bytes:
    """Take a refresh token and our expiration date out of a JSON object."""
    plain = re.sub(rb'"refresh_token":"[^"]*"', b'"refresh_token":"AQ"', content, count=1)
    return re.sub(rb',"expiration_date":"[^"]*"', b"", plain)


@pytest.mark.parametrize("member", ODD_MEMBERS)
def test_a_field_comes_back_byte_for_byte(
    client: httpx.Client, simulator: httpx.Client, member: bytes
) -> None:
    body = b'{%b,"refresh_token":"AQ"}' % member
    answering(simulator, body)
    answer = swapped(client)
    name = json.loads(body).popitem()[0]
    assert name == "refresh_token"
    assert member.partition(b":")[2] in answer.content
    assert json.loads(without_ours(answer.content), parse_float=str, parse_int=str) == json.loads(
        body, parse_float=str, parse_int=str
    )


def test_all_fields_come_back_in_spotifys_order(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    members = [member for member in ODD_MEMBERS if b"\\u0061" not in member]
    body = b'{%b,"refresh_token":"AQ",%b}' % (b",".join(members[:5]), b",".join(members[5:]))
    answering(simulator, body)
    assert without_ours(swapped(client).content) == body


@on_every_flow
@pytest.mark.parametrize(
    "members",
    [
        r'"refresh\u005ftoken":"AQ-raw"',
        r'"\u0072efresh_token":"AQ-raw"',
        r'"refresh_token":"AQ\u002draw"',
        '"refresh_token":"first","refresh_token":"AQ-raw"',
        r'"refresh_token":"first","refresh\u005ftoken":"AQ-raw"',
        ' "refresh_token" : "AQ-raw" ',
    ],
)
def test_a_refresh_token_is_sealed_however_it_is_spelled(
    client: httpx.Client, simulator: httpx.Client, path: str, members: str
) -> None:
    answering(simulator, f"{{{members}}}")
    answer = swapped(client, path)
    assert answer.status_code == 200
    assert "AQ-raw" not in answer.text  # three letters alone come by chance in a sealed token
    assert "first" not in answer.text
    assert SEALER.open(answer.json()["refresh_token"]).token == "AQ-raw"


@on_every_flow
@pytest.mark.parametrize(
    "body",
    [
        '{"refresh_token":7,"x":"AQ-raw"}',
        '{"refresh_token":true,"x":"AQ-raw"}',
        '{"refresh_token":["AQ-raw"]}',
        '{"refresh_token":{"refresh_token":"AQ-raw"}}',
        r'{"refresh\u005ftoken":["AQ-raw"]}',
        r'{"refresh_token":"AQ-raw\ud800"}',
        b'{"refresh_token":"AQ-raw\xff"}',
        '[{"refresh_token":"AQ-raw"}]',
        '"AQ-raw"',
        "refresh_token=AQ-raw",
        "null",
        "",
        '{"refresh_token":"AQ-raw"',
        '{"refresh_token":"AQ-raw"}}',
        "\ufeff" + '{"refresh_token":"AQ-raw"}',
        '{"refresh_token":"AQ-raw","deep":' + "[" * 100_000 + "}",
        '{"refresh_token":"AQ-raw","deep":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_success_that_cannot_be_sealed_is_a_502_and_not_shown(
    client: httpx.Client, simulator: httpx.Client, path: str, body: str | bytes
) -> None:
    answering(simulator, body)
    assert_refused(swapped(client, path), 502, NOT_UNDERSTOOD)


@pytest.mark.parametrize("path", [CREDENTIALS, CODE, REFRESH, PKCE_CODE])
@pytest.mark.parametrize("token", ["null", '""'])
def test_a_null_or_empty_refresh_token_is_dropped(
    client: httpx.Client, simulator: httpx.Client, path: str, token: str
) -> None:
    answering(simulator, f'{{"expires_in":3600,"refresh_token":{token}}}')
    assert swapped(client, path).content == b'{"expires_in":3600}'


@pytest.mark.parametrize("members", ["", ',"refresh_token":null', ',"refresh_token":""'])
def test_a_pkce_refresh_always_answers_a_token(
    client: httpx.Client, simulator: httpx.Client, members: str
) -> None:
    sent = SEALER.seal("AQ-own")
    answering(simulator, f'{{"expires_in":3600{members}}}')
    tokens = swapped(client, PKCE_REFRESH, refresh_token=sent).json()
    assert SEALER.open(tokens["refresh_token"]).token == "AQ-own"
    assert tokens["refresh_token"] != sent
    assert tokens["expiration_date"].endswith("Z")


@pytest.mark.parametrize(
    ("rotation", "is_new"), [("spotify", True), ("on", True), ("off", False), ("same", False)]
)
def test_a_pkce_refresh_answers_the_new_token_if_there_is_one(
    client: httpx.Client, simulator: httpx.Client, rotation: str, *, is_new: bool
) -> None:
    simulator.patch("/admin/settings", json={"rotation": rotation}).raise_for_status()
    own = minted_refresh_token(simulator, pkce=True)
    answer = client.post(PKCE_REFRESH, data={"refresh_token": SEALER.seal(own)})
    assert (SEALER.open(answer.json()["refresh_token"]).token != own) == is_new


def test_a_plain_refresh_answers_no_token_if_spotify_sends_none(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    answering(simulator, '{"access_token":"BQ","expires_in":3600}')
    assert swapped(client, REFRESH).content == b'{"access_token":"BQ","expires_in":3600}'


# expiration_date -----------------------------------------------------------------------------


@pytest.mark.parametrize("expires_in", [3600, 0, -60, 31_536_000])
def test_the_expiration_date_is_so_many_seconds_from_now(
    client: httpx.Client, simulator: httpx.Client, expires_in: int
) -> None:
    answering(simulator, f'{{"refresh_token":"AQ","expires_in":{expires_in}}}')
    text = swapped(client).json()["expiration_date"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    expected = datetime.now(UTC) + timedelta(seconds=expires_in)
    assert abs(datetime.fromisoformat(text) - expected) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "expires_in", ['"3600"', "3600.5", "true", "null", "[]", "{}", "1e999", "1" + "0" * 30, '""']
)
def test_an_expires_in_that_makes_no_date_passes_without_one(
    client: httpx.Client, simulator: httpx.Client, expires_in: str
) -> None:
    answering(simulator, f'{{"refresh_token":"AQ","expires_in":{expires_in}}}')
    answer = swapped(client)
    assert answer.status_code == 200
    assert f'"expires_in":{expires_in}'.encode() in answer.content
    assert "expiration_date" not in answer.json()


def test_without_expires_in_there_is_no_date(client: httpx.Client, simulator: httpx.Client) -> None:
    answering(simulator, '{"refresh_token":"AQ"}')
    assert set(swapped(client).json()) == {"refresh_token"}


def test_a_date_of_spotifys_stays(client: httpx.Client, simulator: httpx.Client) -> None:
    answering(simulator, '{"refresh_token":"AQ","expires_in":60,"expiration_date":"theirs"}')
    assert swapped(client).json()["expiration_date"] == "theirs"


# Key rotation --------------------------------------------------------------------------------

OLD, OLDER = "the-key-before-0123456789", "the-key-before-that-0123456789"


@pytest.fixture
def rotated(serve: Serve, simulator: httpx.Client) -> httpx.Client:  # noqa: ARG001
    return serve(SECRET_KEYS_PREVIOUS=f"{OLD}\n{OLDER}")


@on_every_refresh
@pytest.mark.parametrize("key", [OLD, OLDER])
@pytest.mark.parametrize("rotation", ["on", "off", "same"])
def test_a_token_of_a_previous_key_comes_back_under_the_current_one(
    rotated: httpx.Client, simulator: httpx.Client, path: str, key: str, rotation: str
) -> None:
    simulator.patch("/admin/settings", json={"rotation": rotation}).raise_for_status()
    own = minted_refresh_token(simulator, pkce=path == PKCE_REFRESH)
    tokens = rotated.post(path, data={"refresh_token": Sealer(key).seal(own)}).json()
    opened = Sealer(SECRET_KEY).open(tokens["refresh_token"])
    assert (opened.token != own) == (rotation == "on")
    assert "expiration_date" in tokens


def test_a_token_of_the_current_key_is_not_sealed_anew_needlessly(
    rotated: httpx.Client, simulator: httpx.Client
) -> None:
    answer = rotated.post(REFRESH, data=good_form(simulator, REFRESH))
    assert "refresh_token" not in answer.json()


@on_every_refresh
def test_new_tokens_are_never_sealed_with_a_previous_key(
    rotated: httpx.Client, simulator: httpx.Client, path: str
) -> None:
    answering(simulator, '{"refresh_token":"AQ-new"}')
    sealed = rotated.post(path, data={"refresh_token": Sealer(OLD).seal("AQ")}).json()
    assert Sealer(SECRET_KEY).open(sealed["refresh_token"]).token == "AQ-new"


@on_every_refresh
def test_a_key_that_is_not_listed_opens_nothing(rotated: httpx.Client, path: str) -> None:
    token = Sealer("a-key-nobody-knows").seal("AQ")
    assert_refused(swapped(rotated, path, refresh_token=token), 400, UNDECRYPTABLE)


# Retries -------------------------------------------------------------------------------------


class Unreliable(httpx.AsyncBaseTransport):
    """Raises the errors it is given, one for each call; responds when there are no more."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.calls = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return httpx.Response(200, json={"access_token": "BQ"}, request=request)


@pytest.fixture(scope="module")
def unreliable() -> Unreliable:
    return Unreliable()


@on_every_flow
@pytest.mark.parametrize(
    ("errors", "calls", "status"),
    [
        ([], 1, 200),
        ([httpx.ConnectError("")], 1, 502),
        ([httpx.ConnectTimeout("")], 1, 504),
        ([httpx.ReadError("")], 1, 502),
        ([httpx.WriteError("")], 1, 502),
        ([httpx.CloseError("")], 1, 502),
        ([httpx.RemoteProtocolError("")], 1, 502),
        ([httpx.ReadTimeout("")], 1, 504),
        ([httpx.WriteTimeout("")], 1, 504),
    ],
)
def test_no_call_is_retried(
    serve: Serve,
    unreliable: Unreliable,
    path: str,
    errors: list[Exception],
    calls: int,
    status: int,
) -> None:
    client = serve(unreliable, LOG_LEVEL="critical")
    unreliable.errors, unreliable.calls = errors.copy(), 0
    assert (swapped(client, path).status_code, unreliable.calls) == (status, calls)


@on_every_flow
def test_nobody_at_spotifys_address_is_a_502(serve: Serve, path: str) -> None:
    client = serve(SPOTIFY_TOKEN_URL="http://127.0.0.1:1/api/token")
    assert_refused(swapped(client, path), 502, UNREACHABLE)


def test_no_such_host_is_a_502(serve: Serve) -> None:
    client = serve(SPOTIFY_TOKEN_URL="https://no-such-host.invalid/api/token")
    assert_refused(swapped(client), 502, UNREACHABLE)


@on_every_flow
@pytest.mark.parametrize("kind", ["reset", "close", "truncated", "badheader", "garbage", "status"])
@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "used connection"])
def test_what_spotify_may_have_seen_is_not_sent_again(
    serve: Serve, simulator: httpx.Client, path: str, kind: str, *, warm: bool
) -> None:
    client = serve()
    if warm:
        assert client.post(path, data=good_form(simulator, path)).status_code == 200
    order(simulator, {"kind": kind})
    form = good_form(simulator, path)
    answer = client.post(path, data=form)
    assert answer.status_code == (503 if kind == "status" else 502)
    assert [entry["fault"] for entry in recorded(simulator)] == [*[None] * warm, kind]


# Time and number -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "silence"},
        {"kind": "delay", "seconds": 60},
        {"kind": "slow", "interval": 0.05},
    ],
    ids=lambda fault: str(fault["kind"]),
)
def test_the_upstream_timeout_bounds_silence_and_slow_bodies(
    serve: Serve, simulator: httpx.Client, fault: dict[str, Any]
) -> None:
    client = serve(UPSTREAM_TIMEOUT="0.3")
    order(simulator, fault)
    begin = time.monotonic()
    answer = client.post(CODE, data=good_form(simulator, CODE))
    assert_refused(answer, 504, LATE)
    assert 0.25 < time.monotonic() - begin < 2
    assert len(recorded(simulator)) == 1
    assert swapped(client, CREDENTIALS).status_code == 200


def wait_for_requests(simulator: httpx.Client, number: int) -> None:
    end = time.monotonic() + 5
    while len(recorded(simulator)) < number:
        assert time.monotonic() < end


def test_a_call_too_many_is_refused_and_the_slot_is_free_again_afterwards(
    serve: Serve, simulator: httpx.Client
) -> None:
    client = serve(UPSTREAM_MAX_IN_FLIGHT="1")
    order(simulator, {"kind": "delay", "seconds": 0.5})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(swapped, client, CREDENTIALS)
        wait_for_requests(simulator, 1)
        second = swapped(client, CREDENTIALS)
        assert_refused(second, 503, "too many requests are waiting for Spotify")
        assert second.headers["retry-after"] == "1"
        assert first.result().status_code == 200
    assert len(recorded(simulator)) == 1
    assert swapped(client, CREDENTIALS).status_code == 200


@pytest.mark.parametrize("kind", ["reset", "garbage", "bomb", "huge", "redirect", "silence"])
def test_a_call_that_failed_frees_its_slot_too(
    serve: Serve, simulator: httpx.Client, kind: str
) -> None:
    client = serve(UPSTREAM_MAX_IN_FLIGHT="1", UPSTREAM_TIMEOUT="0.5")
    order(simulator, {"kind": kind})
    assert swapped(client, CREDENTIALS).status_code in {502, 504}
    assert swapped(client, CREDENTIALS).status_code == 200


# The environment -----------------------------------------------------------------------------


def test_proxies_and_netrc_of_the_environment_are_ignored(
    start: Start, simulator: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    client = start()
    for path in FLOWS:
        form = good_form(simulator, path)
        assert client.post(path, data=form).status_code == 200
        assert_exact(path, form, simulator)


# The wire ------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """Bytes to send for a request; the connection is closed afterwards if `closes`."""

    sent: bytes
    closes: bool = False


class Scripted:
    """A server that answers each request with the next reply, whatever that is.

    `connections` has the number of the connection of each request.
    """

    def __init__(self, listening: socket.socket) -> None:
        self.url = "http://{}:{}/api/token".format(*listening.getsockname())
        self.connections: list[int] = []
        self._replies: deque[Reply] = deque()
        self._listening = listening
        threading.Thread(target=self._accept, daemon=True).start()

    def script(self, *replies: Reply) -> None:
        self.connections.clear()
        self._replies = deque(replies)

    def _accept(self) -> None:
        for number in itertools.count():
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(number, line), daemon=True).start()

    def _serve(self, number: int, line: socket.socket) -> None:
        with line, line.makefile("rb") as file:
            try:
                while _read_request(file):
                    self.connections.append(number)
                    reply = self._replies.popleft()
                    line.sendall(reply.sent)
                    if reply.closes:
                        return
            except OSError:
                return


def _read_request(file: Any) -> bool:  # noqa: ANN401 - a buffered reader of a socket
    """Read one request; tell whether there was one."""
    length = 0
    while (line := file.readline()) not in {b"", b"\r\n"}:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return line != b"" and len(file.read(length)) == length


@pytest.fixture(scope="module")
def scripted() -> Iterator[Scripted]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield Scripted(listening)
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def wired(serve: Serve, scripted: Scripted) -> httpx.Client:
    """Return a client of a service that asks `scripted`."""
    return serve(SPOTIFY_TOKEN_URL=scripted.url, UPSTREAM_TIMEOUT="2")


def text(status: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    """Write an answer; a Content-Length only if it is among the headers."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/{version} {status}", *headers))
    return head.encode() + b"\r\n" + body


def framed(status: str, body: bytes, *headers: str) -> bytes:
    return text(status, body, f"Content-Length: {len(body)}", *headers)


GOOD = framed("200 OK", TOKENS)
CHUNKED = b"5\r\n%b\r\n%x;extension=1\r\n%b\r\n0\r\n" % (TOKENS[:5], len(TOKENS) - 5, TOKENS[5:])
EARLY = text("103 Early Hints", b"", "Link: </x>; rel=preload", "X-Early: 1")

SOUND = {
    "with a length": Reply(GOOD),
    "chunked": Reply(text("200 OK", CHUNKED + b"\r\n", "Transfer-Encoding: chunked")),
    "chunked with a trailer": Reply(
        text("200 OK", CHUNKED + b"X-Trailer: 1\r\n\r\n", "Transfer-Encoding: chunked")
    ),
    "to the end of the connection": Reply(text("200 OK", TOKENS, "X: y"), closes=True),
    "of HTTP/1.0": Reply(text("200 OK", TOKENS, "X: y", version="1.0"), closes=True),
    "without any header": Reply(text("200 OK", TOKENS), closes=True),
    "after early hints": Reply(EARLY + GOOD),
    "after two informational answers": Reply(text("100 Continue", b"") + EARLY + GOOD),
    "without a reason phrase": Reply(framed("200", TOKENS)),
    "that offers another protocol": Reply(
        framed("200 OK", TOKENS, "Connection: upgrade", "Upgrade: h2c")
    ),
    "that says close": Reply(framed("200 OK", TOKENS, "Connection: close"), closes=True),
}


@pytest.mark.parametrize("reply", SOUND.values(), ids=SOUND)
def test_an_answer_is_understood(wired: httpx.Client, scripted: Scripted, reply: Reply) -> None:
    scripted.script(reply, Reply(GOOD))
    for _ in range(2):  # and the next one as well
        answer = swapped(wired)
        assert (answer.status_code, answer.content) == (200, TOKENS)
    assert len(scripted.connections) == 2


BROKEN = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "half a status line": b"HTTP/1.1 2",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
    "half a head of an error": b"HTTP/1.1 503 Unavailable\r\nRetry-After: 7\r\n",
    "half a body": text("200 OK", TOKENS, f"Content-Length: {len(TOKENS) + 1}"),
    "half an error": text("503 Unavailable", b"busy", "Content-Length: 5"),
    "half a chunk": text("200 OK", CHUNKED[:9], "Transfer-Encoding: chunked"),
    "no last chunk": text("503 Unavailable", b"1\r\nx\r\n", "Transfer-Encoding: chunked"),
    "chunks that are none": text("200 OK", TOKENS, "Transfer-Encoding: chunked"),
    "early hints alone": EARLY,
    "another protocol": text("101 Switching Protocols", b"", "Connection: upgrade", "Upgrade: x"),
    "two lengths": text("200 OK", TOKENS, "Content-Length: 43", "Content-Length: 44"),
    "length and chunks": text(
        "200 OK", CHUNKED + b"\r\n", "Content-Length: 43", "Transfer-Encoding: chunked"
    ),
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500_000,
    "a status of four digits": framed("2000 OK", TOKENS),
    "a status under 100": framed("099 Odd", TOKENS),
    "a status over 599": framed("600 Odd", TOKENS),
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_is_no_http_is_a_502_and_not_asked_for_again(
    wired: httpx.Client, scripted: Scripted, sent: bytes
) -> None:
    scripted.script(Reply(sent, closes=True), Reply(GOOD))
    answer = swapped(wired)
    assert (answer.status_code, answer.json()["error"]) == (502, True)
    assert len(scripted.connections) == 1
    assert swapped(wired).content == TOKENS


OTHERS = framed("200 OK", b'{"access_token":"of-somebody-else"}')


@pytest.mark.parametrize("sent", [OTHERS, OTHERS[:9], OTHERS[:30], OTHERS[:-1], b"\r\n", b"x"])
def test_bytes_nobody_asked_for_reach_no_other_client(
    wired: httpx.Client, scripted: Scripted, sent: bytes
) -> None:
    scripted.script(Reply(GOOD + sent), Reply(GOOD), Reply(GOOD))
    first, second = (swapped(wired) for _ in range(2))
    # What is not HTTP makes the response before it unusable too, if both come in one packet.
    assert first.content == TOKENS or (first.status_code == 502 and sent == b"x")
    assert second.content == TOKENS


def test_a_connection_is_used_again(wired: httpx.Client, scripted: Scripted) -> None:
    scripted.script(*[Reply(GOOD)] * 5)
    assert [swapped(wired).status_code for _ in range(5)] == [200] * 5
    assert len(set(scripted.connections)) == 1


@pytest.mark.parametrize(
    "reply",
    [Reply(GOOD, closes=True), Reply(framed("200 OK", TOKENS, "Connection: close"))],
    ids=["closed", "said to be closed"],
)
def test_a_connection_that_spotify_closed_is_not_used_again(
    wired: httpx.Client, scripted: Scripted, reply: Reply
) -> None:
    scripted.script(reply, Reply(GOOD))
    first = swapped(wired)
    assert wired.get("/healthz").status_code == 200  # a turn of the loop, to hear of the end
    assert (first.status_code, swapped(wired).status_code) == (200, 200)
    assert len(set(scripted.connections)) == 2

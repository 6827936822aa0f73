"""Spotify's response → ours, on pure functions; test_upstream.py has each once over HTTP."""

import json
import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from service.errors import UpstreamFailed
from service.responses import (
    EncodedResponse,
    TokenResponse,
    forward,
    forward_as_oauth,
    seal,
    whole_seconds,
)
from service.sealing import Opened, Sealer

SEALER = Sealer("golden-secret-key-0123456789")
OWN = Opened("AQ-own", stale=False)


def sealed(body: str | bytes, fallback: Opened | None = None, status: int = 200) -> bytes:
    """Return the body of the response for a success of Spotify's."""
    content = body.encode() if isinstance(body, str) else body
    return seal(TokenResponse(status, (), content), fallback, SEALER).body


def opened(body: bytes) -> str:
    """Return the refresh token in a body, opened."""
    return SEALER.open(json.loads(body)["refresh_token"]).token


def headers_of(response: EncodedResponse) -> list[tuple[str, str]]:
    fields = [(name.decode(), value.decode("latin-1")) for name, value in response.headers]
    return sorted(fields)


# A success -----------------------------------------------------------------------------------

MEMBERS = [
    b'"integer":123456789012345678901234567890123456789',
    b'"negative":-0',
    b'"decimal":1.10',
    b'"precise":0.1000000000000000055511151231257827',
    b'"exponent":1E400',
    b'"escapes":"\\u00e9\\/\\ud83d\\ude00"',
    '"text":"é€😀"'.encode(),
    b'"nested":{ "b" : [1 , 2.50, {"a":null}],"a":true }',
    b'"empty":""',
    b'"":"no name"',
    b'"scope":""',
    b'"token_type":["odd"]',
    b'"access_token":7',
]


def test_other_fields_keep_their_place_and_their_bytes() -> None:
    body = b'{%b,"refresh_token":"AQ",%b}' % (b",".join(MEMBERS[:5]), b",".join(MEMBERS[5:]))
    assert re.sub(rb'"refresh_token":"[^"]*"', b'"refresh_token":"AQ"', sealed(body)) == body


@pytest.mark.parametrize(
    "members",
    [
        '"refresh_token":"AQ-raw"',
        r'"refresh\u005ftoken":"AQ-raw"',
        r'"refresh_token":"AQ\u002draw"',
        '"refresh_token":"first","refresh_token":"AQ-raw"',
        r'"refresh_token":"first","refresh\u005ftoken":"AQ-raw"',
        ' "refresh_token" : "AQ-raw" ',
    ],
)
def test_refresh_token_is_sealed_in_any_spelling(members: str) -> None:
    body = sealed(f"{{{members}}}")
    assert b"AQ-raw" not in body
    assert b"first" not in body
    assert opened(body) == "AQ-raw"


@pytest.mark.parametrize(
    "body",
    [
        '{"refresh_token":7,"x":"AQ-raw"}',
        '{"refresh_token":["AQ-raw"]}',
        '{"refresh_token":{"refresh_token":"AQ-raw"}}',
        r'{"refresh\u005ftoken":["AQ-raw"]}',
        r'{"refresh_token":"AQ-raw\ud800"}',
        b'{"refresh_token":"AQ-raw\xff"}',
        b'{"refresh_token":"AQ-raw","x":"\xff"}',
        '[{"refresh_token":"AQ-raw"}]',
        '"AQ-raw"',
        "refresh_token=AQ-raw",
        "null",
        "",
        '{"refresh_token":"AQ-raw"',
        '{"refresh_token":"AQ-raw"}}',
        "\ufeff" + '{"refresh_token":"AQ-raw"}',
        '{"refresh_token":"AQ-raw","deep":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_success_that_cannot_be_sealed_is_an_upstream_failure(body: str | bytes) -> None:
    with pytest.raises(UpstreamFailed) as failure:
        sealed(body)
    assert failure.value.reason == "Spotify's response could not be understood"
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__


@pytest.mark.parametrize("member", ["", ',"refresh_token":null', ',"refresh_token":""'])
def test_fallback_replaces_a_missing_refresh_token(member: str) -> None:
    body = f'{{"access_token":"BQ"{member}}}'
    assert sealed(body) == b'{"access_token":"BQ"}'
    assert opened(sealed(body, OWN)) == "AQ-own"


def test_new_refresh_token_wins_over_the_fallback() -> None:
    assert opened(sealed('{"refresh_token":"AQ-new"}', OWN)) == "AQ-new"


def test_every_2xx_keeps_its_status_and_is_sealed() -> None:
    for status in (200, 201, 226, 299):
        response = seal(TokenResponse(status, (), b'{"refresh_token":"AQ"}'), None, SEALER)
        assert (response.status, opened(response.body)) == (status, "AQ")
        assert headers_of(response) == [
            ("cache-control", "no-store"),
            ("content-length", str(len(response.body))),
            ("content-type", "application/json"),
            ("pragma", "no-cache"),
        ]


def test_status_that_is_neither_2xx_nor_an_error_is_an_upstream_failure() -> None:
    for status in (99, 199, 300, 304, 399, 600):
        assert not TokenResponse(status, (), b"{}").is_error
        with pytest.raises(UpstreamFailed, match="unexpected status"):
            sealed("{}", status=status)


def test_expiration_date_is_added_in_utc() -> None:
    for expires_in in (3600, 0, -60, 31_536_000):
        earliest = datetime.now(UTC).replace(microsecond=0)
        body = sealed(f'{{"refresh_token":"AQ","expires_in":{expires_in}}}')
        date = json.loads(body)["expiration_date"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", date)
        began = datetime.fromisoformat(date) - timedelta(seconds=expires_in)
        assert earliest <= began <= datetime.now(UTC)


def test_other_expires_in_gives_no_expiration_date() -> None:
    for expires_in in ('"60"', "60.5", "1e3", "true", "null", "[]", "9" * 12, "1" + "0" * 30):
        body = sealed(f'{{"refresh_token":"AQ","expires_in":{expires_in}}}')
        assert f'"expires_in":{expires_in}'.encode() in body
        assert set(json.loads(body)) == {"refresh_token", "expires_in"}


def test_no_expiration_date_without_refresh_token_or_expires_in() -> None:
    assert sealed('{"expires_in":60}') == b'{"expires_in":60}'
    assert set(json.loads(sealed('{"refresh_token":"AQ"}'))) == {"refresh_token"}


def test_expiration_date_of_spotify_is_kept() -> None:
    body = sealed('{"refresh_token":"AQ","expires_in":60,"expiration_date":"theirs"}')
    assert json.loads(body)["expiration_date"] == "theirs"


def test_whole_seconds_have_at_most_12_digits() -> None:
    for raw, seconds in ((b"9" * 12, 10**12 - 1), (b"9" * 13, None), (b"-1", -1), (b"1.0", None)):
        assert whole_seconds(msgspec.Raw(raw)) == seconds
    assert whole_seconds(None) is None


# An error ------------------------------------------------------------------------------------

FORWARDED = [
    ("Content-Type", "text/x-odd; charset=latin-1"),
    ("Retry-After", "120"),
    ("WWW-Authenticate", 'Basic realm="spotify"'),
    ("WWW-Authenticate", 'Bearer realm="spotify"'),
    ("Vary", "Accept-Encoding"),
    ("sp-trace-id", "0123456789abcdef"),
    ("X-Empty", ""),
    ("ETag", '"caf\xe9"'),
    ("X-Odd", "\xff\x80\xe2\x82\xac"),
]
NOT_FORWARDED = [
    ("Connection", "close, X-Nominated"),
    ("Connection", "x-also-nominated"),
    ("X-Nominated", "1"),
    ("X-Also-Nominated", "1"),
    ("X-Accel-Redirect", "/internal"),
    ("X-Control", "a\x01b"),
    ("X-Delete", "a\x7fb"),
    ("X-Line", "a\r\nX-Injected: b"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Odd", "x"),
    *(
        (name, "x")
        for name in (
            *("Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE"),
            *("Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Content-Encoding"),
            *("Set-Cookie", "Set-Cookie2", "Strict-Transport-Security", "Alt-Svc", "Server"),
            *("Date", "Via", "NEL", "Report-To", "X-Sendfile", "X-LIGHTTPD-Send-File"),
            *("X-Reproxy-URL", "Surrogate-Control", "Location", "Content-Location", "Refresh"),
            *("Clear-Site-Data", "Link", "Reporting-Endpoints", "Service-Worker-Allowed"),
            *("Speculation-Rules", "SourceMap", "X-SourceMap", "Content-Disposition"),
            *("Cache-Control", "Pragma", "X-Content-Type-Options", "X-Request-ID"),
        )
    ),
]
ADDED = [
    ("cache-control", "no-store"),
    ("content-length", "1"),
    ("pragma", "no-cache"),
    ("x-content-type-options", "nosniff"),
]


def test_error_has_spotifys_end_to_end_headers_and_no_others() -> None:
    mixed = [*NOT_FORWARDED[:20], *FORWARDED, *NOT_FORWARDED[20:]]
    raw = [(name.encode(), value.encode("latin-1")) for name, value in mixed]
    response = forward(TokenResponse(400, raw, b"x"))
    forwarded = [(name.lower(), value) for name, value in FORWARDED]
    assert headers_of(response) == sorted(forwarded + ADDED)


def test_error_without_content_type_is_not_guessed() -> None:
    response = forward(TokenResponse(500, (), b"x"))
    assert headers_of(response) == sorted([*ADDED, ("content-type", "application/octet-stream")])


def test_body_and_status_of_an_error_are_unchanged() -> None:
    for status in (400, 401, 404, 429, 500, 503, 599):
        for body in (
            *(b"", bytes(range(256)), b"upstream connect error", "<h1>Störung</h1>".encode()),
            *(b'{"error": "invalid_grant",\n "x": "\\u00e9"}', b"{no json", b"[" * 100_000),
            b'{"error":"a","error":"b","refresh_token":"AQ"}',
        ):
            upstream = TokenResponse(status, (), body)
            assert upstream.is_error
            response = forward(upstream)
            assert (response.status, response.body) == (status, body)


def test_error_of_spotify_at_the_oauth_endpoint_passes_unchanged() -> None:
    body = b'{"error_description":"Refresh token revoked", "error":"invalid_grant"}'
    raw = [(b"Content-Type", b"text/plain"), (b"X-Passed", b"1"), (b"Set-Cookie", b"a=b")]
    response = forward_as_oauth(TokenResponse(400, raw, body))
    assert (response.status, response.body) == (400, body)
    added = [(name, str(len(body)) if name == "content-length" else v) for name, v in ADDED]
    expected = [*added, ("content-type", "application/json"), ("x-passed", "1")]
    assert headers_of(response) == sorted(expected)


def test_other_error_becomes_an_oauth_error() -> None:
    """RFC 6749, section 5.2."""
    codes = dict.fromkeys((400, 404, 499), "invalid_request")
    codes |= {401: "invalid_client", 500: "server_error", 501: "server_error"}
    codes |= dict.fromkeys((429, 502, 503, 504), "temporarily_unavailable")
    for status, code in codes.items():
        expected = {"error": code, "error_description": f"Spotify responded with status {status}"}
        for body in (b"", b"no", b"[]", b'{"error":{"status":1}}', b'{"error":"x","y":"\xff"}'):
            response = forward_as_oauth(TokenResponse(status, (), body))
            assert (response.status, json.loads(response.body)) == (status, expected)


def test_error_code_is_one_of_a_closed_list() -> None:
    for code in (
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"),
        *("unsupported_grant_type", "invalid_scope", "server_error", "slow_down"),
    ):
        body = json.dumps({"error": code}).encode()
        assert TokenResponse(400, (), body).error_code == code
    for body in (b'{"error":"AQ-token"}', b'{"error":""}'):
        assert TokenResponse(400, (), body).error_code == "other"
    for body in (b"", b"[]", b'{"error":{"status":429}}', b"[" * 100_000):
        assert TokenResponse(400, (), body).error_code is None


def test_repr_shows_no_body() -> None:
    assert repr(TokenResponse(200, (), b"BQ-secret")) == "TokenResponse(status=200, …)"

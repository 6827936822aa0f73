"""Responses."""

import secrets
from typing import Any

import msgspec
from msgspec import Struct

Headers = tuple[tuple[str, str], ...]

_EDGE: Headers = (
    ("Set-Cookie", "sp_tr=false;Version=1;Domain=accounts.spotify.com;Path=/;Secure"),
    ("Vary", "Accept-Encoding"),
    ("Strict-Transport-Security", "max-age=31536000"),
    ("X-Envoy-Upstream-Service-Time", "11"),
    ("Server", "envoy"),
    ("Via", "HTTP/2 edgeproxy, 1.1 google"),
    ("Alt-Svc", 'h3=":443"; ma=2592000'),
)
"""Headers that Spotify's edge adds to every response; the service must not forward them."""


class RawResponse(Struct, frozen=True):
    """A response: status, headers in order, body. Content-Length is added when it is sent."""

    status: int
    headers: Headers
    body: bytes


def edged(status: int, content_type: str, body: bytes, extra: Headers = ()) -> RawResponse:
    """Return a response with the headers of Spotify's edge."""
    trace = ("sp-trace-id", secrets.token_hex(8))
    return RawResponse(status, (("Content-Type", content_type), *extra, trace, *_EDGE), body)


def as_json(status: int, content: Any, extra: Headers = ()) -> RawResponse:  # noqa: ANN401
    """Return a JSON response that must not be cached (RFC 6749, section 5.1)."""
    uncached = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
    return edged(status, "application/json", msgspec.json.encode(content), (*extra, *uncached))


def refusal(status: int, error: str, description: str, extra: Headers = ()) -> RawResponse:
    """Return an error response (RFC 6749, section 5.2)."""
    return as_json(status, {"error": error, "error_description": description}, extra)

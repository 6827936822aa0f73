"""What is sent back to a client, before anything goes wrong with it."""

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
"""What Spotify's edge puts on every answer, none of which a client app should ever see."""


class Answer(Struct, frozen=True):
    """A status, headers in the order they go out, and a body. Content-Length is added later."""

    status: int
    headers: Headers
    body: bytes


def edged(status: int, content_type: str, body: bytes, extra: Headers = ()) -> Answer:
    """Return an answer that looks as if it came through Spotify's edge."""
    trace = ("sp-trace-id", secrets.token_hex(8))
    return Answer(status, (("Content-Type", content_type), *extra, trace, *_EDGE), body)


def as_json(status: int, content: Any, extra: Headers = ()) -> Answer:  # noqa: ANN401
    """Return the content as JSON, never to be cached (RFC 6749 section 5.1)."""
    uncached = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
    return edged(status, "application/json", msgspec.json.encode(content), (*extra, *uncached))


def refusal(status: int, error: str, description: str, extra: Headers = ()) -> Answer:
    """Return an error in the form of RFC 6749 section 5.2."""
    return as_json(status, {"error": error, "error_description": description}, extra)

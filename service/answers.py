"""Spotify's answer → ours: the refresh token sealed, the headers that may pass.

A success is Spotify's JSON object with one field sealed and one added. An error is Spotify's own,
byte for byte. Nothing that might be an unsealed refresh token gets through.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from service.asgi import Receive, Scope, Send
from service.errors import ErrorBody, ServiceError, UpstreamFailed
from service.sealing import Opened, Sealer

Headers = Sequence[tuple[bytes, bytes]]

NO_STORE: Final[Headers] = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
"""For every answer about tokens (RFC 6749, section 5.1)."""
_JSON: Final[Headers] = ((b"content-type", b"application/json"), *NO_STORE)

_NOT_FORWARDED = frozenset(
    # Of this connection only (RFC 9110, section 7.6.1).
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade "
    # True of Spotify's body and server, not of ours.
    b"content-length content-encoding alt-svc server date via nel report-to set-cookie "
    b"strict-transport-security "
    # Ours to say.
    b"cache-control pragma x-request-id".split()
)
_NOT_FORWARDED_PREFIX = b"access-control-"


SHARED: Final = "shared"
CACHED: Final = "cached"
SPARED: Final = (SHARED, CACHED)
"""Why a request is answered without a call of its own: another's was joined, or its answer kept."""


class Upstream(NamedTuple):
    """What Spotify answered; `body` is decoded, `headers` are as received.

    `spared` is one of SPARED if whoever gets this made no call of his own.
    """

    status: int
    headers: Headers
    body: bytes
    spared: str | None = None

    def __repr__(self) -> str:
        return f"Upstream(status={self.status}, …)"


class Answer(NamedTuple):
    """What we answer; also the ASGI application that sends it, so that nothing copies it again."""

    status: int
    headers: Headers
    body: bytes

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, …)"

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send this answer over ASGI."""
        length = (b"content-length", b"%d" % len(self.body))
        headers = [*self.headers, length]
        start = {"type": "http.response.start", "status": self.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def _documented(example: str | int, description: str) -> Any:  # noqa: ANN401 - a type form has no type yet
    """Return a field that documents as its `example` and passes whatever Spotify sends, unread."""
    kind = "integer" if isinstance(example, int) else "string"
    told = Meta(description=description, examples=[example], extra_json_schema={"type": kind})
    return Annotated[msgspec.Raw, told]


def _absent() -> Any:  # noqa: ANN401 - a default of any field
    return msgspec.field(default_factory=msgspec.Raw)


_WHOLE_NUMBER = re.compile(rb"-?[0-9]{1,12}")

_AccessToken = _documented("BQDx4nYk0pZ3uVh7", "Spotify's access token, as it is.")
_TokenType = _documented("Bearer", "Its kind, for the Authorization header.")
_Scope = _documented("user-read-email playlist-read-private", "What the user agreed to.")
_ExpiresIn = _documented(3600, "Seconds for which the access token is good.")
_SealedToken = Annotated[
    str | None,
    Meta(
        description="The refresh token, sealed: keep it for the next refresh. It is another text "
        "each time.",
        examples=["2qP0y1pZr8WbT5mJcN3uXkVd7hLg6sEaQfRz4wYtBvIoUxCnMjKl9A"],
    ),
]
_ExpirationDate = _documented(
    "2026-11-24T17:30:00Z",
    "When the access token ends, in UTC; it comes with a refresh token only, and where "
    "`expires_in` is a whole number.",
)
_Error = Annotated[
    str,
    Meta(
        description="Spotify's code, such as `invalid_grant` or `invalid_client`; Spotify has been "
        "seen to send an object here.",
        examples=["invalid_grant"],
    ),
]
_ErrorDescription = _documented("Invalid authorization code", "Spotify's own words.")


class TokenAnswer(msgspec.Struct, frozen=True):
    """Spotify's success (RFC 6749, section 5.1), checked where we act on it.

    Fields that Spotify adds pass too: see `success`.
    """

    access_token: _AccessToken = _absent()  # type: ignore[valid-type]
    token_type: _TokenType = _absent()  # type: ignore[valid-type]
    scope: _Scope = _absent()  # type: ignore[valid-type]
    expires_in: _ExpiresIn = _absent()  # type: ignore[valid-type]
    refresh_token: _SealedToken = None
    expiration_date: _ExpirationDate = _absent()  # type: ignore[valid-type]


class SpotifyError(msgspec.Struct, frozen=True):
    """Spotify's error (RFC 6749, section 5.2), as it is forwarded."""

    error: _Error
    error_description: _ErrorDescription = _absent()  # type: ignore[valid-type]


_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_token = msgspec.json.Decoder(str | None)
_spotify_error = msgspec.json.Decoder(SpotifyError)

ERROR_CODES: Final = frozenset(
    [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        "server_error",
        "temporarily_unavailable",
        "rate_limited",
        "rate_limit_exceeded",
        "slow_down",
        "invalid_token",
    ]
)


def success(upstream: Upstream, sealer: Sealer, fallback: Opened | None, now: datetime) -> Answer:
    """Return Spotify's 2xx with the refresh token sealed, or raise UpstreamFailed.

    `fallback` is the caller's own token, sealed anew when Spotify sent none; `now` is UTC's.
    Members stay in Spotify's order, and all but the token keep the bytes that Spotify sent.
    """
    try:
        upstream.body.decode()  # JSON is UTF-8 (RFC 8259, section 8.1), unread members too
        found: dict[str, Any] = _members.decode(upstream.body)
        token = _token.decode(found.get("refresh_token", b"null"))
    except _UNREADABLE:
        # NOTE: `from None` is intentional: the error may quote the body, and so a token.
        raise UpstreamFailed("Spotify's answer could not be understood") from None
    token = token or (fallback.token if fallback else None)
    if token:
        found["refresh_token"] = sealer.seal(token)
        expires_in = found.get("expires_in", msgspec.Raw())
        if (expiry := _expiration_date(expires_in, now.replace(microsecond=0))) is not None:
            found.setdefault("expiration_date", expiry)
    return Answer(upstream.status, _JSON, msgspec.json.encode(found))


def forwarded(upstream: Upstream) -> Answer:
    """Return Spotify's 4xx or 5xx as it is, less the headers that are not for our client."""
    return Answer(upstream.status, (*_end_to_end(upstream.headers), *NO_STORE), upstream.body)


def members(answer: Answer) -> dict[str, msgspec.Raw]:
    """Return the members of a success, each as the bytes that Spotify sent."""
    return _members.decode(answer.body)


def whole_seconds(expires_in: msgspec.Raw) -> int | None:
    """Return `expires_in` if it is a whole number, else None."""
    return int(bytes(expires_in)) if _WHOLE_NUMBER.fullmatch(expires_in) else None


def own_error(error: ServiceError) -> Answer:
    """Return our own error."""
    headers = tuple((k.lower().encode(), v.encode()) for k, v in error.headers.items())
    return Answer(error.status, (*_JSON, *headers), ErrorBody(error.reason).to_json())


def error_code(upstream: Upstream) -> str | None:
    """Return Spotify's `error` if it is one that is known, else "other"; None if it has none.

    NOTE: the closed list is intentional: the code goes into logs, and a text of Spotify's may
    repeat what it was sent.
    """
    try:
        code = _spotify_error.decode(upstream.body).error
    except _UNREADABLE:
        return None
    return code if code in ERROR_CODES else "other"


def is_success(status: int) -> bool:
    """Tell whether `status` is 2xx."""
    return 200 <= status < 300  # noqa: PLR2004 - classes of RFC 9110, section 15


def is_error(status: int) -> bool:
    """Tell whether `status` is 4xx or 5xx."""
    return 400 <= status < 600  # noqa: PLR2004


@lru_cache(maxsize=8)
def _written(expiry: datetime) -> str:
    return expiry.isoformat().removesuffix("+00:00") + "Z"


def _expiration_date(expires_in: msgspec.Raw, now: datetime) -> str | None:
    if (seconds := whole_seconds(expires_in)) is None:
        return None
    try:
        return _written(now + timedelta(seconds=seconds))
    except OverflowError:
        return None


def _end_to_end(headers: Headers) -> Iterable[tuple[bytes, bytes]]:
    lowered = [(name.lower(), value) for name, value in headers]
    nominated = {
        token.strip().lower()
        for name, value in lowered
        if name == b"connection"
        for token in value.split(b",")
    }
    return (
        (name, value)
        for name, value in lowered
        if name not in _NOT_FORWARDED
        and name not in nominated
        and not name.startswith(_NOT_FORWARDED_PREFIX)
    )

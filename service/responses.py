"""Spotify's response → the client's: the refresh token sealed, the headers filtered.

A success is Spotify's JSON object with one field sealed and one added. An upstream error is
forwarded byte for byte. Nothing that might be an unsealed refresh token of a success gets through.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec
from litestar.types import Receive, Scope, Send

from service.errors import NO_STORE, OAuthErrorBody, UpstreamFailed
from service.sealing import Opened, Sealer

Headers = Sequence[tuple[bytes, bytes]]

_NOT_FORWARDED: Final = frozenset(
    {
        # Hop-by-hop (RFC 9110, section 7.6.1).
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        # They describe Spotify's body, server and origin.
        *(b"content-length", b"content-encoding", b"alt-svc", b"server", b"date", b"via", b"nel"),
        *(b"report-to", b"set-cookie", b"set-cookie2", b"strict-transport-security"),
        # They would steer a proxy or a browser.
        *(b"x-sendfile", b"x-lighttpd-send-file", b"x-reproxy-url", b"surrogate-control"),
        *(b"location", b"content-location", b"refresh", b"clear-site-data", b"link"),
        *(b"reporting-endpoints", b"service-worker-allowed", b"speculation-rules"),
        *(b"sourcemap", b"x-sourcemap", b"content-disposition"),
        # The service sets these itself.
        *(b"cache-control", b"pragma", b"x-content-type-options", b"x-request-id"),
    }
)
_NOT_FORWARDED_PREFIXES: Final = (b"access-control-", b"x-accel-")

_CONTENT_TYPE: Final = b"content-type"
_JSON: Final = (_CONTENT_TYPE, b"application/json")
_NO_STORE: Final = [(name.encode(), value.encode()) for name, value in NO_STORE]
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""Not allowed in a field value (RFC 9110, section 5.5); aiohttp accepts some in a response."""
_WHOLE_NUMBER: Final = re.compile(rb"-?[0-9]{1,12}")

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
"""The values of Spotify's `error` that are logged and counted by name."""


class Reuse(StrEnum):
    """Why a request needed no upstream call of its own."""

    SHARED = "shared"
    CACHED = "cached"


class SpotifyError(msgspec.Struct, frozen=True):
    """Spotify's error object (RFC 6749, section 5.2)."""

    error: str


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_refresh_token = msgspec.json.Decoder(str | None)
_spotify_error = msgspec.json.Decoder(SpotifyError)


class TokenResponse(NamedTuple):
    """Spotify's response; `body` is decoded, `headers` are as received.

    `reused` is set if the caller needed no upstream call of its own.
    """

    status: int
    headers: Headers
    body: bytes
    reused: Reuse | None = None

    def __repr__(self) -> str:
        return f"TokenResponse(status={self.status}, …)"

    @property
    def is_success(self) -> bool:
        """Return whether the status is 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - classes of RFC 9110, section 15

    @property
    def is_error(self) -> bool:
        """Return whether the status is 4xx or 5xx."""
        return 400 <= self.status < 600  # noqa: PLR2004

    @property
    def error_code(self) -> str | None:
        """Return Spotify's `error` if it is one of ERROR_CODES, else "other"; None without one.

        NOTE: the closed list is intentional: the code goes into logs and metrics, and a string
        of Spotify's may repeat the request.
        """
        try:
            code = _spotify_error.decode(self.body).error
        except _UNREADABLE:
            return None
        return code if code in ERROR_CODES else "other"


class EncodedResponse:
    """An ASGI response whose headers (lower-case names) and body are bytes already.

    Litestar's own response decodes and encodes each header, 5 % of the time of a refresh.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = [*headers, (b"content-length", b"%d" % len(body))]
        self.body = body

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the response."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def seal(response: TokenResponse, fallback: Opened | None, sealer: Sealer) -> EncodedResponse:
    """Return the client's response for Spotify's success, its refresh token sealed.

    `fallback` is the caller's own refresh token, which is sealed again when Spotify sent none.
    Raises UpstreamFailed if the response is not a usable success.
    """
    if not response.is_success:
        # NOTE: a redirect is never followed: the form and the Authorization header hold secrets.
        raise UpstreamFailed("Spotify responded with an unexpected status")
    body = _sealed(response.body, sealer, fallback, datetime.now(UTC))
    return EncodedResponse(response.status, [_JSON, *_NO_STORE], body)


def forward(response: TokenResponse) -> EncodedResponse:
    """Return an upstream error unchanged, without the headers that are not for the client."""
    headers = _end_to_end(response.headers)
    if not any(name == _CONTENT_TYPE for name, _ in headers):
        headers.append((_CONTENT_TYPE, b"application/octet-stream"))  # RFC 9110, section 8.3
    return EncodedResponse(response.status, [*headers, *_NO_STORE, _NO_SNIFF], response.body)


def forward_as_oauth(response: TokenResponse) -> EncodedResponse:
    """Return an upstream error as RFC 6749, section 5.2, has it.

    A JSON object with a string `error` passes unchanged, anything else becomes such an object.
    """
    body = response.body
    try:
        body.decode()  # msgspec does not check the bytes of members that it skips
        _spotify_error.decode(body)
    except _UNREADABLE:
        description = f"Spotify responded with status {response.status}"
        error = OAuthErrorBody(_oauth_code(response.status), description)
        body = msgspec.json.encode(error)
    headers = [field for field in _end_to_end(response.headers) if field[0] != _CONTENT_TYPE]
    return EncodedResponse(response.status, [*headers, _JSON, *_NO_STORE, _NO_SNIFF], body)


def members(body: bytes) -> dict[str, msgspec.Raw]:
    """Return the members of a JSON object as raw JSON, or raise UpstreamFailed."""
    try:
        body.decode()  # JSON is UTF-8 (RFC 8259, section 8.1), unread members too
        return _members.decode(body)
    except _UNREADABLE:
        # NOTE: `from None` is intentional: the error may quote the body, and so a token.
        raise UpstreamFailed("Spotify's response could not be understood") from None


def whole_seconds(expires_in: msgspec.Raw | None) -> int | None:
    """Return `expires_in` if it is a whole number, else None."""
    if expires_in is None or not _WHOLE_NUMBER.fullmatch(expires_in):
        return None
    return int(bytes(expires_in))


def _sealed(body: bytes, sealer: Sealer, fallback: Opened | None, now: datetime) -> bytes:
    """Seal the refresh token; every other member keeps its place and the bytes that Spotify sent.

    A refresh token that is null or empty is replaced by `fallback`, or dropped without one.
    """
    fields: dict[str, Any] = members(body)
    try:
        token = _refresh_token.decode(fields.get("refresh_token", b"null"))
    except _UNREADABLE:
        raise UpstreamFailed("Spotify's response could not be understood") from None
    token = token or (fallback.token if fallback else None)
    if not token:
        fields.pop("refresh_token", None)
        return msgspec.json.encode(fields)
    fields["refresh_token"] = sealer.seal(token)
    expiry = _expiration_date(whole_seconds(fields.get("expires_in")), now)
    if expiry is not None:
        fields.setdefault("expiration_date", expiry)
    return msgspec.json.encode(fields)


def _expiration_date(seconds: int | None, now: datetime) -> str | None:
    if seconds is None:
        return None
    try:
        moment = now + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _oauth_code(status: int) -> str:
    """Return the OAuth error code for a status (RFC 6749, sections 4.1.2.1 and 5.2)."""
    if status in {429, 502, 503, 504}:
        return "temporarily_unavailable"
    if status >= 500:  # noqa: PLR2004
        return "server_error"
    return "invalid_client" if status == HTTPStatus.UNAUTHORIZED else "invalid_request"


def _end_to_end(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the valid headers for the client, their names in lower case."""
    fields = [(name.lower(), value) for name, value in headers]
    nominated = {
        token.strip().lower()
        for name, value in fields
        if name == b"connection"
        for token in value.split(b",")
    }
    return [
        (name, value)
        for name, value in fields
        if name not in _NOT_FORWARDED
        and name not in nominated
        and not name.startswith(_NOT_FORWARDED_PREFIXES)
        and not _CONTROL.search(value)
    ]

"""Faults on demand.

Each kind of fault is a struct; ``kind`` is its name in lower case. In JSON::

    {"kind": "status", "status": 502, "times": 3}

and in a form field, optionally with a value for the kind's first field::

    fault-status-502    fault-delay-2.5    fault-reset    fault-spotify-revoked
"""

import gzip
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from simulator.exchange import Exchange
from simulator.responses import Headers, RawResponse, as_json, edged, refusal

MARK = "fault-"
"""The prefix of form values that request a fault."""

Normal = Callable[[], RawResponse]
"""Returns the response without the fault. Unless called, nothing is issued or used up."""

_MIB = 2**20
_JSON = "application/json"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FRAMING = frozenset({"content-length", "transfer-encoding"})

HttpStatus = Annotated[int, Meta(ge=200, le=599)]
Seconds = Annotated[float, Meta(ge=0, le=3600)]
Size = Annotated[int, Meta(ge=16, le=256 * _MIB)]
Printable = Annotated[str, Meta(pattern=r"^[ -~]*\Z")]


class Fault(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag=str.lower):
    """The base of all kinds: ``times`` is the number of requests; 0 means until it is cleared.

    A kind implements ``_response``, or ``_act`` if it does more than send a fixed response.
    """

    times: Annotated[int, Meta(ge=0)] = 1

    @property
    def kind(self) -> str:
        """The name of the kind."""
        return str(self.__struct_config__.tag)

    async def apply(self, exchange: Exchange, normal: Normal) -> None:
        """Apply the fault to an exchange; ``normal`` returns its normal response."""
        exchange.entry.fault = self.kind
        await self._act(exchange, normal)

    async def _act(self, exchange: Exchange, _: Normal, /) -> None:
        await exchange.respond(self._response())

    def _response(self) -> RawResponse:
        raise NotImplementedError


class Status(Fault):
    """An error as a proxy sends it: any status with a short text."""

    status: HttpStatus = 503
    body: str = "upstream connect error or disconnect/reset before headers"
    content_type: Printable = "text/plain"

    def _response(self) -> RawResponse:
        return edged(self.status, self.content_type, self.body.encode())


SpotifyError = Literal[
    "invalid_grant",
    "revoked",
    "expired",
    "invalid_code",
    "code_expired",
    "wrong_redirect_uri",
    "wrong_verifier",
    "invalid_client",
    "wrong_secret",
    "rate_limited",
    "server_error",
    "unavailable",
]

_REFUSALS: dict[SpotifyError, tuple[str, str]] = {
    "invalid_grant": ("invalid_grant", "Invalid refresh token"),
    "revoked": ("invalid_grant", "Refresh token revoked"),
    "expired": ("invalid_grant", "Refresh token expired"),
    "invalid_code": ("invalid_grant", "Invalid authorization code"),
    "code_expired": ("invalid_grant", "Authorization code expired"),
    "wrong_redirect_uri": ("invalid_grant", "Invalid redirect URI"),
    "wrong_verifier": ("invalid_grant", "code_verifier was incorrect"),
    "invalid_client": ("invalid_client", "Invalid client"),
    "wrong_secret": ("invalid_client", "Invalid client secret"),
}
_UNAVAILABLE = (
    b"upstream connect error or disconnect/reset before headers."
    b" reset reason: connection termination"
)


class Spotify(Fault):
    """An error exactly as Spotify sends it, for any request."""

    error: SpotifyError = "invalid_grant"

    def _response(self) -> RawResponse:
        match self.error:
            case "rate_limited":
                return _rate_limited()
            case "server_error":
                return as_json(500, {"error": "server_error"})
            case "unavailable":
                return edged(503, "text/plain", _UNAVAILABLE)
            case _:
                return refusal(400, *_REFUSALS[self.error])


class Delay(Fault):
    """A pause, then the normal response."""

    seconds: Seconds = 1.0

    async def _act(self, exchange: Exchange, normal: Normal, /) -> None:
        if not await exchange.client_left(within=self.seconds):
            await exchange.respond(normal())


class Reset(Fault):
    """A TCP RST instead of a response."""

    async def _act(self, exchange: Exchange, _: Normal, /) -> None:
        await exchange.reset()


class Close(Fault):
    """A closed connection (FIN) instead of a response."""

    async def _act(self, exchange: Exchange, _: Normal, /) -> None:
        await exchange.close()


class Silence(Fault):
    """No response, until the client leaves."""

    async def _act(self, exchange: Exchange, _: Normal, /) -> None:
        await exchange.client_left()


class Truncated(Fault):
    """A success that ends in the middle of its body."""

    async def _act(self, exchange: Exchange, _: Normal, /) -> None:
        await exchange.truncate(edged(200, _JSON, b'{"access_token":"BQ'), missing=200)


class Garbage(Fault):
    """Status 200 and a JSON Content-Type, but a body that is not JSON."""

    def _response(self) -> RawResponse:
        return edged(200, _JSON, b'{"access_token": BQ, oh no')


class NotObject(Fault):
    """Status 200 and JSON, but an array."""

    def _response(self) -> RawResponse:
        return as_json(200, ["access_token", "token_type"])


class Gzip(Fault):
    """The normal response in gzip, whether the client accepts it or not."""

    async def _act(self, exchange: Exchange, normal: Normal, /) -> None:
        plain = normal()
        headers = (*plain.headers, ("Content-Encoding", "gzip"))
        await exchange.respond(RawResponse(plain.status, headers, gzip.compress(plain.body)))


class Bomb(Fault):
    """A small gzip body that expands to a large JSON object."""

    size: Size = 64 * _MIB

    def _response(self) -> RawResponse:
        return edged(200, _JSON, _bomb(self.size), (("Content-Encoding", "gzip"),))


class Html(Fault):
    """An error page in HTML."""

    status: HttpStatus = 503

    def _response(self) -> RawResponse:
        page = "<!doctype html><title>Error</title><h1>Something went wrong</h1>"
        return edged(self.status, "text/html; charset=utf-8", page.encode())


class Huge(Fault):
    """Status 200 and a JSON object of this many bytes."""

    size: Size = 2 * _MIB

    def _response(self) -> RawResponse:
        return edged(200, _JSON, b"".join(_padded_object(self.size)))


class RateLimit(Fault):
    """Too many requests, as on Spotify's docs page "Rate limits"."""

    retry_after: Annotated[int, Meta(ge=0)] = 7

    def _response(self) -> RawResponse:
        return _rate_limited(self.retry_after)


class Redirect(Fault):
    """A redirect that keeps method and body: clients that follow it leak their secret."""

    url: Annotated[str, Meta(pattern=r"^[!-~]+\Z")] = "/trap"

    def _response(self) -> RawResponse:
        return edged(307, "text/plain", b"", (("Location", self.url),))


class Slow(Fault):
    """The normal response, with a pause before each byte of its body."""

    interval: Seconds = 0.1

    async def _act(self, exchange: Exchange, normal: Normal, /) -> None:
        await exchange.dribble(normal(), self.interval)


class BadHeader(Fault):
    """A response with an invalid header line."""

    async def _act(self, exchange: Exchange, _: Normal, /) -> None:
        start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        await exchange.shout(start + b"this is no header\r\nContent-Length: 2\r\n\r\n{}")


class Verbatim(Fault, tag="answer"):
    """Any response, sent unchanged: the server adds only Date and Content-Length."""

    status: HttpStatus = 200
    headers: Headers = ()
    body: str = ""
    body_base64: bytes = b""

    def __post_init__(self) -> None:
        """Reject invalid headers; msgspec adds the position to the ValueError."""
        if self.body and self.body_base64:
            raise ValueError("Give body or body_base64, not both")
        for name, value in self.headers:
            _check_header(name, value)

    def _response(self) -> RawResponse:
        return RawResponse(self.status, self.headers, self.body_base64 or self.body.encode())


AnyFault = (
    Status
    | Spotify
    | Delay
    | Reset
    | Close
    | Silence
    | Truncated
    | Garbage
    | NotObject
    | Gzip
    | Bomb
    | Html
    | Huge
    | RateLimit
    | Redirect
    | Slow
    | BadHeader
    | Verbatim
)

_KINDS: dict[str, type[Fault]] = {
    str(kind.__struct_config__.tag): kind for kind in Fault.__subclasses__()
}


class FaultQueue:
    """The faults for the next requests to the token endpoint."""

    def __init__(self) -> None:
        self._waiting: deque[AnyFault] = deque()

    def add(self, faults: Iterable[AnyFault]) -> None:
        """Append faults."""
        self._waiting.extend(faults)

    def take(self) -> AnyFault | None:
        """Return the fault for one request and count it; None if there is none."""
        if not self._waiting:
            return None
        first = self._waiting[0]
        if first.times == 1:
            self._waiting.popleft()
        elif first.times > 1:
            self._waiting[0] = msgspec.structs.replace(first, times=first.times - 1)
        return first

    def waiting(self) -> list[AnyFault]:
        """Return the queued faults in order, with the remaining ``times`` of each."""
        return list(self._waiting)

    def clear(self) -> None:
        """Remove all faults."""
        self._waiting.clear()


def spelled(text: str) -> AnyFault:
    """Parse a form value that requests a fault: ``fault-KIND`` or ``fault-KIND-VALUE``.

    ValueError explains an invalid value.
    """
    name, _, value = text.removeprefix(MARK).partition("-")
    kind = _KINDS.get(name)
    if kind is None:
        raise ValueError(
            f"{name!r} is not a kind of fault; the kinds are {', '.join(sorted(_KINDS))}"
        )
    field = kind.__struct_fields__[0]
    if value and field == "times":
        raise ValueError(f"fault-{name} takes no value")
    given = {field: value} if value else {}
    try:
        fault: AnyFault = msgspec.convert({"kind": name, **given}, AnyFault, strict=False)
    except msgspec.ValidationError as error:
        known = f"; the errors are {', '.join(get_args(SpotifyError))}" if kind is Spotify else ""
        raise ValueError(f"fault-{name} does not accept {value!r}: {error}{known}") from error
    return fault


def _rate_limited(retry_after: int = 7) -> RawResponse:
    error = {"status": 429, "message": "API rate limit exceeded"}
    return as_json(429, {"error": error}, (("Retry-After", str(retry_after)),))


def _check_header(name: str, value: str) -> None:
    """Reject invalid headers (RFC 9110, section 5) and those that frame the message."""
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a valid header name")
    if _FIELD_VALUE.fullmatch(value) is None:
        raise ValueError(f"The value of {name} has characters that are not allowed")
    if name.lower() in _FRAMING:
        raise ValueError(f"{name} is set by the server")


def _padded_object(size: int) -> Iterable[bytes]:
    """Yield a JSON object of ``size`` bytes, at most 1 MiB at a time."""
    start, end = b'{"padding":"', b'"}'
    yield start
    left = size - len(start) - len(end)
    while left:
        piece = min(left, _MIB)
        yield b"x" * piece
        left -= piece
    yield end


@cache
def _bomb(size: int) -> bytes:
    """Return a JSON object of ``size`` bytes in gzip, without holding it in memory."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return b"".join([*map(packer.compress, _padded_object(size)), packer.flush()])

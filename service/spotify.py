"""Spotify's token endpoint: posts a Grant, bounded in time, number and size.

The only user of httpx. Requests and responses are httpx's, so that everything made for it
(OpenTelemetry's instrumentation, a transport of one's own in a test) fits; the connections are
ours, below httpx's transport interface: docs/decisions/0001-http-client.md has the figures.
"""

import base64
import re
import time
import zlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, cast
from urllib.parse import quote_plus, urlsplit

import httpx

from service import answers
from service.answers import Upstream
from service.connections import AnswerTooLong, ConnectionBroke, ConnectionNotMade, Connections
from service.deadlines import Deadlines
from service.errors import Overloaded, UpstreamFailed, UpstreamTimeout
from service.flows import Grant
from service.logs import log
from service.settings import Settings

ANSWER_LIMIT: Final = 1024 * 1024
"""Bytes of an answer, before and after decoding; a longer one is refused."""
GZIP_MEMBERS: Final = 16
"""Members of a gzip'd answer: each one costs a copy of all that is behind it."""

_SENT: Final = frozenset(
    b"host accept accept-encoding authorization content-type user-agent".split()
)
"""All the headers that go to Spotify, besides Content-Length."""

_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_.~-]*")


class SpotifyAccounts:
    """Spotify's token endpoint as seen through `transport`; `in_flight` counts calls under way.

    `observe` gets the flow of every call, the seconds it took, however it ended, and the code of
    Spotify's error, if it was one.
    """

    def __init__(
        self,
        settings: Settings,
        transport: httpx.AsyncBaseTransport,
        user_agent: str,
        observe: Callable[[str, float, str | None], None] = lambda _flow, _seconds, _error: None,
    ) -> None:
        self._transport = transport
        self._observe = observe
        self._url = httpx.URL(settings.spotify_token_url)
        self._deadlines = Deadlines(settings.upstream_timeout)
        self._limit = settings.upstream_max_in_flight
        self.in_flight = 0
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # an answer is a few hundred bytes long
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": user_agent,
            "Host": self._url.netloc.decode("ascii"),
        }
        self._headers = httpx.Headers(headers)
        self._basic_headers = httpx.Headers({**headers, "Authorization": _basic(settings)})

    async def ask(self, grant: Grant) -> Upstream:
        """Return Spotify's answer to `grant`.

        Raises Overloaded, UpstreamFailed or UpstreamTimeout. UPSTREAM_TIMEOUT bounds all of it:
        connecting, the retry, waiting and reading.
        """
        if self.in_flight == self._limit:
            raise Overloaded
        self.in_flight += 1
        started, error_code = time.perf_counter(), None
        try:
            with self._deadlines.begin():
                upstream = await self._post(grant)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise UpstreamTimeout from error
        except httpx.HTTPError as error:
            raise UpstreamFailed from error
        else:
            if answers.is_error(upstream.status):
                error_code = answers.error_code(upstream)
            return upstream
        finally:
            self.in_flight -= 1
            self._observe(grant.flow, time.perf_counter() - started, error_code)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _post(self, grant: Grant) -> Upstream:
        headers = self._basic_headers if grant.basic else self._headers
        body = "&".join([f"{name}={_quoted(value)}" for name, value in grant.fields]).encode()
        # Headers and stream as they are: httpx would work the same out again for every request.
        request = httpx.Request("POST", self._url, headers=headers, stream=httpx.ByteStream(body))
        return await _read(await self._send(request))

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Send, once more if no connection could be made.

        NOTE: nothing else is retried: Spotify may have seen the request, and a code or a rotated
        refresh token is good for one use. Clients retry 429 and 5xx themselves.
        """
        try:
            return await self._transport.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            cause = error.__cause__ if isinstance(error.__cause__, ConnectionNotMade) else None
            log.notice("upstream.retried", error_type=str(cause or type(error).__name__))
            return await self._transport.handle_async_request(request)


def _basic(settings: Settings) -> str:
    """Write the client's credentials as Spotify reads them (RFC 7617)."""
    pair = f"{settings.client_id}:{settings.client_secret.reveal()}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")


def _quoted(value: str) -> str:
    """Write a value of a form; tokens and ids mostly need nothing done."""
    return value if _UNRESERVED.fullmatch(value) else quote_plus(value)


async def _read(response: httpx.Response) -> Upstream:
    """Read an answer, bounded before and after decoding."""
    stream, headers = response.stream, response.headers.raw
    # Ours are in memory already, and to join one costs a tenth of what iterating over it does.
    body = b"".join(stream) if isinstance(stream, httpx.ByteStream) else await _collected(stream)
    if len(body) > ANSWER_LIMIT:
        raise UpstreamFailed("Spotify's answer was too long")
    if codings := [value for name, value in headers if name.lower() == b"content-encoding"]:
        body = _decoded(b", ".join(codings).decode("latin-1").lower(), body)
    return Upstream(response.status_code, headers, body)


async def _collected(stream: Any) -> bytes:  # noqa: ANN401 - httpx's type has no iterator
    """Read what another transport streams, no further than the limit."""
    body = b""
    try:
        async for chunk in stream:
            body += chunk
            if len(body) > ANSWER_LIMIT:
                break
    finally:
        await stream.aclose()
    return body


def _decoded(coding: str, body: bytes) -> bytes:
    """Undo a Content-Encoding (RFC 9110, section 8.4.1) that came though none was asked for."""
    if coding in {"identity", ""}:
        return body
    if coding not in {"gzip", "x-gzip", "deflate"}:
        raise UpstreamFailed("Spotify's answer had an unknown content coding")
    decoded = b""
    for _ in range(GZIP_MEMBERS):  # gzip may have several members (RFC 1952, section 2.2)
        if not body:
            break
        decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # finds out gzip or zlib
        try:
            decoded += decompressor.decompress(body, ANSWER_LIMIT + 1 - len(decoded))
        except zlib.error:
            raise UpstreamFailed("Spotify's answer could not be decoded") from None
        if len(decoded) > ANSWER_LIMIT or not decompressor.eof:
            raise UpstreamFailed("Spotify's answer was too long or cut off")
        body = decompressor.unused_data
    if body:
        raise UpstreamFailed("Spotify's answer was too long or cut off")
    return decoded


class Transport(httpx.AsyncBaseTransport):
    """Our connections as a transport for httpx, to the origin of `url` alone.

    TLS is always verified; no redirect is followed, no proxy, netrc or cookie is picked up. What
    goes out is _SENT alone: trace headers, should somebody inject them, stay with us.
    """

    def __init__(self, url: str) -> None:
        self._connections = Connections(urlsplit(url), ANSWER_LIMIT)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, whose body is in memory; the answer comes whole."""
        body = b"".join(cast("httpx.SyncByteStream", request.stream))
        head = _head(request.method, request.url.raw_path, tuple(request.headers.raw))
        try:
            answered = await self._connections.request(head % len(body) + body)
        except ConnectionNotMade as error:
            raise httpx.ConnectError(str(error)) from error
        except AnswerTooLong:
            raise UpstreamFailed("Spotify's answer was too long") from None
        except ConnectionBroke as error:
            raise httpx.ReadError(str(error)) from None
        headers, stream = _Received(answered.headers), httpx.ByteStream(answered.body)
        return httpx.Response(answered.status, headers=headers, stream=stream)

    async def aclose(self) -> None:
        """Close the connections that wait for another request."""
        self._connections.close()


@lru_cache(maxsize=8)
def _head(method: str, path: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Write a request's head, all but the number of its Content-Length; the same few are sent."""
    lines = [b"%s %s HTTP/1.1" % (method.encode(), path)]
    lines += [b"%s: %s" % field for field in headers if field[0].lower() in _SENT]
    written = b"\r\n".join(lines).replace(b"%", b"%%")
    return written + b"\r\nContent-Length: %d\r\n\r\n"


class _Received(httpx.Headers):
    """Headers as they came: bytes, which httpx would look at again one by one."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._list = [(name, name.lower(), value) for name, value in headers]

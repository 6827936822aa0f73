"""Spotify's token endpoint: posts a Grant, bounded in time, number and size.

The only user of httpx. Requests and responses are httpx's, so that everything made for it
(OpenTelemetry's instrumentation, a transport of one's own in a test) fits; the connections are
ours, below httpx's transport interface: docs/decisions/0001-http-client.md has the figures.
"""

import asyncio
import base64
import time
import zlib
from collections.abc import Callable
from typing import Final
from urllib.parse import quote_plus, urlsplit

import httpx

from service.answers import Upstream
from service.connections import AnswerTooLong, ConnectionBroke, ConnectionNotMade, Connections
from service.errors import Overloaded, UpstreamFailed, UpstreamTimeout
from service.flows import Grant
from service.logs import log
from service.settings import Settings

ANSWER_LIMIT: Final = 1024 * 1024
"""Bytes of an answer, before and after decoding; a longer one is refused."""

_SENT: Final = frozenset(
    b"host accept accept-encoding authorization content-type user-agent".split()
)
"""All the headers that go to Spotify, besides Content-Length."""


class SpotifyAccounts:
    """Spotify's token endpoint as seen through `transport`; `in_flight` counts calls under way.

    `observe` gets the flow of every call and the seconds it took, however it ended.
    """

    def __init__(
        self,
        settings: Settings,
        transport: httpx.AsyncBaseTransport,
        user_agent: str,
        observe: Callable[[str, float], None] = lambda _flow, _seconds: None,
    ) -> None:
        self._transport = transport
        self._observe = observe
        self._url = httpx.URL(settings.spotify_token_url)
        self._timeout = settings.upstream_timeout
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
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(grant)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise UpstreamTimeout from error
        except httpx.HTTPError as error:
            raise UpstreamFailed from error
        finally:
            self.in_flight -= 1
            self._observe(grant.flow, time.perf_counter() - started)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _post(self, grant: Grant) -> Upstream:
        headers = self._basic_headers if grant.basic else self._headers
        body = "&".join(f"{name}={quote_plus(value)}" for name, value in grant.fields).encode()
        # Headers and stream as they are: httpx would work the same out again for every request.
        request = httpx.Request("POST", self._url, headers=headers, stream=httpx.ByteStream(body))
        response = await self._send(request)
        try:
            return await _read(response)
        finally:
            await response.stream.aclose()  # type: ignore[union-attr]  # ours are async

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


async def _read(response: httpx.Response) -> Upstream:
    """Read an answer, bounded before and after decoding."""
    body = b""
    async for chunk in response.stream:  # type: ignore[union-attr]  # ours are async
        body += chunk
        if len(body) > ANSWER_LIMIT:
            raise UpstreamFailed("Spotify's answer was too long")
    coding = response.headers.get("content-encoding", "identity").lower()
    if coding not in {"identity", ""}:
        body = _decoded(coding, body)
    return Upstream(response.status_code, response.headers.raw, body)


def _decoded(coding: str, body: bytes) -> bytes:
    """Undo a Content-Encoding (RFC 9110, section 8.4.1) that came though none was asked for."""
    if coding not in {"gzip", "x-gzip", "deflate"}:
        raise UpstreamFailed("Spotify's answer had an unknown content coding")
    decoded = b""
    while body:  # gzip may have several members (RFC 1952, section 2.2)
        decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # finds out gzip or zlib
        try:
            decoded += decompressor.decompress(body, ANSWER_LIMIT + 1 - len(decoded))
        except zlib.error:
            raise UpstreamFailed("Spotify's answer could not be decoded") from None
        if len(decoded) > ANSWER_LIMIT or not decompressor.eof:
            raise UpstreamFailed("Spotify's answer was too long or cut off")
        body = decompressor.unused_data
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
        body = request.read()
        lines = [b"%s %s HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
        lines += [b"%s: %s" % field for field in request.headers.raw if field[0].lower() in _SENT]
        lines += [b"Content-Length: %d" % len(body), b"", body]
        try:
            answered = await self._connections.request(b"\r\n".join(lines))
        except ConnectionNotMade as error:
            raise httpx.ConnectError(str(error)) from error
        except AnswerTooLong:
            raise UpstreamFailed("Spotify's answer was too long") from None
        except ConnectionBroke as error:
            raise httpx.ReadError(str(error)) from None
        stream = httpx.ByteStream(answered.body)
        return httpx.Response(answered.status, headers=answered.headers, stream=stream)

    async def aclose(self) -> None:
        """Close the connections that wait for another request."""
        self._connections.close()

"""Spotify's token endpoint: one HTTP call for each TokenRequest, bounded in time, number and size.

    Upstream     the chain of each flow
    Spotify      TokenRequest → TokenResponse; counts and measures calls, maps errors
    Transport    httpx's transport interface over aiohttp: pool, DNS, Happy Eyeballs, TLS, proxy

Transport is the network seam: OpenTelemetry's instrumentation wraps it, and a test can replace it.
docs/decisions/0009-libraries.md says why aiohttp is below httpx.
"""

import asyncio
import gzip
import io
import math
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final, Protocol, cast
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

import aiohttp
import httpx
import yarl
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from service import __version__
from service.errors import Overloaded, UpstreamFailed, UpstreamTimeout
from service.grants import Flow, TokenRequest
from service.responses import TokenResponse
from service.settings import Settings

RESPONSE_LIMIT: Final = 1024 * 1024
"""Bytes of a response body, before and after decoding; a longer one is refused."""
IDLE_SECONDS: Final = 15.0
"""Seconds until an idle connection is closed: less than the idle timeout of servers."""

_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # a response is a few hundred bytes long
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": f"spotify-api-server/{__version__}",
}
"""All headers that are sent to Spotify, except Host, Content-Length and Authorization."""
_CODING: Final = b"content-encoding"
_BASIC: Final = "spotify_basic"
"""The request extension that makes the transport add Basic authentication."""

Observe = Callable[[Flow, float, str | None], None]


class TokenEndpoint(Protocol):
    """A link of an upstream chain: AppToken or Coalescing → Backoff → Spotify."""

    async def fetch(self, request: TokenRequest) -> TokenResponse:
        """Return the response to `request`, or raise a ServiceError."""
        ...


class Upstream:
    """Forwards requests to the chain of their flow, at most `limit` at a time.

    Requests that share a call count one by one. The server sets `limit`: while Spotify is slow, the
    clients that wait for it must not take all connections, because a probe needs one.
    """

    def __init__(self, chains: Mapping[Flow, TokenEndpoint]) -> None:
        self._chains = chains
        self._waiting = 0
        self.limit = math.inf

    async def fetch(self, request: TokenRequest) -> TokenResponse:
        """Return the response to `request`, or raise Overloaded or what the chain raises."""
        if self._waiting >= self.limit:
            raise Overloaded
        self._waiting += 1
        try:
            return await self._chains[request.flow].fetch(request)
        finally:
            self._waiting -= 1


class Spotify:
    """Spotify's token endpoint through `transport`; `in_flight` counts the calls in flight.

    `observe` is called after every call with its flow, its duration in seconds and the code of
    Spotify's error, if it was one.
    """

    def __init__(
        self,
        settings: Settings,
        transport: httpx.AsyncBaseTransport,
        observe: Observe = lambda _flow, _seconds, _error: None,
    ) -> None:
        self._transport = transport
        self._observe = observe
        self._url = httpx.URL(settings.spotify_token_url)
        self._limit = settings.upstream_max_in_flight
        self.in_flight = 0

    async def fetch(self, request: TokenRequest) -> TokenResponse:
        """Send `request` to Spotify and return its response.

        Raises Overloaded, UpstreamFailed or UpstreamTimeout.

        NOTE: nothing is retried: Spotify may have seen the request, and a code or a rotated refresh
        token can be used once. Clients retry 429 and 5xx themselves.
        """
        if self.in_flight >= self._limit:
            raise Overloaded
        self.in_flight += 1
        started, error_code = time.perf_counter(), None
        try:
            response = await self._post(request)
        except httpx.TimeoutException as error:
            raise UpstreamTimeout from error
        except httpx.HTTPError as error:
            raise UpstreamFailed from error
        else:
            if response.is_error:
                error_code = response.error_code
            return response
        finally:
            self.in_flight -= 1
            self._observe(request.flow, time.perf_counter() - started, error_code)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _post(self, request: TokenRequest) -> TokenResponse:
        response = await self._transport.handle_async_request(
            httpx.Request(
                "POST",
                self._url,
                stream=httpx.ByteStream(urlencode(request.fields).encode()),
                extensions={_BASIC: request.basic},
            )
        )
        stream = cast("httpx.AsyncByteStream", response.stream)
        body = b"".join([part async for part in stream])
        return TokenResponse(response.status_code, response.headers.raw, body)


class Transport(httpx.AsyncBaseTransport):
    """POST to SPOTIFY_TOKEN_URL by HTTP/1.1, over an aiohttp session.

    - At most one request is sent for each call; no redirect is followed, and no proxy, netrc or
      cookie is picked up from the environment.
    - Of an httpx.Request only the body leaves, and the headers are those in _HEADERS: no trace
      header. Basic authentication is added here, below the instrumentation, so that no span can
      capture it.
    - Only an error has its headers: those of a success are not used, and the instrumentation would
      look through all of them twice.
    - UPSTREAM_TIMEOUT bounds the whole call: DNS, connecting, TLS, sending, waiting and reading.
    - Exceptions are httpx's, and their texts are types of exceptions: aiohttp's own texts, which a
      span or a log would record, name hosts and quote what was received.

    `resolver` replaces the lookup of names by aiodns, which has no threads that could delay the
    stop while DNS hangs.
    """

    def __init__(self, settings: Settings, resolver: AbstractResolver | None = None) -> None:
        self._url = yarl.URL(settings.spotify_token_url, encoded=True)
        self._timeout = settings.upstream_timeout
        proxy = settings.upstream_proxy
        self._proxy = proxy.reveal() if proxy else None
        self._authorized = _HEADERS | {"Authorization": f"Basic {settings.basic}"}
        self._resolver = resolver
        self._connector: _Connector | None = None
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` and return its response, read to its end.

        Raises httpx.ConnectError or httpx.ProxyError before, httpx.ReadError or
        httpx.TimeoutException after the request may have left.
        """
        started = time.monotonic()
        with _errors_of_httpx():
            try:
                async with (
                    asyncio.timeout(self._timeout),
                    self._open().post(
                        self._url,
                        data=await request.aread(),
                        headers=self._authorized if request.extensions.get(_BASIC) else _HEADERS,
                        allow_redirects=False,
                        proxy=self._proxy,
                    ) as response,
                ):
                    body = await self._body(response)
            except TimeoutError:
                if self._connector is not None:
                    self._connector.distrust(started)
                raise
        received = () if response.ok else response.raw_headers
        headers = [field for field in received if field[0].lower() != _CODING]
        # As a stream, which is read once and not decoded again: 15 % less CPU than `content`.
        return httpx.Response(response.status, headers=headers, stream=httpx.ByteStream(body))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """Return the session, which is made in the event loop that uses it."""
        if self._session is None:
            self._connector = _Connector(self._resolver)
            self._session = aiohttp.ClientSession(
                connector=self._connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(),  # UPSTREAM_TIMEOUT is the bound
                trust_env=False,
            )
        return self._session

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Read and decode a body, no further than RESPONSE_LIMIT."""
        if self._proxy and response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            # It is not Spotify's (RFC 9110, section 15.5.8).
            raise httpx.ProxyError(aiohttp.ClientHttpProxyError.__name__)
        if self._url.scheme == "https" and not _is_framed(response):
            # The connection's end would end the body, and an attacker on the network can close it
            # (RFC 9112, sections 6.3 and 9.8).
            raise UpstreamFailed("Spotify's response had no length")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > RESPONSE_LIMIT:
                raise UpstreamFailed("Spotify's response was too long")
        return _decoded(response.headers.get("Content-Encoding", "").strip().lower(), bytes(body))


class _Connector(aiohttp.TCPConnector):
    """A pool that closes connections which must not be used again.

    aiohttp's own pool checks only that a connection is open. So a response that Spotify sends
    without a request would be the response to the next request, which may be another client's.

    NOTE: what arrives after a request has been sent counts as its response: HTTP/1.1 cannot
    distinguish them. An incomplete head that arrives before is dropped with its parser.
    """

    def __init__(self, resolver: AbstractResolver | None) -> None:
        super().__init__(
            limit=0,  # UPSTREAM_MAX_IN_FLIGHT is the bound
            keepalive_timeout=IDLE_SECONDS,
            resolver=resolver,
            ssl=_verifying(),
        )
        self._last_used: WeakKeyDictionary[ResponseHandler, float] = WeakKeyDictionary()
        self._distrusted = 0.0

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the base class has it
    ) -> Connection:
        """Return a connection from the pool, or a new one."""
        # One iteration of the event loop, which reads what has arrived on pooled connections:
        # bytes that no request caused, or the end. A request on a connection that Spotify has
        # closed would be a 502, because it must not be sent again.
        await asyncio.sleep(0)
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is not None and self._is_usable(protocol):
                self._last_used[protocol] = time.monotonic()
                return connection
            connection.close()

    def distrust(self, since: float) -> None:
        """Use no connection again that has not been used since a call that failed began.

        Where the packets of its connection got lost, those of the others do too, and each of them
        would cost a call its whole time.
        """
        self._distrusted = max(self._distrusted, since)

    def _is_usable(self, protocol: ResponseHandler) -> bool:
        """Return whether a connection is new, or has proven itself and holds no unread bytes."""
        last_used = self._last_used.get(protocol)
        if last_used is None:
            return True  # it is new
        return last_used > self._distrusted and not protocol.should_close


def _verifying() -> ssl.SSLContext:
    """Return a TLS context that verifies chain and name.

    NOTE: not ssl.create_default_context(), which would write the keys of every connection to the
    file that SSLKEYLOGFILE names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # RFC 9525, section 2
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """Raise aiohttp's errors as httpx's.

    NOTE: `from None` is intentional: the cause's text would be recorded with the traceback.
    """
    try:
        yield
    except TimeoutError:
        raise httpx.ReadTimeout("UPSTREAM_TIMEOUT") from None
    except (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError) as error:
        raise httpx.ProxyError(type(error).__name__) from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise httpx.ConnectError(type(error.certificate_error).__name__) from None
    except aiohttp.ClientConnectorDNSError:
        raise httpx.ConnectError(socket.gaierror.__name__) from None
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(type(error.os_error).__name__) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise httpx.ReadError(type(error).__name__) from None


def _is_framed(response: aiohttp.ClientResponse) -> bool:
    """Return whether the end of the body can be seen without the end of the connection."""
    if "Content-Length" in response.headers:
        return True
    codings = ",".join(response.headers.getall("Transfer-Encoding", [])).lower()
    return codings.rpartition(",")[2].strip() == "chunked"


def _decoded(coding: str, body: bytes) -> bytes:
    """Undo a Content-Encoding, although none was requested (RFC 9110, section 8.4)."""
    if coding in {"", "identity"}:
        return body
    if coding not in {"gzip", "x-gzip"}:
        raise UpstreamFailed("Spotify's response had an unknown content coding")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
            decoded = stream.read(RESPONSE_LIMIT + 1)
    except (OSError, EOFError, zlib.error):
        raise UpstreamFailed("Spotify's response could not be decoded") from None
    if len(decoded) > RESPONSE_LIMIT:
        raise UpstreamFailed("Spotify's response was too long")
    return decoded

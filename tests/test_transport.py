"""The connections to Spotify: names, addresses, pool, TLS, proxy."""

import asyncio
import base64
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import uvloop
from aiohttp.abc import AbstractResolver, ResolveResult

from service import settings as service_settings
from service.upstream import Transport
from tests.chaos.certificates import Authority, context_for
from tests.chaos.proxy import full_queue
from tests.conftest import LogLines, Start
from tests.flows import (
    CODE,
    CREDENTIALS,
    LATE,
    UNREACHABLE,
    assert_refused,
    recorded,
    well_formed,
)
from tests.running import CLIENT_SECRET, environment, other_end, wait_until

BODY = b'{"access_token":"BQ"}'
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
OTHERS = GOOD.replace(b"BQ", b"of-another-client")
OTHERS = OTHERS.replace(b"Length: 21", b"Length: %d" % len(OTHERS.partition(b"\r\n\r\n")[2]))
SECRET_CODE = "AQ-code-that-only-Spotify-may-see"
USER, PASSWORD = "proxy-user", "p@ss:of/the proxy"
PROXY_LOGIN = "proxy-user:p%40ss%3Aof%2Fthe%20proxy@"

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def serving(
    handle: Handle, tls: ssl.SSLContext | None = None, listening: socket.socket | None = None
) -> Iterator[int]:
    """Serve connections with `handle` in a thread; yields the port."""
    listening = listening or socket.create_server(("127.0.0.1", 0), backlog=512)
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await handle(reader, writer)
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def serve() -> None:
        async with await asyncio.start_server(talk, sock=listening, ssl=tls):
            await stop.wait()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # closes the sockets

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request with its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head + await reader.readexactly(length)


class Upstream:
    """A token endpoint that records requests and sends `response` to each.

    `then` is called after each response; the connection is closed if it returns True.
    """

    def __init__(self, response: bytes = GOOD) -> None:
        self.response = response
        self.requests: list[bytes] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            self.requests.append(await read_request(reader))
            writer.write(self.response)
            await writer.drain()
            if await self.then(writer):
                return

    async def then(self, writer: asyncio.StreamWriter) -> bool:  # noqa: ARG002 - for subclasses
        return False


def token_url(port: int, scheme: str = "http", host: str = "127.0.0.1") -> str:
    return f"{scheme}://{host}:{port}/api/token"


def fetch(client: httpx.Client, code: str = SECRET_CODE) -> httpx.Response:
    """Make a call of which no other call's response can be used."""
    return client.post(CODE, data=well_formed(CODE, code=code))


def fetch_many(client: httpx.Client, number: int, workers: int) -> list[int]:
    """Return the statuses of `number` calls."""
    with ThreadPoolExecutor(workers) as pool:
        codes = [f"{SECRET_CODE}-{index}" for index in range(number)]
        return [response.status_code for response in pool.map(lambda c: fetch(client, c), codes)]


# Names and addresses -------------------------------------------------------------------------


class Addresses(AbstractResolver):
    """A resolver that returns these addresses, in this order, for every name."""

    def __init__(self, *hosts: str) -> None:
        self._hosts = hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in self._hosts
        ]

    async def close(self) -> None:
        pass


class Mute(Addresses):
    """A resolver that never responds."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        await asyncio.Event().wait()
        return await super().resolve(host, port, family)


def start_with(resolver: AbstractResolver, start: Start, port: int, **changes: str) -> httpx.Client:
    """Start the service with a name for Spotify's host, which `resolver` resolves."""
    changes |= {"SPOTIFY_TOKEN_URL": token_url(port, host="accounts.spotify.test")}
    changes |= {"ALLOW_INSECURE_UPSTREAM": "true"}
    settings = service_settings.load(environment("", **changes))
    return start(Transport(settings, resolver), **changes)


def test_unreachable_addresses_are_skipped_in_time(start: Start) -> None:
    """RFC 8305: the next address is tried while the first does not respond."""
    upstream = Upstream(GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    with full_queue() as unreachable:
        port = unreachable.getsockname()[1]
        listening = socket.create_server(("127.0.0.2", port))
        with serving(upstream, listening=listening):
            addresses = Addresses("127.0.0.1", "127.0.0.1", "127.0.0.2")
            client = start_with(addresses, start, port)
            for number in range(1, 3):  # each over a new connection
                assert fetch(client).status_code == 200
                assert len(upstream.requests) == upstream.connections == number


def test_refused_first_address_is_skipped(start: Start) -> None:
    upstream = Upstream()
    with serving(upstream) as port:
        client = start_with(Addresses("127.0.0.3", "127.0.0.1"), start, port)
        assert fetch(client).status_code == 200
    assert len(upstream.requests) == 1


def test_hanging_name_server_is_a_504(start: Start) -> None:
    client = start_with(Mute(), start, 1, UPSTREAM_TIMEOUT="0.2")
    for _ in range(2):
        assert_refused(fetch(client), 504, LATE)


# The pool ------------------------------------------------------------------------------------


class Closing(Upstream):
    """Closes each connection some time after its response; at 0 seconds, in the same packet."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._seconds:
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        await super().__call__(reader, writer)

    async def then(self, writer: asyncio.StreamWriter) -> bool:
        if self._seconds:
            await asyncio.sleep(self._seconds)
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        return True


def test_connection_closed_after_its_response_fails_no_call() -> None:
    upstream = Closing(0)

    async def fetch_in_turn(port: int) -> list[int]:
        transport = Transport(service_settings.load(environment(token_url(port))))
        request = httpx.Request("POST", token_url(port), content=b"grant_type=x")
        responses = [await transport.handle_async_request(request) for _ in range(200)]
        await transport.aclose()
        return [response.status_code for response in responses]

    with serving(upstream) as port:
        assert uvloop.run(fetch_in_turn(port)) == [200] * 200
    assert len(upstream.requests) == 200


@pytest.mark.parametrize("milliseconds", [0, 2])
def test_no_call_is_sent_twice_whenever_connections_are_closed(
    start: Start, milliseconds: int
) -> None:
    upstream = Closing(milliseconds / 1000)
    with serving(upstream) as port:
        client = start(SPOTIFY_TOKEN_URL=token_url(port))
        statuses = fetch_many(client, 300, workers=8)
    assert set(statuses) <= {200, 502}
    codes = [request.rpartition(b"\r\n")[2] for request in upstream.requests]
    assert len(codes) == len(set(codes)) == statuses.count(200)


class Chatty(Upstream):
    """Can send bytes on its first connection at any time."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.connections:
            self._loop, self._writer = asyncio.get_running_loop(), writer
        await super().__call__(reader, writer)

    def send(self, stray: bytes) -> None:
        """Send bytes without a request, and wait until the client has read them."""
        connection = self._writer.get_extra_info("socket")
        written = threading.Event()
        self._loop.call_soon_threadsafe(self._writer.write, stray)
        self._loop.call_soon_threadsafe(written.set)
        assert written.wait(20)
        wait_until(lambda: any(other_end(connection)))


@pytest.mark.parametrize("stray", [OTHERS, OTHERS[:-1], b"x"])
def test_bytes_sent_without_a_request_reach_no_client(start: Start, stray: bytes) -> None:
    upstream = Chatty()
    with serving(upstream) as port:
        client = start(SPOTIFY_TOKEN_URL=token_url(port))
        assert fetch(client).content == BODY
        upstream.send(stray)
        for _ in range(2):
            response = fetch(client)
            assert (response.status_code, response.content) == (200, BODY)


def test_banner_before_the_request_ends_in_a_502(start: Start) -> None:
    async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await reader.read()

    with serving(banner) as port:
        client = start(SPOTIFY_TOKEN_URL=token_url(port))
        assert fetch(client).status_code == 502


# Limits --------------------------------------------------------------------------------------

ENDLESS = {
    "a header": (502, b"HTTP/1.1 200 OK\r\nX: ", b"x" * 4096),
    "chunks": (
        502,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1000\r\n" + b"x" * 4096 + b"\r\n",
    ),
    "trailers": (
        502,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"X: y\r\n" * 1000,
    ),
    "responses": (200, GOOD, GOOD * 100),
}
ENOUGH = 64 * 1024 * 1024
"""Bytes: more than the limits of the service and the buffers of the kernel together."""


class Endless:
    """An upstream that sends `begin`, then `repeated` until it is disconnected."""

    def __init__(self, begin: bytes, repeated: bytes) -> None:
        self._begin = begin
        self._repeated = repeated
        self.sent = 0
        self.disconnected = threading.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(self._begin)
        try:
            while True:
                writer.write(self._repeated)
                await writer.drain()
                self.sent += len(self._repeated)
        except ConnectionError:
            self.disconnected.set()


@pytest.mark.parametrize(("status", "begin", "repeated"), ENDLESS.values(), ids=ENDLESS)
def test_response_without_end_is_cut_off(
    start: Start, status: int, begin: bytes, repeated: bytes
) -> None:
    upstream = Endless(begin, repeated)
    with serving(upstream) as port:
        client = start(SPOTIFY_TOKEN_URL=token_url(port))
        assert fetch(client).status_code == status
        assert upstream.disconnected.wait(20)
    assert upstream.sent < ENOUGH


def test_informational_responses_without_end_are_cut_off_in_time(start: Start) -> None:
    """Their number has no limit of its own."""
    upstream = Endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100)
    with serving(upstream) as port:
        client = start(SPOTIFY_TOKEN_URL=token_url(port), UPSTREAM_TIMEOUT="0.5")
        assert fetch(client).status_code == 504
        assert upstream.disconnected.wait(20)


# TLS -----------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Return an authority that the service trusts."""
    authority = Authority(tmp_path, "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


@contextmanager
def tls_upstream(authority: Authority, host: str = "localhost") -> Iterator[tuple[Upstream, str]]:
    """Yield a token endpoint with a certificate for `host`, and its URL."""
    upstream = Upstream()
    with serving(upstream, context_for(authority.issue(host))) as port:
        yield upstream, token_url(port, "https", "localhost")


def test_connections_are_used_again_over_tls_and_their_keys_are_not_written(
    start: Start, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    with tls_upstream(authority) as (upstream, url):
        client = start(SPOTIFY_TOKEN_URL=url)
        monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
        assert [fetch(client).status_code for _ in range(3)] == [200] * 3
    assert upstream.connections == 1
    assert not keys.exists()


@pytest.mark.parametrize("ending", ["close_notify", "cut"])
@pytest.mark.parametrize("framing", ["", "Transfer-Encoding: identity\r\n"])
def test_response_that_ends_with_its_tls_connection_is_refused(
    start: Start, authority: Authority, ending: str, framing: str
) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(f"HTTP/1.1 400 Bad Request\r\n{framing}\r\n".encode() + BODY)
        await writer.drain()
        if ending == "cut":
            writer.get_extra_info("socket").shutdown(socket.SHUT_WR)

    with serving(respond, context_for(authority.issue("localhost"))) as port:
        client = start(SPOTIFY_TOKEN_URL=token_url(port, "https", "localhost"))
        assert fetch(client).status_code == 502


def test_half_a_body_over_tls_is_refused(start: Start, authority: Authority) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(GOOD[:-1])
        await writer.drain()

    with serving(respond, context_for(authority.issue("localhost"))) as port:
        client = start(SPOTIFY_TOKEN_URL=token_url(port, "https", "localhost"))
        assert_refused(fetch(client), 502, UNREACHABLE)


# The proxy -----------------------------------------------------------------------------------


class ConnectProxy:
    """An HTTP proxy for CONNECT and for absolute URLs; records the bytes it sees.

    With a `password`, it requires Basic authentication.
    """

    def __init__(self, password: str | None = None) -> None:
        self._login = None
        if password is not None:
            pair = base64.b64encode(f"{USER}:{password}".encode()).decode()
            self._login = f"Proxy-Authorization: Basic {pair}\r\n".encode()
        self.heads: list[bytes] = []
        self.passed = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self._login is not None and self._login.lower() not in head.lower():
            writer.write(
                b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                b'Proxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\n\r\n'
            )
            return
        method, target, _ = head.split(b" ", 2)
        authority = target if method == b"CONNECT" else target.split(b"/")[2]
        host, _, port = authority.decode().rpartition(":")
        outward = await asyncio.open_connection(host, int(port))
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            outward[1].write(head)
        try:
            await asyncio.gather(self._pass(reader, outward[1]), self._pass(outward[0], writer))
        finally:
            outward[1].close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.passed += data
            writer.write(data)
        writer.close()


def assert_kept_secret(lines: LogLines, response: httpx.Response) -> None:
    """Check that nothing secret was logged or sent to the client."""
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, PROXY_LOGIN, encoded, CLIENT_SECRET, SECRET_CODE):
        assert secret not in lines.text
        assert secret not in response.text


@pytest.mark.parametrize(("scheme", "password"), [("http", PASSWORD), ("https", None)])
def test_tls_goes_through_the_proxy_from_end_to_end(
    start: Start, authority: Authority, log_lines: LogLines, scheme: str, password: str | None
) -> None:
    proxy = ConnectProxy(password)
    tls = context_for(authority.issue("localhost")) if scheme == "https" else None
    login = PROXY_LOGIN if password else ""
    with tls_upstream(authority) as (upstream, url), serving(proxy, tls) as port:
        client = start(SPOTIFY_TOKEN_URL=url, UPSTREAM_PROXY=f"{scheme}://{login}localhost:{port}")
        responses = [fetch(client) for _ in range(3)]
    assert [response.content for response in responses] == [BODY] * 3
    assert len(proxy.heads) == upstream.connections == 1
    assert proxy.heads[0].startswith(b"CONNECT " + url.split("/")[2].encode() + b" HTTP/1.1\r\n")
    assert SECRET_CODE.encode() in upstream.requests[0]
    assert b"proxy-authorization" not in upstream.requests[0].lower()
    assert SECRET_CODE.encode() not in proxy.heads[0] + proxy.passed
    assert_kept_secret(log_lines, responses[0])


def test_upstreams_certificate_is_verified_through_the_proxy(
    start: Start, authority: Authority
) -> None:
    with (
        tls_upstream(authority, "accounts.example") as (upstream, url),
        serving(ConnectProxy()) as port,
    ):
        client = start(SPOTIFY_TOKEN_URL=url, UPSTREAM_PROXY=f"http://127.0.0.1:{port}")
        assert_refused(fetch(client), 502, UNREACHABLE)
    assert upstream.requests == []


def test_https_proxy_with_another_hosts_certificate_is_refused(
    start: Start, authority: Authority
) -> None:
    proxy = ConnectProxy()
    with (
        tls_upstream(authority) as (upstream, url),
        serving(proxy, context_for(authority.issue("proxy.example"))) as port,
    ):
        client = start(
            SPOTIFY_TOKEN_URL=url, UPSTREAM_PROXY=f"https://{PROXY_LOGIN}localhost:{port}"
        )
        assert_refused(fetch(client), 502, UNREACHABLE)
    assert (proxy.heads, upstream.requests) == ([], [])


@pytest.mark.parametrize("url", ["https://localhost:1/api/token", "http://127.0.0.1:1/api/token"])
def test_proxy_that_refuses_the_password_is_a_502(
    start: Start, log_lines: LogLines, url: str
) -> None:
    with serving(ConnectProxy("another")) as port:
        client = start(
            SPOTIFY_TOKEN_URL=url,
            UPSTREAM_PROXY=f"http://{PROXY_LOGIN}127.0.0.1:{port}",
            LOG_LEVEL="trace",
        )
        response = fetch(client)
    assert_refused(response, 502, UNREACHABLE)
    assert_kept_secret(log_lines, response)


def test_proxy_that_is_down_is_a_502(start: Start, log_lines: LogLines) -> None:
    client = start(
        SPOTIFY_TOKEN_URL="https://localhost:1/api/token",
        UPSTREAM_PROXY=f"http://{PROXY_LOGIN}127.0.0.1:1",
    )
    response = fetch(client)
    assert_refused(response, 502, UNREACHABLE)
    assert_kept_secret(log_lines, response)


def test_unresponsive_proxy_is_a_504(start: Start) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        await reader.read()

    with serving(mute) as port:
        client = start(
            SPOTIFY_TOKEN_URL="https://localhost:1/api/token",
            UPSTREAM_PROXY=f"http://127.0.0.1:{port}",
            UPSTREAM_TIMEOUT="0.2",
        )
        assert_refused(fetch(client), 504, LATE)


def test_http_upstream_is_reached_through_the_proxy(
    start: Start, simulator: httpx.Client, simulator_url: str
) -> None:
    proxy = ConnectProxy(PASSWORD)
    with serving(proxy) as port:
        client = start(UPSTREAM_PROXY=f"http://{PROXY_LOGIN}127.0.0.1:{port}")
        response = client.post(CREDENTIALS, data=well_formed(CREDENTIALS))
    assert response.status_code == 200
    assert len(recorded(simulator)) == 1
    assert proxy.heads[0].startswith(f"POST {simulator_url}/api/token HTTP/1.1\r\n".encode())


# Errors --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("authority")
def test_text_of_an_error_is_the_type_of_its_cause(tmp_path: Path) -> None:
    unknown = Authority(tmp_path, "unknown")

    def error(url: str, **changes: str) -> httpx.HTTPError:
        settings = service_settings.load(environment(url, **changes))
        request = httpx.Request("POST", url, content=b"")

        async def call() -> None:
            transport = Transport(settings)
            try:
                await transport.handle_async_request(request)
            finally:
                await transport.aclose()

        with pytest.raises(httpx.HTTPError) as caught:
            asyncio.run(call())
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        return caught.value

    refused = "http://127.0.0.1:1/api/token"
    assert repr(error(refused)) == "ConnectError('ConnectionRefusedError')"
    unresolved = "https://no-such-host.invalid/api/token"
    assert repr(error(unresolved)) == "ConnectError('gaierror')"
    down = error(unresolved, UPSTREAM_PROXY=f"http://{PROXY_LOGIN}127.0.0.1:1")
    assert repr(down) == "ProxyError('ClientProxyConnectionError')"
    with serving(ConnectProxy("another")) as port:
        login = error(unresolved, UPSTREAM_PROXY=f"http://{PROXY_LOGIN}127.0.0.1:{port}")
        assert repr(login) == "ProxyError('ClientHttpProxyError')"
    with tls_upstream(unknown) as (_, url):
        assert repr(error(url)) == "ConnectError('SSLCertVerificationError')"
    with serving(Upstream(b"no HTTP\r\n")) as port:
        assert isinstance(error(token_url(port)), httpx.ReadError)

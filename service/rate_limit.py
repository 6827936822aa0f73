"""Rate limit: how often one client address may request tokens, and which address that is.

The window slides, by two counts for each client: docs/decisions/0006-rate-limit.md. They are kept
in memory, or in a Valkey or Redis that replicas share; while that is unreachable, requests pass.

NOTE: an address is personal data. It reaches no log, span or metric, and the names of the counts
are keyed hashes, in the shared storage too.
"""

import asyncio
import contextlib
import hashlib
import math
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from limits import parse_many
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard, Scope

from service.errors import RateLimited
from service.logs import log
from service.metrics import Metrics
from service.settings import Secret, Settings

Address: TypeAlias = IPv4Address | IPv6Address

HOPS: Final = 32
"""Entries of X-Forwarded-For that are read; no real chain of proxies is longer."""
COUNTS: Final = 65_536
"""Counts in memory, two per client and limit; beyond it the oldest are removed."""
CALL_SECONDS: Final = 0.1
"""Seconds that the storage may take for one request."""
WAIT_SECONDS: Final = 5.0
"""Seconds that a request waits for a connection when all CONNECTIONS are in use.

Fifty times CALL_SECONDS: only tens of thousands of requests at once can make others wait so long
for a healthy storage, and pass without a check.
"""
PAUSE_SECONDS: Final = 1.0
"""Seconds that a failed storage is not called, before one request tries it again."""
LOG_SECONDS: Final = 60.0
CONNECTIONS: Final = 8
"""Connections to the storage, each with one call at a time: some 10,000 calls a second."""
FAILURES: Final = 2 * CONNECTIONS
"""Failures in a row after which the storage is not called; a few may be those of a busy process."""

if TYPE_CHECKING:
    from valkey.asyncio import ConnectionPool

_FORWARDED_FOR: Final = b"x-forwarded-for"
# Some proxies write a port after the address.
_WITH_PORT: Final = re.compile(r"\[([^]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


class Clients:
    """Finds clients behind the proxies in `trusted`: addresses, or networks in CIDR notation."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = [ip_network(network) for network in trusted]

    def address(self, scope: Scope) -> Address | None:
        """Return the address of the client, or None if it is unknown.

        It is the peer's, unless that is a trusted proxy: then it is the last address in
        X-Forwarded-For that is not a trusted proxy, or the first that was read if all are. The
        client may have invented the entries before it. An entry that is not an address ends the
        search at the proxy that wrote it.
        """
        client = _peer(scope)
        if client is None or not self._trusts(client):
            return client
        for entry in _hops(scope):
            if (address := _parse(entry)) is None:
                break
            client = address
            if not self._trusts(client):
                break
        return client

    def trusts_peer(self, scope: Scope) -> bool:
        """Return whether the request comes from a trusted proxy directly."""
        peer = _peer(scope)
        return peer is not None and self._trusts(peer)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def network(address: Address | None) -> bytes:
    """Return the bytes by which requests are counted: an IPv4 address, or the /64 of an IPv6 one.

    One customer has at least a /64 (RFC 6177, section 2). All unknown addresses count as one.
    """
    if address is None:
        return b""
    return address.packed[:8]


def _peer(scope: Scope) -> Address | None:
    peer = scope.get("client")
    return _parse(peer[0]) if peer else None


def _hops(scope: Scope) -> Iterator[str]:
    """Yield the entries of X-Forwarded-For, the one of the nearest proxy first."""
    lines = [value for name, value in scope["headers"] if name == _FORWARDED_FOR]
    entries = b",".join(lines).rsplit(b",", HOPS)[-HOPS:]
    return (entry.decode("latin-1").strip(" \t") for entry in reversed(entries))


def _parse(text: str) -> Address | None:
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both versions sees IPv4 as ::ffff:192.0.2.1 (RFC 4291, section 2.5.5.2).
    return getattr(address, "ipv4_mapped", None) or address


class Limiter:
    """Counts requests by client, within RATE_LIMIT."""

    def __init__(self, settings: Settings, clients: Clients, metrics: Metrics) -> None:
        self._clients = clients
        # The client secret: all replicas have it and, unlike SECRET_KEY, it is never a weak one.
        self._key = hashlib.sha256(settings.client_secret.reveal().encode()).digest()
        # The shortest first: a request that it refuses is not counted by the longer ones.
        self._limits = sorted(
            parse_many(settings.rate_limit or ""), key=lambda item: item.get_expiry()
        )
        url = settings.rate_limit_storage
        self._storage = SharedStorage(url, metrics) if url else None
        counts = self._storage.counts if self._storage else BoundedMemory()
        self._window = SlidingWindowCounterRateLimiter(counts)

    async def wait(self, scope: Scope) -> int:
        """Count the request in `scope`; return 0, or the seconds until it may be repeated."""
        client = self._name(scope)
        if self._storage is None:
            return await self._count(client)
        return await self._storage.run(lambda: self._count(client))

    async def aclose(self) -> None:
        """Close the connections to the storage."""
        if self._storage is not None:
            await self._storage.aclose()

    def _name(self, scope: Scope) -> str:
        counted = network(self._clients.address(scope))
        return hashlib.blake2b(counted, key=self._key, digest_size=8).hexdigest()

    async def _count(self, client: str) -> int:
        for limit in self._limits:
            if not await self._window.hit(limit, client):
                again, _ = await self._window.get_window_stats(limit, client)
                return max(1, math.ceil(again - time.time()))
        return 0


def guard(limiter: Limiter) -> Guard:
    """Return a guard of the token endpoints: it counts the request, or raises RateLimited.

    NOTE: a function, not a method of Limiter: Litestar copies guards deeply, and each copy of the
    limiter would count by itself.
    """

    async def count(
        connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler
    ) -> None:
        # Litestar runs guards for its own OPTIONS handlers too, which are not counted.
        if connection.scope.get("method") == "OPTIONS":
            return
        if seconds := await limiter.wait(connection.scope):
            raise RateLimited(seconds)

    return count


class BoundedMemory(MemoryStorage):
    """limits' own memory with bounds on its size and on the work of one request.

    limits scans all counts at each request, to find those that have expired. `clock` decides when
    one has; the windows are limits' own, by the time of day.
    """

    def __init__(self, most: int = COUNTS, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    async def get(self, key: str) -> int:
        """Return the count of `key`."""
        count, end = self._counts.get(key, (0, 0.0))
        return count if end > self._clock() else 0

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add `amount` to the count of `key`, which is kept for `expiry` seconds from now."""
        count = await self.get(key) + amount
        self._counts[key] = count, self._clock() + expiry
        self._counts.move_to_end(key)
        self._forget()
        return count

    async def decr(self, key: str, amount: int = 1) -> int:
        """Subtract `amount` from the count of `key`, as limits does after a race."""
        if counted := self._counts.get(key):
            self._counts[key] = max(0, counted[0] - amount), counted[1]
        return await self.get(key)

    def _forget(self) -> None:
        """Remove the oldest if it has expired or there are too many; at most two per call."""
        for _ in range(2):
            key, (_count, end) = next(iter(self._counts.items()))
            if end > self._clock() and len(self._counts) <= self._most:
                break
            del self._counts[key]


class SharedStorage:
    """Counts in a Valkey or Redis at `url`, which must not stop or slow requests.

    After FAILURES in a row it is not called for PAUSE_SECONDS, then by one request. Failures are
    logged once a minute, and counted. `clock` is monotonic, `wait_seconds` is how
    long a request waits for one of the CONNECTIONS.
    """

    def __init__(
        self,
        url: Secret,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._pool = _pool(url.reveal())
        self.counts = RedisStorage(
            "async+valkey://",
            connection_pool=self._pool,  # type: ignore[arg-type]  # its type leaves this one out
            key_prefix="spotify-api-server",
        )
        self._count_unchecked = metrics.counter(
            "rate_limit_unchecked", "Requests that passed because the storage did not respond."
        )
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._failures = 0
        self._next_call = self._next_log = -math.inf
        self._unchecked = 0

    async def run(self, count: Callable[[], Awaitable[int]]) -> int:
        """Return the result of `count`, which calls the storage, or 0 if there is none in time."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._connections.acquire()
        except TimeoutError as error:
            # Not a failure of the storage: it responds, but slower than requests arrive.
            return self._pass(error)
        try:
            return await self._call(count)
        finally:
            self._connections.release()

    async def _call(self, count: Callable[[], Awaitable[int]]) -> int:
        if self._failures >= FAILURES and self._clock() < self._next_call:
            return self._pass()
        # If it still fails, the others do not wait for it.
        self._next_call = self._clock() + PAUSE_SECONDS
        try:
            async with asyncio.timeout(CALL_SECONDS):
                seconds = await count()
        except Exception as error:  # noqa: BLE001 - no failure of the storage may fail the request
            self._failures += 1
            return self._pass(error)
        self._failures = 0
        return seconds

    async def aclose(self) -> None:
        """Close the connections."""
        # NOTE: ignoring failures is intentional: the process ends, and its connections with it.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CALL_SECONDS):
                await self._pool.disconnect()

    def _pass(self, error: Exception | None = None) -> int:
        """Admit a request without a check; `error` is the reason, if the storage was called."""
        self._count_unchecked()
        self._unchecked += 1
        now = self._clock()
        if error is not None and now >= self._next_log:
            # NOTE: the type alone is intentional: the text may have the URL in it.
            kind = type(error).__qualname__
            log.warning("rate_limit.unchecked", error_type=kind, requests=self._unchecked)
            self._next_log, self._unchecked = now + LOG_SECONDS, 0
        return 0


def _pool(url: str) -> "ConnectionPool":
    """Return connections to the storage at `url`; over TLS, its name is verified as well."""
    from valkey.asyncio import ConnectionPool  # noqa: PLC0415 - not paid for without a storage

    tls = urlsplit(url).scheme in {"rediss", "valkeys"}
    return ConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        socket_timeout=None,  # SharedStorage has one for the whole call
        lib_name=None,
        lib_version=None,
        **({"ssl_check_hostname": True} if tls else {}),
    )

"""RATE_LIMIT: for which client a request counts, when it is refused, failures of the storage."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import httpx
import pytest

from service import rate_limit
from service.metrics import Metrics
from service.rate_limit import HOPS, BoundedMemory, Clients, Limiter, SharedStorage, network
from service.settings import Secret, load
from tests.conftest import LogLines, Start
from tests.flows import CREDENTIALS, FLOWS, REFRESH, recorded, valid_form
from tests.limiting import PASSWORD, counted, post, scrape, statuses
from tests.running import environment, free_port
from tests.volley import connected, read_response, request

TOO_MANY = {"error": True, "reason": "too many requests; see Retry-After"}
PROXIES = ("10.0.0.0/8", "fd00::/8")


def scope(peer: tuple[str, int] | None, *forwarded: str) -> Any:  # noqa: ANN401
    lines = [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded]
    return {"client": peer, "headers": [(b"host", b"x"), *lines]}


# The limit -----------------------------------------------------------------------------------


def test_request_above_the_limit_is_a_429(start: Start) -> None:
    client = start(RATE_LIMIT="3/month")
    assert statuses(client, 3) == [200, 200, 200]
    refused = post(client)
    assert (refused.status_code, refused.json()) == (429, TOO_MANY)
    assert refused.headers["content-type"] == "application/json"
    assert refused.headers["cache-control"] == "no-store"
    assert 60 < int(refused.headers["retry-after"]) <= 31 * 24 * 3600


def test_flows_count_together_and_a_refusal_is_no_call(
    start: Start, simulator: httpx.Client
) -> None:
    client = start(RATE_LIMIT="1/month")
    assert client.post(REFRESH, data=valid_form(simulator, REFRESH)).status_code == 200
    assert [client.post(path).status_code for path in FLOWS] == [429] * 5
    assert len(recorded(simulator)) == 1


def test_only_token_requests_count(start: Start) -> None:
    origin = {"Origin": "https://a.example"}
    client = start(RATE_LIMIT="1/month", CORS_ALLOW_ORIGINS="https://a.example")
    preflight = {**origin, "Access-Control-Request-Method": "POST"}
    for _ in range(3):
        assert client.options(CREDENTIALS, headers=preflight).status_code == 204
        assert client.options(CREDENTIALS).status_code == 204
        assert client.get(CREDENTIALS).status_code == 405
        for path, status in (("/", 200), ("/healthz", 200), ("/readyz", 200), ("/x", 404)):
            assert client.get(path).status_code == status
    assert statuses(client, 2) == [200, 429]
    assert client.get("/healthz").status_code == 200
    refused = client.post(CREDENTIALS, headers=origin)
    assert refused.status_code == 429
    assert refused.headers["access-control-allow-origin"] == "https://a.example"
    assert "retry-after" in refused.headers["access-control-expose-headers"].lower()


def limiter(limit: str) -> Limiter:
    settings = load(environment("http://127.0.0.1:1/", RATE_LIMIT=limit))
    return Limiter(settings, Clients(), Metrics("x"))


def test_narrowest_of_several_limits_refuses() -> None:
    async def main() -> None:
        for limits, least, most in (
            ("5/month; 3/hour", 1, 3600),
            ("3/month; 5/hour", 3601, 30 * 24 * 3600),
        ):
            counted = limiter(limits)
            waits = [await counted.wait(scope(("192.0.2.1", 1))) for _ in range(4)]
            assert waits[:3] == [0, 0, 0]
            assert least <= waits[3] <= most

    asyncio.run(main())


def test_new_window_counts_the_one_before() -> None:
    """Fixed windows would admit twice the limit around their ends."""

    async def burst(limits: Limiter) -> tuple[int, float]:
        """Return how many requests passed, and when in windows of a second they had."""
        passed = [await limits.wait(scope(("192.0.2.1", 1))) for _ in range(20)].count(0)
        return passed, time.time()

    async def main() -> None:
        for _ in range(20):  # until the bursts are on either side of the end of a window
            limits = limiter("20/second")
            await asyncio.sleep(0.95 - time.time() % 1 % 0.95)
            window = int(time.time())
            first, ended = await burst(limits)
            if int(ended) == window:
                await asyncio.sleep(1 - time.time() % 1)
                second, ended = await burst(limits)
                if window + 1 < ended < window + 1.5:
                    assert (first, second <= 10) == (20, True)
                    return
        pytest.fail("this machine is too slow")

    asyncio.run(main())


# Connections ---------------------------------------------------------------------------------


def test_request_is_refused_before_its_body_arrives(start: Start) -> None:
    client = start(RATE_LIMIT="1/month")
    post(client)
    with connected(client) as connection:
        head, _, _ = request(CREDENTIALS, {"grant_type": "x" * 99}).partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        shot = read_response(connection)
    assert (shot.status, shot.json()) == (429, TOO_MANY)


# Clients -------------------------------------------------------------------------------------


def address(peer: str, *forwarded: str, trusted: tuple[str, ...] = PROXIES) -> str:
    return str(Clients(trusted).address(scope((peer, 1234), *forwarded)))


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert address("192.0.2.1", "203.0.113.9", trusted=()) == "192.0.2.1"
    assert address("192.0.2.1", "203.0.113.9") == "192.0.2.1"


def test_behind_proxies_the_client_is_the_last_untrusted_address() -> None:
    for lines, client in (
        (["203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9, 10.1.1.1,\t10.2.2.2 "], "203.0.113.9"),
        (["6.6.6.6", "203.0.113.9, 10.1.1.1", "10.2.2.2"], "203.0.113.9"),
        (["2001:db8::7, fd00::1"], "2001:db8::7"),
        (["10.3.3.3, 10.1.1.1"], "10.3.3.3"),
        ([], "10.0.0.1"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
    ):
        assert address("10.0.0.1", *lines) == client


def test_ipv4_proxy_is_trusted_on_a_socket_of_both_versions() -> None:
    assert address("::ffff:10.0.0.1", "203.0.113.9") == "203.0.113.9"
    assert address("::ffff:192.0.2.1", "203.0.113.9") == "192.0.2.1"


def test_invalid_entry_ends_the_search_at_the_proxy_that_wrote_it() -> None:
    for invalid in (
        *("unknown", "", "203.0.113.9.1", "203.0.113.9:port", "[::1", "é", "1" * 9000, "::1:x"),
    ):
        assert address("10.0.0.1", f"203.0.113.9, {invalid}, 10.9.9.9") == "10.9.9.9"
        assert address("10.0.0.1", f"203.0.113.9, {invalid}") == "10.0.0.1"


def test_entries_are_read_up_to_the_longest_real_chain() -> None:
    assert address("10.0.0.1", "203.0.113.9" + ", 10.1.1.1" * HOPS) == "10.1.1.1"
    assert address("10.0.0.1", "203.0.113.9" + ", 10.1.1.1" * (HOPS - 1)) == "203.0.113.9"
    assert address("10.0.0.1", *["10.1.1.1"] * 5000) == "10.1.1.1"


def test_peer_without_an_address_is_unknown() -> None:
    for peer in (None, ("/run/socket", 0), ("", 0)):
        assert Clients(PROXIES).address(scope(peer)) is None
    assert network(None) == b""


def test_ipv6_counts_by_64_bits_and_ipv4_by_address() -> None:
    def counts_as(peer: str) -> bytes:
        return network(Clients().address(scope((peer, 1))))

    assert counts_as("2001:db8:0:1::1") == counts_as("2001:db8:0:1:ffff:ffff:ffff:ffff")
    assert counts_as("2001:db8:0:1::1") != counts_as("2001:db8:0:2::1")
    assert counts_as("fe80::1%eth0") == counts_as("fe80::2")
    assert counts_as("192.0.2.1") != counts_as("192.0.2.2")
    assert counts_as("192.0.2.1") == counts_as("::ffff:192.0.2.1")


def test_clients_behind_a_trusted_proxy_count_separately(start: Start) -> None:
    client = start(RATE_LIMIT="2/month", TRUSTED_PROXIES="127.0.0.0/8,10.0.0.0/8")
    assert statuses(client, 3, "203.0.113.1") == [200, 200, 429]
    assert statuses(client, 3, "203.0.113.2, 10.0.0.1") == [200, 200, 429]
    spoofed = [post(client, f"198.51.100.{n}, 203.0.113.3").status_code for n in range(3)]
    assert spoofed == [200, 200, 429]
    assert [post(client, f"2001:db8::{n}").status_code for n in range(3)] == [200, 200, 429]


def test_header_of_an_untrusted_peer_is_ignored(start: Start) -> None:
    client = start(RATE_LIMIT="2/month", TRUSTED_PROXIES="10.0.0.0/8")
    assert [post(client, f"203.0.113.{n}").status_code for n in range(4)] == [200, 200, 429, 429]


# Storage, logs and metrics ---------------------------------------------------------------------


def test_refusal_is_one_log_line_and_one_outcome_without_the_address(
    start: Start, log_lines: LogLines
) -> None:
    port = free_port()
    proxied = {"TRUSTED_PROXIES": "127.0.0.1", "METRICS_PORT": str(port), "LOG_LEVEL": "trace"}
    client = start(RATE_LIMIT="1/month", **proxied)
    assert statuses(client, 2, "203.0.113.77") == [200, 429]
    [line] = log_lines.of("request.rate_limited")
    assert (line["status"], line["level"], line["flow"]) == (429, "info", "client_credentials")
    assert line["reason"] == TOO_MANY["reason"]
    labels = 'flow="client_credentials",outcome="rate_limited"'
    assert counted(port, f"requests_total{{{labels}}}") == 1
    assert "203.0.113" not in log_lines.text + scrape(port)
    assert "rate_limit_unchecked" not in scrape(port)  # there is no storage that could fail


def test_counts_in_memory_are_bounded() -> None:
    async def main() -> None:
        memory = BoundedMemory(100)
        for n in range(1000):
            await memory.incr(str(n), 60)
            assert len(memory) <= 100
        assert [await memory.get(key) for key in ("899", "900", "999")] == [0, 1, 1]

    asyncio.run(main())


def test_expired_counts_are_removed_as_new_ones_arrive() -> None:
    async def main() -> None:
        now = 1000.0
        memory = BoundedMemory(clock=lambda: now)
        for n in range(100):
            await memory.incr(str(n), 60)
        now += 60
        assert await memory.get("99") == 0
        for n in range(100, 200):
            await memory.incr(str(n), 60)
        assert len(memory) == 100

    asyncio.run(main())


# Failures of the storage -----------------------------------------------------------------------


@contextmanager
def listening(reply: bytes | None) -> Iterator[int]:
    """Accept connections and send each one `reply`, or nothing. Yields the port."""

    def serve(server: socket.socket) -> None:
        with ExitStack() as stack:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    break
                stack.enter_context(connection)
                if reply is not None:
                    connection.recv(65536)
                    connection.sendall(reply)

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_requests_pass_while_the_storage_is_unreachable(start: Start, log_lines: LogLines) -> None:
    port = free_port()
    url = f"redis://me:{PASSWORD}@127.0.0.1:{free_port()}/1"
    client = start(RATE_LIMIT="1/month", RATE_LIMIT_STORAGE=url, METRICS_PORT=str(port))
    assert counted(port, "rate_limit_unchecked_total") == 0
    assert statuses(client, 5) == [200] * 5
    assert counted(port, "rate_limit_unchecked_total") == 5
    [line] = log_lines.of("rate_limit.unchecked")
    assert line["level"] == "warning"
    assert (line["error_type"], line["requests"]) == ("ConnectionError", 1)
    assert PASSWORD not in log_lines.text + scrape(port)


@pytest.mark.parametrize(
    "reply",
    [None, b"-NOAUTH who\r\n", b"\xff" * 99],
    ids=["silence", "error", "bytes"],
)
def test_requests_pass_whatever_the_storage_sends(
    start: Start, log_lines: LogLines, reply: bytes | None
) -> None:
    with listening(reply) as port:
        url = f"valkey://:{PASSWORD}@127.0.0.1:{port}"
        client = start(RATE_LIMIT="1/month", RATE_LIMIT_STORAGE=url, LOG_LEVEL="trace")
        assert statuses(client, 3) == [200] * 3
        assert log_lines.of("rate_limit.unchecked")
        assert PASSWORD not in log_lines.text


class Storage:
    """A SharedStorage, its clock, and a count that takes `seconds` or fails."""

    def __init__(self, seconds: float | None = None, wait_seconds: float = 5) -> None:
        self.time = 1000.0
        self.calls = 0
        self._seconds = seconds
        self._shared = SharedStorage(
            Secret("redis://127.0.0.1:1"),
            Metrics("x"),
            clock=lambda: self.time,
            wait_seconds=wait_seconds,
        )

    async def _count(self) -> int:
        self.calls += 1
        if self._seconds is None:
            raise ConnectionError
        await asyncio.sleep(self._seconds)
        return 1

    async def run(self, times: int = 1) -> int:
        """Run at once; return how many requests were counted."""
        return sum(await asyncio.gather(*[self._shared.run(self._count) for _ in range(times)]))


def test_failures_are_logged_once_a_minute_with_their_number(log_lines: LogLines) -> None:
    async def main() -> None:
        storage = Storage()
        for _ in range(4):
            await storage.run()
            storage.time += 1
        storage.time += rate_limit.LOG_SECONDS
        for _ in range(4):
            await storage.run()

    asyncio.run(main())
    assert [line["requests"] for line in log_lines.of("rate_limit.unchecked")] == [1, 4]


def test_failed_storage_is_called_once_a_second() -> None:
    async def main() -> None:
        storage = Storage()
        for calls in range(rate_limit.FAILURES, rate_limit.FAILURES + 3):
            for _ in range(rate_limit.FAILURES + 5):
                assert await storage.run() == 0
            assert storage.calls == calls
            storage.time += rate_limit.PAUSE_SECONDS

    asyncio.run(main())


def test_requests_do_not_queue_for_an_unresponsive_storage() -> None:
    async def main() -> None:
        storage = Storage(seconds=60)
        assert await storage.run(200) == 0
        assert 1 <= storage.calls <= rate_limit.FAILURES + rate_limit.CONNECTIONS

    asyncio.run(main())


def test_requests_pass_uncounted_if_a_slow_storage_has_no_free_connection(
    log_lines: LogLines,
) -> None:
    async def main() -> None:
        storage = Storage(seconds=0, wait_seconds=0)
        assert rate_limit.CONNECTIONS <= await storage.run(1000) <= 200

    asyncio.run(main())
    [line] = log_lines.of("rate_limit.unchecked")
    assert line["error_type"] == "TimeoutError"

"""Malformed requests to a running service, over sockets, split at any byte.

Whatever comes, the service answers in its own forms or closes, within its deadlines; it stays
alive, logs no defect, and nothing but its own requests reaches Spotify.
"""

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import urlencode

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sealing import Sealer
from tests.flows import CODE, CREDENTIALS, PKCE_CODE, PKCE_REFRESH, REFRESH
from tests.fuzz.running import LogTap, Service, defects
from tests.running import SECRET_KEY, other_end, wait_until

REQUEST_TIMEOUT = 0.4
STATUSES = frozenset([100, 200, 204, 400, 404, 405, 408, 413, 415])
FORMS = ({"error", "reason"}, {"error", "error_description"})
"""Our error, and Spotify's."""
SENT = frozenset(
    [
        "grant_type",
        "code",
        "code_verifier",
        "redirect_uri",
        "refresh_token",
        "client_id",
        "client_secret",
    ]
)
HEADERS = frozenset(
    [
        "host",
        "accept",
        "accept-encoding",
        "authorization",
        "content-type",
        "content-length",
        "user-agent",
    ]
)

_SEALED = Sealer(SECRET_KEY).seal("AQ-unknown-to-the-simulator")
_FORM = urlencode(
    {"code": "a", "code_verifier": "b", "refresh_token": _SEALED, "redirect_uri": "c:d"}
)


def _post(path: str, body: bytes, *headers: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: x", *headers, f"Content-Length: {len(body)}", "", "")
    return "\r\n".join(lines).encode() + body


_URLENCODED = "Content-Type: application/x-www-form-urlencoded"
_CHUNKED = (
    f"POST {CREDENTIALS} HTTP/1.1\r\nHost: x\r\n{_URLENCODED}\r\nTransfer-Encoding: chunked\r\n"
    "\r\n3;a=b\r\na=b\r\n0\r\nX-Trailer: c\r\n\r\n"
).encode()
_MULTIPART = b'--x\r\nContent-Disposition: form-data; name="code"\r\n\r\na\r\n--x--\r\n'

SEEDS = [
    *(
        _post(path, _FORM.encode(), _URLENCODED)
        for path in (CODE, REFRESH, PKCE_CODE, PKCE_REFRESH)
    ),
    _post(f"{CREDENTIALS}/", b"{}", "Content-Type: application/json; charset=utf-8", "Origin: a"),
    _post(CODE, _MULTIPART, "Content-Type: multipart/form-data; boundary=x", "X-Request-ID: abc"),
    _post(REFRESH, b"a", _URLENCODED, "Expect: 100-continue"),
    _post(REFRESH, b"a", _URLENCODED, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
    _post(CODE, b"a=b\r\nupgrade: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", _URLENCODED),
    b"GET http://x/readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    _CHUNKED,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /readyz?a=b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS /healthz HTTP/1.1\r\nHost: x\r\nTraceparent: 00-a-b-01\r\n\r\n",
]
WORDS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b"\xff", b" ", b"\t", b":", b"%00", b"%ff", b"//",
    b"?", b"#", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"http://x:1/", b"GET", b"POST", b"PUT", b"CONNECT",
    b"TRACE", b"SOURCE", b"ICE/1.0", b"RTSP/1.0", b"http://[::1", b"Host: y\r\n",
    b"Content-Length: 1\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: 16384\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding : x\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n",
    b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"X-Request-ID: \x80\r\n",
    b"Content-Type: \x80\r\n", b"Content-Type: application/json\r\n", b" folded\r\n", b"0\r\n\r\n",
    b"fffffffffffffffff\r\n", b"3\r\nabc\r\n", b"x" * 17_000, b"y: z\r\n" * 7_000,
]  # fmt: skip


class Plan(NamedTuple):
    """A message, and where it is split."""

    message: bytes
    cuts: tuple[int, ...] = ()

    def pieces(self) -> list[bytes]:
        """Return the message, cut."""
        places = [0, *sorted(cut % (len(self.message) + 1) for cut in self.cuts), len(self.message)]
        return [self.message[a:b] for a, b in pairwise(places) if a < b]


def edited(seeds: list[bytes], words: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy for `seeds` with `words` or any bytes inserted."""
    edit = st.tuples(
        st.integers(0, 2000),
        st.integers(0, 9),
        st.one_of(st.sampled_from(words), st.binary(max_size=9)),
    )
    several = st.lists(st.sampled_from(seeds), min_size=1, max_size=2).map(b"".join)
    return st.builds(_edit, several, st.lists(edit, max_size=4))


def _edit(text: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, less, more in edits:
        start = place % (len(text) + 1)
        text = text[:start] + more + text[start + less :]
    return text


plans = st.builds(
    Plan, edited(SEEDS, WORDS), st.lists(st.integers(0, 50_000), max_size=2).map(tuple)
)
"""Messages, after which the client closes its direction."""
halves = st.builds(
    lambda plan, lacking: Plan(plan.message[: -1 - lacking % len(plan.message)], plan.cuts),
    plans.filter(lambda plan: bool(plan.message)),
    st.integers(0, 9999),
)
"""Messages that break off, after which the client waits."""


def drawn(strategy: st.SearchStrategy[Plan], how: settings) -> list[Plan]:
    """Return Hypothesis's examples, to be run concurrently."""
    results: list[Plan] = []

    @how
    @given(strategy)
    def keep(plan: Plan) -> None:
        results.append(plan)

    keep()
    return results


class Wire:
    """A service to send bytes to; `deadline` is the maximum time of a connection in seconds."""

    deadline = 30.0

    def __init__(self, service: Service, simulator: httpx.Client, tap: LogTap) -> None:
        self._client = service.client
        self._simulator = simulator
        self._tap = tap
        url = service.client.base_url
        self._address = (url.host, url.port)

    def check(self, plan: Plan) -> None:
        """Send, and check the responses and the log."""
        for status, head, body in responses(self._talk(plan)):
            assert status in STATUSES, (status, body)
            if status >= 400:
                assert b"\r\nx-request-id: " in head.lower()
                assert json.loads(body).keys() in FORMS
        assert self._client.get("/healthz").text == "alive"
        assert not defects(self._tap.new_lines())

    def check_patience(self, plans: list[Plan]) -> None:
        """Send all and wait: by then a connection is closed, or between two requests."""
        with ThreadPoolExecutor(50) as clients:
            list(clients.map(self._wait, plans))
        assert not defects(self._tap.new_lines())

    def _wait(self, plan: Plan) -> None:
        with socket.create_connection(self._address, timeout=self.deadline) as raw:
            _send(raw, plan.pieces())
            time.sleep(2 * REQUEST_TIMEOUT + 1.3)  # a head's time and a body's, to the second
            raw.settimeout(0)
            received, is_open = _drained(raw)
            raw.settimeout(self.deadline)
            responses(received)
            if is_open:
                _send(raw, [b"GET / HTTP/1.0\r\n\r\n"])
                [(status, _, body)] = responses(_received(raw, time.monotonic() + self.deadline))
                assert (status, body) == (200, b"success"), (plan, body)

    def check_spotify(self) -> None:
        """Fail if anything but our own requests reached Spotify; forget what did."""
        for entry in self._simulator.get("/admin/requests").json():
            assert (entry["method"], entry["path"], entry["query"]) == ("POST", "/api/token", "")
            assert {name for name, _ in entry["form"]} <= SENT
            assert {name.lower() for name, _ in entry["headers"]} <= HEADERS
        self._simulator.delete("/admin/requests").raise_for_status()

    def _talk(self, plan: Plan) -> bytes:
        with socket.create_connection(self._address, timeout=self.deadline) as raw:
            _send(raw, plan.pieces())
            _quietly(lambda: raw.shutdown(socket.SHUT_WR))
            return _received(raw, time.monotonic() + self.deadline)


def _quietly(act: Callable[[], None]) -> None:
    try:
        act()
    except ConnectionError:
        return  # the other side may have closed
    except OSError as error:
        if error.errno != 107:  # ENOTCONN: likewise
            raise


def _send(raw: socket.socket, pieces: list[bytes]) -> None:
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for number, piece in enumerate(pieces):
        if number:  # the service reads each piece by itself
            wait_until(lambda: any(other_end(raw)))
        _quietly(lambda piece=piece: raw.sendall(piece))  # type: ignore[misc]


def _received(raw: socket.socket, end: float) -> bytes:
    """Return all bytes until the other side closes, which must happen before `end`."""
    received = b""
    while True:
        assert time.monotonic() < end, "the connection did not end in time"
        try:
            data = raw.recv(65536)
        except ConnectionError:
            return received
        if not data:
            return received
        received += data


def _drained(raw: socket.socket) -> tuple[bytes, bool]:
    """Return the bytes that arrived, and whether more can follow."""
    received = b""
    while True:
        try:
            data = raw.recv(65536)
        except BlockingIOError:
            return received, True
        except ConnectionError:
            return received, False
        if not data:
            return received, False
        received += data


def responses(received: bytes) -> list[tuple[int, bytes, bytes]]:
    """Split bytes into responses: status, head, body. The last body may be cut off by a reset."""
    results = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        assert end, received[:200]
        assert head.startswith(b"HTTP/1.1 "), head
        status = int(head[9:12])
        lengths = [
            int(line.partition(b":")[2])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ]
        assert len(lengths) == (status not in {100, 204}), head
        length = lengths[0] if lengths else 0
        assert len(rest) >= length, received
        results.append((status, head, rest[:length]))
        received = rest[length:]
    return results

"""Limits, deadlines and refusals of the server, over raw sockets."""

import contextlib
import json
import re
import resource
import socket
import struct
from collections.abc import Callable

import httpx
import pytest

from tests.conftest import LogLines, Start
from tests.fakes import HeldSpotify
from tests.running import other_end, other_ends, wait_until

FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
PATH = "/client-credentials-flow/retrieve-tokens"
NEXT = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = NEXT.replace("Host: x", "Host: x\r\nConnection: close")
GET_ONCE = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
GOOD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}Content-Length: 3\r\n\r\na=b"
OK = "HTTP/1.1 200 "
BAD_REQUEST = "HTTP/1.1 400 "
ENOUGH = 8 * 1024 * 1024
"""Bytes: more than the buffers of the kernel hold."""


def connect(client: httpx.Client) -> socket.socket:
    url = client.base_url
    return socket.create_connection((url.host, url.port or 80), timeout=20)


def read(connection: socket.socket) -> str:
    """Read until the server closes."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received.decode()


def talk(client: httpx.Client, sent: str) -> tuple[str, str]:
    """Send, read until the server closes, return head and body."""
    with connect(client) as raw:
        raw.sendall(sent.encode())
        head, _, body = read(raw).partition("\r\n\r\n")
    return head, body


def wait_until_read(*connections: socket.socket) -> None:
    """Wait until the server has accepted the connections and read what they have sent."""
    wait_until(lambda: all(end.has_read for end in other_ends(*connections)))


@pytest.fixture
def hasty(start: Start) -> httpx.Client:
    """Return a client of a service with a timeout that is short, but not for a slow machine."""
    return start(REQUEST_TIMEOUT="2")


# Deadlines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["", f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX: "])
def test_late_head_closes_the_connection(start: Start, sent: str) -> None:
    assert talk(start(REQUEST_TIMEOUT="0.2"), sent) == ("", "")


@pytest.mark.parametrize("length", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_late_body_is_a_408(hasty: httpx.Client, length: str) -> None:
    head, body = talk(hasty, f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}{length}\r\n\r\n")
    assert head.startswith("HTTP/1.1 408 ")
    assert "connection: close" in head.lower()
    assert json.loads(body)["error"] is True


def test_kept_alive_connection_may_be_idle_longer_than_a_request(hasty: httpx.Client) -> None:
    with connect(hasty) as idle:
        idle.sendall(NEXT.encode())
        assert idle.recv(65536).startswith(OK.encode())
        for _ in range(2):  # deadlines are checked in turns
            assert talk(hasty, "GET / HT") == ("", "")
        idle.sendall(NEXT.encode())
        assert idle.recv(65536).startswith(OK.encode())


def test_line_ends_alone_do_not_keep_a_connection_open(hasty: httpx.Client) -> None:
    with connect(hasty) as raw:
        raw.sendall(NEXT.encode())
        assert raw.recv(65536).startswith(OK.encode())
        raw.sendall(b"\r\n")
        assert raw.recv(65536) == b""


def test_partial_head_after_a_refused_body_does_not_keep_a_connection_open(
    hasty: httpx.Client,
) -> None:
    with connect(hasty) as raw:
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
        raw.sendall(f"{head}Content-Length: 3\r\n\r\n".encode())
        assert raw.recv(65536).startswith(b"HTTP/1.1 415 ")
        raw.sendall(b"a=bGET / HTTP/1.1\r\nHost: x\r\n")
        assert raw.recv(65536) == b""


def test_client_that_never_reads_is_disconnected(
    hasty: httpx.Client, simulator: httpx.Client
) -> None:
    body = "x" * 1_000_000
    fault = {"kind": "answer", "status": 400, "body": body, "times": 0}
    simulator.post("/admin/faults", json=fault).raise_for_status()
    with connect(hasty) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.sendall(GOOD.encode() * 8)
        wait_until_read(raw)
        wait_until(lambda: other_end(raw).is_closed)


def test_long_response_is_complete_for_a_client_with_a_small_buffer(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    body = "x" * 1_000_000
    simulator.post("/admin/faults", json={"kind": "answer", "status": 400, "body": body})
    with connect(client) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        raw.sendall(GOOD.replace("Host: x", "Host: x\r\nConnection: close").encode())
        assert read(raw).endswith(f"\r\n\r\n{body}")


# Connections ---------------------------------------------------------------------------------

LIMIT = 80
EVICTED = 2
"""Of LIMIT connections, those that are closed to admit one more."""


@pytest.fixture
def start_full(start: Start) -> Callable[..., httpx.Client]:
    """Start a service that admits LIMIT connections: a quarter of the files it may open."""

    def start_full(**changes: str) -> httpx.Client:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (4 * LIMIT, hard))
        try:
            return start(UPSTREAM_MAX_IN_FLIGHT="1000", **changes)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    return start_full


@pytest.fixture
def full(start_full: Callable[..., httpx.Client]) -> httpx.Client:
    return start_full()


def crowd(client: httpx.Client, sent: str, size: int = LIMIT) -> list[socket.socket]:
    """Return new connections on which `sent` has been sent."""
    connections = [connect(client) for _ in range(size)]
    for connection in connections:
        connection.sendall(sent.encode())
    return connections


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)  # noqa: FBT003 - its name
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        connection.settimeout(20)


@pytest.mark.parametrize(
    "sent", ["", NEXT[:8], f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}Content-Length: 9\r\n\r\na"]
)
def test_client_with_a_request_is_admitted_while_others_hold_all_connections(
    full: httpx.Client, log_lines: LogLines, sent: str
) -> None:
    """The oldest of those that wait for their client are closed; one log line a minute says so."""
    first = crowd(full, sent, EVICTED)
    for _ in range(2):  # so that the server's clock advances
        assert talk(full, GET_ONCE)[0].startswith(OK)
    last = crowd(full, sent, LIMIT - EVICTED)
    wait_until_read(*first, *last)
    assert talk(full, GET_ONCE)[0].startswith(OK)
    assert all(map(is_closed, first))
    assert not any(map(is_closed, last))
    more = crowd(full, sent, 2 * LIMIT)
    assert talk(full, GET_ONCE)[0].startswith(OK)
    wait_until(lambda: sum(not is_closed(each) for each in last + more) <= LIMIT)
    assert sum(not is_closed(each) for each in last + more) >= LIMIT - EVICTED
    [line] = log_lines.of("server.full")
    assert (line["level"], line["connections"]) == ("warning", LIMIT)
    for connection in first + last + more:
        connection.close()


def test_idle_connections_are_closed_before_slow_ones(full: httpx.Client) -> None:
    slow = crowd(full, NEXT[:8], LIMIT - EVICTED)
    idle = crowd(full, NEXT, EVICTED)
    for connection in idle:
        assert connection.recv(65536).startswith(OK.encode())
    wait_until_read(*slow)
    assert talk(full, GET_ONCE)[0].startswith(OK)
    assert all(map(is_closed, idle))
    for connection in slow:
        connection.sendall(NEXT[8:].encode())
        assert connection.recv(65536).startswith(OK.encode())
    for connection in slow + idle:
        connection.close()


def test_clients_that_wait_for_spotify_leave_connections_for_probes(
    start_full: Callable[..., httpx.Client],
) -> None:
    """Those beyond seven in eight are refused, also if all share one call."""
    with HeldSpotify() as spotify:
        full = start_full(SPOTIFY_TOKEN_URL=spotify.url)
        waiting = crowd(full, GOOD, 2 * LIMIT)
        spotify.wait_for_request()
        for _ in range(3):
            assert talk(full, GET_ONCE)[0].startswith(OK)
        spotify.release.set()
        served = 0
        for connection in waiting:
            with contextlib.suppress(ConnectionError):  # some were closed for others
                served += connection.recv(65536).startswith(OK.encode())
        assert served == LIMIT * 7 // 8
        assert talk(full, GET_ONCE)[0].startswith(OK)
        for connection in waiting:
            connection.close()


# Requests that are refused -------------------------------------------------------------------


def test_invalid_http_is_a_400_with_a_log_line(client: httpx.Client, log_lines: LogLines) -> None:
    head, body = talk(client, "SSH-2.0-x\r\n\r\n")
    assert head.startswith(BAD_REQUEST)
    assert json.loads(body) == {"error": True, "reason": "Invalid HTTP request received."}
    [line] = log_lines.of("request.malformed")
    assert line["status"] == 400
    assert f"x-request-id: {line['request_id']}\r\n" in head


CHUNKED_UPGRADE = (
    f"POST {PATH} HTTP/1.1\r\n{FORM}Host: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0"
)


@pytest.mark.parametrize(
    "heads",
    [
        ["GET / HTTP/9.9\r\nHost: x", "GET / HTTP/2.0\r\nHost: x", "GET /", "\x00\x01"],
        ["GET / HTTP/1.1", "GET / HTTP/1.1\r\nX-Host: x"],
        ["GET / HTTP/1.1\r\nHost: x\r\nHost: x", "GET / HTTP/1.0\r\nhost: x\r\nHOST: y"],
        [f"GET / HTTP/1.1\r\nHost: {host}" for host in ("x y", "x/y", "me@x")],
        [
            f"GET {url} HTTP/1.1\r\nHost: x"
            for url in ("http://[::1", "http://a:99999999/", "http://a@b@c/", "http://a", "a")
        ],
        [f"GET {url} HTTP/1.1\r\nHost: x" for url in ("/#x", "/?#", "/healthz#/../y", "http://a/#")],
        ["SOURCE / ICE/1.0\r\nHost: x", "SETUP / RTSP/1.0\r\nHost: x", "CONNECT a:80 HTTP/1.1"],
        ["GET / HTTP/1.1\r\nHost: x" + "\r\nX: y" * 100, f"GET / HTTP/1.1\r\nX: {'x' * 40_000}"],
        [CHUNKED_UPGRADE],
    ],
    ids=["version", "none", "hosts", "host", "url", "fragment", "protocol", "too long", "upgrade"],
)  # fmt: skip
def test_request_is_refused_for_its_head(
    client: httpx.Client, log_lines: LogLines, heads: list[str]
) -> None:
    for head in heads:
        response, body = talk(client, f"{head}\r\n\r\n")
        assert response.startswith(BAD_REQUEST), head
        assert json.loads(body)["error"] is True
    assert len(log_lines.of("request.malformed", count=len(heads))) == len(heads)


def test_any_host_is_accepted_and_http_1_0_needs_none(client: httpx.Client) -> None:
    for head in (
        "GET / HTTP/1.0\r\n",
        "GET / HTTP/1.0\r\nHost: x\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\nHost:\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\nhOST: [::1]:80\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\nHost: a_b.%41-~.example:8080\r\n",
        "GET http://y/ HTTP/1.1\r\nConnection: close\r\nHost: x\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\nHost: x\r\n" + "X: y\r\n" * 98,
    ):
        assert talk(client, f"{head}\r\n")[0].startswith(OK), head


def test_refusal_at_the_oauth_endpoint_has_its_form(client: httpx.Client) -> None:
    head = "POST /api/token?x=1 HTTP/1.1\r\nHost: x\r\n" + "X: y\r\n" * 100
    status, body = talk(client, f"{head}\r\n")
    assert status.startswith(BAD_REQUEST)
    assert json.loads(body) == {
        "error": "invalid_request",
        "error_description": "The request is too long.",
    }


# Bodies --------------------------------------------------------------------------------------


def test_response_to_a_body_that_is_too_long_comes_before_the_body(
    client: httpx.Client,
) -> None:
    with connect(client) as raw:
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}Content-Length: 99999\r\n\r\n"
        raw.sendall(head.encode())
        assert raw.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("framing", "endless"),
    [
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
        ("Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        ("Content-Length: 99999999\r\n\r\n", b"x"),
    ],
    ids=["trailers", "chunks", "refused by its length"],
)
def test_body_without_an_end_is_not_read_to_the_end(
    client: httpx.Client, framing: str, endless: bytes
) -> None:
    sent, received = 0, b""
    endless *= 4096
    with connect(client) as raw:
        raw.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}{framing}".encode())
        with contextlib.suppress(ConnectionError):
            while sent < 8 * ENOUGH:
                sent += raw.send(endless)
        with contextlib.suppress(ConnectionError):
            while data := raw.recv(65536):
                received += data
    assert sent < ENOUGH
    assert received.count(b"HTTP/1.1 ") <= 1


def test_trailer_is_not_a_header(client: httpx.Client) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    trailer = f"{FORM}X-Request-ID: from-trailer\r\nConnection: close\r\n"
    response, _ = talk(client, f"{head}Connection: close\r\n\r\n3\r\na=b\r\n0\r\n{trailer}\r\n")
    assert response.startswith("HTTP/1.1 415 ")
    assert "from-trailer" not in response


def test_expect_100_continue_gets_100(client: httpx.Client) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}Content-Length: 3\r\nExpect: 100-continue\r\n"
    with connect(client) as raw:
        raw.sendall(f"{head}\r\n".encode())
        assert raw.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"a=b")
        assert raw.recv(65536).startswith(OK.encode())


def test_offer_to_upgrade_is_ignored_and_the_body_read(client: httpx.Client) -> None:
    """As curl --http2 and Java's HttpClient send it over plain HTTP."""
    headers = {
        "Connection": "Upgrade, HTTP2-Settings",
        "uPGRADE": "h2c",
        "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA",
    }
    response = client.post(
        "/authorization-code-flow/refresh-tokens", data={"refresh_token": "x"}, headers=headers
    )
    assert response.json()["reason"] == "could not decrypt refresh token"
    assert client.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_body_that_looks_like_headers_smuggles_nothing(
    client: httpx.Client, simulator: httpx.Client, cut: int
) -> None:
    """A read ends inside the head's last CRLFCRLF, and the body has a line that names `upgrade`.

    Without that line, the first chunk would end where the second one has the end of the body and
    another request.
    """
    hidden = "\r\n0\r\n\r\n" + GOOD.replace("Host: x", "Host: x\r\nX-Request-ID: smuggled")
    line = "\r\nupgrade: x"
    second = "y" * (len(line) - len("\r\nff\r\n")) + hidden
    first = f"a=b{line}\r\nc"
    chunks = "".join(f"{len(chunk):x}\r\n{chunk}\r\n" for chunk in (first, second, ""))
    head = f"POST /nowhere HTTP/1.1\r\nHost: x\r\n{FORM}Transfer-Encoding: chunked\r\n\r\n"
    assert 0x10 <= len(second) <= 0xFF
    sent, place = head + chunks + GET_ONCE, len(head) - 4 + cut
    with connect(client) as raw:
        raw.sendall(sent[:place].encode())
        wait_until_read(raw)
        raw.sendall(sent[place:].encode())
        received = read(raw)
    assert re.findall(r"HTTP/1.1 ([0-9]{3}) ", received) == ["404", "200"]
    assert received.endswith("alive")
    assert "smuggled" not in received
    assert simulator.get("/admin/requests").json() == []


# Order and disconnects -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "served", "refused"),
    [(LAST, 1, 0), (NEXT[:8], 0, 0), ("GARBAGE\0\r\n\r\n", 0, 1), (NEXT * 9999, 16, 1)],
    ids=["request", "half", "garbage", "flood"],
)
def test_responses_keep_the_order_of_requests(
    hasty: httpx.Client, log_lines: LogLines, behind: str, served: int, refused: int
) -> None:
    """A flood of requests behind one is cut off."""
    head, rest = talk(hasty, GOOD + behind)
    assert head.startswith(OK)
    assert "access_token" in rest.partition("HTTP/1.1")[0]
    statuses = re.findall(r"HTTP/1.1 ([0-9]{3}) ", rest)
    assert statuses == ["200"] * served + ["400"] * refused
    events = [line["event"] for line in log_lines.requests(count=1 + served)]
    assert events == ["token.retrieved"] + ["request.served"] * served


def test_half_closed_client_gets_its_response(start: Start) -> None:
    with HeldSpotify() as spotify, connect(start(SPOTIFY_TOKEN_URL=spotify.url)) as raw:
        raw.sendall(GOOD.encode())
        raw.shutdown(socket.SHUT_WR)
        spotify.wait_for_request()
        spotify.release.set()
        assert read(raw).startswith(OK)


@pytest.mark.parametrize("path", ["/healthz", "/unknown"])
def test_half_closed_client_gets_a_response_that_needs_no_call(
    client: httpx.Client, path: str
) -> None:
    """The response is complete before the end of the client's direction is read."""
    with connect(client) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        raw.shutdown(socket.SHUT_WR)
        assert read(raw).startswith("HTTP/1.1 ")


def test_client_disconnect_is_not_logged_as_a_defect(start: Start, log_lines: LogLines) -> None:
    """Both requests on the connection are cancelled, not only the last one."""
    with HeldSpotify() as spotify:
        client = start(SPOTIFY_TOKEN_URL=spotify.url)
        with connect(client) as raw:
            raw.sendall((GOOD + NEXT).encode())
            spotify.wait_for_request()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for _ in range(2):  # the reset comes before these
            assert talk(client, GET_ONCE)[0].startswith(OK)
        spotify.release.set()
        assert log_lines.requests()[0]["route"] == PATH
        assert talk(client, GET_ONCE)[0].startswith(OK)
    assert "error" not in {line["level"] for line in log_lines.lines}

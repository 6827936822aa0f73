"""Limits, deadlines and refusals of the server, over raw sockets."""

import contextlib
import json
import re
import socket
import struct
import time

import httpx
import pytest

from service import server
from tests.conftest import LogLines, Start

FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
PATH = "/client-credentials-flow/retrieve-tokens"
NEXT = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = NEXT.replace("Host: x", "Host: x\r\nConnection: close")
GET_ONCE = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
GOOD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}Content-Length: 3\r\n\r\na=b"


def connect(client: httpx.Client) -> socket.socket:
    url = client.base_url
    return socket.create_connection((url.host, url.port or 80), timeout=10)


def talk(client: httpx.Client, sent: str) -> tuple[str, str]:
    """Send, read until the server closes, return head and body."""
    with connect(client) as raw:
        raw.sendall(sent.encode())
        received = b""
        while data := raw.recv(65536):
            received += data
    head, _, body = received.decode().partition("\r\n\r\n")
    return head, body


@pytest.fixture
def hasty(start: Start) -> httpx.Client:
    """Return a client of a service that waits half a second for requests."""
    return start(REQUEST_TIMEOUT="0.5")


@pytest.mark.parametrize("sent", ["", "POST / HT", f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX: "])
def test_a_head_that_does_not_arrive_closes_the_connection(hasty: httpx.Client, sent: str) -> None:
    assert talk(hasty, sent) == ("", "")


@pytest.mark.parametrize("length", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_arrive_is_a_408(hasty: httpx.Client, length: str) -> None:
    head, body = talk(hasty, f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}{length}\r\n\r\n")
    assert head.startswith("HTTP/1.1 408 ")
    assert "connection: close" in head.lower()
    assert json.loads(body)["error"] is True


def test_a_kept_alive_connection_may_rest_longer_than_a_request(hasty: httpx.Client) -> None:
    request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(hasty) as raw:
        for _ in range(2):
            raw.sendall(request.encode())
            assert raw.recv(65536).startswith(b"HTTP/1.1 200 ")
            raw.settimeout(0.8)
            with pytest.raises(TimeoutError):
                raw.recv(1)
            raw.settimeout(10)


LIMIT = 80
EVICTED = LIMIT // server.EVICTED_PART


@pytest.fixture
def full(start: Start, monkeypatch: pytest.MonkeyPatch) -> httpx.Client:
    """Return a client of a service for which LIMIT connections are as many as can be."""
    assert server.CONNECTION_LIMIT == 2048
    monkeypatch.setattr(server, "CONNECTION_LIMIT", LIMIT)
    return start()


def crowd(client: httpx.Client, sent: str, size: int = LIMIT) -> list[socket.socket]:
    connections = [connect(client) for _ in range(size)]
    for connection in connections:
        connection.sendall(sent.encode())
    time.sleep(0.3)
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
        connection.settimeout(10)


@pytest.mark.parametrize(
    "sent", ["", NEXT[:8], f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}Content-Length: 9\r\n\r\na"]
)
def test_a_client_with_a_request_gets_in_while_others_hold_all_connections(
    full: httpx.Client, log_lines: LogLines, sent: str
) -> None:
    """The oldest of those that wait for their client are closed; one log line a minute says so."""
    first, last = crowd(full, sent, EVICTED), crowd(full, sent, LIMIT - EVICTED)
    assert talk(full, GET_ONCE)[0].startswith("HTTP/1.1 200 ")
    assert all(map(is_closed, first))
    assert not any(map(is_closed, last))
    more = crowd(full, sent, 2 * LIMIT)
    assert talk(full, GET_ONCE)[0].startswith("HTTP/1.1 200 ")
    left = [each for each in last + more if not is_closed(each)]
    assert LIMIT - EVICTED <= len(left) <= LIMIT
    [line] = log_lines.of("server.full")
    assert (line["level"], line["connections"]) == ("warning", LIMIT)
    for connection in first + last + more:
        connection.close()


def test_idle_connections_make_room_before_slow_ones(full: httpx.Client) -> None:
    slow = crowd(full, NEXT[:8], LIMIT - EVICTED)
    idle = crowd(full, NEXT, EVICTED)
    for connection in idle:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert talk(full, GET_ONCE)[0].startswith("HTTP/1.1 200 ")
    assert all(map(is_closed, idle))
    for connection in slow:
        connection.sendall(NEXT[8:].encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    for connection in slow + idle:
        connection.close()


def test_clients_that_wait_for_spotify_leave_connections_for_probes(
    full: httpx.Client, simulator: httpx.Client
) -> None:
    """Those beyond seven in eight are told to come again, also if all share one call."""
    simulator.post("/admin/faults", json={"kind": "delay", "seconds": 1.5}).raise_for_status()
    asking = crowd(full, GOOD, 2 * LIMIT)
    for _ in range(3):
        assert talk(full, GET_ONCE)[0].startswith("HTTP/1.1 200 ")
    served = 0
    for connection in asking:
        with contextlib.suppress(ConnectionError):  # some made room
            served += connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert served == LIMIT * 7 // 8
    assert talk(full, GET_ONCE)[0].startswith("HTTP/1.1 200 ")
    for connection in asking:
        connection.close()


def test_a_body_refused_by_its_length_is_not_waited_for(hasty: httpx.Client) -> None:
    """The answer comes before the body; what follows is let go of in the end."""
    sent = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}Content-Length: 99999\r\n\r\n"
    head, _ = talk(hasty, sent)
    assert head.startswith("HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent", ["SSH-2.0-x\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x00\x01\r\n\r\n"]
)
def test_what_is_not_http_is_a_400_of_ours_and_a_line_in_the_log(
    start: Start, log_lines: LogLines, sent: str
) -> None:
    head, body = talk(start(), sent)
    assert head.startswith("HTTP/1.1 400 ")
    assert json.loads(body) == {"error": True, "reason": "Invalid HTTP request received."}
    assert [line["status"] for line in log_lines.of("request.malformed")] == [400]


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nX-Host: x\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n",
        "GET / HTTP/1.0\r\nhost: x\r\nHOST: y\r\n",
        "GET / HTTP/1.1\r\nHost: x y\r\n",
        "GET / HTTP/1.1\r\nHost: x/y\r\n",
        "GET / HTTP/1.1\r\nHost: me@x\r\n",
        "GET / HTTP/2.0\r\nHost: x\r\n",
        "GET / HTTP/0.9\r\nHost: x\r\n",
        "GET /\r\n",
    ],
    ids=repr,
)
def test_a_request_that_is_not_for_one_host_or_of_another_version_is_a_400_of_ours(
    client: httpx.Client, head: str
) -> None:
    answer, body = talk(client, f"{head}\r\n")
    assert answer.startswith("HTTP/1.1 400 ")
    assert json.loads(body)["error"] is True


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.0\r\n",
        "GET / HTTP/1.0\r\nHost: x\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\nHost:\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\nhOST: [::1]:80\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\nHost: a_b.%41-~.example:8080\r\n",
        "GET http://y/ HTTP/1.1\r\nConnection: close\r\nHost: x\r\n",
    ],
    ids=repr,
)
def test_any_host_is_good_and_http_1_0_needs_none(client: httpx.Client, head: str) -> None:
    assert talk(client, f"{head}\r\n")[0].startswith("HTTP/1.1 200 ")


def test_more_headers_than_the_limit_are_a_400_of_ours(client: httpx.Client) -> None:
    head = "GET / HTTP/1.1\r\nConnection: close\r\nHost: x\r\n" + "X: y\r\n" * 98
    assert talk(client, f"{head}\r\n")[0].startswith("HTTP/1.1 200 ")
    assert talk(client, f"{head}X: y\r\n\r\n")[0].startswith("HTTP/1.1 400 ")


def test_a_refused_request_to_the_oauth_endpoint_has_its_form(client: httpx.Client) -> None:
    head = "POST /api/token?x=1 HTTP/1.1\r\nHost: x\r\n" + "X: y\r\n" * 100
    status, body = talk(client, f"{head}\r\n")
    assert status.startswith("HTTP/1.1 400 ")
    assert json.loads(body) == {
        "error": "invalid_request",
        "error_description": "The request is too long.",
    }


def test_a_head_over_the_limit_is_a_400_of_ours(client: httpx.Client) -> None:
    head, body = talk(client, "GET / HTTP/1.1\r\nX: " + "x" * 40_000)
    assert head.startswith("HTTP/1.1 400 ")
    assert "too long" in json.loads(body)["reason"]


def test_an_offer_to_upgrade_is_ignored_and_the_body_read(client: httpx.Client) -> None:
    """As curl --http2 and Java's HttpClient send it over plain HTTP."""
    headers = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA",
    }
    answer = client.post(
        "/authorization-code-flow/refresh-tokens", data={"refresh_token": "x"}, headers=headers
    )
    assert answer.json()["reason"] == "could not decrypt refresh token"


def test_a_client_that_waits_for_100_gets_it(client: httpx.Client) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}Content-Length: 3\r\nExpect: 100-continue\r\n"
    with connect(client) as raw:
        raw.sendall(f"{head}\r\n".encode())
        assert raw.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"a=b")
        assert raw.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("behind", "served", "refused"),
    [
        (LAST, 1, 0),
        (NEXT[:8], 0, 0),
        ("GARBAGE\0\r\n\r\n", 0, 1),
        (NEXT * 9999, server.PIPELINE_LIMIT, 1),
    ],
    ids=["request", "half", "garbage", "flood"],
)
def test_nothing_overtakes_the_response_before_it(
    hasty: httpx.Client, log_lines: LogLines, behind: str, served: int, refused: int
) -> None:
    """Requests behind a request are served in order, and a flood of them is cut off."""
    head, rest = talk(hasty, GOOD + behind)
    assert head.startswith("HTTP/1.1 200 ")
    assert "access_token" in rest.partition("HTTP/1.1")[0]
    statuses = re.findall(r"HTTP/1.1 ([0-9]{3}) ", rest)
    assert statuses == ["200"] * served + ["400"] * refused
    events = [line["event"] for line in log_lines.lines if "method" in line]
    assert events == ["token.retrieved"] + ["request.served"] * served


def test_a_client_that_closes_its_own_direction_gets_its_answer(
    client: httpx.Client, simulator: httpx.Client
) -> None:
    simulator.post("/admin/faults", json={"kind": "delay", "seconds": 0.2}).raise_for_status()
    with connect(client) as raw:
        raw.sendall(GOOD.encode())
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert raw.recv(65536) == b""


def test_a_client_that_leaves_before_its_responses_is_no_defect(
    client: httpx.Client, simulator: httpx.Client, log_lines: LogLines
) -> None:
    """Both requests on the connection learn of it, not only the last one."""
    simulator.post("/admin/faults", json={"kind": "delay", "seconds": 0.3}).raise_for_status()
    with connect(client) as raw:
        raw.sendall((GOOD + NEXT).encode())
        time.sleep(0.1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert log_lines.requests()[0]["route"] == PATH
    assert talk(client, GET_ONCE)[0].startswith("HTTP/1.1 200 ")
    assert "error" not in {line["level"] for line in log_lines.lines}


def test_a_trailer_is_no_header(client: httpx.Client) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    trailer = f"{FORM}X-Request-ID: from-trailer\r\nConnection: close\r\n"
    answer, _ = talk(client, f"{head}Connection: close\r\n\r\n3\r\na=b\r\n0\r\n{trailer}\r\n")
    assert answer.startswith("HTTP/1.1 415 ")
    assert "from-trailer" not in answer


@pytest.mark.parametrize("endless", [b"a: b\r\n", b"1\r\nx\r\n"], ids=["trailers", "chunks"])
def test_a_body_without_an_end_is_not_read_for_ever(client: httpx.Client, endless: bytes) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}Transfer-Encoding: chunked\r\n\r\n"
    if endless.startswith(b"a"):
        head += "0\r\n"
    sent, received = 0, b""
    with connect(client) as raw:
        raw.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            while sent < 64 * 1024 * 1024:
                raw.sendall(endless * 1000)
                sent += len(endless) * 1000
        with contextlib.suppress(ConnectionError):
            while data := raw.recv(65536):
                received += data
    assert sent < 8 * 1024 * 1024  # what the kernels' buffers take
    assert received.count(b"HTTP/1.1 ") <= 1


def test_a_long_header_is_refused_however_it_is_cut(client: httpx.Client) -> None:
    head, _ = talk(client, f"GET / HTTP/1.1\r\nHost: x\r\nX: {'x' * 40_000}\r\n\r\n")
    assert head.startswith("HTTP/1.1 400 ")


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_body_that_looks_like_headers_smuggles_nothing_where_its_head_is_cut(
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
        for piece in (sent[:place], sent[place:]):
            raw.sendall(piece.encode())
            time.sleep(0.05)
        received = b""
        while data := raw.recv(65536):
            received += data
    assert re.findall(rb"HTTP/1.1 ([0-9]{3}) ", received) == [b"404", b"200"]
    assert received.endswith(b"alive")
    assert b"smuggled" not in received
    assert simulator.get("/admin/requests").json() == []


@pytest.mark.parametrize("name", ["Upgrade", "UPGRADE", "uPGRADE"])
def test_an_offer_to_upgrade_is_declined_in_any_spelling(client: httpx.Client, name: str) -> None:
    lines = f"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\n{name}: h2c\r\n\r\n"
    assert talk(client, lines)[0].startswith("HTTP/1.1 200 ")


def test_an_offer_to_upgrade_with_a_chunked_body_is_a_400_with_a_reason(
    client: httpx.Client,
) -> None:
    lines = "Host: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n"
    head, body = talk(client, f"POST {PATH} HTTP/1.1\r\n{FORM}{lines}\r\n0\r\n\r\n")
    assert head.startswith("HTTP/1.1 400 ")
    assert "upgrade" in json.loads(body)["reason"]


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://a:99999999/", "http:// ", "http://a@b@c/", "http://a", "a"]
)
def test_a_malformed_url_is_a_400_and_a_line_in_the_log(
    client: httpx.Client, log_lines: LogLines, url: str
) -> None:
    head, body = talk(client, f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.startswith("HTTP/1.1 400 ")
    assert json.loads(body)["error"] is True
    assert len(log_lines.of("request.malformed")) == 1


@pytest.mark.parametrize(
    "line", ["SOURCE / ICE/1.0", "DESCRIBE / RTSP/1.0", "SETUP / RTSP/1.0", "CONNECT a:80 HTTP/1.1"]
)
def test_requests_of_other_protocols_are_a_400(client: httpx.Client, line: str) -> None:
    head, _ = talk(client, f"{line}\r\nHost: a:80\r\n\r\n")
    assert head.startswith("HTTP/1.1 400 ")


def test_line_ends_alone_do_not_hold_a_connection(start: Start) -> None:
    with connect(start(REQUEST_TIMEOUT="0.3")) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 200 ")
        raw.sendall(b"\r\n")
        assert raw.recv(65536) == b""


def test_half_a_head_behind_what_is_left_of_a_refused_body_does_not_hold_a_connection(
    hasty: httpx.Client,
) -> None:
    with connect(hasty) as raw:
        raw.settimeout(3)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
        raw.sendall(f"{head}Content-Length: 3\r\n\r\n".encode())
        assert raw.recv(65536).startswith(b"HTTP/1.1 415 ")
        raw.sendall(b"a=bGET / HTTP/1.1\r\nHost: x\r\n")
        assert raw.recv(65536) == b""


def test_a_client_that_takes_no_answer_is_left(start: Start, simulator: httpx.Client) -> None:
    body = "x" * 1_000_000
    order = {"kind": "answer", "status": 400, "body": body, "times": 0}
    simulator.post("/admin/faults", json=order).raise_for_status()
    with connect(start(REQUEST_TIMEOUT="0.3")) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        received = 0
        with contextlib.suppress(ConnectionError):
            for _ in range(8):
                raw.sendall(GOOD.encode())
                time.sleep(0.1)
            time.sleep(0.5)
            while data := raw.recv(1 << 20):
                received += len(data)
    assert received < 8 * len(body)


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(
    start: Start, simulator: httpx.Client
) -> None:
    body = "x" * 1_000_000
    simulator.post("/admin/faults", json={"kind": "answer", "status": 400, "body": body})
    with connect(start(REQUEST_TIMEOUT="1")) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        raw.sendall(GOOD.replace("Host: x", "Host: x\r\nConnection: close").encode())
        time.sleep(0.3)
        received = b""
        while data := raw.recv(65536):
            received += data
    assert received.endswith(b"\r\n\r\n" + body.encode())


def test_what_is_left_of_a_body_that_was_refused_is_not_read_for_ever(
    client: httpx.Client,
) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{FORM}Content-Length: 99999999\r\n\r\n"
    sent, received = 0, b""
    with connect(client) as raw:
        raw.sendall(head.encode())
        received += raw.recv(65536)
        with contextlib.suppress(ConnectionError):
            while sent < 64 * 1024 * 1024:
                sent += raw.send(b"x" * 65536)
        with contextlib.suppress(ConnectionError):
            received += raw.recv(65536)
    assert sent < 8 * 1024 * 1024  # what the kernels' buffers take
    assert received.startswith(b"HTTP/1.1 413 ")
    assert received.count(b"HTTP/1.1 ") == 1


def test_what_is_not_http_is_answered_with_the_id_that_is_logged(
    start: Start, log_lines: LogLines
) -> None:
    head, _ = talk(start(), "SSH-2.0-x\r\n\r\n")
    [line] = log_lines.of("request.malformed")
    assert f"x-request-id: {line['request_id']}\r\n" in head

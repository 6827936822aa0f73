"""What uvicorn lacks and service.server adds, seen over raw sockets."""

import json
import socket

import httpx
import pytest

from tests.conftest import LogLines, Start

FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
PATH = "/client-credentials-flow/retrieve-tokens"


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


def test_pipelined_requests_are_answered_in_order(client: httpx.Client) -> None:
    one = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    two = "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head, rest = talk(client, one + two)
    assert head.startswith("HTTP/1.1 200 ")
    assert "HTTP/1.1 404 " in rest

"""Requests up to a rate limit, and the metrics about it."""

import re
from contextlib import ExitStack

import httpx

from tests.flows import CREDENTIALS
from tests.volley import connected, read_response, request

PASSWORD = "pa55-of-the-storage"


def post(client: httpx.Client, forwarded: str | None = None) -> httpx.Response:
    headers = {"X-Forwarded-For": forwarded} if forwarded is not None else {}
    return client.post(CREDENTIALS, data={"grant_type": "x"}, headers=headers)


def statuses(client: httpx.Client, times: int, forwarded: str | None = None) -> list[int]:
    return [post(client, forwarded).status_code for _ in range(times)]


def crowd(client: httpx.Client, size: int) -> list[int]:
    """Send requests at once, over a connection each; return their statuses."""
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(client)) for _ in range(size)]
        for connection in connections:
            connection.sendall(request(CREDENTIALS, {"grant_type": "x"}))
        return [read_response(connection).status for connection in connections]


def scrape(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text


def counted(port: int, name: str) -> float:
    match = re.search(rf"^spotify_api_server_{re.escape(name)} (.*)$", scrape(port), re.MULTILINE)
    assert match, name
    return float(match[1])

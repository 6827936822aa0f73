"""Many requests at once: all are sent before the first response is read."""

import json
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from http.client import HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx


class Shot(NamedTuple):
    """A response: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)


def connected(client: httpx.Client) -> socket.socket:
    """Return a new connection to the server of `client`."""
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=20)


def request(path: str, form: dict[str, str], *headers: str) -> bytes:
    body = urlencode(form)
    head = [f"POST {path} HTTP/1.1", "Host: test", "Connection: close", *headers]
    head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", body]).encode()


def read_response(connection: socket.socket) -> Shot:
    response = HTTPResponse(connection)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Shot(response.status, headers, response.read())


def volley(
    client: httpx.Client,
    path: str,
    forms: Iterable[dict[str, str]],
    meanwhile: Callable[[], None] = lambda: None,
) -> list[Shot]:
    """Send each form to `path` over a connection of its own; return the responses in their order.

    `meanwhile` is called when all have been sent, before the first response is read.
    """
    with ExitStack() as stack:
        connections = []
        for form in forms:
            connection = stack.enter_context(connected(client))
            connection.sendall(request(path, form))
            connections.append(connection)
        meanwhile()
        return [read_response(connection) for connection in connections]

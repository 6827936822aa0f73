"""Requests: one whose response is checked, and many that are counted."""

import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag

from bench.rig import Process
from bench.tokens import ACCESS_TOKEN, REFRESH_TOKEN, opened, request_bodies
from bench.tools import BenchError, tool


@dataclass(frozen=True)
class Workload:
    """The requests of a load: `bodies` in turn, to one path."""

    path: str
    bodies: Callable[[], Iterator[str]]
    refreshes: bool


REFRESH: Final = Workload(
    "/authorization-code-flow-pkce/refresh-tokens", request_bodies, refreshes=True
)
APP_TOKEN: Final = Workload(
    "/client-credentials-flow/retrieve-tokens",
    lambda: iter(["grant_type=client_credentials"]),
    refreshes=False,
)
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_RESPONSE_SECONDS: Final = 10
_READY_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.01
_TICK_SECONDS: Final = 0.2


def wait_ready(
    process: Process, port: int, ready_path: str | None, workload: Workload = REFRESH
) -> None:
    """Return at the first 200 of `ready_path`, or of `workload` if there is no such path."""
    deadline = time.monotonic() + _READY_SECONDS
    while not _is_ready(port, ready_path, workload):
        process.check_alive()
        if time.monotonic() > deadline:
            raise BenchError(f"the process does not become ready:\n{process.tail()}")
        time.sleep(_POLL_SECONDS)


def check_response(port: int, workload: Workload) -> None:
    """Raise BenchError unless one response has the upstream's tokens, sealed."""
    status, body = _post(port, workload)
    if status != HTTPStatus.OK:
        raise BenchError(f"{workload.path}: status {status}: {body.decode(errors='replace')}")
    try:
        tokens = json.loads(body)
        is_right = tokens["access_token"] == ACCESS_TOKEN
        if workload.refreshes:
            is_right &= opened(tokens["refresh_token"]) == REFRESH_TOKEN
    except (ValueError, KeyError, TypeError, InvalidTag) as error:
        raise BenchError(f"{workload.path}: the response is unusable: {error!r}") from error
    if not is_right:
        raise BenchError(f"{workload.path}: the tokens are not the upstream's")


def drive(
    port: int, workload: Workload, connections: int, seconds: int, tick: Callable[[], None]
) -> int:
    """Load the server, calling `tick` now and then; return the number of responses.

    Raises BenchError if one is not a 200 or a connection breaks.
    """
    command = _wrk(port, workload, connections, seconds)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as load:
        try:
            while load.poll() is None:
                tick()
                time.sleep(_TICK_SECONDS)
        finally:
            load.kill()
        output, _ = load.communicate()
    return _counted(output)


def get(port: int, path: str) -> tuple[int, bytes]:
    """Return the status and body of a GET on loopback."""
    return _request(port, "GET", path)


def _wrk(port: int, workload: Workload, connections: int, seconds: int) -> Sequence[str]:
    return [
        tool("wrk"),
        "--threads=1",
        f"--connections={connections}",
        f"--duration={seconds}s",
        f"--timeout={_RESPONSE_SECONDS}s",
        f"--script={Path(__file__).parent / 'load.lua'}",
        f"http://127.0.0.1:{port}{workload.path}",
        "--",
        *workload.bodies(),
    ]


def _counted(output: str) -> int:
    try:
        counts: dict[str, Any] = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        raise BenchError(f"wrk failed:\n{output}") from None
    requests, wrong, broken = counts["requests"], counts["wrong"], counts["broken"]
    if not requests or wrong or broken:
        raise BenchError(f"of {requests} responses {wrong} are not 200; {broken} connections broke")
    return int(requests)


def _is_ready(port: int, ready_path: str | None, workload: Workload) -> bool:
    try:
        status, _ = get(port, ready_path) if ready_path else _post(port, workload)
    except (OSError, http.client.HTTPException):
        return False
    return status == HTTPStatus.OK


def _post(port: int, workload: Workload) -> tuple[int, bytes]:
    return _request(port, "POST", workload.path, next(workload.bodies()), FORM)


def _request(
    port: int,
    method: str,
    path: str,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_RESPONSE_SECONDS)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()

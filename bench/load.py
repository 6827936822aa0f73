"""Requests: one that is looked at closely, and many that are counted."""

import http.client
import json
import subprocess
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag

from bench.rig import Process
from bench.tokens import ACCESS_TOKEN, REFRESH_TOKEN, opened, request_bodies
from bench.tools import BenchError, tool

PATH: Final = "/authorization-code-flow-pkce/refresh-tokens"
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_ANSWER_SECONDS: Final = 10
_READY_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.01
_TICK_SECONDS: Final = 0.2


def wait_ready(process: Process, port: int, ready_path: str | None) -> None:
    """Return at the first 200 of `ready_path`, or of a refresh if there is no such path."""
    deadline = time.monotonic() + _READY_SECONDS
    while not _is_ready(port, ready_path):
        process.check_alive()
        if time.monotonic() > deadline:
            raise BenchError(f"the process does not get ready:\n{process.tail()}")
        time.sleep(_POLL_SECONDS)


def check_answer(port: int) -> None:
    """Raise BenchError unless one refresh is answered with what the upstream gave, sealed."""
    status, body = _refresh(port)
    if status != HTTPStatus.OK:
        raise BenchError(f"a refresh was answered {status}: {body.decode(errors='replace')}")
    try:
        tokens = json.loads(body)
        right = (tokens["access_token"], opened(tokens["refresh_token"])) == (
            ACCESS_TOKEN,
            REFRESH_TOKEN,
        )
    except (ValueError, KeyError, TypeError, InvalidTag) as error:
        raise BenchError(f"a refresh was answered with what cannot be read: {error!r}") from error
    if not right:
        raise BenchError("a refresh was answered with other tokens than the upstream's")


def drive(port: int, connections: int, seconds: int, tick: Callable[[], None]) -> int:
    """Load the server, calling `tick` now and then; return how many 200s came back.

    Raises BenchError for any other answer and for any connection that broke.
    """
    wrk = subprocess.Popen(
        _wrk_command(port, connections, seconds),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while wrk.poll() is None:
            tick()
            time.sleep(_TICK_SECONDS)
    finally:
        wrk.kill()
        output = wrk.communicate()[0]
    return _counted(output)


def _wrk_command(port: int, connections: int, seconds: int) -> list[str]:
    return [
        tool("wrk"),
        "--threads=1",
        f"--connections={connections}",
        f"--duration={seconds}s",
        f"--timeout={_ANSWER_SECONDS}s",
        f"--script={Path(__file__).parent / 'load.lua'}",
        f"http://127.0.0.1:{port}{PATH}",
        "--",
        *request_bodies(),
    ]


def _counted(output: str) -> int:
    try:
        counts: dict[str, Any] = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        raise BenchError(f"wrk failed:\n{output}") from None
    requests, wrong, broken = counts["requests"], counts["wrong"], counts["broken"]
    if not requests or wrong or broken:
        raise BenchError(
            f"of {requests} answers {wrong} were not 200, and {broken} connections broke"
        )
    return int(requests)


def _is_ready(port: int, ready_path: str | None) -> bool:
    try:
        status, _ = _ask(port, "GET", ready_path) if ready_path else _refresh(port)
    except (OSError, http.client.HTTPException):
        return False
    return status == HTTPStatus.OK


def _refresh(port: int) -> tuple[int, bytes]:
    return _ask(port, "POST", PATH, next(request_bodies()), _FORM)


def _ask(
    port: int,
    method: str,
    path: str,
    body: str | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()

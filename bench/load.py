"""Requests: one that is looked at closely, and many that are counted."""

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
class Question:
    """What a server is asked: the bodies in turn, at one path."""

    path: str
    bodies: Callable[[], Iterator[str]]
    refreshes: bool


REFRESH: Final = Question("/authorization-code-flow-pkce/refresh-tokens", request_bodies, True)  # noqa: FBT003
APP_TOKEN: Final = Question(
    "/client-credentials-flow/retrieve-tokens",
    lambda: iter(["grant_type=client_credentials"]),
    refreshes=False,
)
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_ANSWER_SECONDS: Final = 10
_READY_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.01
_TICK_SECONDS: Final = 0.2


def wait_ready(
    process: Process, port: int, ready_path: str | None, question: Question = REFRESH
) -> None:
    """Return at the first 200 of `ready_path`, or of `question` if there is no such path."""
    deadline = time.monotonic() + _READY_SECONDS
    while not _is_ready(port, ready_path, question):
        process.check_alive()
        if time.monotonic() > deadline:
            raise BenchError(f"the process does not get ready:\n{process.tail()}")
        time.sleep(_POLL_SECONDS)


def check_answer(port: int, question: Question) -> None:
    """Raise BenchError unless one answer has what the upstream gave, sealed."""
    status, body = _asked(port, question)
    if status != HTTPStatus.OK:
        raise BenchError(f"{question.path} answered {status}: {body.decode(errors='replace')}")
    try:
        tokens = json.loads(body)
        right = tokens["access_token"] == ACCESS_TOKEN
        if question.refreshes:
            right &= opened(tokens["refresh_token"]) == REFRESH_TOKEN
    except (ValueError, KeyError, TypeError, InvalidTag) as error:
        raise BenchError(f"{question.path} answered what cannot be read: {error!r}") from error
    if not right:
        raise BenchError(f"{question.path} answered other tokens than the upstream's")


def drive(
    ports: Sequence[int],
    question: Question,
    connections: int,
    seconds: int,
    tick: Callable[[], None],
) -> int:
    """Load the server, calling `tick` now and then; return how many 200s came back.

    Raises BenchError for any other answer and for any connection that broke.
    """
    each = connections // len(ports)
    loads = [_wrk(_wrk_command(port, question, each, seconds)) for port in ports]
    try:
        while any(load.poll() is None for load in loads):
            tick()
            time.sleep(_TICK_SECONDS)
    finally:
        for load in loads:
            load.kill()
        outputs = [load.communicate()[0] for load in loads]
    return sum(map(_counted, outputs))


def _wrk(command: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _wrk_command(port: int, question: Question, connections: int, seconds: int) -> list[str]:
    return [
        tool("wrk"),
        "--threads=1",
        f"--connections={connections}",
        f"--duration={seconds}s",
        f"--timeout={_ANSWER_SECONDS}s",
        f"--script={Path(__file__).parent / 'load.lua'}",
        f"http://127.0.0.1:{port}{question.path}",
        "--",
        *question.bodies(),
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


def _is_ready(port: int, ready_path: str | None, question: Question) -> bool:
    try:
        status, _ = _ask(port, "GET", ready_path) if ready_path else _asked(port, question)
    except (OSError, http.client.HTTPException):
        return False
    return status == HTTPStatus.OK


def _asked(port: int, question: Question) -> tuple[int, bytes]:
    return _ask(port, "POST", question.path, next(question.bodies()), _FORM)


def _ask(
    port: int,
    method: str,
    path: str,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()

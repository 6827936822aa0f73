"""The service for a fuzzer: on sockets, with a simulator as Spotify and its log captured."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import httpx

from service import logs
from service import settings as service_settings
from service.app import create_app
from simulator.accounts import Accounts
from simulator.app import create_app as create_simulator
from simulator.server import running as running_simulator
from tests.running import Stdout, environment, free_port, running

CLIENTS = ("httpx", "httpcore.connection", "httpcore.http11")
"""Loggers of the fuzzers' own clients, which the service does not use."""


class LogTap(Stdout):
    """Replaces stdout and parses the lines of the service."""

    def new_lines(self) -> list[dict[str, Any]]:
        """Return the lines since the last call."""
        return [json.loads(line) for line in self.new_text().splitlines()]


@contextmanager
def tapped() -> Iterator[LogTap]:
    """Capture the log of the service, without that of the clients."""
    stdout, hook, tap = sys.stdout, sys.excepthook, LogTap()
    loggers = [logging.getLogger(name) for name in CLIENTS]
    sys.stdout = tap
    for logger in loggers:
        logger.disabled = True
    try:
        yield tap
    finally:
        # Configuring the logs replaced the hook with one that shows no values.
        sys.stdout, sys.excepthook = stdout, hook
        for logger in loggers:
            logger.disabled = False


@contextmanager
def simulated() -> Iterator[httpx.Client]:
    """Run a simulator; yields a client of it."""
    with (
        running_simulator(create_simulator(Accounts())) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=10) as client,
    ):
        yield client


class Service:
    """One run of the service with `simulator` as Spotify and `changes` to its environment."""

    def __init__(self, simulator: httpx.Client, **changes: str) -> None:
        self._metrics_port = free_port()
        token_url = f"{simulator.base_url}/api/token".replace("//api", "/api")
        fixed = {"LOG_LEVEL": "trace", "METRICS_PORT": str(self._metrics_port)}
        self._environ = environment(token_url, **fixed, **changes)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start, and wait until it serves."""
        settings = service_settings.load(self._environ)
        logs.configure(settings)
        url = self._stack.enter_context(running(create_app(settings), self._environ))
        self.client = self._stack.enter_context(
            httpx.Client(base_url=url, trust_env=False, timeout=20)
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stack.close()

    def scrape(self) -> str:
        """Return the metrics."""
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        return httpx.get(url, trust_env=False).raise_for_status().text


DEFECTS = frozenset(["request.failed", "process.failed", "thread.failed", "finalizer.failed"])


def defects(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines that report a defect of the service."""
    return [
        line
        for line in lines
        if line["event"] in DEFECTS | {"task.failed"} or line["level"] in {"error", "critical"}
    ]

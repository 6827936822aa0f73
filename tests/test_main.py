"""`python -m service` as a process: start, signals, drain."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes import HeldSpotify
from tests.running import (
    COMMAND,
    environment,
    free_port,
    is_listening,
    minimal_environ,
    status,
    wait_until,
    wait_until_ready,
)

Process = "subprocess.Popen[str]"
FLOW = "/client-credentials-flow/retrieve-tokens"


def run(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND,
        env=minimal_environ(environ),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@contextmanager
def started(
    upstream_url: str, command: tuple[str, ...] = COMMAND, **changes: str
) -> Iterator[tuple[Any, str]]:
    """Start the service as a process; yields it and its URL once it is ready."""
    port = free_port()
    environ = environment(f"{upstream_url}/api/token", PORT=str(port), **changes)
    with subprocess.Popen(
        command,
        env=minimal_environ(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(process, url)
            yield process, url
        finally:
            process.kill()


def post(url: str) -> httpx.Response:
    return httpx.post(url + FLOW, data={"grant_type": "x"}, trust_env=False, timeout=20)


def test_telemetry_that_the_sdk_refuses_ends_with_78() -> None:
    environ = environment("https://accounts.spotify.com/api/token", PORT="0")
    otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_MAX_QUEUE_SIZE": "1"}
    ended = run(environ | otel)
    assert ended.returncode == 78
    assert "OTEL_… can't be used as it is" in ended.stdout


def test_grpc_adds_no_text_of_its_own_to_the_log(simulator_url: str) -> None:
    """The receiver does not speak TLS, which gRPC's C library would report on standard error."""
    otel = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": simulator_url.replace("http://", "https://"),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
    }
    with started(simulator_url, COMMAND, **otel) as (process, url):
        assert post(url).status_code == 200
        process.terminate()
        output, errors = process.communicate(timeout=30)
    assert errors == ""
    assert "library.logged" in {json.loads(line)["event"] for line in output.splitlines()}


def test_taken_port_ends_with_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(environment("http://127.0.0.1:1/", PORT=str(port)))
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["problem"] == "Address already in use"
    assert ended.stderr == ""


def test_limit_of_open_files_is_raised(simulator_url: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        with started(simulator_url) as (process, _url):
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def many_files() -> Iterator[None]:
    """Allow this test to open more than 1,024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("crowded", ["PORT", "METRICS_PORT"])
def test_connections_to_one_port_leave_files_for_tokens_probes_and_metrics(
    simulator_url: str, crowded: str
) -> None:
    """1,100 connections that send nothing, to a service that may open 1,024 files."""
    command = ("sh", "-c", 'ulimit -n 1024; exec "$@"', "sh", *COMMAND)
    scraped = free_port()
    with started(simulator_url, command, METRICS_PORT=str(scraped)) as (process, url):
        port = scraped if crowded == "METRICS_PORT" else int(url.rpartition(":")[2])
        with ThreadPoolExecutor(100) as pool:
            crowd = list(pool.map(socket.create_connection, [("127.0.0.1", port)] * 1100))
        for _ in range(3):
            assert post(url).status_code == 200
            assert status(url, "/healthz") == status(url, "/readyz") == 200
            assert status(f"http://127.0.0.1:{scraped}", "/metrics") == 200
        for connection in crowd:
            connection.close()
        process.terminate()
        output, _ = process.communicate(timeout=20)
    lines = [json.loads(line) for line in output.splitlines()]
    [full] = [line for line in lines if line["event"] == "server.full"]
    assert full["port"] == port
    assert full["connections"] < 512


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_and_a_second_one_ends_at_once(
    simulator_url: str, simulator: httpx.Client, number: signal.Signals
) -> None:
    """While it drains, the service is not ready, but alive, and serves."""
    assert simulator.get("/healthz").is_success
    with started(simulator_url, DRAIN_SECONDS="60") as (process, url):
        process.send_signal(number)
        wait_until(lambda: status(url, "/readyz") == 503)
        assert status(url, "/healthz") == 200
        response = post(url)
        assert response.status_code == 200
        assert response.headers["connection"] == "close"
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == -number


def test_drain_ends_after_the_requests_under_way() -> None:
    """Meanwhile the port stays open for probes, and new requests are refused.

    A request that was on its way on a connection when the drain ended counts as under way.
    """
    form = b"grant_type=x"
    head = f"POST {FLOW} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(form)}\r\n".encode()
    head += b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    with (
        HeldSpotify() as spotify,
        started(spotify.url, DRAIN_SECONDS="0.2", LOG_LEVEL="trace") as (process, url),
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(post, url)
        spotify.wait_for_request()
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with socket.create_connection(address) as half, socket.create_connection(address) as idle:
            half.sendall(head)
            idle.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
            process.terminate()
            assert idle.recv(65536) == b""  # as the drain ends, and not before
            late = post(url)
            assert late.status_code == 503
            assert late.json() == {"error": True, "reason": "this server is stopping"}
            assert late.headers.get_list("connection", split_commas=True) == ["close"]
            assert late.headers["retry-after"] == "1"
            assert status(url, "/healthz") == 200
            assert status(url, "/readyz") == 503
            half.sendall(form)
            spotify.release.set()
            assert half.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert first.result().status_code == 200
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    events = [json.loads(line)["event"] for line in output.splitlines()]
    assert events[-1] == "server.stopped"
    assert {"server.started", "server.draining", "token.retrieved"} <= set(events)


def test_signal_at_the_end_of_the_start_drains() -> None:
    code = """if True:
        import signal, sys
        from service import cli, server

        class Signalled(server.Server):
            async def startup(self, sockets=None):
                await super().startup(sockets)
                signal.raise_signal(signal.SIGTERM)

        server.Server = Signalled
        sys.exit(cli.main([]))
    """
    environ = minimal_environ(environment("http://127.0.0.1:1/", PORT="0"))
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, check=True
    )
    events = [json.loads(line)["event"] for line in ended.stdout.splitlines()]
    assert events == ["server.started", "server.draining", "server.stopped"]


def test_drain_under_load_loses_nothing(simulator_url: str, simulator: httpx.Client) -> None:
    """Each client stops at the first response with `Connection: close`."""
    assert simulator.get("/healthz").is_success
    warm = threading.Semaphore(0)

    def ask_until_close(url: str) -> set[int]:
        served = set()
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
            while True:
                response = client.post(FLOW, data={"grant_type": "x"})
                served.add(response.status_code)
                if response.headers.get("connection") == "close":
                    return served
                warm.release()

    # The drain outlasts the clients, however slow; the process is killed during it.
    with (
        started(simulator_url, DRAIN_SECONDS="60") as (process, url),
        ThreadPoolExecutor(4) as pool,
    ):
        asking = [pool.submit(ask_until_close, url) for _ in range(4)]
        for _ in range(40):
            assert warm.acquire(timeout=20)
        process.terminate()
        assert [future.result() for future in asking] == [{200}] * 4


def test_accepted_connection_gets_its_response_as_the_drain_ends(simulator_url: str) -> None:
    """It must send its request within LAST_REQUEST_SECONDS of the drain's end.

    So this test fails if it is stalled for that second.
    """
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with started(simulator_url, DRAIN_SECONDS="0.3") as (process, url):
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with socket.create_connection(address) as fresh, socket.create_connection(address) as half:
            half.sendall(request[:10])
            assert status(url, "/healthz") == 200  # so the two before it are accepted as well
            process.terminate()
            wait_until(lambda: not is_listening(address[1]))
            fresh.sendall(request)
            half.sendall(request[10:])
            responses = [raw.recv(65536) for raw in (fresh, half)]
        assert process.wait(20) == 0
    for response in responses:
        assert response.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in response


def test_litestar_command_line_finds_the_app() -> None:
    """As in `litestar --app service.app:create_app run`."""
    command = [str(Path(sys.executable).with_name("litestar")), "--app", "service.app:create_app"]
    environ = {"PATH": os.environ["PATH"], **environment("https://127.0.0.1:1/")}
    ran = subprocess.run(
        [*command, "routes"], env=environ, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "/api/token" in ran.stdout

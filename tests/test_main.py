"""`python -m service`, as an operator starts and stops it."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running import environment, free_port

Process = "subprocess.Popen[str]"
FLOW = "/client-credentials-flow/retrieve-tokens"
COMMAND = (sys.executable, "-m", "service")


def plain(environ: dict[str, str]) -> dict[str, str]:
    """Return `environ` with what a process needs to start, and nothing else of ours."""
    names = ("PATH", "LANG", "HOME", "COVERAGE_PROCESS_CONFIG")
    return {name: os.environ[name] for name in names if name in os.environ} | environ


def run(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND, env=plain(environ), capture_output=True, text=True, timeout=30, check=False
    )


@contextmanager
def started(
    simulator_url: str, command: tuple[str, ...] = COMMAND, **changes: str
) -> Iterator[tuple[Any, str]]:
    """Start the service as a process; yields it and its URL once it is ready."""
    port = free_port()
    environ = environment(f"{simulator_url}/api/token", PORT=str(port), **changes)
    with subprocess.Popen(
        command, env=plain(environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            while status(url, "/readyz") != 200:
                assert process.poll() is None
                time.sleep(0.02)
            yield process, url
        finally:
            process.kill()


def status(url: str, path: str) -> int | None:
    try:
        return httpx.get(url + path, trust_env=False).status_code
    except httpx.TransportError:
        return None


def test_all_bad_settings_are_told_at_once_with_status_78() -> None:
    ended = run({"PORT": "nonsense", "UPSTREAM_TIMEOUT": "0", "CLIENT_SECRET": "hush-hush"})
    assert ended.returncode == 78
    told = json.loads(ended.stdout)
    assert told["event"] == "settings.invalid"
    for name in ("CLIENT_ID", "SECRET_KEY", "PORT", "UPSTREAM_TIMEOUT"):
        assert any(problem.startswith(name) for problem in told["problems"])
    assert "hush-hush" not in ended.stdout + ended.stderr


def test_telemetry_that_cannot_be_made_is_told_with_status_78() -> None:
    environ = environment("https://accounts.spotify.com/api/token", PORT="0")
    otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_MAX_QUEUE_SIZE": "1"}
    ended = run(environ | otel)
    assert ended.returncode == 78
    assert "OTEL_… can't be used as it is" in ended.stdout


def test_names_that_are_nearly_a_settings_are_warned_of_whether_it_starts_or_not() -> None:
    """One that can't be UTF-8 is told too."""
    good = environment("http://127.0.0.1:1/", HOST="192.0.2.1")
    del good["CLIENT_SECRET"]
    names = {"CLIENT_SECERT": "hush-hush", "CLIENT_ID\udcff": "hush-hush"}
    for environ, code in ((good, 78), (good | {"CLIENT_SECRET": "x"}, 1)):
        ended = run(environ | names)
        assert ended.returncode == code
        warning = json.loads(ended.stdout.splitlines()[0])
        assert (warning["event"], warning["level"]) == ("settings.misspelt", "warning")
        assert warning["names"] == ["'CLIENT_ID\\udcff'", "CLIENT_SECERT"]
        assert warning["meant"] == ["CLIENT_ID", "CLIENT_SECRET"]
        assert "hush-hush" not in ended.stdout + ended.stderr


def test_a_taken_port_is_told_with_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(environment("http://127.0.0.1:1/", PORT=str(port)))
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["problem"] == "Address already in use"
    assert ended.stderr == ""


def test_it_may_open_as_many_files_as_the_system_lets_it(simulator_url: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        with started(simulator_url) as (process, _url):
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let the test itself open more than 1,024 files."""
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
            answer = httpx.post(url + FLOW, data={"grant_type": "x"}, trust_env=False)
            assert answer.status_code == 200
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


def test_a_weak_key_is_warned_about(simulator_url: str) -> None:
    with started(simulator_url, SECRET_KEY="short") as (process, _url):
        process.terminate()
        output, _ = process.communicate(timeout=20)
    assert "settings.weak_secret_key" in output
    assert "short" not in output


def test_sigterm_drains_and_then_ends_with_0(simulator_url: str, simulator: httpx.Client) -> None:
    """Not ready at once, alive and swapping until the end, every line of the log JSON."""
    assert simulator.get("/healthz").is_success
    with started(simulator_url, DRAIN_SECONDS="1.5", LOG_LEVEL="trace") as (process, url):
        process.terminate()
        while status(url, "/readyz") == 200:
            time.sleep(0.01)
        assert status(url, "/readyz") == 503
        assert status(url, "/healthz") == 200
        answer = httpx.post(url + FLOW, data={"grant_type": "x"}, trust_env=False)
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert errors == ""
    events = [json.loads(line)["event"] for line in output.splitlines()]
    assert events[-1] == "server.stopped"
    assert {"server.started", "server.draining", "token.retrieved"} <= set(events)


def test_a_signal_that_comes_as_the_start_ends_drains_as_any_other() -> None:
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
    environ = plain(environment("http://127.0.0.1:1/", PORT="0"))
    told = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, check=True
    )
    events = [json.loads(line)["event"] for line in told.stdout.splitlines()]
    assert events == ["server.started", "server.draining", "server.stopped"]


def test_a_request_in_flight_outlives_the_drain(
    simulator_url: str, simulator: httpx.Client
) -> None:
    simulator.post("/admin/faults", json={"kind": "delay", "seconds": 1}).raise_for_status()
    answers: list[int] = []
    with started(simulator_url, DRAIN_SECONDS="0") as (process, url):

        def ask() -> None:
            answer = httpx.post(url + FLOW, data={"grant_type": "x"}, trust_env=False, timeout=20)
            answers.append(answer.status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        while not simulator.get("/admin/requests").json():
            time.sleep(0.01)
        process.terminate()
        asking.join()
        process.communicate(timeout=20)
    assert answers == [200]


def test_what_comes_after_the_drain_is_refused_and_does_not_put_off_the_end(
    simulator_url: str, simulator: httpx.Client
) -> None:
    """A request under way keeps the port open, for probes; it is all that is finished.

    What was on its way on a connection when the drain ended counts as under way.
    """
    simulator.post("/admin/faults", json={"kind": "delay", "seconds": 2}).raise_for_status()
    answers = []
    body = b"grant_type=x"
    head = f"POST {FLOW} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode()
    head += b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    with started(simulator_url, DRAIN_SECONDS="0.2") as (process, url):

        def ask() -> None:
            answers.append(httpx.post(url + FLOW, data={"grant_type": "x"}, trust_env=False))

        first = threading.Thread(target=ask)
        first.start()
        while not simulator.get("/admin/requests").json():
            time.sleep(0.01)
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with socket.create_connection(address) as half, socket.create_connection(address) as idle:
            half.sendall(head)
            idle.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
            process.terminate()
            assert idle.recv(65536) == b""  # as the drain ends, and not before
            for _ in range(3):
                late = httpx.post(url + FLOW, data={"grant_type": "x"}, trust_env=False)
                assert late.status_code == 503
                assert late.json() == {"error": True, "reason": "this server is stopping"}
                assert late.headers.get_list("connection", split_commas=True) == ["close"]
                assert late.headers["retry-after"] == "1"
                assert status(url, "/healthz") == 200
            half.sendall(body)
            first.join()
            ended = time.monotonic()
            assert half.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert process.wait(20) == 0
        assert time.monotonic() - ended < 1.5
    assert [answer.status_code for answer in answers] == [200]
    assert len(simulator.get("/admin/requests").json()) == 1


def test_a_drain_under_load_loses_nothing(simulator_url: str, simulator: httpx.Client) -> None:
    """Clients with kept-alive connections swap all the while; each stops when told to go."""
    assert simulator.get("/healthz").is_success
    lost: list[object] = []
    served: list[int] = []

    def ask_until_told(url: str) -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
            while True:
                try:
                    answer = client.post(FLOW, data={"grant_type": "x"})
                except httpx.TransportError as error:
                    lost.append(error)
                    return
                served.append(answer.status_code)
                if answer.headers.get("connection") == "close":
                    return

    with started(simulator_url, DRAIN_SECONDS="1") as (process, url):
        asking = [threading.Thread(target=ask_until_told, args=(url,)) for _ in range(4)]
        for thread in asking:
            thread.start()
        while len(served) < 50:
            time.sleep(0.01)
        process.terminate()
        for thread in asking:
            thread.join()
        process.communicate(timeout=20)
    assert lost == []
    assert set(served) == {200}


def test_a_connection_that_was_accepted_gets_its_answer_even_as_the_drain_ends(
    simulator_url: str,
) -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with started(simulator_url, DRAIN_SECONDS="0.3") as (process, url):
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with socket.create_connection(address) as fresh, socket.create_connection(address) as half:
            half.sendall(request[:10])
            time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            while _is_listening(address):
                time.sleep(0.02)
            time.sleep(0.2)
            fresh.sendall(request)
            half.sendall(request[10:])
            answers = [raw.recv(65536) for raw in (fresh, half)]
        assert process.wait(20) == 0
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer


def _is_listening(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionError:
        return False
    return True


def test_liveness_answers_while_a_request_is_under_way(
    simulator_url: str, simulator: httpx.Client
) -> None:
    simulator.post("/admin/faults", json={"kind": "delay", "seconds": 1.5}).raise_for_status()
    with started(simulator_url) as (process, url):
        answers: list[httpx.Response] = []

        def ask() -> None:
            form = {"grant_type": "x"}
            answers.append(httpx.post(url + FLOW, data=form, trust_env=False, timeout=20))

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert status(url, "/healthz") == 200
        assert status(url, "/readyz") == 503
        asking.join()
        assert process.wait(20) == 0
    assert [answer.status_code for answer in answers] == [200]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(simulator_url: str, number: signal.Signals) -> None:
    with started(simulator_url, DRAIN_SECONDS="60") as (process, url):
        process.send_signal(number)
        while status(url, "/readyz") == 200:
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(timeout=5)
    assert process.returncode == -number


def test_litestars_command_line_finds_the_app() -> None:
    """As in `litestar --app service.app:create_app run`."""
    command = [str(Path(sys.executable).with_name("litestar")), "--app", "service.app:create_app"]
    environ = {"PATH": os.environ["PATH"], **environment("https://127.0.0.1:1/")}
    ran = subprocess.run(
        [*command, "routes"], env=environ, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "/api/token" in ran.stdout

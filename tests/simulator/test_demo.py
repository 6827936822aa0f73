"""`make run` as a user sees it: commands to paste, and messages for mistakes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest

from simulator import demo as simulator_demo
from tests.running import free_port

COMMAND = (sys.executable, "-m", "simulator.demo")
DOCUMENT = Path("docs/simulator.md")


def environment(**changes: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "DRAIN_SECONDS": "0",
        "METRICS_PORT": "0",
        "PLAYGROUND_PORT": "0",
        **changes,
    }


@contextmanager
def output(**changes: str) -> Iterator[IO[str]]:
    """Run it; yields its stdout. It must exit with 0 when it is terminated."""
    with subprocess.Popen(
        COMMAND, env=environment(**changes), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.terminate()
            try:
                process.communicate(timeout=20)
            finally:
                process.kill()
        assert process.returncode == 0


@contextmanager
def printed_commands(**changes: str) -> Iterator[list[str]]:
    """Run it; yields the blocks of shell commands that it prints once it is ready."""
    with output(**changes) as lines:
        blocks: list[str] = []
        for line in lines:
            if line.startswith("# "):
                blocks.append("")
            elif blocks:
                blocks[-1] += line
            if "grant_type=client_credentials" in line:
                break
        yield blocks


def paste(*blocks: str) -> list[str]:
    """Run blocks in one shell, in turn; return the access tokens that they print."""
    ran = subprocess.run(
        ["/bin/sh", "-c", "\n".join(blocks)], capture_output=True, text=True, check=True
    )
    return [json.loads(line)["access_token"] for line in ran.stdout.splitlines()]


def test_printed_commands_work_and_can_be_repeated() -> None:
    with printed_commands(PORT=str(free_port())) as (login, refresh, app):
        tokens = paste(login, login, refresh, refresh, app)
    assert len(set(tokens)) == 5


def test_printed_commands_fit_a_terminal() -> None:
    with printed_commands(PORT=str(free_port())) as blocks:
        assert max(map(len, "".join(blocks).splitlines())) <= 100


def test_taken_port_is_reported_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = subprocess.run(
            COMMAND, env=environment(PORT=port), capture_output=True, text=True, check=False
        )
    assert ran.returncode == 1
    assert [json.loads(line)["event"] for line in ran.stdout.splitlines()] == ["server.failed"]
    assert "PORT=7010 METRICS_PORT=0 make run" in ran.stderr


def test_incomplete_credentials_are_reported() -> None:
    ran = subprocess.run(
        COMMAND, env=environment(CLIENT_ID="x"), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 78
    assert "CLIENT_SECRET is required" in ran.stdout


CREDENTIALS = {"CLIENT_ID": "x", "CLIENT_SECRET": "y", "SECRET_KEY": "z" * 20}


@contextmanager
def demo(**changes: str) -> Iterator[list[str]]:
    """Run it; yields the URLs of the playground and of the service."""
    with output(**changes) as lines:
        urls: list[str] = []
        while len(urls) < 2:
            line = lines.readline()
            assert line, "it ended"
            if line.startswith(("Open the playground:", "The service:")):
                urls.append(line.split()[-1])
        yield urls


@pytest.mark.parametrize("credentials", [{}, CREDENTIALS], ids=["simulator", "Spotify"])
def test_playground_calls_the_service(credentials: dict[str, str]) -> None:
    port = str(free_port())
    with demo(PORT=port, **credentials) as (page, service):
        assert service == f"http://127.0.0.1:{port}"
        configuration = httpx.get(f"{page}playground.json", trust_env=False).json()
        origin = page.rstrip("/")
        response = httpx.get(f"{service}/healthz", headers={"Origin": origin}, trust_env=False)
        authorize = httpx.get(f"{page}authorize", trust_env=False)
    assert configuration["service_url"] == service
    assert response.headers["access-control-allow-origin"] == origin
    assert configuration["client_id"] == credentials.get("CLIENT_ID", "simulator-client-id")
    assert configuration["simulated"] == (not credentials)
    assert authorize.status_code == (404 if credentials else 400)  # there are no fake accounts


def test_client_id_of_a_file_and_other_origins_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "id"
    file.write_text("from-a-file\n")
    settings = {
        "CLIENT_ID_FILE": str(file),
        "CLIENT_SECRET": "y",
        "SECRET_KEY": "z" * 20,
        "CORS_ALLOW_ORIGINS": "https://app.example",
    }
    with demo(PORT=str(free_port()), **settings) as (page, service):
        configuration = httpx.get(f"{page}playground.json", trust_env=False).json()
        other = {"Origin": "https://app.example"}
        response = httpx.get(f"{service}/healthz", headers=other, trust_env=False)
    assert configuration["client_id"] == "from-a-file"
    assert response.headers["access-control-allow-origin"] == "https://app.example"


# Which port the simulator has ----------------------------------------------------------------


def test_simulator_listens_at_its_documented_address() -> None:
    assert f"http://127.0.0.1:{simulator_demo.SIMULATOR_PORT}/admin/codes" in DOCUMENT.read_text()


def test_playground_port_is_a_setting() -> None:
    port = str(free_port())
    with printed_commands(PORT=str(free_port()), PLAYGROUND_PORT=port) as (login, _, _):
        assert f"http://127.0.0.1:{port}/admin/codes" in login


def test_taken_playground_port_is_replaced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with printed_commands(PORT=str(free_port()), PLAYGROUND_PORT=port) as (login, _, _):
            assert f"http://127.0.0.1:{port}/admin/codes" not in login


def test_playground_does_not_take_the_port_of_the_service() -> None:
    port = str(free_port())
    with printed_commands(PORT=port, PLAYGROUND_PORT=port) as (login, _, _):
        assert f"http://127.0.0.1:{port}/admin/codes" not in login


@pytest.mark.parametrize("port", ["x", "65536"])
def test_wrong_playground_port_is_refused(port: str) -> None:
    ran = subprocess.run(
        COMMAND, env=environment(PLAYGROUND_PORT=port), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "PLAYGROUND_PORT must be a port" in ran.stderr


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--port=7010", 2)])
def test_arguments_are_explained_or_refused(argument: str, status: int) -> None:
    ran = subprocess.run(
        [*COMMAND, argument], env=environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == status
    assert "usage: python -m simulator.demo" in ran.stdout + ran.stderr

"""`make run` as a person meets it: lines to paste, and plain words when something is wrong."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from simulator import demo as simulator_demo
from tests.running import free_port

COMMAND = (sys.executable, "-m", "simulator.demo")
DOCUMENT = Path("docs/simulator.md")


def environment(**changes: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "DRAIN_SECONDS": "0", "METRICS_PORT": "0", **changes}


@contextmanager
def printed_lines(port: int, command: Sequence[str] = COMMAND) -> Iterator[list[str]]:
    """Run it; yields the shell lines that it prints once it is ready."""
    with subprocess.Popen(
        command, env=environment(PORT=str(port)), stdout=subprocess.PIPE, text=True
    ) as demo:
        lines: list[str] = []
        assert demo.stdout is not None
        while len(lines) < 3:
            line = demo.stdout.readline()
            assert line, "it ended"
            if line.startswith("curl "):
                lines.append(line)
        yield lines
        demo.send_signal(signal.SIGTERM)
        demo.stdout.read()
        assert demo.wait(20) == 0


def paste(line: str) -> dict[str, object]:
    ran = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True)
    response: dict[str, object] = json.loads(ran.stdout)
    return response


def test_each_printed_command_works_as_it_is_and_can_be_repeated() -> None:
    with printed_lines(free_port()) as (login, refresh, app):
        responses = [paste(login), paste(login), paste(refresh), paste(refresh), paste(app)]
    assert len({response["access_token"] for response in responses}) == 5


def test_tokens_are_kept_for_one_run_and_one_user() -> None:
    with printed_lines(free_port()) as (login, *_), printed_lines(free_port()) as others:
        file = _kept_in(login)
        assert file != _kept_in(others[0])
        assert file.parent.stat().st_mode & 0o777 == 0o700
        paste(login)
        assert file.is_file()
    assert not file.parent.exists()


def _kept_in(line: str) -> Path:
    [file] = re.findall(r"tee ([^;]+);", line)
    return Path(file)


def test_a_taken_port_is_told_and_no_lines_for_somebody_elses_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = subprocess.run(
            COMMAND, env=environment(PORT=port), capture_output=True, text=True, check=False
        )
    assert ran.returncode == 1
    assert [json.loads(line)["event"] for line in ran.stdout.splitlines()] == ["server.failed"]


def test_credentials_that_are_not_complete_are_told_instead_of_replaced() -> None:
    ran = subprocess.run(
        COMMAND, env=environment(CLIENT_ID="x"), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 78
    assert "CLIENT_SECRET is required" in ran.stdout


CREDENTIALS = {"CLIENT_ID": "x", "CLIENT_SECRET": "y", "SECRET_KEY": "z" * 20}


@contextmanager
def demo(**changes: str) -> Iterator[list[str]]:
    """Run it; yields the URLs of the playground and of the service."""
    with subprocess.Popen(
        COMMAND, env=environment(**changes), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        urls: list[str] = []
        while len(urls) < 2:
            line = process.stdout.readline()
            assert line, "it ended"
            if line.startswith(("Open the playground:", "The service:")):
                urls.append(line.split()[-1])
        yield urls
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(20) == 0


@pytest.mark.parametrize("credentials", [{}, CREDENTIALS], ids=["simulator", "Spotify"])
def test_playground_calls_the_service(credentials: dict[str, str]) -> None:
    port = str(free_port())
    with demo(PORT=port, **credentials) as (page, service):
        assert service == f"http://127.0.0.1:{port}"
        known = httpx.get(f"{page}playground.json", trust_env=False).json()
        origin = page.rstrip("/")
        response = httpx.get(f"{service}/healthz", headers={"Origin": origin}, trust_env=False)
        authorize = httpx.get(f"{page}authorize", trust_env=False)
    assert known["service_url"] == service
    assert response.headers["access-control-allow-origin"] == origin
    assert known["client_id"] == credentials.get("CLIENT_ID", "simulator-client-id")
    assert known["simulated"] == (not credentials)
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
        known = httpx.get(f"{page}playground.json", trust_env=False).json()
        other = {"Origin": "https://app.example"}
        response = httpx.get(f"{service}/healthz", headers=other, trust_env=False)
    assert known["client_id"] == "from-a-file"
    assert response.headers["access-control-allow-origin"] == "https://app.example"


# Which port the simulator has ----------------------------------------------------------------


def with_simulator_at(port: int) -> tuple[str, ...]:
    """Return the command with another port for 7001, which may be taken on this machine."""
    program = (
        f"from simulator import demo; demo.SIMULATOR_PORT = {port}; raise SystemExit(demo.main())"
    )
    return (sys.executable, "-c", program)


def test_the_simulator_is_where_its_document_says() -> None:
    assert f"http://127.0.0.1:{simulator_demo.SIMULATOR_PORT}/admin/codes" in DOCUMENT.read_text()
    port = free_port()
    with printed_lines(free_port(), with_simulator_at(port)) as (login, _, _):
        assert f"http://127.0.0.1:{port}/admin/codes" in login
        assert "access_token" in paste(login)


def test_a_simulator_whose_port_is_taken_has_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with printed_lines(free_port(), with_simulator_at(port)) as (login, _, _):
            assert f"http://127.0.0.1:{port}/admin/codes" not in login
            assert "access_token" in paste(login)


def test_a_port_that_the_service_is_to_have_is_left_to_it() -> None:
    port = free_port()
    with printed_lines(port, with_simulator_at(port)) as (login, _, _):
        assert "access_token" in paste(login)


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--port=7010", 2)])
def test_arguments_are_explained_or_refused(argument: str, status: int) -> None:
    ran = subprocess.run(
        [*COMMAND, argument], env=environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == status
    assert "usage: python -m simulator.demo" in ran.stdout + ran.stderr

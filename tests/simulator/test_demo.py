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
    answer: dict[str, object] = json.loads(ran.stdout)
    return answer


def test_each_printed_line_works_as_it_is_and_can_be_pasted_again() -> None:
    with printed_lines(free_port()) as (login, refresh, app):
        first, again = paste(login), paste(login)
        refreshed = [paste(refresh), paste(refresh)]
        assert "access_token" in paste(app)
    tokens = [answer["refresh_token"] for answer in (first, again, *refreshed)]
    assert len(set(tokens)) == 4
    assert all("access_token" in answer for answer in refreshed)


def test_tokens_are_kept_for_one_run_and_one_person_and_an_error_takes_none_away() -> None:
    with printed_lines(free_port()) as (login, refresh, _), printed_lines(free_port()) as others:
        file = _kept_in(login)
        assert file != _kept_in(others[0])
        assert file.parent.stat().st_mode & 0o777 == 0o700
        paste(login)
        refused = paste(refresh.replace('"refresh_token=', '"refresh_token=x'))
        assert refused == {"error": True, "reason": "could not decrypt refresh token"}
        assert "access_token" in paste(refresh)
        assert file.is_file()
    assert not file.parent.exists()


def _kept_in(line: str) -> Path:
    [file] = re.findall(r"-o (\S+)\.new ", line)
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
    assert "CLIENT_SECRET is required" in ran.stderr


def first_lines(count: int, **changes: str) -> list[str]:
    """Run it until it has printed `count` lines that are no log's."""
    with subprocess.Popen(
        COMMAND, env=environment(**changes), stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        lines: list[str] = []
        while len(lines) < count:
            line = demo.stdout.readline()
            assert line, "it ended"
            if line.strip() and not line.startswith("{"):
                lines.append(line.strip())
        demo.send_signal(signal.SIGTERM)
        demo.stdout.read()
        assert demo.wait(20) == 0
    return lines


CREDENTIALS = {"CLIENT_ID": "x", "CLIENT_SECRET": "y", "SECRET_KEY": "z" * 20}


@pytest.mark.parametrize("credentials", [{}, CREDENTIALS], ids=["simulator", "Spotify"])
def test_where_to_try_it_is_told_first(credentials: dict[str, str]) -> None:
    port = str(free_port())
    lines = first_lines(2, PORT=port, **credentials)
    assert lines == ["Open this in a browser to try the service:", f"http://127.0.0.1:{port}/try"]


def test_a_page_that_is_off_is_not_told() -> None:
    [line] = first_lines(1, PORT=str(free_port()), TRY_PAGE="false")
    assert line.startswith("The service is at http://127.0.0.1:")


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
        assert f"'http://127.0.0.1:{port}/authorize?" in login
        assert "access_token" in paste(login)


def test_a_simulator_whose_port_is_taken_has_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with printed_lines(free_port(), with_simulator_at(port)) as (login, _, _):
            assert f"'http://127.0.0.1:{port}/authorize?" not in login
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

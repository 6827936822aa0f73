"""Run the examples as programs, as their READMEs do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.processes import Service, Simulator
from tests.examples.running import run

USER = Path(__file__).with_name("user.py")
PYTHON = (sys.executable, "examples/python/spotify_swap.py")
TYPESCRIPT = ("node", "examples/typescript/dist/src/main.js")


BOTH = pytest.mark.parametrize("program", [PYTHON, TYPESCRIPT], ids=["python", "typescript"])


@pytest.mark.parametrize(
    ("program", "field"),
    [(PYTHON, "access_token"), (TYPESCRIPT, "accessToken")],
    ids=["python", "typescript"],
)
def test_program_logs_in_refreshes_and_logs_out(
    service: Service, simulator: Simulator, tmp_path: Path, program: tuple[str, ...], field: str
) -> None:
    tokens = tmp_path / "tokens.json"
    server = ("--server", service.url, "--authorize-url", f"{simulator.url}/authorize")

    def output(*flags: str) -> tuple[str, str]:
        ran = run(*program, *server, "--tokens", tokens, *flags, environ={"BROWSER": str(USER)})
        return ran.stdout, ran.stderr

    out, err = output()
    access_token = json.loads(tokens.read_text())[field]
    assert out == f"access token {access_token[:6]}… of {len(access_token)} characters\n"
    assert err == "not logged in: opening the browser\n"
    assert output() == (out, "")
    assert output("--refresh")[0].startswith("access token BQ")
    assert json.loads(tokens.read_text())[field] != access_token
    output("--log-out")
    assert not tokens.exists()


@BOTH
@pytest.mark.parametrize("client_id", [(), ("--client-id", "simulator-client-id")])
def test_program_does_not_open_spotify_with_the_client_id_of_the_simulator(
    tmp_path: Path, program: tuple[str, ...], client_id: tuple[str, ...]
) -> None:
    ran = run(*program, *client_id, "--tokens", tmp_path / "tokens.json", status=1)
    hint = "pass --client-id, or --authorize-url for a simulator"
    assert (ran.stdout, ran.stderr) == ("", f"not logged in: {hint}\n")


@BOTH
def test_refresh_without_login_fails(
    service: Service, simulator: Simulator, tmp_path: Path, program: tuple[str, ...]
) -> None:
    tokens = tmp_path / "tokens.json"
    server = ("--server", service.url, "--authorize-url", f"{simulator.url}/authorize")
    browser = {"BROWSER": str(USER)}

    def refresh_error() -> str:
        ran = run(*program, *server, "--tokens", tokens, "--refresh", environ=browser, status=1)
        assert ran.stdout == ""
        return ran.stderr

    assert refresh_error() == "not logged in: log in first\n"
    assert simulator.requests() == []
    run(*program, *server, "--tokens", tokens, environ=browser)
    simulator.reset()  # revokes all tokens
    assert refresh_error() == "the login is no longer valid: log in first\n"
    assert not tokens.exists()


@BOTH
def test_help_shows_the_defaults(program: tuple[str, ...]) -> None:
    help_ = run(*program, "--help", environ={"COLUMNS": "200"}).stdout
    for default in (
        "http://127.0.0.1:7000",
        "simulator-client-id",
        "none",
        "https://accounts.spotify.com/authorize",
        "spotify-tokens.json",
    ):
        assert f"default {default}\n" in help_


@BOTH
def test_program_rejects_a_server_url_without_scheme(program: tuple[str, ...]) -> None:
    command = (*program, "--server", "127.0.0.1:7000")
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode != 0
    assert "is not a URL such as https://swap.example.com" in ran.stderr

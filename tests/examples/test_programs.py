"""Each example as a program, as its README has it."""

import json
import sys
from pathlib import Path

import pytest

from tests.chaos.processes import Service, Simulator
from tests.examples.running import run

PERSON = Path(__file__).with_name("person.py")
PYTHON = (sys.executable, "examples/python/spotify_swap.py")
TYPESCRIPT = ("node", "examples/typescript/dist/src/main.js")


BOTH = pytest.mark.parametrize("program", [PYTHON, TYPESCRIPT], ids=["python", "typescript"])


@pytest.mark.parametrize(
    ("program", "field"),
    [(PYTHON, "access_token"), (TYPESCRIPT, "accessToken")],
    ids=["python", "typescript"],
)
def test_it_logs_in_refreshes_and_logs_out_and_shows_no_token(
    service: Service, simulator: Simulator, tmp_path: Path, program: tuple[str, ...], field: str
) -> None:
    tokens = tmp_path / "tokens.json"
    server = ("--server", service.url, "--authorize-url", f"{simulator.url}/authorize")

    def shown(*flags: str) -> tuple[str, str]:
        ran = run(*program, *server, "--tokens", tokens, *flags, environ={"BROWSER": str(PERSON)})
        return ran.stdout, ran.stderr

    out, err = shown()
    access_token = json.loads(tokens.read_text())[field]
    assert out == f"access token {access_token[:6]}… of {len(access_token)} characters\n"
    assert err == "nobody is logged in: opening the browser\n"
    assert shown() == (out, "")
    assert shown("--refresh")[0].startswith("access token BQ")
    assert json.loads(tokens.read_text())[field] != access_token
    shown("--log-out")
    assert not tokens.exists()


@BOTH
@pytest.mark.parametrize("client_id", [(), ("--client-id", "simulator-client-id")])
def test_it_opens_no_page_of_spotifys_for_a_simulators_client(
    tmp_path: Path, program: tuple[str, ...], client_id: tuple[str, ...]
) -> None:
    ran = run(*program, *client_id, "--tokens", tmp_path / "tokens.json", status=1)
    hint = "give --client-id, or --authorize-url of a simulator"
    assert (ran.stdout, ran.stderr) == ("", f"nobody is logged in: {hint}\n")


@BOTH
def test_a_refresh_needs_somebody_logged_in_and_opens_no_browser(
    service: Service, simulator: Simulator, tmp_path: Path, program: tuple[str, ...]
) -> None:
    tokens = tmp_path / "tokens.json"
    server = ("--server", service.url, "--authorize-url", f"{simulator.url}/authorize")
    person = {"BROWSER": str(PERSON)}

    def refused() -> str:
        ran = run(*program, *server, "--tokens", tokens, "--refresh", environ=person, status=1)
        assert ran.stdout == ""
        return ran.stderr

    assert refused() == "nobody is logged in: log in first\n"
    assert simulator.requests() == []
    run(*program, *server, "--tokens", tokens, environ=person)
    simulator.reset()  # which forgets all it issued
    assert refused() == "the login is good no more: log in first\n"
    assert not tokens.exists()


@BOTH
def test_its_help_tells_the_defaults(program: tuple[str, ...]) -> None:
    help_ = run(*program, "--help", environ={"COLUMNS": "200"}).stdout
    for default in (
        "http://127.0.0.1:7000",
        "simulator-client-id",
        "none",
        "https://accounts.spotify.com/authorize",
        "spotify-tokens.json",
    ):
        assert f"default {default}\n" in help_

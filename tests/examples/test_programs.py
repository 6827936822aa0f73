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

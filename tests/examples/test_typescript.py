"""examples/typescript: its own tests, its linter and its program, in front of the simulator."""

import json
import os
import re
import subprocess
from pathlib import Path

from tests.chaos.processes import Service, Simulator

HERE = Path(__file__).parent
EXAMPLE = Path("examples/typescript")


def npm(*words: str, **environ: str) -> str:
    """Run one of the example's scripts; return what it writes."""
    ran = subprocess.run(
        ["npm", "run", "--silent", *words],  # noqa: S607 - whichever Node.js is installed
        cwd=EXAMPLE,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_it_passes_the_compiler_as_it_is_in_a_browser_and_the_linter() -> None:
    npm("check")


def test_it_passes_its_own_tests(service: Service, simulator: Simulator) -> None:
    report = npm("test", SERVICE=service.url, SIMULATOR=simulator.url)
    [passed] = re.findall(r"^. pass (\d+)$", report, re.MULTILINE)
    assert int(passed) >= 14


def run(service: Service, simulator: Simulator, tokens: Path, *flags: str) -> tuple[str, str]:
    """Run the example as a person does; return what it prints."""
    server: list[str | Path] = ["--server", service.url, "--tokens", tokens]
    authorize = ["--authorize-url", f"{simulator.url}/authorize"]
    ran = subprocess.run(
        ["node", EXAMPLE / "dist/src/main.js", *server, *authorize, *flags],  # noqa: S607
        env={"PATH": os.environ["PATH"], "BROWSER": f"{HERE}/person.py"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return ran.stdout, ran.stderr


def test_the_program_logs_in_refreshes_and_logs_out(
    service: Service, simulator: Simulator, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.json"
    shown, told = run(service, simulator, tokens)
    access_token = json.loads(tokens.read_text())["accessToken"]
    assert shown == f"access token {access_token[:6]}… of {len(access_token)} characters\n"
    assert told == "nobody is logged in: opening the browser\n"
    assert run(service, simulator, tokens) == (shown, "")
    assert run(service, simulator, tokens, "--refresh")[0].startswith("access token BQ")
    assert json.loads(tokens.read_text())["accessToken"] != access_token
    run(service, simulator, tokens, "--log-out")
    assert not tokens.exists()

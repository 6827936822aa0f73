"""Run unmodified OAuth client libraries against the service; check the table in docs/apps.md."""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chaos.processes import Service, Simulator
from tests.examples.running import run

LIBRARIES = Path("tests/examples/libraries")
APPS = Path("docs/apps.md")
REFRESHES = {"refresh twice", "lost key", "spotify down"}


class Row(NamedTuple):
    """A row of the table of libraries."""

    library: str
    language: str
    version: str
    setting: str
    lost: str


def rows() -> list[Row]:
    section = APPS.read_text().partition("\n## Point your OAuth library here\n")[2]
    lines = section.partition("\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [Row(*row) for row in cells[2:]]


def python(environ: dict[str, str]) -> list[tuple[str, str]]:
    command = (
        *(".venv-tools/bin/python", "-m", "pytest", "-q", "-rp", "-p", "no:cacheprovider"),
        f"--confcutdir={LIBRARIES}",  # the conftest above imports the service
        *("-o", "filterwarnings=default"),  # warnings of the libraries are no failure
    )
    output = run(*command, LIBRARIES, environ=environ).stdout
    passed = re.findall(r"^PASSED \S+::test_(\w+)\[([\w-]+)", output, re.MULTILINE)
    return [(library, scenario) for scenario, library in passed]


def javascript(environ: dict[str, str]) -> list[tuple[str, str]]:
    script = LIBRARIES / "libraries.test.mjs"
    preload = f"./{LIBRARIES}/react-native.mjs"
    command = ("node", "--import", preload, "--test", "--test-reporter=tap", script)
    output = run(*command, environ=environ).stdout
    return re.findall(r"^ok \d+ - (\S+): (.+)$", output, re.MULTILINE)


def go(environ: dict[str, str]) -> list[tuple[str, str]]:
    command = ("go", "-C", LIBRARIES / "go", "test", "-count=1", "-v", ".")
    output = run(*command, environ=environ).stdout
    return [
        ("x/oauth2", test) for test in re.findall(r"^--- PASS: Test(\w+)", output, re.MULTILINE)
    ]


def rust(environ: dict[str, str]) -> list[tuple[str, str]]:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    target = f"{cache}/spotify-api-server/cargo"
    command = ("cargo", "test", "--manifest-path", LIBRARIES / "rust/Cargo.toml")
    environ = environ | {"CARGO_TARGET_DIR": target}
    output = run(*command, "--", "--test-threads=1", environ=environ).stdout
    return [
        ("rspotify", test) for test in re.findall(r"^test (\w+) \.\.\. ok$", output, re.MULTILINE)
    ]


@pytest.mark.parametrize(
    ("language", "suite"),
    [("Python", python), ("JavaScript", javascript), ("Go", go), ("Rust", rust)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_libraries_in_the_table(
    service: Service, simulator: Simulator, lost_token: str, language: str, suite: object
) -> None:
    """Each logs in; those that refresh report a lost key and an outage correctly."""
    environ = {"SERVICE": service.url, "SIMULATOR": simulator.url, "LOST_TOKEN": lost_token}
    passed: dict[str, set[str]] = {}
    for library, test in suite(environ):  # type: ignore[operator]
        passed.setdefault(library, set()).add(_scenario(test))
    expected = {row.library: row for row in rows() if row.language == language}
    assert set(passed) == set(expected)
    for library, scenarios in passed.items():
        assert "login" in scenarios
        assert (scenarios >= REFRESHES) == (expected[library].lost != "does not refresh")


def _scenario(test: str) -> str:
    """Normalize a test's name: `TestLostKey` and `lost_key` become `lost key`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", test).replace("_", " ")
    return words.lower()


def locked() -> dict[str, str]:
    """Return the locked version of each library."""
    versions = dict(
        re.findall(r"^([\w-]+)==(\S+)", Path("tests/tools.txt").read_text(), re.MULTILINE)
    )
    for project in (Path("tests"), Path("examples/typescript")):
        packages = json.loads((project / "package-lock.json").read_text())["packages"]
        names = {path.removeprefix("node_modules/"): entry for path, entry in packages.items()}
        versions |= {name: package["version"] for name, package in names.items() if name}
    module = re.search(r"golang\.org/(x/oauth2) v(\S+)", (LIBRARIES / "go/go.mod").read_text())
    assert module
    crates = tomllib.loads((LIBRARIES / "rust/Cargo.toml").read_text())["dev-dependencies"]
    rspotify = crates["rspotify"]["version"].removeprefix("=")
    return versions | {module[1]: module[2], "rspotify": rspotify}


def test_versions_in_the_table_are_locked() -> None:
    documented = {row.library: row.version for row in rows() if row.version != "source"}
    assert documented
    assert documented.items() <= locked().items()

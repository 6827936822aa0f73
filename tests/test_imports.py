"""The rooms keep to themselves: who may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SERVICE = Path("service")
FRAMEWORKS = {"httpx", "litestar", "opentelemetry", "structlog", "uvicorn"}
PURE = (
    "forms",
    "flows",
    "sealing",
    "answers",
    "errors",
    "settings",
    "connections",
    "asgi",
    "cors",
    "addresses",
    "names",
    "hints",
)
# Who knows httpx: spotify uses it, app and tracing name its transport in their signatures.
KNOW_HTTPX = {"spotify", "app", "tracing"}


def imported_by(path: Path) -> set[str]:
    """Return the top-level packages that a module imports, wherever it does so."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_know_no_framework(room: str) -> None:
    assert not imported_by(SERVICE / f"{room}.py") & FRAMEWORKS


def test_only_spotify_and_those_who_hand_it_a_transport_know_httpx() -> None:
    knowing = {path.stem for path in SERVICE.glob("*.py") if "httpx" in imported_by(path)}
    assert knowing == KNOW_HTTPX


def test_the_service_knows_nothing_around_it() -> None:
    for path in SERVICE.glob("*.py"):
        assert not imported_by(path) & {"simulator", "tests", "bench"}, path


def test_the_simulator_does_not_know_the_service() -> None:
    for path in Path("simulator").glob("*.py"):
        assert "service" not in imported_by(path), path


def test_telemetry_that_is_off_is_not_even_loaded() -> None:
    assert not loaded("opentelemetry", by="import service.__main__, service.server")


@pytest.mark.parametrize("package", ["limits", "valkey"])
def test_a_rate_limit_that_is_off_is_not_even_loaded(package: str) -> None:
    code = """if True:
        from service import app, settings
        environ = dict(CLIENT_ID="a", CLIENT_SECRET="b", SECRET_KEY="c")
        app.create_app(settings.load(environ))
    """
    assert not loaded(package, by=code)
    limited = code.replace("CLIENT_ID", "RATE_LIMIT='1/day', CLIENT_ID")
    assert loaded(package, by=limited) == (package == "limits")  # counts are in memory


def test_the_command_line_does_not_load_the_service() -> None:
    assert not loaded("litestar", by="import service.cli")


def loaded(package: str, *, by: str) -> bool:
    """Tell whether running `by` imports `package`."""
    code = f"{by}\nimport sys; print({package!r} in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {"True\n": True, "False\n": False}[ran.stdout]

"""Allowed imports of each module, and modules that are loaded only when enabled."""

import ast
import subprocess
import sys
from pathlib import Path

SERVICE = Path("service")
FRAMEWORKS = {"aiohttp", "httpx", "litestar", "opentelemetry", "structlog", "uvicorn"}
PURE = ("grants", "hints", "sealing", "settings")
# The transport is httpx's type: `upstream` is one, the others have it in their signatures.
KNOW_HTTPX = {"upstream", "app", "tracing"}
WITHOUT_RATE_LIMIT = """if True:
    from service import app, settings
    environ = dict(CLIENT_ID="a", CLIENT_SECRET="b", SECRET_KEY="c")
    app.create_app(settings.load(environ))
"""


def imported_by(path: Path) -> set[str]:
    """Return the top-level packages that a module imports, wherever it does so."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def loads(package: str, code: str) -> bool:
    """Return whether running `code` imports `package`, by its full name."""
    code = f"{code}\nimport sys; print({package!r} in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {"True\n": True, "False\n": False}[ran.stdout]


def test_pure_modules_import_no_framework() -> None:
    for module in PURE:
        assert not imported_by(SERVICE / f"{module}.py") & FRAMEWORKS, module


def test_only_the_upstream_side_imports_http_clients() -> None:
    imports = {path.stem: imported_by(path) for path in SERVICE.glob("*.py")}
    assert {name for name, found in imports.items() if "httpx" in found} == KNOW_HTTPX
    assert {name for name, found in imports.items() if "aiohttp" in found} == {"upstream"}


def test_service_and_simulator_import_nothing_of_each_other() -> None:
    for path in SERVICE.glob("*.py"):
        assert not imported_by(path) & {"simulator", "tests", "bench"}, path
    for path in Path("simulator").glob("*.py"):
        assert "service" not in imported_by(path), path


def test_opentelemetry_sdk_is_not_loaded_while_tracing_is_off() -> None:
    assert not loads("opentelemetry.sdk", WITHOUT_RATE_LIMIT)


def test_storage_client_is_not_loaded_without_a_storage() -> None:
    limited = WITHOUT_RATE_LIMIT.replace("CLIENT_ID", "RATE_LIMIT='1/day', CLIENT_ID")
    assert not loads("valkey", limited)


def test_the_command_line_does_not_load_the_service() -> None:
    assert not loads("service.app", "import service.cli")

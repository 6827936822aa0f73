"""The machine and the versions, on which the figures depend."""

import json
import os
import platform
import re
import shlex
import subprocess
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from bench.servers import Server
from bench.tools import PEERS, tool

_PYTHON_PACKAGES: Final = (
    "litestar",
    "msgspec",
    "aiohttp",
    "httpx",
    "uvicorn",
    "httptools",
    "uvloop",
    "cryptography",
    "structlog",
    "opentelemetry-sdk",
)
_NODE_PACKAGES: Final = (
    "fastify",
    "undici",
    "express",
    "axios",
    "pino",
    "@opentelemetry/sdk-trace-node",
)


def facts(servers: Sequence[Server]) -> Iterator[str]:
    """Yield a Markdown list of time, machine and versions; call it before the load begins."""
    now = datetime.now(UTC)
    load = os.getloadavg()[0]
    yield f"- `{_command()}`, {now:%Y-%m-%d %H:%M} UTC"
    yield f"- {_cpu_model()}, {os.cpu_count()} cores, Linux {platform.release()}"
    yield f"- load average before the run: {load:.2f}"
    yield f"- Python {platform.python_version()}: {_python_packages()}"
    if any(server.is_node for server in servers):
        yield f"- Node {_version('node', '-v')}: {_node_packages()}"
    yield f"- nginx {_version('nginx', '-v')}, wrk {_version('wrk', '-v')}"


def _command() -> str:
    """Return the command that repeats the run; the figures do not depend on `--output`."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output")
    _, arguments = parser.parse_known_args()
    return shlex.join(["python", "-m", "bench", *arguments])


def _cpu_model() -> str:
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return model[1] if model else platform.machine()


def _python_packages() -> str:
    installed = {dist.name: dist.version for dist in metadata.distributions()}
    return ", ".join(f"{name} {installed[name]}" for name in _PYTHON_PACKAGES if name in installed)


def _node_packages() -> str:
    lock = json.loads((PEERS / "package-lock.json").read_text())["packages"]
    return ", ".join(f"{name} {lock[f'node_modules/{name}']['version']}" for name in _NODE_PACKAGES)


def _version(name: str, option: str) -> str:
    # wrk exits with an error after printing its version; nginx prints it on standard error.
    done = subprocess.run([tool(name), option], capture_output=True, text=True, check=False)
    version = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return version[0] if version else "of unknown version"

"""Programs and packages that must be installed, and the commands that install them."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

PEERS: Final = Path(__file__).parent / "peers"

_DEBIAN_PACKAGES: Final = {
    "nginx": "nginx-light libnginx-mod-http-echo",
    "wrk": "wrk",
    "taskset": "util-linux",
    "node": "nodejs",
    "npm": "npm",
}
_NPM_CI: Final = ("ci", "--no-audit", "--no-fund", "--ignore-scripts")


class BenchError(Exception):
    """The measurement cannot continue; the message has the reason and the fix."""


def tool(name: str) -> str:
    """Return the path of the program `name`."""
    # nginx is in a directory that only root's PATH has.
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        raise BenchError(f"{name} is missing: apt-get install {_DEBIAN_PACKAGES[name]}")
    return path


def echo_module() -> Path:
    """Return the path of nginx's echo module."""
    build = subprocess.run([tool("nginx"), "-V"], capture_output=True, text=True, check=True).stderr
    folder = re.search(r"--modules-path=(\S+)", build)
    module = Path(folder[1] if folder else "modules") / "ngx_http_echo_module.so"
    if not module.exists():
        raise BenchError("nginx's echo module is missing: apt-get install libnginx-mod-http-echo")
    return module


def install_peers() -> None:
    """Install the Node peers' packages as the lock file has them, unless they are there."""
    tool("node")
    npm = tool("npm")
    # npm writes this file last.
    installed = PEERS / "node_modules" / ".package-lock.json"
    lock = PEERS / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    done = subprocess.run([npm, *_NPM_CI], cwd=PEERS, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"npm ci failed in {PEERS.name}/:\n{done.stderr}")

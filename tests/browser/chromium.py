"""Start Chromium without access to other hosts.

NOTE: Chromium cancels requests (ERR_NETWORK_CHANGED) when the addresses of the machine change, for
example when containers start.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, BrowserType, sync_playwright

from tests.chromium import ARGUMENTS, executable

_HERE = "EXCLUDE 127.0.0.1 , EXCLUDE localhost"


@contextmanager
def running() -> Iterator[Browser]:
    """Run headless Chromium with an empty profile during a with block."""
    with sync_playwright() as playwright, launch(playwright.chromium) as browser:
        yield browser


def launch(chromium: BrowserType, reachable: str = _HERE) -> Browser:
    """Start Chromium; `reachable` are resolver rules for the hosts that it may reach.

    All other hosts do not resolve, IP addresses included.
    """
    return chromium.launch(**_options(reachable))


def keeping(chromium: BrowserType, profile: Path) -> BrowserContext:
    """Start Chromium with a persistent profile in this directory."""
    return chromium.launch_persistent_context(profile, **_options(_HERE))


def _options(reachable: str) -> dict[str, Any]:
    rules = f"--host-resolver-rules={reachable} , MAP * ~NOTFOUND"
    return {
        "executable_path": executable(),
        "args": [*ARGUMENTS, rules],
        # Users have this cache: the back button shows a page as it was.
        "ignore_default_args": ["--disable-back-forward-cache"],
    }

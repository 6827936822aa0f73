"""Chromium, driven by Playwright, without a way to the internet.

NOTE: it breaks requests off (ERR_NETWORK_CHANGED) while the machine gets or loses addresses, as it
does when containers are started beside it.
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
    """Run Chromium headless, with an empty profile, for as long as the block lasts."""
    with sync_playwright() as playwright, launch(playwright.chromium) as browser:
        yield browser


def launch(chromium: BrowserType, reachable: str = _HERE) -> Browser:
    """Start Chromium; `reachable` are the rules of its resolver that make an exception.

    No other host has an address, not even one that is written as an address.
    """
    return chromium.launch(**_options(reachable))


def keeping(chromium: BrowserType, profile: Path) -> BrowserContext:
    """Start Chromium as a person's: all that it keeps goes into the directory `profile`."""
    return chromium.launch_persistent_context(profile, **_options(_HERE))


def _options(reachable: str) -> dict[str, Any]:
    rules = f"--host-resolver-rules={reachable} , MAP * ~NOTFOUND"
    return {
        "executable_path": executable(),
        "args": [*ARGUMENTS, rules],
        # People go back to pages that their browser kept as they were.
        "ignore_default_args": ["--disable-back-forward-cache"],
    }

"""The Chromium of this machine, without a way to the internet.

NOTE: it breaks requests off (ERR_NETWORK_CHANGED) while the machine gets or loses addresses, as it
does when containers are started beside it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserType, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",  # containers and CI run this as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_HERE = "EXCLUDE 127.0.0.1 , EXCLUDE localhost"


def executable() -> str:
    """Return the path of Chromium: what CHROMIUM names, else the first on PATH.

    Raises FileNotFoundError with a sentence that says what to do.
    """
    names = (os.environ["CHROMIUM"],) if "CHROMIUM" in os.environ else NAMES
    for found in filter(None, map(shutil.which, names)):
        return found
    raise FileNotFoundError(
        f"These tests need Chromium, and there is no {' or '.join(names)} on PATH: "
        "install Debian's package chromium, or set CHROMIUM to a path"
    )


@contextmanager
def running() -> Iterator[Browser]:
    """Run Chromium headless, with an empty profile, for as long as the block lasts."""
    with sync_playwright() as playwright, launch(playwright.chromium) as browser:
        yield browser


def launch(chromium: BrowserType, reachable: str = _HERE) -> Browser:
    """Start Chromium; `reachable` are the rules of its resolver that make an exception.

    No other host has an address, not even one that is written as an address.
    """
    rules = f"--host-resolver-rules={reachable} , MAP * ~NOTFOUND"
    return chromium.launch(
        executable_path=executable(),
        args=[*_ARGUMENTS, rules],
        # People go back to pages that their browser kept as they were.
        ignore_default_args=["--disable-back-forward-cache"],
    )

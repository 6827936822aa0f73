"""The Chromium of this machine: its path and its options."""

import os
import shutil
from typing import Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS: Final = (
    "--no-sandbox",  # containers and CI run this as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def executable() -> str:
    """Return the path of Chromium: CHROMIUM if set, otherwise the first on PATH.

    Raises FileNotFoundError with instructions.
    """
    names = (os.environ["CHROMIUM"],) if "CHROMIUM" in os.environ else NAMES
    for found in filter(None, map(shutil.which, names)):
        return found
    raise FileNotFoundError(
        f"These tests need Chromium, and there is no {' or '.join(names)} on PATH: "
        "install Debian's package chromium, or set CHROMIUM to a path"
    )

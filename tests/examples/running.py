"""Run programs."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType


def run(
    *command: str | Path,
    directory: Path | None = None,
    stdin: str = "",
    environ: Mapping[str, str] = MappingProxyType({}),
    status: int = 0,
) -> subprocess.CompletedProcess[str]:
    """Run a program with `environ`, PATH and HOME; its exit status must be `status`."""
    completed = subprocess.run(
        command,
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environ},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,  # the first run installs Swift
        check=False,
    )
    assert completed.returncode == status, completed.stdout + completed.stderr
    return completed

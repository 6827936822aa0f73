"""Programs as a person or a build runs them."""

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
    """Run a program to the status it has to end with; it finds `environ`, PATH and HOME."""
    ran = subprocess.run(
        command,
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environ},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,  # the first time, Swift has to be fetched
        check=False,
    )
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran

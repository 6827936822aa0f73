"""Runs blocks one after the other in one shell, as a reader pastes them into a terminal."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from tests.guides import stand_in
from tests.guides.blocks import block

_INHERITED: Final = ("LANG", "COVERAGE_PROCESS_CONFIG")


class Terminal(NamedTuple):
    """Blocks, and the changes with which they run here."""

    blocks: tuple[str, ...]
    fill: Mapping[str, str] = {}
    """Replacements for placeholders: each must occur, and no … may remain."""
    variables: Mapping[str, str] = {}
    """Variables that the document tells a reader to set."""
    stand_ins: tuple[str, ...] = ()
    """Commands that aren't real here."""


class Done(NamedTuple):
    """The result of the commands."""

    status: int
    output: str
    errors: str
    calls: list[list[str]]
    """The calls to the stand-ins, as lists of words."""


def script(terminal: Terminal) -> str:
    """Return the text that a reader pastes."""
    text = "\n".join(map(block, terminal.blocks))
    for placeholder, value in terminal.fill.items():
        assert placeholder in text, f"{terminal.blocks} have no {placeholder}"
        text = text.replace(placeholder, value)
    assert "…" not in text, "a reader would have to fill this in"
    return text


def checkout(there: Path) -> Path:
    """Fill `there` like a checkout; files that blocks create stay in it.

    Untracked files, which a block might overwrite, are not in it.
    """
    there.mkdir()
    tracked = subprocess.check_output(["git", "ls-files", "-z"], text=True).split("\0")  # noqa: S607
    for name in {".venv", *(file.partition("/")[0] for file in tracked if file)}:
        (there / name).symlink_to(Path.cwd() / name)
    return there


def tool(file: Path, text: str) -> None:
    """Create an executable from these lines of bash."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/usr/bin/env bash\n{text}")
    file.chmod(0o755)


def run(terminal: Terminal, where: Path, tools: Path, *, seconds: float = 120) -> Done:
    """Paste the blocks in the directory `where`; the first command that fails ends it.

    `tools` is a directory whose programs come before others; stand-ins are put there.
    """
    tools.mkdir(exist_ok=True)
    for name in terminal.stand_ins:
        tool(tools / name, f'exec "{sys.executable}" "{stand_in.__file__}" {name} "$@"\n')
    calls = tools / "calls"
    calls.touch()
    status, output, errors = _paste(script(terminal), where, _environ(terminal, tools), seconds)
    calls_made = [json.loads(line) for line in calls.read_text().splitlines()]
    return Done(status, output, errors, calls_made)


def _environ(terminal: Terminal, tools: Path) -> dict[str, str]:
    """Return a reader's environment, without access to a cluster or an account."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {
        **inherited,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(tools),
        "KUBECONFIG": os.devnull,
        "CALLS": str(tools / "calls"),
        **terminal.variables,
    }


def _paste(text: str, where: Path, environ: dict[str, str], seconds: float) -> tuple[int, str, str]:
    """Return the shell's status, output and errors; end what is left in the background."""
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", text],  # noqa: S607 - the reader's
        cwd=where,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output, errors

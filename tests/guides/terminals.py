"""Runs blocks one after the other in one shell, as a reader pastes them into a terminal."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.guides import stand_in
from tests.guides.blocks import block


class Terminal(NamedTuple):
    """Blocks, and what makes them work here."""

    blocks: tuple[str, ...]
    fill: Mapping[str, str] = {}
    """What a reader puts in place of what: each has to be there, and no … may stay."""
    variables: Mapping[str, str] = {}
    """What a reader has set, because the text says so."""
    stand_ins: tuple[str, ...] = ()
    """Commands that aren't real here."""


class Done(NamedTuple):
    """What came of it."""

    status: int
    output: str
    errors: str
    calls: list[list[str]]
    """Those of the stand-ins, word by word."""


def script(terminal: Terminal) -> str:
    """Return the text that a reader pastes."""
    text = "\n".join(map(block, terminal.blocks))
    for placeholder, value in terminal.fill.items():
        assert placeholder in text, f"{terminal.blocks} have no {placeholder}"
        text = text.replace(placeholder, value)
    assert "…" not in text, "a reader would have to fill this in"
    return text


def checkout(there: Path) -> Path:
    """Make `there` look like a checkout to read and to run; files that are made stay in it."""
    there.mkdir()
    for entry in Path.cwd().iterdir():
        if entry.name != ".git":
            (there / entry.name).symlink_to(entry)
    return there


def run(terminal: Terminal, where: Path, tools: Path, *, seconds: float = 120) -> Done:
    """Paste the blocks in the directory `where`; the first command that fails ends it.

    `tools` is a directory whose commands come before others; stand-ins are put there.
    """
    tools.mkdir(exist_ok=True)
    for name in terminal.stand_ins:
        _make(tools / name, f'exec "{sys.executable}" "{stand_in.__file__}" {name} "$@"\n')
    calls = tools / "calls"
    calls.touch()
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environ = {
        **inherited,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(tools),
        "KUBECONFIG": os.devnull,
        "CALLS": str(calls),
        **terminal.variables,
    }
    bash = shutil.which("bash") or "bash"
    with subprocess.Popen(
        [bash, "-euo", "pipefail", "-c", script(terminal)],
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
            _end_session(process.pid)
    made = [json.loads(line) for line in calls.read_text().splitlines()]
    return Done(process.returncode, output, errors, made)


_INHERITED = ("LANG", "COVERAGE_PROCESS_CONFIG")


def tool(file: Path, text: str) -> None:
    """Make a command of bash's."""
    file.parent.mkdir(exist_ok=True)
    _make(file, text)


def _make(file: Path, text: str) -> None:
    file.write_text(f"#!/usr/bin/env bash\n{text}")
    file.chmod(0o755)


def _end_session(process: int) -> None:
    """End what a block has left in the background."""
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:
        return

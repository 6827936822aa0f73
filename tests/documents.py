"""Read documents and the Dockerfile, for tests that compare them with the real behaviour."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path


def code(document: str, language: str) -> list[str]:
    """Return the fenced blocks of `document` in `language`."""
    text = Path(document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def code_anywhere(language: str, containing: str) -> list[str]:
    """Return the fenced blocks in `language` of all guides in docs/ that contain a string."""
    guides = sorted(Path("docs").rglob("*.md"))
    return [
        block for guide in guides for block in code(str(guide), language) if containing in block
    ]


def dialogue(document: str) -> list[tuple[str, str | None]]:
    """Return the blocks of shell in `document`, each with the block of text it prints, if any."""
    blocks = re.findall(
        r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?",
        Path(document).read_text(),
        re.MULTILINE | re.DOTALL,
    )
    return [(command, printed or None) for command, printed in blocks]


def printed_by(commands: Iterable[str], ports: Mapping[str, str]) -> list[str]:
    """Return the output of each command, all run in one shell, with the ports replaced."""
    end = "%%%"
    script = f"\necho; echo {end}\n".join(commands)
    for written, real in ports.items():
        script = script.replace(f"127.0.0.1:{written}", f"127.0.0.1:{real}")
    ran = subprocess.run(
        ["/bin/sh", "-eu"], input=script, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran
    return ran.stdout.split(end)


def is_printed(text: str, printed: str) -> bool:
    """Return whether `printed` is the documented output, where … matches anything on a line."""
    pattern = ".*".join(map(re.escape, text.strip().split("…")))
    return re.fullmatch(pattern, printed.strip()) is not None


def docker_run() -> list[str]:
    """Return the documented `docker run`, word by word."""
    commands = [
        command
        for block in code_anywhere("sh", "docker run")
        for command in re.findall(r"docker run (?:.*\\\n)*.*", block)
    ]
    [command] = [command for command in commands if "--read-only" in command]
    return shlex.split(command.replace("\\\n", ""))


def hardening() -> list[str]:
    """Return the options of the documented `docker run` that restrict rights and resources."""
    words = docker_run()
    flags = {"--read-only": 0, "--tmpfs": 1, "--user": 1, "--cap-drop": 1, "--security-opt": 1}
    flags |= {"--memory": 1, "--pids-limit": 1}
    return [
        word for flag, values in flags.items() for word in words[words.index(flag) :][: 1 + values]
    ]


def entry_point(instruction: str = "ENTRYPOINT") -> list[str]:
    """Return the ENTRYPOINT of the service in the Dockerfile, or its CMD."""
    [stage] = re.findall(
        r"^FROM \S+ AS service$.*?(?=^FROM )",
        Path("Dockerfile").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    [words] = re.findall(rf"^{instruction} (.*)$", stage, re.MULTILINE)
    found: list[str] = json.loads(words)
    return found

"""What documents and the Dockerfile say, for tests that hold it against what runs."""

import json
import re
import shlex
from pathlib import Path


def code(document: str, language: str) -> list[str]:
    """Return the fenced blocks of `document` in `language`."""
    text = Path(document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def docker_run() -> list[str]:
    """Return the documented `docker run`, word by word."""
    [block] = [block for block in code("docs/deploy.md", "sh") if "docker run" in block]
    [command] = re.findall(r"docker run (?:.*\\\n)*.*", block)
    return shlex.split(command.replace("\\\n", ""))


def hardening() -> list[str]:
    """Return the options of the documented `docker run` that take rights and resources away."""
    words = docker_run()
    flags = {"--read-only": 0, "--tmpfs": 1, "--user": 1, "--cap-drop": 1, "--security-opt": 1}
    flags |= {"--memory": 1, "--pids-limit": 1}
    return [
        word for flag, values in flags.items() for word in words[words.index(flag) :][: 1 + values]
    ]


def entry_point(instruction: str = "ENTRYPOINT") -> list[str]:
    """Return the ENTRYPOINT of the service in the Dockerfile, or its CMD."""
    [stage] = re.findall(
        r"^FROM \S+ AS service$.*?(?=^FROM )", Path("Dockerfile").read_text(), re.M | re.S
    )
    [words] = re.findall(rf"^{instruction} (.*)$", stage, re.MULTILINE)
    found: list[str] = json.loads(words)
    return found

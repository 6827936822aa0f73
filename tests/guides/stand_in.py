"""Stands in for a command that needs a host's account: knows its documented options, does nothing.

    stand_in.py COMMAND [ARGUMENT...]

Exits with 2 and says why for a subcommand, an option, a value or a word that commands.toml doesn't
know, and for one that is missing; else prints what that file says, and adds the call to the file
that $CALLS names.
"""

import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

COMMANDS: Final = Path(__file__).with_name("commands.toml")


class Misuse(Exception):
    """A call that the command itself would refuse."""


def main(arguments: Sequence[str]) -> int:
    """Check a call and note it; return the exit status."""
    try:
        name, words = _command(arguments)
        commands = tomllib.loads(COMMANDS.read_text())[name]
        _check(commands, words)
        if "stdin" in commands:
            _check_words([commands["stdin"]], sys.stdin.read().splitlines(), repeated=True)
    except Misuse as misuse:
        sys.stderr.write(f"{arguments[0]}: {misuse}\n")
        return 2
    with Path(os.environ["CALLS"]).open("a") as calls:
        calls.write(json.dumps(list(arguments)) + "\n")
    sys.stdout.write(commands.get("says", ""))
    return 0


def _command(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the longest documented command name, and the arguments after it."""
    commands = tomllib.loads(COMMANDS.read_text())
    for length in range(len(arguments), 0, -1):
        if (name := " ".join(arguments[:length])) in commands:
            return name, arguments[length:]
    raise Misuse(f"{' '.join(arguments)!r} is no command that is known")


def _check(commands: Mapping[str, Any], arguments: Sequence[str]) -> None:
    options: dict[str, str] = commands.get("options", {})
    given, words, waiting = set(), [], list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if not argument.startswith("-"):
            words.append(argument)
            continue
        option, equals, value = argument.partition("=")
        if option not in options:
            raise Misuse(f"{option} is no option that is known")
        given.add(option)
        _check_value(option, options[option], value if equals else None, waiting)
    if missing := set(commands.get("required", ())) - given:
        raise Misuse(f"{', '.join(sorted(missing))} is missing")
    _check_words(commands.get("words", []), words, repeated=commands.get("repeated", False))


def _check_value(
    option: str,
    pattern: str,
    value: str | None,
    waiting: list[str],
) -> None:
    """Read an option's value, after its `=` or in the next word; none without a pattern."""
    if not pattern:
        if value is not None:
            raise Misuse(f"{option} takes no value")
        return
    if value is None:
        if not waiting:
            raise Misuse(f"{option} wants a value")
        value = waiting.pop(0)
    _match(pattern, value, option)


def _check_words(patterns: Sequence[str], words: Sequence[str], *, repeated: bool) -> None:
    if len(words) < len(patterns) or (len(words) > len(patterns) and not repeated):
        raise Misuse(f"{len(patterns)} words are wanted, not {list(words)}")
    for number, word in enumerate(words):
        _match(patterns[min(number, len(patterns) - 1)], word, "a word")


def _match(pattern: str, text: str, what: str) -> None:
    if "…" in text or not re.fullmatch(pattern, text):
        raise Misuse(f"{what} is {text!r}, which is not {pattern!r}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

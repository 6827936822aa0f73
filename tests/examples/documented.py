"""Writes the lines that /try shows into docs/apps.md: `make apps-docs`.

A comment above a block says which: `<!-- snippet: LANGUAGE STEP FLOW -->`.
"""

import json
import re
from pathlib import Path
from typing import Final, NamedTuple

from tests.examples.running import run

APPS: Final = Path("docs/apps.md")
_SCRIPT: Final = Path(__file__).with_name("snippets.mjs")
_BLOCK: Final = re.compile(
    r"(<!-- snippet: (\w+) (\w+) (\w+) -->\n```\w+\n).*?(^```$)", re.MULTILINE | re.DOTALL
)


class Snippet(NamedTuple):
    """What the page shows for a step of a flow in a language."""

    language: str
    step: str
    flow: str
    text: str


def main() -> None:
    """Write docs/apps.md anew."""
    APPS.write_text(current())


def current() -> str:
    """Return docs/apps.md as it should be."""
    given = spotify()

    def filled(found: re.Match[str]) -> str:
        language, step, flow = found.group(2, 3, 4)
        return found[1] + text(given, language, step, flow) + found[5]

    return _BLOCK.sub(filled, APPS.read_text())


def snippets(**about: object) -> list[Snippet]:
    """Return all of them; `about` is what snippets.js wants to know."""
    ran = run("node", _SCRIPT, json.dumps(about))
    return [Snippet(**found) for found in json.loads(ran.stdout)]


def spotify() -> list[Snippet]:
    """Return those for a server in front of Spotify itself."""
    return snippets(
        origin="https://swap.example.com",
        clientId="your-client-id",
        authorizeUrl="https://accounts.spotify.com/authorize",
        scopes=["user-read-email"],
    )


def text(given: list[Snippet], language: str, step: str, flow: str) -> str:
    """Return the lines of one."""
    [found] = [one.text for one in given if one[:3] == (language, step, flow)]
    return found


if __name__ == "__main__":
    main()

"""The documents' shell blocks, by keys.

A key is the document, `#`, the anchor that GitHub gives the heading above, and from the second
block below that heading on `/` and its number: `docs/operations.md#rotate/2`. Named snippets have
none: tests/examples runs them.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

DOCUMENTS: Final = ("README.md", "CONTRIBUTING.md", "docs/*.md", "charts/*/README.md")
_HEADING_OR_BLOCK: Final = re.compile(
    r"^#+ (?P<heading>[^\n]*)$"
    r"|^(?P<snippet><!-- snippet: [\w-]+ -->\n)? *```(?P<language>\S*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_SHELL: Final = {"sh", "bash", "shell", "console"}


def block(key: str) -> str:
    """Return one block; KeyError if there is none."""
    return dict(_of(Path(key.partition("#")[0])))[key]


def every() -> dict[str, str]:
    """Return all blocks of all documents."""
    documents = sorted(path for pattern in DOCUMENTS for path in Path().glob(pattern))
    return {key: text for document in documents for key, text in _of(document)}


def _of(document: Path) -> Iterator[tuple[str, str]]:
    anchor, number = "", 0
    for found in _HEADING_OR_BLOCK.finditer(document.read_text()):
        if found["heading"]:
            anchor, number = anchor_of(found["heading"]), 0
        elif found["language"] in _SHELL and not found["snippet"]:
            number += 1
            yield f"{document}#{anchor}" + (f"/{number}" if number > 1 else ""), found["text"]


def anchor_of(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")

"""Read the snippets in docs/apps.md. A comment above each names it: `<!-- snippet: NAME -->`."""

import re
from pathlib import Path
from typing import Final

APPS: Final = Path("docs/apps.md")
SERVER: Final = "https://swap.example.com"
LOGIN: Final = "https://accounts.spotify.com/authorize"
CLIENT_ID: Final = "your-client-id"
_BLOCK: Final = re.compile(
    r"<!-- snippet: ([\w-]+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


def snippets() -> dict[str, str]:
    """Return the snippets by name, unchanged."""
    return dict(_BLOCK.findall(APPS.read_text()))


def pointed_at(server: str, login: str, client_id: str) -> dict[str, str]:
    """Return the snippets by name, for another server, login page and app."""
    return {
        name: text.replace(SERVER, server).replace(LOGIN, login).replace(CLIENT_ID, client_id)
        for name, text in snippets().items()
    }

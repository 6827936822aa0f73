"""Who is measured: how each server is started, and under how many connections."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.tools import PEERS

SINGLE: Final = 1
USUAL: Final = 32
MANY: Final = 256


@dataclass(frozen=True)
class Contender:
    """One server. All get PORT and the app's credentials; `{port}` in a command is that PORT."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    connections: tuple[int, ...] = (USUAL,)
    warm_up_seconds: int = 3
    ready_path: str | None = None

    @property
    def is_node(self) -> bool:
        """Tell whether Node and its packages are needed."""
        return self.command[0] == "node"


_PRODUCTION: Final = {"NODE_ENV": "production"}
# V8 still compiles after thousands of requests: a peer measured earlier looks twice as expensive.
_NODE_WARM_UP_SECONDS: Final = 12

OURS: Final = Contender(
    "spotify-api-server",
    (sys.executable, "-m", "service"),
    {"METRICS_PORT": "0", "LOG_LEVEL": "info", "DRAIN_SECONDS": "0"},
    connections=(SINGLE, USUAL, MANY),
    ready_path="/readyz",
)
FASTIFY: Final = Contender(
    "fastify-undici",
    ("node", str(PEERS / "fastify.mjs")),
    _PRODUCTION,
    connections=(USUAL, MANY),
    warm_up_seconds=_NODE_WARM_UP_SECONDS,
)
EXPRESS: Final = Contender(
    "express-axios-pino",
    ("node", str(PEERS / "express.mjs")),
    _PRODUCTION,
    warm_up_seconds=_NODE_WARM_UP_SECONDS,
)
PLAIN: Final = Contender(
    "litestar-httpx",
    (sys.executable, "-m", "uvicorn", "--port={port}", "bench.peers.plain:app"),
)

CONTENDERS: Final = (OURS, FASTIFY, EXPRESS, PLAIN)

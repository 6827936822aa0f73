"""Who is measured: how each server is started, and under how many connections."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bench.load import APP_TOKEN, REFRESH, Question
from bench.tools import PEERS

SINGLE: Final = 1
USUAL: Final = 32
MANY: Final = 256


@dataclass(frozen=True)
class Contender:
    """One server, asked `question`. All get PORT and the app's credentials.

    In command and environment `{port}` is that PORT, `{upstream}` the origin that stands for
    Spotify's, `{receiver}` where spans may be sent: that many `spans` a request must arrive. Of
    `processes` each has a port of its own, and an equal part of the connections.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    question: Question = REFRESH
    connections: tuple[int, ...] = (USUAL,)
    processes: int = 1
    spans: int = 0
    warm_up_seconds: int = 3
    ready_path: str | None = None
    in_short: bool = True

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
TRACED: Final = replace(
    OURS,
    name=f"{OURS.name}, all traced",
    env={**OURS.env, "OTEL_EXPORTER_OTLP_ENDPOINT": "{receiver}"},
    connections=(USUAL,),
    spans=2,
)
CACHED: Final = replace(
    OURS,
    name=f"{OURS.name}, cached token",
    env={**OURS.env, "SPOTIFY_TOKEN_URL": "{upstream}/api/app-token"},
    question=APP_TOKEN,
    connections=(USUAL,),
)
TWO: Final = replace(OURS, name=f"{OURS.name}, two processes", connections=(USUAL,), processes=2)
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
    in_short=False,
)

CONTENDERS: Final = (OURS, TRACED, CACHED, TWO, FASTIFY, EXPRESS, PLAIN)

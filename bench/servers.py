"""The servers that are measured: how each one is started, and its load."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bench.load import APP_TOKEN, REFRESH, Workload
from bench.tools import PEERS

SINGLE: Final = 1
USUAL: Final = 32
MANY: Final = 256


@dataclass(frozen=True)
class Server:
    """A server under test. Each one gets PORT and the app's credentials.

    In `command` and `env`, `{port}` and `{metrics_port}` are free ports, `{upstream}` and
    `{tls_upstream}` the origins of the upstream, `{ca}` the file with its certificate, and
    `{receiver}` the OTLP receiver, which must get `spans` spans for each request.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    workload: Workload = REFRESH
    connections: tuple[int, ...] = (USUAL,)
    spans: int = 0
    warm_up_seconds: int = 3
    ready_path: str | None = None
    in_short: bool = True

    @property
    def is_node(self) -> bool:
        """Return whether it needs Node.js and its packages."""
        return self.command[0] == "node"


# V8 still compiles after thousands of requests: a peer measured earlier looks twice as expensive.
_NODE_WARM_UP_SECONDS: Final = 12
_TLS_UPSTREAM: Final = {"SPOTIFY_TOKEN_URL": "{tls_upstream}/api/token"}
# A server under full load makes more spans than the default queue of 2,048 holds.
_TRACES: Final = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "{receiver}",
    "OTEL_BSP_MAX_QUEUE_SIZE": "65536",
}

OURS: Final = Server(
    "spotify-api-server",
    (sys.executable, "-m", "service"),
    {"METRICS_PORT": "{metrics_port}", "LOG_LEVEL": "info", "DRAIN_SECONDS": "0"},
    connections=(SINGLE, USUAL, MANY),
    ready_path="/readyz",
)
_OURS_AT_32: Final = replace(OURS, connections=(USUAL,))
TLS: Final = replace(
    _OURS_AT_32,
    name=f"{OURS.name}, TLS upstream",
    env={**OURS.env, **_TLS_UPSTREAM, "SSL_CERT_FILE": "{ca}"},
)
TRACED: Final = replace(
    _OURS_AT_32, name=f"{OURS.name}, all traced", env={**OURS.env, **_TRACES}, spans=2
)
CACHED: Final = replace(
    _OURS_AT_32,
    name=f"{OURS.name}, cached app token",
    env={**OURS.env, "SPOTIFY_TOKEN_URL": "{upstream}/api/app-token"},
    workload=APP_TOKEN,
)
FASTIFY: Final = Server(
    "fastify-undici",
    ("node", str(PEERS / "fastify.mjs")),
    {"NODE_ENV": "production"},
    warm_up_seconds=_NODE_WARM_UP_SECONDS,
)
FASTIFY_TLS: Final = replace(
    FASTIFY,
    name=f"{FASTIFY.name}, TLS upstream",
    env={**FASTIFY.env, **_TLS_UPSTREAM, "NODE_EXTRA_CA_CERTS": "{ca}"},
)
FASTIFY_TRACED: Final = replace(
    FASTIFY,
    name=f"{FASTIFY.name}, all traced",
    command=("node", f"--import={PEERS / 'tracing.mjs'}", str(PEERS / "fastify.mjs")),
    env={**FASTIFY.env, **_TRACES, "OTEL_SERVICE_NAME": "fastify-undici"},
    spans=2,
)
EXPRESS: Final = replace(
    FASTIFY,
    name="express-axios-pino",
    command=("node", str(PEERS / "express.mjs")),
    in_short=False,
)
PLAIN: Final = Server(
    "litestar-httpx",
    (sys.executable, "-m", "uvicorn", "--port={port}", "bench.peers.plain:app"),
    in_short=False,
)

SERVERS: Final = (
    OURS,
    TLS,
    TRACED,
    CACHED,
    FASTIFY,
    FASTIFY_TLS,
    FASTIFY_TRACED,
    EXPRESS,
    PLAIN,
)

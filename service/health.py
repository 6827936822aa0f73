"""/healthz and /readyz: whether the process is alive, and whether it accepts traffic.

Neither depends on Spotify: restarting a pod because Spotify is down would help no client.
"""

from litestar import MediaType, Response, route
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

PATHS = frozenset({"/healthz", "/readyz"})


class Readiness:
    """Whether the service accepts traffic.

    `started` is set when the app is ready, `draining` on SIGTERM, `stopping` when the drain is over
    and new token requests are refused.
    """

    def __init__(self) -> None:
        self.started = False
        self.draining = False
        self.stopping = False

    def start(self) -> None:
        """Accept traffic."""
        self.started = True

    @property
    def ready(self) -> bool:
        """True between start and drain."""
        return self.started and not self.draining


def _plain(text: str, status_code: int = 200) -> Response[str]:
    headers = {"Cache-Control": "no-store"}
    return Response(text, status_code=status_code, media_type=MediaType.TEXT, headers=headers)


@route("/healthz", http_method=["GET", "HEAD"], sync_to_thread=False)
def healthz() -> Response[str]:
    """Return 200 while the process is alive."""
    return _plain("alive")


@route("/readyz", http_method=["GET", "HEAD"], sync_to_thread=False)
def readyz(state: State) -> Response[str]:
    """Return 200 when started and not draining, otherwise 503."""
    readiness: Readiness = state.readiness
    if readiness.ready:
        return _plain("ready")
    return _plain("draining" if readiness.draining else "starting", status_code=503)


handlers: list[HTTPRouteHandler] = [healthz, readyz]


def is_probe(path: str) -> bool:
    """Return whether `path` leads to a probe; a trailing slash does not matter."""
    return path.rstrip("/") in PATHS

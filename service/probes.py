"""/healthz and /readyz: whether the process lives, and whether it wants traffic.

Neither depends on Spotify: a pod that is restarted because Spotify is down helps nobody.
"""

from litestar import MediaType, Response, route
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

PATHS = frozenset({"/healthz", "/readyz"})


def is_probe(path: str) -> bool:
    """Tell whether `path` leads to a probe; as for Litestar, slashes around it don't matter."""
    return f"/{path.strip('/')}" in PATHS


class Readiness:
    """Whether the service wants traffic: from its start until it is told to stop."""

    def __init__(self) -> None:
        self.started = False
        self.draining = False

    @property
    def ready(self) -> bool:
        """True between start and drain."""
        return self.started and not self.draining


def _plain(text: str, status_code: int = 200) -> Response[str]:
    headers = {"Cache-Control": "no-store"}
    return Response(text, status_code=status_code, media_type=MediaType.TEXT, headers=headers)


@route("/healthz", http_method=["GET", "HEAD"], sync_to_thread=False)
def healthz() -> Response[str]:
    """Answer 200 while the process lives."""
    return _plain("alive")


@route("/readyz", http_method=["GET", "HEAD"], sync_to_thread=False)
def readyz(state: State) -> Response[str]:
    """Answer 200 when started and not draining, else 503."""
    readiness: Readiness = state.readiness
    if readiness.ready:
        return _plain("ready")
    return _plain("draining" if readiness.draining else "starting", status_code=503)


handlers: list[HTTPRouteHandler] = [healthz, readyz]

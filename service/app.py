"""The app: the only place where the parts are joined."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from service import __version__, answers, documents, errors, logs, observation, probes, routes
from service.app_token import AppToken
from service.asgi import App as ASGIApp
from service.asgi import Receive, Scope, Send
from service.backoff import Backoff
from service.coalescing import Coalescing
from service.cors import Cors
from service.errors import ServiceError
from service.flows import Context
from service.metrics import Metrics
from service.observation import Observer
from service.probes import Readiness
from service.sealing import Sealer, fingerprint
from service.settings import Settings
from service.spotify import SpotifyAccounts, Transport

if TYPE_CHECKING:
    from service.tracing import Tracing


class App:
    """The service as an ASGI application.

    `readiness` is what a server tells it; `metrics` are served by an application of their own.
    """

    def __init__(
        self,
        settings: Settings,
        transport: httpx.AsyncBaseTransport,
        tracing: "Tracing | None",
    ) -> None:
        self.readiness = Readiness()
        self.metrics = Metrics(__version__)
        if tracing:
            transport = tracing.instrument(transport, settings.spotify_token_url)
        user_agent = f"spotify-api-server/{__version__}"
        accounts = SpotifyAccounts(settings, transport, user_agent, self.metrics.observe_upstream)
        backoff = Backoff(accounts.ask)
        coalescing = Coalescing(backoff.ask)
        current, *previous = settings.keyring
        sealer = Sealer(current, previous)
        swap = routes.Swap(Context(settings, sealer), coalescing.ask)
        app_token = AppToken(swap.exchange)
        own = app_token if settings.client_credentials_cache else None
        self._show(accounts, backoff)
        self.metrics.tokens_opened(_names(settings), sealer.opened)
        flows = settings.client_credentials_enabled
        handlers = [*routes.handlers(swap, own, client_credentials=flows), *probes.handlers]
        if settings.docs:
            handlers += documents.handlers(handlers)
        closed = (app_token.aclose, coalescing.aclose, accounts.aclose)
        app = Litestar(
            [routes.options(handlers), *handlers],
            exception_handlers={Exception: _answer_exception},
            lifespan=[_lifespan(self.readiness, closed, tracing)],
            logging_config=None,
            openapi_config=None,
            state=State({"readiness": self.readiness}),
        )
        crossing = _crossing(app, settings, handlers)
        self._app = Observer(crossing, self.readiness, self.metrics, tracing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        await self._app(scope, receive, send)

    def _show(self, accounts: SpotifyAccounts, backoff: Backoff) -> None:
        self.metrics.gauge("upstream_in_flight", "Calls to Spotify.", lambda: accounts.in_flight)
        told = "For how long Spotify wants no calls."
        self.metrics.flow_gauge("throttled_seconds", told, backoff.seconds_left)


def create_app(
    settings: Settings,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    tracing: "Tracing | None" = None,
) -> App:
    """Return the service for `settings`, asking Spotify through `transport`."""
    return App(settings, transport or Transport(settings.spotify_token_url), tracing)


def _names(settings: Settings) -> list[tuple[str, str]]:
    """Return what metrics call each key: current or previous, and its fingerprint."""
    return [
        ("previous" if number else "current", fingerprint(key))
        for number, key in enumerate(settings.keyring)
    ]


def _crossing(app: Litestar, settings: Settings, handlers: list[HTTPRouteHandler]) -> ASGIApp:
    """Let pages of the named origins call us; without origins there is no CORS at all."""
    if not settings.cors_allow_origins:
        return app
    return Cors(app, settings.cors_allow_origins, routes.methods(handlers))


def _lifespan(
    readiness: Readiness, closed: Iterable[Callable[[], Awaitable[None]]], tracing: "Tracing | None"
) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        readiness.started = True
        yield
        for close in closed:
            await close()
        if tracing:
            tracing.flush()

    return lifespan


def _answer_exception(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer whatever a handler or Litestar raised in our form."""
    observed = observation.of(request.scope)
    refusal = _as_ours(error)
    observed.spared = refusal.spared
    if isinstance(refusal, errors.InternalError):
        observed.details |= logs.exception(error)
    elif isinstance(refusal, errors.UpstreamFailed | errors.UpstreamTimeout):
        observed.event = "upstream.failed"
    observed.details["reason"] = refusal.reason
    answer = answers.own_error(refusal)
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, status_code=answer.status, headers=headers)


def _as_ours(error: Exception) -> ServiceError:
    """Return Litestar's refusals as ours, and anything unforeseen as a defect."""
    if isinstance(error, ServiceError):
        return error
    if not isinstance(error, HTTPException) or error.status_code >= 500:  # noqa: PLR2004
        return errors.InternalError()
    if error.status_code == errors.MethodNotAllowed.status:
        allow = (error.headers or {}).get("allow", "")
        return errors.MethodNotAllowed(", ".join(sorted(set(allow.split(", ")) - {"OPTIONS"})))
    if error.status_code == errors.NotFound.status:
        return errors.NotFound()
    return errors.MalformedBody("Bad Request")

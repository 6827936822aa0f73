"""The app: the only place where the parts are joined."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from service import (
    __version__,
    answers,
    documents,
    errors,
    logs,
    observation,
    probes,
    routes,
    trying,
)
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
from service.routes import Ask, Swap
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
        self._closing = AsyncExitStack()  # what is made last is closed first
        if tracing:
            transport = tracing.instrument(transport, settings.spotify_token_url)
            self._closing.callback(tracing.flush)
        swap = self._swap(settings, self._upstream(settings, transport))
        handlers = [*self._flows(settings, swap), *probes.handlers]
        if settings.try_page:
            handlers.append(trying.page(settings))
        if settings.docs:
            handlers = [*handlers, *documents.handlers(handlers)]
        if settings.try_page:
            handlers = [*handlers, *trying.files()]  # of which the document doesn't tell
        crossing = _crossing(self._litestar(handlers), settings, handlers)
        self._app = Observer(crossing, self.readiness, self.metrics, tracing)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one ASGI connection."""
        return self._app(scope, receive, send)

    def _upstream(self, settings: Settings, transport: httpx.AsyncBaseTransport) -> Ask:
        """Return what asks Spotify: one call for all who ask the same, none while it wants none."""
        user_agent = f"spotify-api-server/{__version__}"
        accounts = SpotifyAccounts(settings, transport, user_agent, self.metrics.observe_upstream)
        backoff = Backoff(accounts.ask)
        coalescing = Coalescing(backoff.ask)
        self._closing.push_async_callback(accounts.aclose)
        self._closing.push_async_callback(coalescing.aclose)
        self.metrics.gauge("upstream_in_flight", "Calls to Spotify.", lambda: accounts.in_flight)
        told = "For how long Spotify wants no calls."
        self.metrics.flow_gauge("throttled_seconds", told, backoff.seconds_left)
        return coalescing.ask

    def _swap(self, settings: Settings, ask: Ask) -> Swap:
        """Return the way of a request, with a limit on each client if there is one."""
        current, *previous = settings.keyring
        sealer = Sealer(current, previous)
        self.metrics.tokens_opened(_names(settings), sealer.opened)
        context = Context(settings, sealer)
        if settings.rate_limit is None:
            return Swap(context, ask)
        from service.limiting import Limiter  # noqa: PLC0415 - not paid for without a limit

        limiter = Limiter(settings, self.metrics)
        self._closing.push_async_callback(limiter.aclose)
        return Swap(context, ask, limiter.admit)

    def _flows(self, settings: Settings, swap: Swap) -> list[HTTPRouteHandler]:
        """Return the handlers of the flows, the app's own token kept between them."""
        app_token = AppToken(swap.exchange) if settings.client_credentials_cache else None
        if app_token:
            self._closing.push_async_callback(app_token.aclose)
        enabled = settings.client_credentials_enabled
        return routes.handlers(swap, app_token, client_credentials=enabled)

    def _litestar(self, handlers: list[HTTPRouteHandler]) -> Litestar:
        return Litestar(
            [routes.options(handlers), *handlers],
            exception_handlers={Exception: _answer_exception},
            lifespan=[self._lifespan],
            logging_config=None,
            openapi_config=None,
            state=State({"readiness": self.readiness}),
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Litestar) -> AsyncIterator[None]:
        async with self._closing:
            self.readiness.started = True
            yield


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

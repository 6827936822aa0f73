"""The app: the only place where the parts are joined."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from service import __version__, answers, errors, logs, observation, probes, routes
from service.asgi import App as ASGIApp
from service.asgi import Receive, Scope, Send
from service.cors import Cors
from service.errors import ServiceError
from service.flows import Context
from service.metrics import Metrics
from service.observation import Observer
from service.probes import Readiness
from service.sealing import Sealer
from service.settings import Settings
from service.spotify import SpotifyAccounts, Transport

if TYPE_CHECKING:
    from service.limiting import Limiter
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
        traced = tracing.instrument(transport) if tracing else transport
        accounts = SpotifyAccounts(settings, traced, f"spotify-api-server/{__version__}")
        self.metrics.gauge("upstream_in_flight", "Calls to Spotify.", lambda: accounts.in_flight)
        limiter = _limiter(settings, self.metrics)
        make_swap = limiter.swap if limiter else routes.Swap
        swap = make_swap(Context(settings, _sealer(settings)), accounts.ask)
        flows = settings.client_credentials_enabled
        handlers = [*routes.handlers(swap, client_credentials=flows), *probes.handlers]
        app = Litestar(
            [routes.options(handlers), *handlers],
            exception_handlers={Exception: _answer_exception},
            lifespan=[_lifespan(self.readiness, accounts, tracing)],
            logging_config=None,
            on_shutdown=[limiter.aclose] if limiter else [],
            openapi_config=None,
            state=State({"readiness": self.readiness}),
        )
        crossing = _crossing(app, settings, handlers)
        self._app = Observer(crossing, self.readiness, self.metrics, tracing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        await self._app(scope, receive, send)


def create_app(
    settings: Settings,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    tracing: "Tracing | None" = None,
) -> App:
    """Return the service for `settings`, asking Spotify through `transport`."""
    return App(settings, transport or Transport(settings.spotify_token_url), tracing)


def _sealer(settings: Settings) -> Sealer:
    previous = (key.reveal() for key in settings.secret_keys_previous)
    return Sealer(settings.secret_key.reveal(), previous)


def _limiter(settings: Settings, metrics: Metrics) -> "Limiter | None":
    """Return what limits clients; without RATE_LIMIT it isn't even imported."""
    if settings.rate_limit is None:
        return None
    from service import limiting  # noqa: PLC0415

    return limiting.Limiter(settings, metrics)


def _crossing(app: Litestar, settings: Settings, handlers: list[HTTPRouteHandler]) -> ASGIApp:
    """Let pages of the named origins call us; without origins there is no CORS at all."""
    if not settings.cors_allow_origins:
        return app
    methods = {path: handler.http_methods for handler in handlers for path in handler.paths}
    return Cors(app, settings.cors_allow_origins, methods)


def _lifespan(
    readiness: Readiness, accounts: SpotifyAccounts, tracing: "Tracing | None"
) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        readiness.started = True
        yield
        await accounts.aclose()
        if tracing:
            tracing.flush()

    return lifespan


def _answer_exception(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer whatever a handler or Litestar raised in our form."""
    observed = observation.of(request.scope)
    refusal = _as_ours(error)
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

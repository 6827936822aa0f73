"""The application: the only place where the parts are joined."""

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx
from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.types import Guard

from service import __version__, errors, health, oauth, openapi, routes
from service import settings as service_settings
from service.app_token import AppToken
from service.backoff import Backoff
from service.grants import Context, Flow
from service.health import Readiness
from service.metrics import Metrics
from service.middleware import RequestMiddleware
from service.rate_limit import Clients, Limiter, guard
from service.sealing import Sealer, key_names
from service.settings import Settings
from service.singleflight import Coalescing
from service.upstream import Spotify, TokenEndpoint, Transport, Upstream

if TYPE_CHECKING:
    from service.tracing import Tracing


def create_app(
    settings: Settings | None = None,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    tracing: "Tracing | None" = None,
) -> Litestar:
    """Return the service.

    `settings` and `tracing` are those of the environment unless given; `transport` replaces the one
    to Spotify. Raises SettingsError.
    """
    settings = settings or service_settings.load(os.environ)
    tracing = tracing or _tracing()
    readiness, metrics = Readiness(), Metrics(__version__)
    clients = Clients(settings.trusted_proxies)
    closing = AsyncExitStack()  # closed in reverse order
    if tracing:
        closing.callback(tracing.flush)
    upstream = _upstream(settings, transport or Transport(settings), metrics, tracing, closing)
    guards: list[Guard] = []
    if settings.rate_limit:
        limiter = Limiter(settings, clients, metrics)
        closing.push_async_callback(limiter.aclose)
        guards.append(guard(limiter))
    context = Context(settings, _sealer(settings, metrics))
    base_path = settings.base_path or "/"
    pages = [routes.root, *oauth.handlers(settings), *openapi.handlers(settings)]
    tokens = [*routes.handlers(context, upstream), oauth.token_handler(context, upstream)]
    app = Litestar(
        [
            *health.handlers,
            *oauth.root_metadata(settings),
            Router(base_path, route_handlers=pages),
            Router(base_path, route_handlers=tokens, guards=guards),
        ],
        cors_config=_cors(settings),
        exception_handlers={Exception: errors.handle},
        logging_config=None,
        on_shutdown=[closing.aclose],
        on_startup=[readiness.start],
        openapi_config=None,
        state=State(
            {
                "readiness": readiness,
                "metrics": metrics,
                "upstream": upstream,
                "oauth_paths": {settings.base_path + path for path in oauth.TOKEN_PATHS},
            }
        ),
    )
    # Outside the router, because Litestar's own middlewares do not see a 404. Litestar's tracing
    # plugin is wrapped around `asgi_handler` in the same way.
    app.asgi_handler = RequestMiddleware(
        app.asgi_handler, readiness=readiness, metrics=metrics, clients=clients, tracing=tracing
    )
    return app


def _tracing() -> "Tracing | None":
    """Return tracing as OTEL_* configure it; the SDK is imported only if they turn it on."""
    if not service_settings.tracing_enabled(os.environ):
        return None
    from service import tracing  # noqa: PLC0415 - it takes 100 ms and 20 MiB

    return tracing.create(os.environ)


def _upstream(
    settings: Settings,
    transport: httpx.AsyncBaseTransport,
    metrics: Metrics,
    tracing: "Tracing | None",
    closing: AsyncExitStack,
) -> Upstream:
    """Return the upstream chains: cache or single-flight, back-off, HTTP.

    Codes are neither cached nor coalesced: a code can be used once, and Spotify has to see a second
    use to revoke the tokens of the first (RFC 6749, section 4.1.2).
    """
    if tracing:
        transport = tracing.instrument(transport, settings.spotify_token_url)
    spotify = Spotify(settings, transport, metrics.observe_upstream)
    backoff = Backoff(spotify)
    coalescing = Coalescing(backoff)
    app_token = AppToken(backoff)
    for link in (spotify, coalescing, app_token):
        closing.push_async_callback(link.aclose)
    metrics.gauge("upstream_in_flight", "Calls to Spotify.", lambda: spotify.in_flight)
    metrics.flow_gauge(
        "throttled_seconds", "Seconds until Spotify is called again.", backoff.seconds_left
    )
    chains: dict[Flow, TokenEndpoint] = dict.fromkeys(Flow, backoff)
    chains |= {Flow.REFRESH: coalescing, Flow.PKCE_REFRESH: coalescing}
    if settings.client_credentials_cache:
        chains[Flow.CLIENT_CREDENTIALS] = app_token
    return Upstream(chains)


def _sealer(settings: Settings, metrics: Metrics) -> Sealer:
    current, *previous = settings.keyring
    return Sealer(current, previous, metrics.tokens_opened(key_names(settings.keyring)))


def _cors(settings: Settings) -> CORSConfig | None:
    """Return the configuration of CORS; without origins there is none at all."""
    if not settings.cors_allow_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_allow_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["Retry-After", "WWW-Authenticate", "X-Request-ID"],
    )

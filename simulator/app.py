"""The simulator's Litestar application."""

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide

from simulator import admin
from simulator.accounts import Accounts
from simulator.authorize import consent, decide
from simulator.faults import FaultQueue
from simulator.playground_page import SERVICE_URL, Playground, routes
from simulator.record import Record
from simulator.token import token_route, trap_route
from simulator.webapi import web_api_route


def create_app(accounts: Accounts, service_url: str = SERVICE_URL) -> Litestar:
    """Return the application, which must be served by ``simulator.server``.

    ``service_url`` is the URL of the service for the playground, as browsers reach it.
    """
    faults, record = FaultQueue(), Record()
    playground = Playground(service_url=service_url, client_id=accounts.app.client_id)
    return Litestar(
        [
            token_route(accounts, faults, record),
            trap_route(record),
            web_api_route(accounts),
            consent,
            decide,
            *admin.HANDLERS,
            *routes(playground),
        ],
        dependencies={
            "accounts": Provide(lambda: accounts, sync_to_thread=False),
            "faults": Provide(lambda: faults, sync_to_thread=False),
            "record": Provide(lambda: record, sync_to_thread=False),
        },
        openapi_config=None,
        on_app_init=[_without_logging],
    )


def create_playground(playground: Playground) -> Litestar:
    """Return an application with the playground only, for a service that calls the real Spotify."""
    return Litestar(routes(playground), openapi_config=None, on_app_init=[_without_logging])


def _without_logging(config: AppConfig) -> AppConfig:
    """Keep Litestar 2 from configuring the root logger; Litestar 3 no longer does."""
    config.logging_config = None
    return config

"""The simulator as one Litestar application."""

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide

from simulator import admin
from simulator.accounts import Accounts
from simulator.authorize import consent, decide
from simulator.faults import FaultQueue
from simulator.record import Record
from simulator.token import token_route, trap_route
from simulator.webapi import web_api_route


def create_app(accounts: Accounts) -> Litestar:
    """Return the application around accounts. It must be served by ``simulator.server``."""
    faults, record = FaultQueue(), Record()
    return Litestar(
        [
            token_route(accounts, faults, record),
            trap_route(record),
            web_api_route(accounts),
            consent,
            decide,
            *admin.HANDLERS,
        ],
        dependencies={
            "accounts": Provide(lambda: accounts, sync_to_thread=False),
            "faults": Provide(lambda: faults, sync_to_thread=False),
            "record": Provide(lambda: record, sync_to_thread=False),
        },
        openapi_config=None,
        on_app_init=[_without_logging],
    )


def _without_logging(config: AppConfig) -> AppConfig:
    """Keep Litestar 2 from configuring the root logger; Litestar 3 does not, nor has the field."""
    config.logging_config = None
    return config

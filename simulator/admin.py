"""The endpoints that control the simulator. Invalid input gets 400 with an explanation."""

from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.exceptions import ClientException, NotFoundException
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import Decoder

from simulator import jsontext, pkce, scopes, users
from simulator.accounts import Accounts, Rotation, Seconds, Settings
from simulator.faults import AnyFault, FaultQueue
from simulator.record import Entry, Record
from simulator.users import User, Users

_Wanted = TypeVar("_Wanted")
_AnyRequest = Request[Any, Any, Any]


class CodeOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/codes: a code as if a user had agreed at /authorize."""

    redirect_uri: str
    scope: str = ""
    code_challenge: Annotated[str, Meta(pattern=pkce.CHALLENGE_PATTERN)] | None = None
    user: str | None = None


class RefreshTokenOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/refresh-tokens: a token as from a code with or without PKCE."""

    pkce: bool
    scope: str = ""
    user: str | None = None


class Passing(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /admin/clock."""

    seconds: Seconds


class SettingsChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The settings to change; the others stay as they are."""

    rotation: Rotation | UnsetType = UNSET
    expires_in: Seconds | UnsetType = UNSET
    code_lifetime: Seconds | UnsetType = UNSET
    refresh_token_lifetime: Seconds | UnsetType = UNSET


_CHANGE = Decoder(SettingsChange)
_CODE = Decoder(CodeOrder)
_REFRESH_TOKEN = Decoder(RefreshTokenOrder)
_PASSING = Decoder(Passing)
_FAULTS: Decoder[list[AnyFault] | AnyFault] = Decoder(list[AnyFault] | AnyFault)


@get("/healthz")
async def healthz() -> dict[str, str]:
    """Health check."""
    return {"status": "ok"}


@get("/admin/settings")
async def read_settings(accounts: NamedDependency[Accounts]) -> Settings:
    """Return the settings."""
    return accounts.settings


@patch("/admin/settings")
async def change_settings(request: _AnyRequest, accounts: NamedDependency[Accounts]) -> Settings:
    """Change settings; return all of them."""
    change = await _read(request, _CHANGE)
    fields = msgspec.structs.asdict(change).items()
    given = {name: value for name, value in fields if value is not UNSET}
    accounts.settings = msgspec.structs.replace(accounts.settings, **given)
    return accounts.settings


@get("/admin/users")
async def read_users(accounts: NamedDependency[Accounts]) -> Users:
    """Return the users."""
    return accounts.users


@put("/admin/users")
async def change_users(request: _AnyRequest, accounts: NamedDependency[Accounts]) -> Users:
    """Replace all users; their codes and tokens stay valid."""
    try:
        accounts.users = users.read(await request.body())
    except ValueError as error:
        raise ClientException(str(error)) from error
    return accounts.users


@delete("/admin/users/{user:str}/access", status_code=200)
async def revoke_access(user: FromPath[str], accounts: NamedDependency[Accounts]) -> dict[str, int]:
    """Revoke the app's access to a user; return the number of refresh tokens revoked."""
    if accounts.user(user) is None:
        raise NotFoundException(f"There is no user {user}")
    return {"revoked": accounts.revoke(user)}


@post("/admin/clock", status_code=200)
async def put_forward(request: _AnyRequest, accounts: NamedDependency[Accounts]) -> dict[str, int]:
    """Advance the clock; return the seconds that it is ahead."""
    passing = await _read(request, _PASSING)
    return {"ahead": accounts.put_forward(passing.seconds)}


@post("/admin/codes")
async def mint_code(request: _AnyRequest, accounts: NamedDependency[Accounts]) -> dict[str, str]:
    """Return a new authorization code."""
    order = await _read(request, _CODE)
    if not accounts.allows(order.redirect_uri):
        raise ClientException("Invalid redirect URI")
    user = _ordered(accounts, order)
    code = accounts.issue_code(order.redirect_uri, order.scope, order.code_challenge, user)
    return {"code": code}


@post("/admin/refresh-tokens")
async def mint_refresh_token(
    request: _AnyRequest, accounts: NamedDependency[Accounts]
) -> dict[str, str]:
    """Return a new refresh token."""
    order = await _read(request, _REFRESH_TOKEN)
    user = _ordered(accounts, order)
    token = accounts.issue_refresh_token(pkce=order.pkce, scope=order.scope, user=user)
    return {"refresh_token": token}


@get("/admin/faults")
async def waiting_faults(faults: NamedDependency[FaultQueue]) -> list[AnyFault]:
    """Return the queued faults."""
    return faults.waiting()


@post("/admin/faults")
async def add_faults(request: _AnyRequest, faults: NamedDependency[FaultQueue]) -> list[AnyFault]:
    """Queue one fault or a list of faults; return all queued faults."""
    body = await _read(request, _FAULTS)
    faults.add(body if isinstance(body, list) else [body])
    return faults.waiting()


@delete("/admin/faults")
async def clear_faults(faults: NamedDependency[FaultQueue]) -> None:
    """Remove the queued faults."""
    faults.clear()


@get("/admin/requests")
async def recorded_requests(record: NamedDependency[Record]) -> list[Entry]:
    """Return the requests to /api/token and /trap, the oldest first."""
    return record.entries()


@delete("/admin/requests")
async def forget_requests(record: NamedDependency[Record]) -> None:
    """Delete the recorded requests."""
    record.clear()


@post("/admin/reset", status_code=204)
async def reset(
    accounts: NamedDependency[Accounts],
    faults: NamedDependency[FaultQueue],
    record: NamedDependency[Record],
) -> None:
    """Restore the state at the start."""
    accounts.reset()
    faults.clear()
    record.clear()


HANDLERS = (
    healthz,
    read_settings,
    change_settings,
    read_users,
    change_users,
    revoke_access,
    put_forward,
    mint_code,
    mint_refresh_token,
    waiting_faults,
    add_faults,
    clear_faults,
    recorded_requests,
    forget_requests,
    reset,
)


def _ordered(accounts: Accounts, order: CodeOrder | RefreshTokenOrder) -> User:
    """Return the user of an admin request; ClientException if user or scope does not exist."""
    illegal = scopes.unknown(order.scope)
    if illegal:
        raise ClientException(f"Illegal scope: {' '.join(illegal)}")
    user = accounts.user(order.user)
    if user is None:
        raise ClientException(f"There is no user {order.user}")
    return user


async def _read(request: _AnyRequest, decoder: Decoder[_Wanted]) -> _Wanted:
    """Decode the body with any Content-Type."""
    try:
        return jsontext.read(await request.body(), decoder, "The body is")
    except ValueError as error:
        raise ClientException(str(error)) from error

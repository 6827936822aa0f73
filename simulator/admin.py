"""The endpoints that steer the simulator. Bad input is answered with 400 and a sentence."""

from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import Decoder

from simulator import pkce
from simulator.accounts import Accounts, Rotation, Seconds, Settings
from simulator.faults import AnyFault, FaultQueue
from simulator.record import Entry, Record

_Wanted = TypeVar("_Wanted")
_AnyRequest = Request[Any, Any, Any]


class CodeOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """What a code is to be made for, as if a person had agreed at /authorize."""

    redirect_uri: str
    scope: str = ""
    code_challenge: Annotated[str, Meta(pattern=pkce.CHALLENGE_PATTERN)] | None = None


class RefreshTokenOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """What a refresh token is to be made for, as if from a code with or without PKCE."""

    pkce: bool
    scope: str = ""


class SettingsChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The settings to change; what is left out stays as it is."""

    rotation: Rotation | UnsetType = UNSET
    expires_in: Seconds | UnsetType = UNSET
    code_lifetime: Seconds | UnsetType = UNSET


_CHANGE = Decoder(SettingsChange)
_CODE = Decoder(CodeOrder)
_REFRESH_TOKEN = Decoder(RefreshTokenOrder)
_FAULTS: Decoder[list[AnyFault] | AnyFault] = Decoder(list[AnyFault] | AnyFault)


@get("/healthz")
async def healthz() -> dict[str, str]:
    """Tell that the simulator is up."""
    return {"status": "ok"}


@get("/admin/settings")
async def read_settings(accounts: NamedDependency[Accounts]) -> Settings:
    """Return the settings in force."""
    return accounts.settings


@patch("/admin/settings")
async def change_settings(request: _AnyRequest, accounts: NamedDependency[Accounts]) -> Settings:
    """Change settings; return all of them."""
    change = await _read(request, _CHANGE)
    fields = msgspec.structs.asdict(change).items()
    given = {name: value for name, value in fields if value is not UNSET}
    accounts.settings = msgspec.structs.replace(accounts.settings, **given)
    return accounts.settings


@post("/admin/codes")
async def mint_code(request: _AnyRequest, accounts: NamedDependency[Accounts]) -> dict[str, str]:
    """Return a new authorization code."""
    order = await _read(request, _CODE)
    if not accounts.allows(order.redirect_uri):
        raise ClientException("Invalid redirect URI")
    return {"code": accounts.issue_code(order.redirect_uri, order.scope, order.code_challenge)}


@post("/admin/refresh-tokens")
async def mint_refresh_token(
    request: _AnyRequest, accounts: NamedDependency[Accounts]
) -> dict[str, str]:
    """Return a new refresh token."""
    order = await _read(request, _REFRESH_TOKEN)
    return {"refresh_token": accounts.issue_refresh_token(pkce=order.pkce, scope=order.scope)}


@get("/admin/faults")
async def waiting_faults(faults: NamedDependency[FaultQueue]) -> list[AnyFault]:
    """Return the faults still to come."""
    return faults.waiting()


@post("/admin/faults")
async def add_faults(request: _AnyRequest, faults: NamedDependency[FaultQueue]) -> list[AnyFault]:
    """Queue one fault or a list of them; return all that wait."""
    wanted = await _read(request, _FAULTS)
    faults.add(wanted if isinstance(wanted, list) else [wanted])
    return faults.waiting()


@delete("/admin/faults")
async def clear_faults(faults: NamedDependency[FaultQueue]) -> None:
    """Call off the faults still to come."""
    faults.clear()


@get("/admin/requests")
async def recorded_requests(record: NamedDependency[Record]) -> list[Entry]:
    """Return what came to /api/token and /trap, the oldest first."""
    return record.entries()


@delete("/admin/requests")
async def forget_requests(record: NamedDependency[Record]) -> None:
    """Forget what came so far."""
    record.clear()


@post("/admin/reset", status_code=204)
async def reset(
    accounts: NamedDependency[Accounts],
    faults: NamedDependency[FaultQueue],
    record: NamedDependency[Record],
) -> None:
    """Bring everything back to how it was at the start."""
    accounts.reset()
    faults.clear()
    record.clear()


HANDLERS = (
    healthz,
    read_settings,
    change_settings,
    mint_code,
    mint_refresh_token,
    waiting_faults,
    add_faults,
    clear_faults,
    recorded_requests,
    forget_requests,
    reset,
)


async def _read(request: _AnyRequest, decoder: Decoder[_Wanted]) -> _Wanted:
    """Return what the decoder makes of the body, whatever its Content-Type says."""
    try:
        return decoder.decode(await request.body())
    except msgspec.ValidationError as problem:
        raise ClientException(str(problem)) from problem
    except msgspec.DecodeError as problem:
        raise ClientException(f"The body is not JSON: {problem}") from problem

"""The five flows as requests, valid ones and ones that trigger a fault of the simulator."""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlencode

import httpx

from service.grants import GRANTS
from service.sealing import Sealer
from simulator.faults import MARK
from tests.running import SECRET_KEY

REDIRECT_URI = "https://app.example/callback"
VERIFIER = "verifier-of-the-client_0123456789.abcdefghij~KLMNOP"
_sealer = Sealer(SECRET_KEY)


class Flow(NamedTuple):
    """A flow's path, and its form around a code or a refresh token as Spotify knows them."""

    path: str
    form: Callable[[str], dict[str, str]]


def _code(code: str) -> dict[str, str]:
    return {"code": code, "redirect_uri": REDIRECT_URI}


def _pkce_code(code: str) -> dict[str, str]:
    return {**_code(code), "code_verifier": VERIFIER}


def _refresh(token: str) -> dict[str, str]:
    return {"refresh_token": _sealer.seal(token)}


_FORMS: dict[str, Callable[[str], dict[str, str]]] = {
    "client_credentials": lambda _: {"grant_type": "x"},
    "authorization_code": _code,
    "refresh": _refresh,
    "pkce_authorization_code": _pkce_code,
    "pkce_refresh": _refresh,
}
FLOWS = {grant.flow.value: Flow(grant.path, _FORMS[grant.flow]) for grant in GRANTS}

_numbers = itertools.count()


def exchange(client: httpx.Client, code: str) -> httpx.Response:
    """Send a code to the service of `client`, without PKCE."""
    flow = FLOWS["authorization_code"]
    return client.post(flow.path, data=flow.form(code))


def late(seconds: float) -> str:
    """Return a unique code or token to which the simulator responds after `seconds`.

    It names a delay fault; microseconds make it unique.
    """
    return f"{MARK}delay-{seconds:.3f}{next(_numbers) % 1_000_000:06}"


def post(path: str, form: dict[str, str]) -> bytes:
    """Return a request on a persistent connection."""
    body = urlencode(form).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: service\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def request(flow: str, credential: str | None = None) -> bytes:
    """Return a request of `flow`, valid unless the credential names a fault."""
    return post(FLOWS[flow].path, FLOWS[flow].form(credential or late(0)))


def all_flows() -> Iterator[bytes]:
    """Yield valid requests of all flows in turn, without end."""
    for flow in itertools.cycle(FLOWS):
        yield request(flow)


def get(path: str) -> bytes:
    """Return a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: service\r\n\r\n".encode()

"""The five flows as requests, good ones and ones that ask the simulator for a fault."""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlencode

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


def late(seconds: float) -> str:
    """Return a code or token that the simulator answers after `seconds`, never the same twice.

    It takes a fault for one, whose microseconds make the difference.
    """
    return f"{MARK}delay-{seconds:.3f}{next(_numbers) % 1_000_000:06}"


def post(path: str, form: dict[str, str]) -> bytes:
    """Write a request of a client that keeps its connection."""
    body = urlencode(form).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: service\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def request(flow: str, credential: str | None = None) -> bytes:
    """Write a request of `flow`, a good one unless the credential says otherwise."""
    return post(FLOWS[flow].path, FLOWS[flow].form(credential or late(0)))


def all_flows() -> Iterator[bytes]:
    """Yield good requests of all flows in turn, for ever."""
    for flow in itertools.cycle(FLOWS):
        yield request(flow)


def get(path: str) -> bytes:
    """Write a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: service\r\n\r\n".encode()

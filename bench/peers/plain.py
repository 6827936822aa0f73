"""The refresh as usually written: Litestar with a dataclass, httpx.AsyncClient, default logging."""

import base64
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from litestar import Litestar, post
from litestar.datastructures import State
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.status_codes import HTTP_200_OK

CLIENT_ID = os.environ["CLIENT_ID"]
CLIENT_SECRET = os.environ["CLIENT_SECRET"]
TOKEN_URL = os.environ["SPOTIFY_TOKEN_URL"]

cipher = AESGCM(hashlib.sha256(os.environ["SECRET_KEY"].encode()).digest())


@dataclass
class RefreshForm:
    """Fields of the request."""

    refresh_token: str
    grant_type: str | None = None
    method: str | None = None


def unseal(token: str) -> str:
    """Return the refresh token that is in `token`."""
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    return cipher.decrypt(raw[:12], raw[12:], None).decode()


def seal(token: str) -> str:
    """Return `token` sealed."""
    nonce = os.urandom(12)
    raw = nonce + cipher.encrypt(nonce, token.encode(), None)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    """Keep one client, and so its connections, for all requests."""
    async with httpx.AsyncClient(timeout=10, auth=(CLIENT_ID, CLIENT_SECRET)) as client:
        app.state.client = client
        yield


@post("/authorization-code-flow-pkce/refresh-tokens", status_code=HTTP_200_OK)
async def refresh(
    data: Annotated[RefreshForm, Body(media_type=RequestEncodingType.URL_ENCODED)], state: State
) -> dict[str, Any]:
    """Return new tokens for a sealed refresh token."""
    form = {
        "grant_type": "refresh_token",
        "refresh_token": unseal(data.refresh_token),
        "client_id": CLIENT_ID,
    }
    response = await state.client.post(TOKEN_URL, data=form)
    response.raise_for_status()
    tokens: dict[str, Any] = response.json()
    return {**tokens, "refresh_token": seal(tokens["refresh_token"])}


app = Litestar([refresh], lifespan=[lifespan])

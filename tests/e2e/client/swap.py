"""Log in and refresh through the Service, as apps do; run in the cluster's client pod.

`swap.py login` keeps what must stay secret in TOKENS, `swap.py refresh` uses what it kept.
"""

import base64
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path

import httpx

SERVICE = os.environ["SERVICE_URL"]
SIMULATOR = "http://simulator:7001"
TOKENS = Path("/tmp/tokens.json")  # noqa: S108 - the client pod's own volume
REDIRECT_URI = "app://callback"
# The cluster's network learns of a new Service or pod some moments after helm did.
CLIENT = httpx.Client(transport=httpx.HTTPTransport(retries=5), timeout=30)


def login() -> None:
    """Swap a code for tokens, with PKCE and without."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    tokens = {
        "authorization-code-flow": _swap("authorization-code-flow", None, {}),
        "authorization-code-flow-pkce": _swap(
            "authorization-code-flow-pkce", challenge, {"code_verifier": verifier}
        ),
    }
    TOKENS.write_text(json.dumps(tokens))


def refresh() -> None:
    """Refresh both: sealed tokens must open after a key rotation."""
    stored = json.loads(TOKENS.read_text())
    for flow, tokens in stored.items():
        form = {"refresh_token": tokens["refresh_token"]}
        stored[flow] = tokens | _post(f"{SERVICE}/{flow}/refresh-tokens", form)
    TOKENS.write_text(json.dumps(stored))


def _swap(flow: str, challenge: str | None, fields: dict[str, str]) -> dict[str, object]:
    order = {"redirect_uri": REDIRECT_URI, "code_challenge": challenge}
    code = httpx.post(f"{SIMULATOR}/admin/codes", json=order).json()["code"]
    form = {"code": code, "redirect_uri": REDIRECT_URI} | fields
    return _post(f"{SERVICE}/{flow}/retrieve-tokens", form)


def _post(url: str, form: dict[str, str]) -> dict[str, object]:
    response = CLIENT.post(url, data=form)
    response.raise_for_status()
    tokens: dict[str, object] = response.json()
    return tokens


if __name__ == "__main__":
    {"login": login, "refresh": refresh}[sys.argv[1]]()

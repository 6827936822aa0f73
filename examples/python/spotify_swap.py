"""Log a person in to Spotify by way of spotify-api-server, and keep the access token fresh.

    session = Session(Swap("https://swap.example.com"), FileStore("tokens.json"))
    try:
        token = session.access_token()
    except LoginNeeded:
        session.log_in(App("your-client-id"))
        token = session.access_token()

For a native app: the login is PKCE (RFC 7636) in the person's own browser, which comes back to a
port of this machine (RFC 8252 section 7.3). The client secret stays on the server. The standard
library is all it needs: take the file as it is.

What can go wrong, all of it a SwapError::

    SwapError
    ├── LoginNeeded     nobody is logged in, or what was kept is good no more: log in again
    ├── LoginFailed     the person said no, or never came back
    ├── TryLater        no token for so many seconds: ``retry_after``
    ├── ServerRefused   an error of the server's own: ``status``, ``reason``
    └── SpotifyRefused  an error of Spotify's, as the server passed it on: ``status``, ``error``
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from email.message import Message
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

MARGIN = 60.0
"""Seconds before its end at which an access token is refreshed."""

LOGIN_SECONDS = 300.0
_DEFAULT_WAIT = 5.0  # where an answer that asks for patience names no time
_MOST_WAIT = 24 * 3600.0
_SIMULATORS_ID = "simulator-client-id"


class SwapError(Exception):
    """Why there are no tokens."""


class LoginNeeded(SwapError):
    """The person has to log in, for the first time or again."""


class LoginFailed(SwapError):
    """The person did not agree, or did not come back in time."""


class TryLater(SwapError):
    """There is no token for now. Ask again in ``retry_after`` seconds, not before."""

    def __init__(self, why: str, retry_after: float) -> None:
        super().__init__(f"{why}; try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class ServerRefused(SwapError):
    """The server's own error: ``error`` in it is the boolean true, ``reason`` a fixed text."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the server refused with {status}: {reason}")
        self.status = status
        self.reason = reason


class SpotifyRefused(SwapError):
    """Spotify's error, passed on as it came.

    ``error`` is the string in it that RFC 6749 section 5.2 asks for, such as invalid_grant. Spotify
    also answers an object there, or no JSON at all: then it is "unknown".
    """

    def __init__(self, status: int, error: str) -> None:
        super().__init__(f"Spotify refused with {status}: {error}")
        self.status = status
        self.error = error


@dataclass(frozen=True)
class Tokens:
    """What the server answered; ``expires_at`` in seconds since 1970. Its repr shows no token."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    scope: str = ""


@dataclass(frozen=True)
class App:
    """The app as Spotify's dashboard knows it.

    Register ``http://127.0.0.1/callback`` there: with the loopback address and no port, Spotify
    takes any port. The name localhost is refused.
    """

    client_id: str
    scope: str = ""
    authorize_url: str = "https://accounts.spotify.com/authorize"


class Swap:
    """The server's two PKCE endpoints. Takes its URL, such as https://swap.example.com."""

    def __init__(self, server: str, timeout: float = 30.0) -> None:
        self._base = f"{server.rstrip('/')}/authorization-code-flow-pkce"
        self._timeout = timeout

    def retrieve(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Return tokens for a code. It is asked once: a code that may have been used is spent."""
        fields = {"code": code, "code_verifier": verifier, "redirect_uri": redirect_uri}
        return self._post("retrieve-tokens", fields)

    def refresh(self, refresh_token: str) -> Tokens:
        """Return new tokens, whose refresh token takes the place of the one given."""
        return self._post("refresh-tokens", {"refresh_token": refresh_token})

    def _post(self, path: str, fields: Mapping[str, str]) -> Tokens:
        # NOTE: the server's URL is the app's own setting, not input: any scheme is its choice.
        request = Request(f"{self._base}/{path}", urlencode(fields).encode())  # noqa: S310
        asked_at = time.time()
        try:
            with _opener().open(request, timeout=self._timeout) as answer:
                return _tokens(answer.read(), asked_at)
        except HTTPError as refused:
            with refused:
                raise _refusal(refused.code, refused.headers, refused.read()) from None
        except (HTTPException, OSError):
            raise TryLater("the server can't be reached", _DEFAULT_WAIT) from None


class FileStore:
    """Keeps tokens in a file that only its owner may read, whole at any moment."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def load(self) -> Tokens | None:
        """Return what was kept; None if there is nothing, or nothing that can be read."""
        try:
            return Tokens(**json.loads(self._path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def save(self, tokens: Tokens) -> None:
        """Keep these tokens in place of what was kept."""
        beside = self._path.with_name(f"{self._path.name}.new")
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(tokens), file)
        beside.replace(self._path)

    def clear(self) -> None:
        """Forget the tokens."""
        self._path.unlink(missing_ok=True)


class Session:
    """One person's tokens, for all threads of one process.

    Takes the server, and a store with ``load``, ``save`` and ``clear``.
    """

    def __init__(self, swap: Swap, store: FileStore) -> None:
        self._swap = swap
        self._store = store
        self._lock = threading.Lock()  # held while a refresh is under way: the others wait for it
        self._tokens = store.load()
        self._not_before = 0.0

    def access_token(self, rejected: str | None = None) -> str:
        """Return an access token that is good for a while, refreshed if need be.

        ``rejected`` is one that Spotify's API answered with 401, although its time isn't up.
        LoginNeeded, TryLater or another SwapError if there is none.
        """
        with self._lock:
            tokens = self._tokens
            if tokens is None:
                raise LoginNeeded("nobody is logged in")
            is_rejected = rejected == tokens.access_token
            if not is_rejected and time.time() < tokens.expires_at - MARGIN:
                return tokens.access_token
            try:
                return self._refreshed(tokens).access_token
            except TryLater:
                if is_rejected or time.time() >= tokens.expires_at:
                    raise
                return tokens.access_token  # there is some of its time left

    def log_in(
        self,
        app: App,
        open_browser: Callable[[str], object] | None = None,
        timeout: float = LOGIN_SECONDS,
    ) -> None:
        """Have the person agree in the browser, and keep the tokens. Waits for so many seconds."""
        verifier = secrets.token_urlsafe(64)
        with _Callback() as callback:
            url = _authorize_url(app, callback, verifier)
            # On a thread: a browser in a terminal returns when it has been here.
            threading.Thread(target=open_browser or _show, args=(url,), daemon=True).start()
            code = callback.code(timeout)
        tokens = self._swap.retrieve(code, verifier, callback.redirect_uri)
        with self._lock:
            self._not_before = 0.0
            self._keep(tokens)

    def log_out(self) -> None:
        """Forget the tokens here; the person can revoke the app on Spotify's account page."""
        with self._lock:
            self._tokens = None
            self._store.clear()

    def _refreshed(self, tokens: Tokens) -> Tokens:
        """Refresh once; while a Retry-After lasts, don't even ask."""
        if (left := self._not_before - time.monotonic()) > 0:
            raise TryLater("the server asked for patience", left)
        try:
            fresh = self._swap.refresh(tokens.refresh_token)
        except TryLater as later:
            self._not_before = time.monotonic() + later.retry_after
            raise
        except (ServerRefused, SpotifyRefused) as refused:
            if _is_final(refused):
                self._tokens = None
                self._store.clear()
                raise LoginNeeded("the login is good no more") from refused
            raise
        self._keep(fresh)
        return fresh

    def _keep(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._store.save(tokens)


def _show(url: str) -> None:
    """Open the person's browser, or tell where to go."""
    if not webbrowser.open(url):
        sys.stderr.write(f"Open this in a browser: {url}\n")


def _is_final(refused: ServerRefused | SpotifyRefused) -> bool:
    """Tell whether a refresh token will never be good again."""
    if isinstance(refused, SpotifyRefused):
        return refused.error == "invalid_grant"
    return refused.reason == "could not decrypt refresh token"


def _refusal(status: int, headers: Message, body: bytes) -> SwapError:
    """Return what an answer that is no success means."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    error = answer.get("error") if isinstance(answer, dict) else None
    if status == 429 or status >= 500:  # noqa: PLR2004 - RFC 6585 section 4, RFC 9110 section 15.6
        return TryLater(f"the server answered {status}", _seconds(headers.get("Retry-After")))
    if error is True:
        return ServerRefused(status, str(answer.get("reason", "")))
    return SpotifyRefused(status, error if isinstance(error, str) else "unknown")


def _seconds(retry_after: str | None) -> float:
    """Return what Retry-After says (RFC 9110 section 10.2.3); the server sends seconds."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()):
        return _DEFAULT_WAIT
    return min(float(retry_after), _MOST_WAIT)


def _tokens(body: bytes, asked_at: float) -> Tokens:
    """Return the tokens of a success; their time counts from the moment of the request."""
    try:
        answer: dict[str, Any] = json.loads(body)
        expires_at = asked_at + float(answer["expires_in"])
        scope = answer.get("scope", "")
        return Tokens(answer["access_token"], answer["refresh_token"], expires_at, scope)
    except (ValueError, TypeError, KeyError):
        raise ServerRefused(200, "its answer has no tokens") from None


class _NoRedirect(HTTPRedirectHandler):
    """Follows nothing: a code or a token goes to the server and nowhere else."""

    def redirect_request(self, *_: object) -> None:
        """Return no request, which makes the redirect an HTTPError."""


def _opener() -> OpenerDirector:
    return build_opener(_NoRedirect)


def _authorize_url(app: App, callback: "_Callback", verifier: str) -> str:
    """Return where the person agrees (RFC 6749 section 4.1.1, RFC 7636 section 4.3)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    query = {
        "client_id": app.client_id,
        "response_type": "code",
        "redirect_uri": callback.redirect_uri,
        "state": callback.state,
        "scope": app.scope,
        "code_challenge_method": "S256",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
    }
    return f"{app.authorize_url}?{urlencode(query)}"


class _Callback(HTTPServer):
    """Waits on a free loopback port for the browser to come back with this login's state."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _CallbackHandler)
        self.redirect_uri = f"http://127.0.0.1:{self.server_port}/callback"
        self.state = secrets.token_urlsafe(32)
        self.answer: dict[str, str] | None = None

    def code(self, timeout: float) -> str:
        """Return the authorization code, or raise LoginFailed."""
        end = time.monotonic() + timeout
        while self.answer is None:
            self.timeout = end - time.monotonic()
            if self.timeout <= 0:
                raise LoginFailed("nobody came back from the browser")
            self.handle_request()
        if "code" not in self.answer:
            raise LoginFailed(f"Spotify says {self.answer.get('error', 'nothing')}")
        return self.answer["code"]


class _CallbackHandler(BaseHTTPRequestHandler):
    """One request of the browser; anything but this login's answer changes nothing."""

    server: _Callback
    timeout = 5

    def do_GET(self) -> None:
        """Take the answer if its state is ours: any page can send a browser here."""
        target = urlsplit(self.path)
        given = {name: values[0] for name, values in parse_qs(target.query).items()}
        state = given.get("state", "").encode()
        if target.path != "/callback" or not hmac.compare_digest(state, self.server.state.encode()):
            self._say(404, "This is not the answer that the app waits for.")
            return
        self.server.answer = given
        self._say(200, "You can close this window and go back to the app.")

    def _say(self, status: int, words: str) -> None:
        body = words.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: the request line has the code."""


def main() -> int:
    """Log in if need be, and show that there is a token. Return the exit status."""
    flags = _flags()
    session = Session(Swap(flags.server), FileStore(flags.tokens))
    if flags.log_out:
        session.log_out()
        return 0
    try:
        app = App(flags.client_id, flags.scope, flags.authorize_url)
        token = _refreshed(session) if flags.refresh else _access_token(session, app)
    except SwapError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write(f"access token {token[:6]}… of {len(token)} characters\n")
    return 0


def _refreshed(session: Session) -> str:
    try:
        return session.access_token(rejected=session.access_token())
    except LoginNeeded as why:
        raise LoginNeeded(f"{why}: log in first") from why


def _access_token(session: Session, app: App) -> str:
    try:
        return session.access_token()
    except LoginNeeded as why:
        if (app.client_id, app.authorize_url) == (_SIMULATORS_ID, App.authorize_url):
            hint = "give --client-id, or --authorize-url of a simulator"
            raise LoginNeeded(f"{why}: {hint}") from why
        sys.stderr.write(f"{why}: opening the browser\n")
        session.log_in(app)
        return session.access_token()


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Log in to Spotify by way of spotify-api-server.")
    for name, default, meaning in (
        ("--server", "http://127.0.0.1:7000", "its URL"),
        ("--client-id", _SIMULATORS_ID, "the app's"),
        ("--scope", "", "separated by spaces"),
        ("--authorize-url", App.authorize_url, "Spotify's page, or a simulator's"),
        ("--tokens", "spotify-tokens.json", "the file they are kept in"),
    ):
        parser.add_argument(name, default=default, help=f"{meaning}, default {default or 'none'}")
    parser.add_argument("--refresh", action="store_true", help="refresh now")
    parser.add_argument("--log-out", action="store_true", help="forget the tokens")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Log a user in to Spotify through spotify-api-server, and keep the access token fresh.

    session = Session(Swap("https://swap.example.com"), FileStore("tokens.json"))
    try:
        token = session.access_token()
    except LoginRequiredError:
        session.log_in(App("your-client-id"))
        token = session.access_token()

For native apps. The login uses PKCE (RFC 7636) in the user's own browser and ends at a loopback
port (RFC 8252, section 7.3). The client secret stays on the server. The file needs only the
standard library: copy it into your app.

Every error is a SwapError::

    SwapError
    ├── LoginRequiredError  no user is logged in, or the login is no longer valid
    ├── LoginFailedError    the user declined, or did not finish the login
    ├── RetryLaterError     no token is available for ``retry_after`` seconds
    ├── ServerError         the server rejected the request: ``status``, ``reason``
    └── SpotifyError        Spotify rejected the request: ``status``, ``error``
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
"""An access token is refreshed this many seconds before it expires."""

LOGIN_SECONDS = 300.0
_DEFAULT_WAIT = 5.0  # seconds, if the response has no Retry-After
_MAX_WAIT = 24 * 3600.0
_SIMULATOR_CLIENT_ID = "simulator-client-id"


class SwapError(Exception):
    """Base class of all errors in this module."""


class LoginRequiredError(SwapError):
    """The user has to log in, for the first time or again."""


class LoginFailedError(SwapError):
    """The user declined, or did not finish the login in time."""


class RetryLaterError(SwapError):
    """No token is available now. Retry after ``retry_after`` seconds.

    If the server cannot be reached, ``__cause__`` is the network error.
    """

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(f"{reason}; retry in {retry_after:.0f} s")
        self.retry_after = retry_after


class ServerError(SwapError):
    """The server rejected the request: ``{"error": true, "reason": "…"}``."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the server responded with {status}: {reason}")
        self.status = status
        self.reason = reason


class SpotifyError(SwapError):
    """Spotify rejected the request; the server passed its response on.

    ``error`` is the code of RFC 6749, section 5.2, such as invalid_grant, or "unknown" if the
    response has none: Spotify also sends an object there, or a body that is not JSON.
    """

    def __init__(self, status: int, error: str) -> None:
        super().__init__(f"Spotify responded with {status}: {error}")
        self.status = status
        self.error = error


@dataclass(frozen=True)
class Tokens:
    """A token response; ``expires_at`` is a Unix timestamp. The repr does not show the tokens."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    scope: str = ""


@dataclass(frozen=True)
class App:
    """An app in Spotify's dashboard.

    Register ``http://127.0.0.1/callback`` there. Spotify accepts every port if a loopback address
    is registered without one; it rejects the name localhost.
    """

    client_id: str
    scope: str = ""
    authorize_url: str = "https://accounts.spotify.com/authorize"


class Swap:
    """The server's PKCE endpoints.

    ``server`` is its URL, such as https://swap.example.com; ValueError if it is not an http or
    https URL. ``timeout`` is in seconds.
    """

    def __init__(self, server: str, timeout: float = 30.0) -> None:
        url = urlsplit(server)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ValueError(f"{server!r} is not a URL such as https://swap.example.com")
        self._base = f"{server.rstrip('/')}/authorization-code-flow-pkce"
        self._timeout = timeout

    def retrieve(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Exchange a code for tokens. There is no retry: a code can be used once."""
        fields = {"code": code, "code_verifier": verifier, "redirect_uri": redirect_uri}
        return self._post("retrieve-tokens", fields)

    def refresh(self, refresh_token: str) -> Tokens:
        """Return new tokens. Their refresh token replaces the one passed in."""
        return self._post("refresh-tokens", {"refresh_token": refresh_token})

    def _post(self, path: str, fields: Mapping[str, str]) -> Tokens:
        request = Request(f"{self._base}/{path}", urlencode(fields).encode())  # noqa: S310
        sent_at = time.time()
        try:
            with _opener().open(request, timeout=self._timeout) as response:
                return _tokens(response.read(), sent_at)
        except HTTPError as response:
            with response:
                raise _error(response.code, response.headers, response.read()) from None
        except (HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)  # URLError wraps the socket's error
            raise RetryLaterError(f"cannot reach the server ({reason})", _DEFAULT_WAIT) from error


class FileStore:
    """Stores tokens in a file that only its owner can read, and replaces it atomically."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def load(self) -> Tokens | None:
        """Return the stored tokens; None if there are none, or if the file is not readable."""
        try:
            return Tokens(**json.loads(self._path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def save(self, tokens: Tokens) -> None:
        """Store the tokens."""
        temporary = self._path.with_name(f"{self._path.name}.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(tokens), file)
        temporary.replace(self._path)

    def clear(self) -> None:
        """Delete the tokens."""
        self._path.unlink(missing_ok=True)


class Session:
    """The tokens of one user, shared by the threads of a process.

    ``store`` needs the methods ``load``, ``save`` and ``clear`` of FileStore.
    """

    def __init__(self, swap: Swap, store: FileStore) -> None:
        self._swap = swap
        self._store = store
        self._lock = threading.Lock()  # held during a refresh, so that other threads wait for it
        self._tokens = store.load()
        self._not_before = 0.0

    def access_token(self, rejected: str | None = None) -> str:
        """Return a valid access token, refreshed if necessary.

        Pass a token as ``rejected`` if the Web API responded to it with 401: it is not used again.
        Raises LoginRequiredError, RetryLaterError or another SwapError.
        """
        with self._lock:
            tokens = self._tokens
            if tokens is None:
                raise LoginRequiredError("not logged in")
            is_rejected = rejected == tokens.access_token
            if not is_rejected and time.time() < tokens.expires_at - MARGIN:
                return tokens.access_token
            try:
                return self._refreshed(tokens).access_token
            except RetryLaterError:
                if is_rejected or time.time() >= tokens.expires_at:
                    raise
                return tokens.access_token  # not expired yet

    def log_in(
        self,
        app: App,
        open_browser: Callable[[str], object] | None = None,
        timeout: float = LOGIN_SECONDS,
    ) -> None:
        """Log the user in with the browser, and store the tokens. ``timeout`` is in seconds."""
        verifier = secrets.token_urlsafe(64)
        with _Callback() as callback:
            url = _authorize_url(app, callback, verifier)
            # In a thread: a text browser blocks until the user closes it.
            threading.Thread(target=open_browser or _show, args=(url,), daemon=True).start()
            code = callback.code(timeout)
        tokens = self._swap.retrieve(code, verifier, callback.redirect_uri)
        with self._lock:
            self._not_before = 0.0
            self._keep(tokens)

    def log_out(self) -> None:
        """Delete the tokens. Users revoke the app's access on their Spotify account page."""
        with self._lock:
            self._tokens = None
            self._store.clear()

    def _refreshed(self, tokens: Tokens) -> Tokens:
        """Refresh the tokens, unless an earlier response asked for a pause (Retry-After)."""
        if (left := self._not_before - time.monotonic()) > 0:
            raise RetryLaterError("the server asked for a pause", left)
        try:
            fresh = self._swap.refresh(tokens.refresh_token)
        except RetryLaterError as error:
            self._not_before = time.monotonic() + error.retry_after
            raise
        except (ServerError, SpotifyError) as error:
            if _needs_login(error):
                self._tokens = None
                self._store.clear()
                raise LoginRequiredError("the login is no longer valid") from error
            raise
        self._keep(fresh)
        return fresh

    def _keep(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._store.save(tokens)


def _show(url: str) -> None:
    """Open the user's browser, or print the URL."""
    if not webbrowser.open(url):
        sys.stderr.write(f"Open this URL in a browser: {url}\n")


def _needs_login(error: ServerError | SpotifyError) -> bool:
    """Return whether the refresh token is permanently invalid."""
    if isinstance(error, SpotifyError):
        return error.error == "invalid_grant"
    return error.reason == "could not decrypt refresh token"


def _error(status: int, headers: Message, body: bytes) -> SwapError:
    """Return the error for a response that is not a success."""
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    error = fields.get("error") if isinstance(fields, dict) else None
    if status == 429 or status >= 500:  # noqa: PLR2004 - RFC 6585 section 4, RFC 9110 section 15.6
        return RetryLaterError(f"the server responded with {status}", _wait(headers))
    if error is True:
        return ServerError(status, str(fields.get("reason", "")))
    return SpotifyError(status, error if isinstance(error, str) else "unknown")


def _wait(headers: Message) -> float:
    """Return the seconds in Retry-After (RFC 9110, section 10.2.3); the server sends no dates."""
    value = headers.get("Retry-After", "")
    return min(float(value), _MAX_WAIT) if value.isascii() and value.isdigit() else _DEFAULT_WAIT


def _tokens(body: bytes, sent_at: float) -> Tokens:
    """Parse a success. The lifetime counts from the time of the request."""
    try:
        fields: dict[str, Any] = json.loads(body)
        expires_at = sent_at + float(fields["expires_in"])
        scope = fields.get("scope", "")
        return Tokens(fields["access_token"], fields["refresh_token"], expires_at, scope)
    except (ValueError, TypeError, KeyError):
        # NOTE: no cause, since a JSONDecodeError contains the whole body.
        raise ServerError(200, "the response has no tokens") from None


class _NoRedirect(HTTPRedirectHandler):
    """Follows no redirect: codes and tokens must not reach another server."""

    def redirect_request(self, *_: object) -> None:
        """Return None, which turns the redirect into an HTTPError."""


def _opener() -> OpenerDirector:
    return build_opener(_NoRedirect)


def _authorize_url(app: App, callback: "_Callback", verifier: str) -> str:
    """Return the URL of the login page (RFC 6749, section 4.1.1; RFC 7636, section 4.3)."""
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
    """Listens on a free loopback port for the redirect with the state of this login."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _CallbackHandler)
        self.redirect_uri = f"http://127.0.0.1:{self.server_port}/callback"
        self.state = secrets.token_urlsafe(32)
        self.result: dict[str, str] | None = None

    def code(self, timeout: float) -> str:
        """Return the authorization code, or raise LoginFailedError."""
        end = time.monotonic() + timeout
        while self.result is None:
            self.timeout = end - time.monotonic()
            if self.timeout <= 0:
                raise LoginFailedError("the login was not finished in time")
            self.handle_request()
        if "code" not in self.result:
            raise LoginFailedError(f"Spotify responded with {self.result.get('error', 'no code')}")
        return self.result["code"]


class _CallbackHandler(BaseHTTPRequestHandler):
    """Handles a request of the browser. Only the redirect of this login has an effect."""

    server: _Callback
    timeout = 5

    def do_GET(self) -> None:
        """Accept the redirect if its state is right: any page can send a browser here."""
        target = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        state = query.get("state", "").encode()
        if target.path != "/callback" or not hmac.compare_digest(state, self.server.state.encode()):
            self._say(404, "This is not the login that the app is waiting for.")
            return
        self.server.result = query
        self._say(200, "You can close this window and return to the app.")

    def _say(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: the request line contains the code."""


def main() -> int:
    """Log in if necessary, and print the beginning of the access token. Return the exit status."""
    parser = _parser()
    flags = parser.parse_args()
    try:
        session = Session(Swap(flags.server), FileStore(flags.tokens))
    except ValueError as error:
        parser.error(f"argument --server: {error}")
    if flags.log_out:
        session.log_out()
        return 0
    try:
        app = App(flags.client_id, flags.scope, flags.authorize_url)
        token = _refreshed(session) if flags.refresh else _access_token(session, app)
    except SwapError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"access token {token[:6]}… of {len(token)} characters\n")
    return 0


def _refreshed(session: Session) -> str:
    try:
        return session.access_token(rejected=session.access_token())
    except LoginRequiredError as error:
        raise LoginRequiredError(f"{error}: log in first") from error


def _access_token(session: Session, app: App) -> str:
    try:
        return session.access_token()
    except LoginRequiredError as error:
        if (app.client_id, app.authorize_url) == (_SIMULATOR_CLIENT_ID, App.authorize_url):
            hint = "pass --client-id, or --authorize-url for a simulator"
            raise LoginRequiredError(f"{error}: {hint}") from error
        sys.stderr.write(f"{error}: opening the browser\n")
        session.log_in(app)
        return session.access_token()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Log in to Spotify through spotify-api-server.")
    for name, default, meaning in (
        ("--server", "http://127.0.0.1:7000", "URL of the server"),
        ("--client-id", _SIMULATOR_CLIENT_ID, "client id of the app"),
        ("--scope", "", "scopes, separated by spaces"),
        ("--authorize-url", App.authorize_url, "login page of Spotify or of a simulator"),
        ("--tokens", "spotify-tokens.json", "file that stores the tokens"),
    ):
        parser.add_argument(name, default=default, help=f"{meaning}, default {default or 'none'}")
    parser.add_argument("--refresh", action="store_true", help="refresh the tokens now")
    parser.add_argument("--log-out", action="store_true", help="delete the tokens")
    return parser


if __name__ == "__main__":
    sys.exit(main())

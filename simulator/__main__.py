"""``python -m simulator``: read options and environment, serve until SIGINT or SIGTERM."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from simulator import redirects, users
from simulator.accounts import Accounts, RegisteredApp, Rotation, Seconds, Settings
from simulator.app import create_app
from simulator.playground_page import SERVICE_URL, service_url
from simulator.server import listen, server_of, url_of


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulator. Invalid options end it with exit status 2."""
    parser = _parser()
    flags = parser.parse_args(arguments)
    flags.redirect_uri = flags.redirect_uri or _variable("REDIRECT_URI", "").split()
    for uri in flags.redirect_uri:
        if not redirects.is_legal(uri):
            parser.error(
                f"argument --redirect-uri: {uri!r} is not https, loopback or a custom scheme"
            )
    try:
        listener = listen(flags.host, flags.port)
    except OSError as problem:
        parser.error(f"cannot listen on {flags.host} port {flags.port}: {problem.strerror}")
    _serve(listener, flags)


def _serve(listener: socket.socket, flags: argparse.Namespace) -> None:
    app = RegisteredApp(flags.client_id, flags.client_secret, tuple(flags.redirect_uri))
    settings = Settings(
        rotation=flags.rotation,
        expires_in=flags.expires_in,
        refresh_token_lifetime=flags.refresh_token_lifetime,
    )
    accounts = Accounts(app, settings, people=flags.users)
    server = server_of(create_app(accounts, flags.service_url), verbose=flags.verbose)

    def leave(*_: object) -> None:
        server.should_exit = True

    # uvicorn raises the signal again after its stop, for the handlers that were set before.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    url = url_of(listener)
    sys.stdout.write(f"Simulator of accounts.spotify.com, with a playground, at {url}\n")
    sys.stdout.flush()
    server.run(sockets=[listener])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description="A stand-in for accounts.spotify.com, for tests and development.",
        epilog="Each option is also an environment variable, such as SIMULATOR_CLIENT_ID."
        " SIMULATOR_REDIRECT_URI contains any number of URIs, separated by spaces.",
    )
    add = parser.add_argument
    add("--host", default=_variable("HOST", "127.0.0.1"), help="default: 127.0.0.1")
    add("--port", type=_PORT, default=_variable("PORT", "7001"), help=_PORT_HELP)
    client_id, client_secret = _APP.client_id, _APP.client_secret
    add("--client-id", type=_ID, default=_variable("CLIENT_ID", client_id), help=_ID_HELP)
    secret = _variable("CLIENT_SECRET", client_secret)
    add("--client-secret", type=_SECRET, default=secret, help=_SECRET_HELP)
    add("--redirect-uri", action="append", metavar="URI", help=_REDIRECT_HELP)
    service = _variable("SERVICE_URL", SERVICE_URL)
    add("--service-url", type=_service_url, default=service, metavar="URL", help=_SERVICE_HELP)
    add("--rotation", type=_ROTATION, default=_variable("ROTATION", "spotify"), help=_ROTATION_HELP)
    lifetime = _variable("EXPIRES_IN", "3600")
    add("--expires-in", type=_SECONDS, default=lifetime, metavar="SECONDS", help=_EXPIRES_HELP)
    lifetime = _variable("REFRESH_TOKEN_LIFETIME", str(Settings().refresh_token_lifetime))
    add("--refresh-token-lifetime", type=_SECONDS, default=lifetime, metavar="SECONDS", help=_LIFE)
    given = _variable("USERS", "") or users.KNOWN
    add("--users", type=_users, default=given, metavar="JSON", help=_USERS_HELP)
    verbose = bool(_variable("VERBOSE", ""))
    add("--verbose", action="store_true", default=verbose, help="log requests")
    return parser


def _variable(name: str, default: str) -> str:
    """Return an environment variable; empty counts as unset."""
    return os.environ.get(f"SIMULATOR_{name}") or default


def _reader(wanted: Any, expected: str) -> Callable[[str], Any]:  # noqa: ANN401 - a type or a form
    """Return a converter for argparse to a type that msgspec knows."""

    def read(text: str) -> Any:  # noqa: ANN401
        try:
            return msgspec.convert(text, wanted, strict=False)
        except msgspec.ValidationError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from None

    return read


def _service_url(text: str) -> str:
    try:
        return service_url(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem


def _users(text: str) -> users.Users:
    try:
        return users.read(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem


_APP = RegisteredApp()
_PORT_HELP = "0 selects a free port; default: 7001"
_ID_HELP = f"client id of the app; default: {_APP.client_id}"
_SECRET_HELP = f"client secret of the app; default: {_APP.client_secret}"
_REDIRECT_HELP = "redirect URI of the app, repeatable; default: any valid one"
_SERVICE_HELP = f"URL of the service, for the playground; default: {SERVICE_URL}"
_ROTATION_HELP = (
    "what a refresh does to the refresh token: on replaces it, off keeps it and does not return it,"
    " same returns it, spotify is on with PKCE and off without; default: spotify"
)
_EXPIRES_HELP = "lifetime of access tokens; default: 3600"
_LIFE = "lifetime of refresh tokens, from the login; default: 183 days"
_USERS_HELP = f"users who can log in; default: {', '.join(user.id for user in users.KNOWN)}"
_ROTATIONS = ", ".join(get_args(Rotation))
_ROTATION = _reader(Rotation, f"one of {_ROTATIONS}")
_PORT = _reader(Annotated[int, Meta(ge=0, le=65535)], "a port from 0 to 65535")
_SECONDS = _reader(Seconds, "a whole number of seconds, up to ten years")
_ID = _reader(Annotated[str, Meta(pattern=r"^[!-9;-~]+\Z")], "visible ASCII without a colon")
_SECRET = _reader(Annotated[str, Meta(pattern=r"^[!-~]+\Z")], "visible ASCII")


if __name__ == "__main__":
    main()

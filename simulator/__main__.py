"""``python -m simulator``: read flags and environment, serve until SIGINT or SIGTERM."""

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
    """Run the simulator. Flags it cannot work with end it with exit code 2."""
    parser = _parser()
    flags = parser.parse_args(arguments)
    flags.redirect_uri = flags.redirect_uri or _variable("REDIRECT_URI", "").split()
    for uri in flags.redirect_uri:
        if not redirects.is_legal(uri):
            parser.error(f"argument --redirect-uri: {uri!r} is not https, loopback or custom")
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

    # uvicorn raises the signal that stopped it once more, for whoever handled it before: us.
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
        epilog="Each flag can also be set in the environment, as SIMULATOR_CLIENT_ID and so on;"
        " SIMULATOR_REDIRECT_URI takes several URIs with spaces between.",
    )
    add = parser.add_argument
    add("--host", default=_variable("HOST", "127.0.0.1"), help="address to listen on")
    add("--port", type=_PORT, default=_variable("PORT", "7001"), help="0 for any free port")
    add("--client-id", type=_ID, default=_variable("CLIENT_ID", _APP.client_id))
    add("--client-secret", type=_SECRET, default=_variable("CLIENT_SECRET", _APP.client_secret))
    add("--redirect-uri", action="append", metavar="URI", help="repeatable; default: any legal one")
    service = _variable("SERVICE_URL", SERVICE_URL)
    add("--service-url", type=_service_url, default=service, metavar="URL", help=_SERVICE)
    add("--rotation", type=_ROTATION, default=_variable("ROTATION", "spotify"), help=_ROTATIONS)
    add("--expires-in", type=_SECONDS, default=_variable("EXPIRES_IN", "3600"), metavar="SECONDS")
    lifetime = _variable("REFRESH_TOKEN_LIFETIME", str(Settings().refresh_token_lifetime))
    add("--refresh-token-lifetime", type=_SECONDS, default=lifetime, metavar="SECONDS")
    known = ", ".join(user.id for user in users.KNOWN)
    given = _variable("USERS", "") or users.KNOWN
    add("--users", type=_users, default=given, metavar="JSON", help=f"default: {known}")
    add("--verbose", action="store_true", default=bool(_variable("VERBOSE", "")), help="log access")
    return parser


def _variable(name: str, default: str) -> str:
    """Return a variable of the environment, which counts as unset when it is empty."""
    return os.environ.get(f"SIMULATOR_{name}") or default


def _reader(wanted: Any, expected: str) -> Callable[[str], Any]:  # noqa: ANN401 - a type or a form
    """Return what reads a flag's text as a type msgspec knows, and else says what is expected."""

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
_SERVICE = f"where browsers reach the service, for the playground; default: {SERVICE_URL}"
_ROTATIONS = ", ".join(get_args(Rotation))
_ROTATION = _reader(Rotation, f"one of {_ROTATIONS}")
_PORT = _reader(Annotated[int, Meta(ge=0, le=65535)], "a port from 0 to 65535")
_SECONDS = _reader(Seconds, "a whole number of seconds, up to ten years")
_ID = _reader(Annotated[str, Meta(pattern=r"^[!-9;-~]+\Z")], "visible ASCII without a colon")
_SECRET = _reader(Annotated[str, Meta(pattern=r"^[!-~]+\Z")], "visible ASCII")


if __name__ == "__main__":
    main()

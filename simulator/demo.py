"""`make run`: the service with a playground, and with a simulator of Spotify or the real one.

    python -m simulator.demo

With CLIENT_ID, CLIENT_SECRET or SECRET_KEY set, the service calls the real Spotify, and this
process serves the playground only. Without credentials, this process is Spotify too, and prints
commands that can be pasted into a terminal. The playground is on PLAYGROUND_PORT, or 7001; if that
is taken, on any free port.
Stops on Ctrl-C or SIGTERM, and when the service stops.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from urllib.error import URLError

from simulator.accounts import Accounts
from simulator.app import create_app, create_playground
from simulator.playground_page import Playground
from simulator.server import running

CREDENTIALS = ("CLIENT_ID", "CLIENT_SECRET", "SECRET_KEY")
SIMULATOR_PORT = 7001
"""The port in docs/simulator.md."""
AUTHORIZE_URL = "https://accounts.spotify.com/authorize"
WEB_API_URL = "https://api.spotify.com/v1"
SERVICE = (sys.executable, "-m", "service")

PAGE = """
Open the playground:  {page}/
The service:          {service}
"""
COMMANDS = """
Spotify is simulated; your app's client ID is {client_id}.
Set CLIENT_ID, CLIENT_SECRET and SECRET_KEY to use the real Spotify.
Or paste these commands into another terminal:

# Exchange a code for tokens. The simulator issues the code without a login page.
CODE=$(curl -sS {simulator}/admin/codes \\
  -d '{{"redirect_uri":"{simulator}/"}}' | cut -d'"' -f4)
TOKENS=$(curl -sS {service}/authorization-code-flow/retrieve-tokens \\
  -d code=$CODE -d redirect_uri={simulator}/)
echo "$TOKENS"

# Refresh them.
TOKEN=$(echo "$TOKENS" | grep -o '"refresh_token":"[^"]*' | cut -d'"' -f4)
curl -sS {service}/authorization-code-flow/refresh-tokens -d refresh_token=$TOKEN; echo

# Get an app access token.
curl -sS {service}/client-credentials-flow/retrieve-tokens \\
  -d grant_type=client_credentials; echo
"""
HINT = "If a port is taken, choose others: PORT=7010 METRICS_PORT=0 make run\n"


def main() -> int:
    """Run the service in the foreground; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m simulator.demo",
        description="Run the service with a playground, and with a simulator of Spotify unless "
        "credentials are set. All settings come from the environment: those of the service, and "
        f"PLAYGROUND_PORT ({SIMULATOR_PORT}).",
    )
    parser.parse_args()
    try:
        port = _playground_port(os.environ)
    except ValueError:
        parser.error("PLAYGROUND_PORT must be a port from 0 to 65535")
    service = _service_url(os.environ)
    given = [name for name in CREDENTIALS if os.environ.get(name) or f"{name}_FILE" in os.environ]
    if given:
        with running(create_playground(_spotify(service, os.environ)), port) as page:
            return _serve(_with_cors(os.environ, page), service, page)
    accounts = Accounts()
    with running(create_app(accounts, service), port) as simulator:
        environ = {
            **_with_cors(os.environ, simulator),
            "CLIENT_ID": accounts.app.client_id,
            "CLIENT_SECRET": accounts.app.client_secret,
            "SECRET_KEY": os.urandom(32).hex(),
            "SPOTIFY_TOKEN_URL": f"{simulator}/api/token",
            "SPOTIFY_AUTHORIZE_URL": f"{simulator}/authorize",
            "DRAIN_SECONDS": os.environ.get("DRAIN_SECONDS", "0"),
        }
        return _serve(environ, service, simulator, simulator)


def _spotify(service: str, environ: Mapping[str, str]) -> Playground:
    """Return the playground's configuration if the service calls the real Spotify."""
    client_id = environ.get("CLIENT_ID", "")
    if file := environ.get("CLIENT_ID_FILE"):
        with suppress(OSError):  # the service reports it
            client_id = Path(file).read_text().strip()
    return Playground(
        service_url=service,
        client_id=client_id,
        authorize_url=environ.get("SPOTIFY_AUTHORIZE_URL") or AUTHORIZE_URL,
        web_api_url=WEB_API_URL,
        simulated=False,
    )


def _with_cors(environ: Mapping[str, str], origin: str) -> dict[str, str]:
    """Return the environment in which the service accepts requests from the playground."""
    origins = filter(None, (environ.get("CORS_ALLOW_ORIGINS"), origin))
    return {**environ, "CORS_ALLOW_ORIGINS": ",".join(origins)}


def _playground_port(environ: Mapping[str, str]) -> int:
    """Return the port to try first; 0, any free one, if the service is to have it."""
    port = int(environ.get("PLAYGROUND_PORT") or SIMULATOR_PORT)
    if port not in range(65536):
        raise ValueError(port)
    wanted = {environ.get(name, "").strip() for name in ("PORT", "METRICS_PORT")}
    return 0 if str(port) in wanted else port


def _serve(environ: Mapping[str, str], service_url: str, page: str, simulator: str = "") -> int:
    # Otherwise another server on that port would appear to be this one.
    free = _is_free(environ)
    with subprocess.Popen(SERVICE, env=dict(environ)) as service:  # noqa: S603 - ourselves
        _pass_signals(service)
        up = free and _is_up(service, service_url)
        if up:
            sys.stdout.write(PAGE.format(page=page, service=service_url))
            if simulator:
                client_id = environ["CLIENT_ID"]
                sys.stdout.write(
                    COMMANDS.format(service=service_url, simulator=simulator, client_id=client_id)
                )
            sys.stdout.flush()
        status = service.wait()
    if status == 1 and not up:
        sys.stderr.write(HINT)
    return status


def _address(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the host and port at which the service can be reached from this machine."""
    host = environ.get("HOST", "")
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return host, environ.get("PORT") or "7000"


def _service_url(environ: Mapping[str, str]) -> str:
    host, port = _address(environ)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _is_free(environ: Mapping[str, str]) -> bool:
    """Return whether the service's port is free."""
    host, port = _address(environ)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, int(port)), family=family).close()
    except (OSError, OverflowError, ValueError):
        return False
    return True


def _pass_signals(service: "subprocess.Popen[bytes]") -> None:
    """End the service on SIGTERM; Ctrl-C reaches it as part of the terminal's process group."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        service.terminate()

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN if sys.stdin.isatty() else terminate)


def _is_up(service: "subprocess.Popen[bytes]", url: str) -> bool:
    """Wait until the service is ready; False if it ends instead."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while service.poll() is None:
        try:
            with opener.open(f"{url}/readyz", timeout=1):
                return True
        except (URLError, OSError):
            time.sleep(0.05)
    return False


if __name__ == "__main__":
    sys.exit(main())

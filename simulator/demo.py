"""`make run`: the service, with real Spotify if there are credentials, else with the simulator.

    python -m simulator.demo

It prints where the page to try it is, which is on unless TRY_PAGE says otherwise. Without
credentials it prints shell lines, too, that go through the flows; each can be pasted as it is, into
any terminal. The simulator is at port 7001 unless that is taken. Stops on Ctrl-C or SIGTERM, and
when the service stops.
"""

import argparse
import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from types import FrameType
from urllib.error import URLError

from simulator.accounts import Accounts
from simulator.app import create_app
from simulator.pkce import challenge_of
from simulator.server import running

CREDENTIALS = ("CLIENT_ID", "CLIENT_SECRET", "SECRET_KEY")
SIMULATOR_PORT = 7001
"""The one that docs/simulator.md writes."""
# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
SERVICE = (sys.executable, "-m", "service")

PAGE = """
Open this in a browser to try the service:

    {service}/try
"""
LINES = """
The service is at {service}, and talks to a simulator of Spotify at {simulator}
(set CLIENT_ID, CLIENT_SECRET and SECRET_KEY to talk to Spotify itself).
Paste these into another terminal:

# Log in with PKCE: get a code as if a person had agreed, and swap it for tokens.
curl -sS --fail-with-body -o {file}.new {service}/authorization-code-flow-pkce/retrieve-tokens \
-d redirect_uri={redirect_uri} -d code_verifier={verifier} \
-d "code=$(curl -sS -o /dev/null -w '%{{redirect_url}}' -d decision=allow \
'{simulator}/authorize?client_id={client_id}&response_type=code&redirect_uri={redirect_uri}\
&code_challenge_method=S256&code_challenge={challenge}' | sed 's/.*code=//')" \
&& mv {file}.new {file} && cat {file} || cat {file}.new; echo

# Refresh the tokens that the line above got; again and again, if you like.
curl -sS --fail-with-body -o {file}.new {service}/authorization-code-flow-pkce/refresh-tokens \
-d "refresh_token=$(sed 's/.*"refresh_token":"\\([^"]*\\)".*/\\1/' {file})" \
&& mv {file}.new {file} && cat {file} || cat {file}.new; echo

# Get the app's own token.
curl -sS {service}/client-credentials-flow/retrieve-tokens -d grant_type=client_credentials && echo
"""


def main() -> int:
    """Run the service in the foreground; return its exit status."""
    argparse.ArgumentParser(
        prog="python -m simulator.demo",
        description="Run the service, with a simulator of Spotify unless credentials are set; "
        "all settings come from the environment.",
    ).parse_args()
    page = {"TRY_PAGE": os.environ.get("TRY_PAGE") or "true"}
    given = [name for name in CREDENTIALS if os.environ.get(name) or f"{name}_FILE" in os.environ]
    if given:
        return _serve({**os.environ, **page})
    accounts = Accounts()
    with running(create_app(accounts), _simulator_port(os.environ)) as simulator:
        app = accounts.app
        environ = {
            **os.environ,
            **page,
            "CLIENT_ID": app.client_id,
            "CLIENT_SECRET": app.client_secret,
            "SECRET_KEY": os.urandom(32).hex(),
            "SPOTIFY_TOKEN_URL": f"{simulator}/api/token",
            "DRAIN_SECONDS": os.environ.get("DRAIN_SECONDS", "0"),
        }
        return _serve(environ, simulator, app.client_id)


def _simulator_port(environ: Mapping[str, str]) -> int:
    """Return the port that the simulator tries first; 0, any, if the service is to have it."""
    wanted = {environ.get(name, "").strip() for name in ("PORT", "METRICS_PORT")}
    return 0 if str(SIMULATOR_PORT) in wanted else SIMULATOR_PORT


def lines(service: str, simulator: str, client_id: str) -> str:
    """Return the text that shows how to try the flows with curl alone."""
    return LINES.format(
        service=service,
        simulator=simulator,
        client_id=client_id,
        redirect_uri="http://127.0.0.1:8888/callback",
        verifier=VERIFIER,
        challenge=challenge_of(VERIFIER),
        file=f"{_private_folder()}/tokens.json",
    )


def _private_folder() -> str:
    """Return a folder of this run's alone, for every terminal of the person who runs it.

    It goes as this process ends.
    """
    folder = tempfile.mkdtemp(prefix="spotify-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _serve(environ: Mapping[str, str], simulator: str = "", client_id: str = "") -> int:
    host, port = _reachable(environ.get("HOST", "")), environ.get("PORT") or "7000"
    # Else it is somebody else who would answer there, until the service finds out.
    free = _is_free(host, port)
    with subprocess.Popen(SERVICE, env=dict(environ)) as service:  # noqa: S603 - ourselves
        _pass_signals(service)
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if free and _is_up(service, url):
            if _is_true(environ["TRY_PAGE"]):
                sys.stdout.write(PAGE.format(service=url))
            if simulator:
                sys.stdout.write(lines(url, simulator, client_id))
            sys.stdout.flush()
        return service.wait()


def _is_true(flag: str) -> bool:
    return flag.strip().lower() == "true"


def _reachable(host: str) -> str:
    """Return where a service that listens on `host` can be asked from here."""
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return host


def _is_free(host: str, port: str) -> bool:
    """Tell whether nobody listens there yet."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, int(port)), family=family).close()
    except (OSError, OverflowError, ValueError):
        return False
    return True


def _pass_signals(service: "subprocess.Popen[bytes]") -> None:
    """Let SIGTERM end the service; Ctrl-C reaches it by itself, as the terminal's whole group."""

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

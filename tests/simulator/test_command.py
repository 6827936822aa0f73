import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import simulator
from simulator.__main__ import main
from tests.running import wait_until

ROOM = Path(simulator.__file__).parent


@contextmanager
def command(*flags: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``python -m simulator`` on a free port; yields the process and its URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "simulator", "--port", "0", *flags],
        cwd=ROOM.parent,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_prints_its_address_and_exits_with_0_on_a_signal(number: signal.Signals) -> None:
    with command() as (process, url):
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
        process.send_signal(number)
        rest, errors = process.communicate(timeout=20)
        assert (process.returncode, rest, errors) == (0, "", "")


def test_signal_stops_it_despite_a_waiting_client() -> None:
    with command() as (process, url):
        httpx.post(f"{url}/admin/faults", json={"kind": "silence"}, trust_env=False)
        where = httpx.URL(url)
        with socket.create_connection((where.host, where.port or 80), timeout=20) as line:
            line.sendall(b"POST /api/token HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            requests = f"{url}/admin/requests"
            wait_until(lambda: bool(httpx.get(requests, trust_env=False).json()))
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 0


def test_flags_override_variables() -> None:
    variables = {
        "SIMULATOR_CLIENT_ID": "from-variable",
        "SIMULATOR_CLIENT_SECRET": "from-variable",
        "SIMULATOR_EXPIRES_IN": "9",
        "SIMULATOR_ROTATION": "",
    }
    form = {
        "grant_type": "client_credentials",
        "client_id": "from-flag",
        "client_secret": "from-variable",
    }
    with command("--client-id", "from-flag", "--verbose", **variables) as (process, url):
        tokens = httpx.post(f"{url}/api/token", data=form, trust_env=False).json()
        settings = httpx.get(f"{url}/admin/settings", trust_env=False).json()
        process.terminate()
        log, _ = process.communicate(timeout=20)
    assert tokens["expires_in"] == 9
    assert settings["rotation"] == "spotify"
    assert '"POST /api/token HTTP/1.1" 200' in log


def test_users_and_refresh_token_lifetime_are_configurable() -> None:
    eve = {"id": "eve", "display_name": "Eve", "email": "eve@example.com"}
    flags = ("--users", json.dumps([eve]), "--refresh-token-lifetime", "9")
    with command(*flags, SIMULATOR_USERS="[]") as (_, url):
        [user] = httpx.get(f"{url}/admin/users", trust_env=False).json()
        settings = httpx.get(f"{url}/admin/settings", trust_env=False).json()
    assert user == eve | {"country": "SE", "product": "premium", "registered": True}
    assert settings["refresh_token_lifetime"] == 9


def test_invalid_flag_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, words in [
        (["--port", "65536"], "'65536' is not a port from 0 to 65535"),
        (["--port", "http"], "'http' is not a port from 0 to 65535"),
        (["--rotation", "often"], "'often' is not one of spotify, on, off, same"),
        (["--expires-in", "-1"], "'-1' is not a whole number of seconds"),
        (["--client-id", "a:b"], "'a:b' is not visible ASCII without a colon"),
        (["--client-id", ""], "'' is not visible ASCII"),
        (["--client-secret", "a b"], "is not visible ASCII"),
        (["--redirect-uri", "http://localhost/"], "'http://localhost/' is not https"),
        (["--refresh-token-lifetime", "x"], "'x' is not a whole number of seconds"),
        (["--users", "eve"], "The users are not JSON"),
        (["--users", "[]"], "length >= 1"),
        (["--users", '[{"id": "eve"}]'], "missing required field `display_name`"),
        (["--service-url", "swap.example"], "'swap.example' is not an http or https URL"),
        (["--service-url", "https://a;script-src"], "is not an http or https URL"),
        (["--color"], "unrecognized arguments: --color"),
    ]:
        with pytest.raises(SystemExit) as exit_:
            main(flags)
        assert exit_.value.code == 2
        errors = capsys.readouterr().err
        assert words in errors
        assert "simulator-client-secret" not in errors


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "x"), ("REDIRECT_URI", "https://a.b x")],
)
def test_invalid_variable_exits_with_2(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"SIMULATOR_{name}", value)
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2
    assert "'x' is not" in capsys.readouterr().err


def test_port_in_use_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as exit_:
            main(["--port", str(port)])
    assert exit_.value.code == 2
    expected = f"cannot listen on 127.0.0.1 port {port}: Address already in use"
    assert expected in capsys.readouterr().err

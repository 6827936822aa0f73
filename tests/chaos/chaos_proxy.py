"""UPSTREAM_PROXY names a real proxy: TLS goes through it from end to end."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chaos.certificates import Authority, RecordingServer, context_for
from tests.chaos.conftest import Figure, StartService
from tests.chaos.flows import exchange
from tests.chaos.processes import Service
from tests.evidence import shapes
from tests.running import CLIENT_SECRET, free_port, is_listening, wait_until

CODE = "AQcode-that-the-proxy-must-not-see"
USER, PASSWORD = "operator", "proxyPassword0123"


class Proxy(NamedTuple):
    """A running tinyproxy, and the file of its log."""

    port: int
    log: Path


@contextmanager
def tinyproxy(directory: Path, *options: str) -> Iterator[Proxy]:
    proxy = Proxy(free_port(), directory / "proxy.log")
    configuration = directory / "proxy.conf"
    lines = [f"Port {proxy.port}", "Listen 127.0.0.1", "Timeout 60", "LogLevel Info"]
    lines += [f'LogFile "{proxy.log}"', *options]
    configuration.write_text("\n".join(lines) + "\n")
    command = ["tinyproxy", "-d", "-c", str(configuration)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_listening(proxy.port))
            yield proxy
        finally:
            process.terminate()


def _assert_kept_secret(service: Service, *others: str) -> None:
    for text in (service.output(), service.errors(), *others):
        for secret in (PASSWORD, CODE, CLIENT_SECRET):
            assert not [shape for shape in shapes(secret) if shape in text]


@pytest.mark.parametrize("login", ["", f"{USER}:{PASSWORD}@"], ids=["no password", "password"])
def test_call_goes_through_the_proxy(
    login: str, start_service: StartService, tmp_path: Path, figure: Figure
) -> None:
    """A call goes through the proxy, which sees the host only."""
    authority = Authority(tmp_path, "known")
    options = [f"BasicAuth {USER} {PASSWORD}"] if login else []
    certificate = authority.issue("localhost")
    with (
        tinyproxy(tmp_path, *options) as proxy,
        RecordingServer(context_for(certificate)) as server,
    ):
        service = start_service(
            f"https://localhost:{server.port}/api/token",
            UPSTREAM_PROXY=f"http://{login}127.0.0.1:{proxy.port}",
            SSL_CERT_FILE=str(authority.file),
        )
        assert exchange(service.client, CODE).status_code == 200
        assert CODE.encode() in server.opened
        log = proxy.log.read_text()
    assert f"CONNECT localhost:{server.port}" in log
    _assert_kept_secret(service, log)
    service.assert_no_defect()
    figure("1 CONNECT")


def test_refusal_by_the_proxy_is_502(
    start_service: StartService, tmp_path: Path, figure: Figure
) -> None:
    """A proxy that refuses the password: 502, and nothing is sent to Spotify."""
    with (
        tinyproxy(tmp_path, f"BasicAuth {USER} another") as proxy,
        RecordingServer(None) as server,
    ):
        service = start_service(
            f"https://localhost:{server.port}/api/token",
            UPSTREAM_PROXY=f"http://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}",
        )
        response = exchange(service.client, CODE)
        assert server.connections == 0
    assert response.status_code == 502
    _assert_kept_secret(service, response.text)
    service.assert_no_defect()
    figure("407 of the proxy")

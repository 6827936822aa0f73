"""Spotify's certificate is wrong: 502, and no byte of a request is sent."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chaos.certificates import Authority, RecordingServer, context_for, outdated
from tests.chaos.conftest import Figure, StartService
from tests.chaos.flows import exchange
from tests.evidence import shapes
from tests.running import CLIENT_SECRET

CODE = "AQcode-that-only-Spotify-may-see-after-the-handshake"


class Authorities(NamedTuple):
    """An authority that the service trusts, and one that it does not."""

    trusted: Authority
    unknown: Authority
    directory: Path


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    return Authorities(Authority(tmp_path, "known"), Authority(tmp_path, "unknown"), tmp_path)


WRONG: dict[str, Callable[[Authorities], RecordingServer]] = {
    "another host's": lambda ca: RecordingServer(context_for(ca.trusted.issue("accounts.example"))),
    "another address'": lambda ca: RecordingServer(context_for(ca.trusted.issue("127.0.0.2"))),
    "no host but in its subject": lambda ca: RecordingServer(context_for(ca.trusted.issue(None))),
    "expired": lambda ca: RecordingServer(
        context_for(ca.trusted.issue("localhost", from_days=-9, to_days=-1))
    ),
    "not yet valid": lambda ca: RecordingServer(
        context_for(ca.trusted.issue("localhost", from_days=1, to_days=9))
    ),
    "unknown authority": lambda ca: RecordingServer(context_for(ca.unknown.issue("localhost"))),
    "self-signed": lambda ca: RecordingServer(
        context_for(Authority(ca.directory, "localhost").issue("localhost"))
    ),
    "TLS 1.1 at most": lambda ca: RecordingServer(
        outdated(context_for(ca.trusted.issue("localhost")))
    ),
    "no TLS at all": lambda _: RecordingServer(None),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_certificate_is_refused(
    wrong: str, authorities: Authorities, start_service: StartService, figure: Figure
) -> None:
    """502, nothing decrypted, no secret among the bytes."""
    with WRONG[wrong](authorities) as server:
        service = start_service(
            f"https://localhost:{server.port}/api/token",
            SSL_CERT_FILE=str(authorities.trusted.file),
        )
        response = exchange(service.client, CODE)
    assert response.status_code == 502
    assert response.json() == {"error": True, "reason": "Spotify could not be reached"}
    assert server.raw, "a handshake was begun"
    assert server.opened == b""
    for secret in (CODE, CLIENT_SECRET):
        assert not [shape for shape in shapes(secret) if shape.encode() in server.raw]
    figure(f"{server.connections} connections, {len(server.raw)} bytes of handshakes")
    service.assert_no_defect()


def test_handshake_timeout_is_504(start_service: StartService, figure: Figure) -> None:
    """A handshake without a response ends in time: 504."""
    with RecordingServer(None) as server:
        service = start_service(
            f"https://localhost:{server.port}/api/token", UPSTREAM_TIMEOUT="0.5"
        )
        before = service.footprint()
        start = time.monotonic()
        response = exchange(service.client, CODE)
        seconds = time.monotonic() - start
        service.assert_settled(before)
    assert response.status_code == 504
    assert seconds < 2
    figure(f"after {seconds:.2f} s")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_custom_authority_is_trusted(
    variable: str, host: str, authorities: Authorities, start_service: StartService, figure: Figure
) -> None:
    """A custom authority is trusted, and no key is written to SSLKEYLOGFILE."""
    keys = authorities.directory / "keys"
    trusted = authorities.trusted
    file = trusted.file if variable == "SSL_CERT_FILE" else trusted.hashed_directory()
    with RecordingServer(context_for(trusted.issue(host))) as server:
        service = start_service(
            f"https://{host}:{server.port}/api/token",
            **{variable: str(file), "SSLKEYLOGFILE": str(keys)},
        )
        response = exchange(service.client, CODE)
        service.kill()
    assert response.status_code == 200
    assert CODE.encode() in server.opened
    assert CODE.encode() not in server.raw
    assert not keys.exists()
    figure(f"{server.connections} connection")

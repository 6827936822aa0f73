"""RATE_LIMIT_STORAGE: replicas count together, in a real Valkey or Redis."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import LogLines, Start
from tests.limiting import PASSWORD, counted, crowd, post, scrape, statuses
from tests.running import free_port, is_listening, wait_until

pytestmark = pytest.mark.storage

PROGRAMS = ("valkey-server", "redis-server")


class Storage:
    """A storage server on a port of its own, without persistence."""

    def __init__(self, folder: Path, *options: str, tls: bool = False) -> None:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            pytest.fail(f"one of {', '.join(PROGRAMS)} is needed: apt-get install redis-server")
        self.port = free_port()
        ports = ["--port", "0", "--tls-port"] if tls else ["--port"]
        self._command = [program, *ports, str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._command += ["--dir", str(folder), "--requirepass", PASSWORD, *options]
        self.start()

    def url(self, scheme: str = "redis", host: str = "127.0.0.1") -> str:
        return f"{scheme}://:{PASSWORD}@{host}:{self.port}/1"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._is_up)

    def _is_up(self) -> bool:
        assert self._process.poll() is None, "the storage did not start"
        return is_listening(self.port)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Stop its process for as long as the block lasts."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)
            assert self.command("PING") == ["+PONG"]

    def command(self, *words: str) -> list[str]:
        """Send a command, as RESP's inline form; return the lines of the response."""
        lines = [f"AUTH {PASSWORD}", "SELECT 1", " ".join(words), "QUIT"]
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as raw:
            raw.sendall("".join(f"{line}\r\n" for line in lines).encode())
            received = b""
            while data := raw.recv(65536):
                received += data
        return received.decode().splitlines()[2:-1]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    running = Storage(tmp_path)
    yield running
    running.stop()


def test_replicas_count_together(start: Start, storage: Storage) -> None:
    replicas = [start(RATE_LIMIT="5/month", RATE_LIMIT_STORAGE=storage.url()) for _ in range(2)]
    turns = [post(replicas[n % 2]).status_code for n in range(7)]
    assert turns == [200] * 5 + [429] * 2


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_refused_client_passes_after_retry_after(
    start: Start, storage: Storage, scheme: str
) -> None:
    client = start(RATE_LIMIT="3/2seconds", RATE_LIMIT_STORAGE=storage.url(scheme))
    # More than 3 pass if the window ends meanwhile.
    responses = (post(client) for _ in range(100))
    refused = next(response for response in responses if response.status_code == 429)
    time.sleep(int(refused.headers["retry-after"]))
    assert post(client).status_code == 200


def test_clients_count_separately_and_no_address_is_stored(start: Start, storage: Storage) -> None:
    settings = {"RATE_LIMIT": "1/month;5/month", "TRUSTED_PROXIES": "127.0.0.1"}
    client = start(**settings, RATE_LIMIT_STORAGE=storage.url())
    assert statuses(client, 2, "203.0.113.77") == [200, 429]
    assert statuses(client, 2, "2001:db8::77") == [200, 429]
    keys = " ".join(storage.command("KEYS", "*"))
    assert keys.count("spotify-api-server:") == 4
    for trace in ("203.0.113.77", "2001:db8", "cb00714d", "20010db8"):
        assert trace not in keys


def test_counts_expire(start: Start, storage: Storage) -> None:
    """After two windows: until then they are needed."""
    client = start(RATE_LIMIT="3/minute", RATE_LIMIT_STORAGE=storage.url())
    statuses(client, 5)
    names = [line for line in storage.command("KEYS", "*") if "spotify-api-server:" in line]
    assert names
    for name in names:
        [seconds] = storage.command("TTL", name)
        assert 60 < int(seconds.removeprefix(":")) <= 120


def test_requests_pass_while_the_storage_is_down_and_count_when_it_is_back(
    start: Start, storage: Storage, log_lines: LogLines
) -> None:
    port = free_port()
    client = start(RATE_LIMIT="2/month", RATE_LIMIT_STORAGE=storage.url(), METRICS_PORT=str(port))
    assert statuses(client, 3) == [200, 200, 429]
    storage.stop()
    assert statuses(client, 4) == [200] * 4
    assert counted(port, "rate_limit_unchecked_total") == 4
    storage.start()
    assert storage.command("PING") == ["+PONG"]
    assert statuses(client, 3) == [200, 200, 429]  # the storage has no persistence
    assert counted(port, "rate_limit_unchecked_total") == 4
    assert len(log_lines.of("rate_limit.unchecked")) == 1
    assert PASSWORD not in log_lines.text + scrape(port)


def test_stalled_storage_does_not_stall_requests(start: Start, storage: Storage) -> None:
    client = start(RATE_LIMIT="5/month", RATE_LIMIT_STORAGE=storage.url())
    assert statuses(client, 6) == [200] * 5 + [429]
    client.timeout = httpx.Timeout(5)
    with storage.stalled():
        assert statuses(client, 10) == [200] * 10
    assert statuses(client, 2) == [429, 429]


def test_concurrent_requests_do_not_exceed_the_limit(start: Start, storage: Storage) -> None:
    """Requests wait for their turn, however many there are."""
    port = free_port()
    client = start(RATE_LIMIT="20/month", RATE_LIMIT_STORAGE=storage.url(), METRICS_PORT=str(port))
    assert statuses(client, 1) == [200]
    results = crowd(client, 400)
    # On a slow machine, some pass unchecked.
    assert results.count(200) <= 19 + counted(port, "rate_limit_unchecked_total")


def test_wrong_password_is_logged_without_it(
    start: Start, storage: Storage, log_lines: LogLines
) -> None:
    url = f"redis://:{PASSWORD}-but-wrong@127.0.0.1:{storage.port}"
    client = start(RATE_LIMIT="1/month", RATE_LIMIT_STORAGE=url, LOG_LEVEL="trace")
    assert statuses(client, 3) == [200] * 3
    [line] = log_lines.of("rate_limit.unchecked")
    assert line["error_type"] == "AuthenticationError"
    assert PASSWORD not in log_lines.text


# TLS -----------------------------------------------------------------------------------------


class Certificates(NamedTuple):
    """Files of a server's certificate for "localhost", and of the authority that issued it."""

    authority: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    ours = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    authority, key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])

    def signed(
        name: x509.Name, public: ec.EllipticCurvePublicKey, *more: x509.ExtensionType
    ) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            issuer, name, public, x509.random_serial_number(), now, now + timedelta(days=1)
        )
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ours.authority.write_bytes(
        signed(issuer, authority.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    ours.certificate.write_bytes(signed(subject, key.public_key(), names))
    ours.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return ours


@pytest.fixture
def encrypted(tmp_path: Path, certificates: Certificates) -> Iterator[Storage]:
    options = ["--tls-cert-file", str(certificates.certificate), "--tls-key-file"]
    options += [str(certificates.key), "--tls-auth-clients", "no"]
    running = Storage(tmp_path, *options, tls=True)
    yield running
    running.stop()


def test_tls_with_a_valid_certificate(
    start: Start,
    encrypted: Storage,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    for number, scheme in enumerate(("rediss", "valkeys")):
        url = encrypted.url(scheme, "localhost")
        client = start(RATE_LIMIT=f"{2 + number}/month", RATE_LIMIT_STORAGE=url)
        assert 429 in statuses(client, 20)


@pytest.mark.parametrize(
    ("host", "known"), [("localhost", False), ("127.0.0.1", True)], ids=["authority", "name"]
)
def test_tls_sends_no_password_to_another_server(
    start: Start,
    encrypted: Storage,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: LogLines,
    host: str,
    *,
    known: bool,
) -> None:
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    client = start(RATE_LIMIT="1/month", RATE_LIMIT_STORAGE=encrypted.url("rediss", host))
    assert statuses(client, 3) == [200] * 3
    [line] = log_lines.of("rate_limit.unchecked")
    assert line["error_type"] in {"ConnectionError", "TimeoutError"}  # but not AuthenticationError

"""nginx, twice: as the upstream, with one response for every refresh, and as a bare proxy to it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from string import Template

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.load import get, wait_ready
from bench.rig import free_port, spawned
from bench.tokens import UPSTREAM_APP_RESPONSE, UPSTREAM_RESPONSE
from bench.tools import BenchError, echo_module, tool

TOKEN_PATH = "/api/token"  # noqa: S105 - a path
_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Upstream:
    """The upstream in the place of Spotify, by HTTP and by TLS with `certificate`."""

    port: int
    tls_port: int
    certificate: Path

    @property
    def origin(self) -> str:
        """Return the origin without TLS."""
        return f"http://{_HOST}:{self.port}"

    @property
    def tls_origin(self) -> str:
        """Return the origin with TLS."""
        return f"https://{_HOST}:{self.tls_port}"

    def calls(self) -> int:
        """Return the number of requests so far."""
        _, body = get(self.port, "/status")
        requests = re.search(rb"^ \d+ \d+ (\d+)", body, re.MULTILINE)
        if requests is None:
            raise BenchError(f"nginx has no status: {body.decode(errors='replace')}")
        return int(requests[1])


@contextmanager
def upstream(core: int, directory: Path) -> Iterator[Upstream]:
    """Run the upstream on `core`."""
    certificate, tls_port = _certificate(directory), free_port()
    with _nginx(
        "upstream.conf",
        core,
        directory,
        module=str(echo_module()),
        tls_port=str(tls_port),
        certificate=str(certificate),
        response=UPSTREAM_RESPONSE,
        app_response=UPSTREAM_APP_RESPONSE,
    ) as port:
        yield Upstream(port, tls_port, certificate)


@contextmanager
def proxy(core: int, directory: Path, origin: str) -> Iterator[int]:
    """Run a proxy to the upstream at `origin` on `core`; yield its port."""
    with _nginx("proxy.conf", core, directory, upstream=origin.removeprefix("http://")) as port:
        yield port


@contextmanager
def _nginx(name: str, core: int, directory: Path, **values: str) -> Iterator[int]:
    port = free_port()
    conf, log = directory / name, directory / f"{name}.log"
    template = Template((Path(__file__).parent / name).read_text())
    conf.write_text(template.substitute(values, directory=directory, port=port))
    # -e: or nginx opens the system's own log before it reads ours from the file.
    command = [tool("nginx"), "-e", str(log), "-c", str(conf), "-p", str(directory)]
    with spawned(command, core, log, env={}) as process:
        wait_ready(process, port, TOKEN_PATH)
        yield port


def _certificate(directory: Path) -> Path:
    """Write a certificate for loopback that signs itself, with its key, valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench upstream")])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(_HOST))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = directory / "upstream.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path

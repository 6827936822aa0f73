"""Authorities and certificates made at test time, and a server that records all bytes."""

import datetime as dt
import ipaddress
import socket
import ssl
import subprocess
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)
_BODY = b'{"access_token":"BQ-over-tls","token_type":"Bearer","expires_in":3600}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    return x509.DNSName(host)


class Authority:
    """A certificate authority, its certificate in `file`."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = directory / f"{name}.pem"
        ca = x509.BasicConstraints(ca=True, path_length=None)
        made = self._builder(self._name, self._key.public_key()).add_extension(ca, critical=True)
        self.file.write_bytes(self._signed(made))

    def issue(self, host: str | None, *, from_days: int = -1, to_days: int = 1) -> Path:
        """Return a file with a key and a certificate for `host`; None names it in the subject."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(_name(host or "localhost"), key.public_key(), from_days, to_days)
        if host:
            names = x509.SubjectAlternativeName([_alternative(host)])
            made = made.add_extension(names, critical=False)
        file = self._directory / f"{len(list(self._directory.iterdir()))}.pem"
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        file.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
        with file.open("ab") as more:
            more.write(self._signed(made))
        return file

    def hashed_directory(self) -> Path:
        """Return a directory for SSL_CERT_DIR."""
        hashed = self._directory / "hashed"
        hashed.mkdir()
        (hashed / "authority.pem").write_bytes(self.file.read_bytes())
        subprocess.run(["openssl", "rehash", str(hashed)], check=True)  # noqa: S607
        return hashed

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, from_days: int = -1, to: int = 1
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .issuer_name(self._name)
            .subject_name(subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + from_days * _DAY)
            .not_valid_after(now + to * _DAY)
        )

    def _signed(self, made: x509.CertificateBuilder) -> bytes:
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def context_for(certificate: Path) -> ssl.SSLContext:
    """Return a server's context with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def outdated(context: ssl.SSLContext) -> ssl.SSLContext:
    """Limit `context` to TLS 1.1, which OpenSSL allows at security level 0 only."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


class RecordingServer:
    """A server with or without TLS that records every byte: `raw` as received, `opened` decrypted.

    The response to a complete request is a token.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.raw, self.opened, self.connections = b"", b"", 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listening.accept()[0]
            except OSError:
                return
            self.connections += 1
            with connection, suppress(OSError):  # ssl.SSLError is one
                connection.settimeout(1)
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        if self._context is None:
            while data := connection.recv(65536):
                self.raw += data
            return
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(incoming, outgoing, server_side=True)
        is_open = False
        while data := connection.recv(65536):
            self.raw += data
            incoming.write(data)
            try:
                if not is_open:
                    tls.do_handshake()
                    is_open = True
                self.opened += tls.read()
                tls.write(ANSWER)
            except ssl.SSLWantReadError:
                pass
            finally:
                connection.sendall(outgoing.read())

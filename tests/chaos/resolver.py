"""A name server on loopback that responds or times out, and a service that uses it."""

import ipaddress
import socket
import struct
import threading
from pathlib import Path

NAME_ERROR, SERVER_FAILURE = 3, 2
"""Response codes (RFC 1035, section 4.1.1)."""
_A, _AAAA = 1, 28


class Resolver:
    """A name server (UDP) that knows one name, and returns `addresses` in their order for it.

    With a `code`, every response is that error; while it is `mute`, there is no response.
    It has an address of its own, because resolv.conf cannot name a port.
    """

    def __init__(self, address: str, name: str = "accounts.spotify.test") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self.name = name
        self.address = address
        self.addresses = ["127.0.0.1"]
        self.mute = False
        self.code = 0
        self.asked = 0
        self._ends = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._ends = True
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        self._socket.settimeout(0.1)
        while not self._ends:
            try:
                query, client = self._socket.recvfrom(512)
            except TimeoutError:
                continue
            self.asked += 1
            if not self.mute:
                self._socket.sendto(self._response(query), client)

    def _response(self, query: bytes) -> bytes:
        """Respond to the one question in `query` (RFC 1035, section 4.1)."""
        end = query.index(b"\0", 12) + 5
        question = query[12:end]
        known = question[:-4].lower() == _encoded(self.name)
        code = self.code or (0 if known else NAME_ERROR)
        [kind] = struct.unpack("!H", question[-4:-2])
        records = [] if code else [_record(address) for address in self.addresses]
        records = [record for record in records if record[2:4] == struct.pack("!H", kind)]
        head = query[:2] + struct.pack("!5H", 0x8180 | code, 1, len(records), 0, 0)
        return head + question + b"".join(records)


def _encoded(name: str) -> bytes:
    labels = [label.encode() for label in name.split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _record(address: str) -> bytes:
    """Return a resource record, A or AAAA, for the name in the question."""
    packed = ipaddress.ip_address(address).packed
    kind = _A if len(packed) == 4 else _AAAA
    return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(packed)) + packed


def world(directory: Path, resolver: str, *options: str) -> tuple[str, ...]:
    """Return what has a command see a resolv.conf of its own, in a mount namespace (needs root).

    `options` are more lines of it.
    """
    resolv = directory / "resolv.conf"
    resolv.write_text("\n".join([f"nameserver {resolver}", *options, ""]))
    nsswitch = directory / "nsswitch.conf"
    nsswitch.write_text("hosts: files dns\n")
    script = (
        f"mount --bind {resolv} /etc/resolv.conf && "
        f'mount --bind {nsswitch} /etc/nsswitch.conf && exec "$@"'
    )
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")

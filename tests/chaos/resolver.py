"""A name server on loopback that answers, or doesn't; and the service in a world that asks it."""

import socket
import struct
import threading
from pathlib import Path

NAME_ERROR, SERVER_FAILURE = 3, 2
"""Response codes (RFC 1035, section 4.1.1)."""
_A = 1


class Resolver:
    """Answers 127.0.0.1 for every name, unless `code` is an error's, or it is `mute`.

    It has an address of its own: resolv.conf can't name a port.
    """

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self.address = address
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
                self._socket.sendto(_answer(query, self.code), client)


def _answer(query: bytes, code: int) -> bytes:
    """Answer the one question in `query` (RFC 1035, section 4.1)."""
    end = query.index(b"\0", 12) + 5
    question = query[12:end]
    is_found = not code and struct.unpack("!H", query[end - 4 : end - 2])[0] == _A
    head = query[:2] + struct.pack("!5H", 0x8180 | code, 1, int(is_found), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", _A, 1, 0, 4) + bytes([127, 0, 0, 1])
    return head + question + (record if is_found else b"")


def world(directory: Path, resolver: str) -> tuple[str, ...]:
    """Return what has a command see a resolv.conf of its own, in a mount namespace (needs root)."""
    resolv = directory / "resolv.conf"
    resolv.write_text(f"nameserver {resolver}\n")
    nsswitch = directory / "nsswitch.conf"
    nsswitch.write_text("hosts: files dns\n")
    script = (
        f"mount --bind {resolv} /etc/resolv.conf && "
        f'mount --bind {nsswitch} /etc/nsswitch.conf && exec "$@"'
    )
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")

"""`python -m tests.chaos.crowd PORT SECONDS KIND=COUNT…`: clients that are slow, or never read.

    head     sends half of a request's head, and no more
    body     sends the head and half of the body, and no more
    dribble  sends one byte a second
    deaf     asks for an answer of 1 MB and reads nothing of it

Prints `made` once all are connected; in the end, or after SECONDS, for each kind how its
connections ended: how many, after how many seconds, with what statuses.
"""

import collections
import json
import select
import socket
import sys
import time
from dataclasses import dataclass, field

from tests.chaos.flows import request
from tests.chaos.processes import allow_open_files

DRIBBLE_SECONDS = 1.0
_GONE = select.POLLERR | select.POLLHUP


@dataclass
class Client:
    """A client; `rest` are the bytes that it still has to send."""

    kind: str
    raw: socket.socket
    rest: bytes
    since: float = field(default_factory=time.monotonic)
    status: str = "none"

    def is_ended(self, events: int) -> bool:
        """Read, unless it is deaf; return whether the connection has ended."""
        if self.kind == "deaf":
            return bool(events & _GONE)
        try:
            data = self.raw.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            return True
        if data.startswith(b"HTTP/1.1 "):
            self.status = data[9:12].decode()
        return not data

    def dribble(self) -> None:
        """Send a byte; poll() reports a closed connection."""
        if self.rest:
            try:
                self.raw.send(self.rest[:1])
            except OSError:
                return
            self.rest = self.rest[1:]


def client(kind: str, port: int) -> Client:
    """Connect a client of this kind, and send its first bytes."""
    credential = "fault-huge-1000000" if kind == "deaf" else None
    whole = request("refresh", credential)
    head = whole.index(b"\r\n\r\n") + 4
    at_once = {
        "head": head // 2,
        "body": (head + len(whole)) // 2,
        "dribble": 1,
        "deaf": len(whole),
    }
    raw = socket.socket()
    if kind == "deaf":
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", port))
    raw.sendall(whole[: at_once[kind]])
    raw.setblocking(False)  # noqa: FBT003 - the socket's own method
    return Client(kind, raw, whole[at_once[kind] :] if kind == "dribble" else b"")


def main(port: int, seconds: float, kinds: dict[str, int]) -> None:
    """Run the crowd; print how it ended."""
    allow_open_files()
    crowd = [client(kind, port) for kind, count in kinds.items() for _ in range(count)]
    _say("made")
    by_file = {one.raw.fileno(): one for one in crowd}
    poll = select.poll()
    for file, one in by_file.items():
        poll.register(file, 0 if one.kind == "deaf" else select.POLLIN)
    ended: dict[str, list[tuple[float, str]]] = {kind: [] for kind in kinds}
    end, dribble = time.monotonic() + seconds, time.monotonic()
    while by_file and time.monotonic() < end:
        for file, events in poll.poll(50):
            if (one := by_file[file]).is_ended(events):
                ended[one.kind].append((time.monotonic() - one.since, one.status))
                poll.unregister(file)
                by_file.pop(file).raw.close()
        if time.monotonic() >= dribble:
            dribble += DRIBBLE_SECONDS
            for one in by_file.values():
                one.dribble()
    for one in by_file.values():
        one.raw.close()
    _say(json.dumps({kind: _summary(ends) for kind, ends in ended.items()}))


def _summary(ends: list[tuple[float, str]]) -> dict[str, object]:
    seconds = [second for second, _ in ends] or [0.0]
    statuses = collections.Counter(status for _, status in ends)
    return {"ended": len(ends), "first": min(seconds), "last": max(seconds), "statuses": statuses}


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    counts = (argument.partition("=") for argument in sys.argv[3:])
    main(int(sys.argv[1]), float(sys.argv[2]), {kind: int(count) for kind, _, count in counts})

"""The network between the service and the simulator, where it breaks."""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator

from tests.chaos.processes import Address


class Proxy:
    """Forwards bytes between its own address and `target`, until `freeze`."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address: Address = self._listening.getsockname()
        self._pairs: list[_Pair] = []
        self._ends = False
        self.made = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def token_url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}/api/token"

    def open_connections(self) -> int:
        """Return how many connections of the service's are open and pass bytes."""
        return sum(not pair.frozen for pair in self._pairs)

    def freeze(self) -> None:
        """Pass nothing more on the connections that there are, as if their packets got lost."""
        for pair in list(self._pairs):
            pair.frozen = True

    def close(self) -> None:
        self._ends = True
        self._thread.join()
        for pair in self._pairs:
            pair.close()
        self._listening.close()

    def _run(self) -> None:
        while not self._ends:
            passing = [end for pair in self._pairs if not pair.frozen for end in pair.ends]
            readable, _, _ = select.select([self._listening, *passing], [], [], 0.02)
            if self._listening in readable:
                self._pairs.append(_Pair(self._listening.accept()[0], self._target))
                self.made += 1
            for pair in list(self._pairs):
                if not pair.frozen and not pair.passes(readable):
                    self._pairs.remove(pair)
                    pair.close()


class _Pair:
    def __init__(self, client: socket.socket, target: Address) -> None:
        self.ends = (client, socket.create_connection(target))
        self.frozen = False

    def passes(self, readable: list[socket.socket]) -> bool:
        """Forward the received bytes; return whether more can follow."""
        for source, sink in (self.ends, self.ends[::-1]):
            if source in readable:
                try:
                    data = source.recv(65536)
                    sink.sendall(data)
                except OSError:
                    return False
                if not data:
                    return False
        return True

    def close(self) -> None:
        for end in self.ends:
            end.close()


@contextlib.contextmanager
def full_queue() -> Iterator[socket.socket]:
    """Yield a listening socket with a full accept queue: connections time out."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - the socket's own method
            waiting.connect_ex(listening.getsockname())
        yield listening


def resetting(listening: socket.socket) -> threading.Thread:
    """Reset every connection to `listening`, until it is closed."""

    def reset() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = listening.accept()[0]
                # Linger for 0 s: close() sends RST.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

    thread = threading.Thread(target=reset, daemon=True)
    thread.start()
    return thread

"""The requests received, for tests to read."""

from collections import deque

from msgspec import Struct

from simulator.forms import Pairs

_KEPT = 1000


class Entry(Struct):
    """A request with the status of its response.

    Header names are as the client wrote them; bytes that are not UTF-8 are U+FFFD in the body.
    ``status`` is None if no status line was sent; ``fault`` is the kind of the fault applied, if
    any. Requests with the same ``client_port`` used the same connection.
    """

    method: str
    path: str
    query: str
    http_version: str
    headers: Pairs
    body: str
    form: Pairs
    client_port: int | None
    status: int | None = None
    fault: str | None = None

    def header(self, name: str) -> str:
        """Return the first value of a header, by its lower-case name; empty if absent."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def media_type(self) -> str:
        """Return the Content-Type in lower case, without parameters such as a charset."""
        return self.header("content-type").partition(";")[0].strip().lower()


class Record:
    """The last thousand entries."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT)

    def add(self, entry: Entry) -> None:
        """Add an entry; its status and fault can change later."""
        self._entries.append(entry)

    def entries(self) -> list[Entry]:
        """Return the entries, the oldest first."""
        return list(self._entries)

    def clear(self) -> None:
        """Delete all entries."""
        self._entries.clear()

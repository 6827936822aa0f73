"""What was received, in order of arrival, for tests to read."""

from collections import deque

from msgspec import Struct

from simulator.forms import Pairs

_KEPT = 1000


class Entry(Struct):
    """One request as received, and how it was answered.

    Header names are as the client wrote them; bytes that are not UTF-8 show as U+FFFD in the
    body. The status stays None when no status line was sent; the fault is the kind of what was
    done on purpose, if anything. Equal client ports mean one connection was used again.
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
        """Return the first value of a header, by its lower-case name; empty when absent."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def media_type(self) -> str:
        """Return the Content-Type in lower case, without parameters such as a charset."""
        return self.header("content-type").partition(";")[0].strip().lower()


class Record:
    """The last thousand entries."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT)

    def add(self, entry: Entry) -> None:
        """Keep an entry, which may be completed later."""
        self._entries.append(entry)

    def entries(self) -> list[Entry]:
        """Return what is kept, the oldest first."""
        return list(self._entries)

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()

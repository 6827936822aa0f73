"""A host's name → addresses, by lookups that are shared and that nothing has to wait for.

The system's lookup blocks a thread, and that for a long time if the name server doesn't answer.
uvloop's threads are four for all, and a process can't end before they are done; asyncio's likewise.
"""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Final

JOIN_SECONDS: Final = 2.0
"""A lookup under way for longer isn't joined: a new one may find a name server that is back."""

_Found = list[str] | OSError
_Lookup = asyncio.Future[_Found]


class Name:
    """The name or address `host`, as whoever connects to its `port` needs it."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._begun = 0.0
        self._lookup: _Lookup | None = None
        found = _look_up(host, port, socket.AI_NUMERICHOST)
        self._literal = found if isinstance(found, list) else None

    async def addresses(self) -> list[str]:
        """Return the addresses, the best one first, or raise OSError.

        Whoever asks while a lookup is under way shares it, and can leave without ending it.
        """
        if self._literal:
            return self._literal
        loop = asyncio.get_running_loop()
        if self._lookup is None or loop.time() - self._begun >= JOIN_SECONDS:
            lookup = loop.create_future()
            # A daemon: the end of the process doesn't wait for it.
            threading.Thread(target=self._answer, args=(loop, lookup), daemon=True).start()
            self._lookup, self._begun = lookup, loop.time()
        found = await asyncio.shield(self._lookup)
        if isinstance(found, OSError):
            raise type(found)(*found.args)
        return found

    def _answer(self, loop: asyncio.AbstractEventLoop, lookup: _Lookup) -> None:
        found = _look_up(self._host, self._port)
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(self._end, lookup, found)

    def _end(self, lookup: _Lookup, found: _Found) -> None:
        lookup.set_result(found)
        if self._lookup is lookup:
            self._lookup = None


def _look_up(host: str, port: int, flags: int = 0) -> _Found:
    """Return the addresses, or why there are none: nobody may be left to catch an exception."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except OSError as error:
        return error
    return [str(address[0]) for *_, address in found]

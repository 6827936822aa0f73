"""One request and its answer, as uvicorn sees them, the answer written in one go.

uvicorn writes head and body each by itself, which is two packets and two system calls, and looks at
each header with two regular expressions.
"""

import re
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.answers import Headers
from service.asgi import Message

_CLOSE: Final = (b"connection", b"close")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Cycle(RequestResponseCycle):
    """A request and its answer; one of known length that comes whole is sent whole.

    Any other answer is uvicorn's to send.
    """

    _start: Message | None = None

    async def send(self, message: Any) -> None:  # noqa: ANN401 - ASGI's types are each server's own
        """Take a part of the answer."""
        start, self._start = self._start, None
        if start is None and message["type"] == "http.response.start" and not self.response_started:
            self._start = message
        elif start is None:
            await super().send(message)
        elif message.get("more_body") or not _has_length(start["headers"]):
            await super().send(start)
            await super().send(message)
        else:
            await self._send_whole(start, message["body"])

    async def _send_whole(self, start: Message, body: bytes) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        headers = [*self.default_headers, *start["headers"]]
        if _CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(_CLOSE)
        head = STATUS_LINE[start["status"]] + _lines(headers)
        self.transport.write(head if self.scope["method"] == "HEAD" else head + body)
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _has_length(headers: Headers) -> bool:
    return any(name == b"content-length" for name, _ in headers)


def _lines(headers: Headers) -> bytes:
    """Write `headers` and the end of the head, or raise ValueError for what would be more."""
    lines = b"".join([b"%s: %s\r\n" % field for field in headers])
    if not (lines.count(b"\r") == lines.count(b"\n") == len(headers)) or _CONTROL.search(lines):
        raise ValueError("a header has a control character")
    return lines + b"\r\n"

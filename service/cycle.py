"""One request and its answer, as uvicorn sees them, the answer written in one go.

uvicorn writes head and body each by itself, which is two packets and two system calls, and looks at
each header with two regular expressions.
"""

import re
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

Headers = list
Message = dict

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
        elif message.get("more_body") or not await self._send_whole(start, message["body"]):
            await super().send(start)
            await super().send(message)

    async def receive(self) -> Any:  # noqa: ANN401
        """Return a part of the request; without a wait if it is all there, as it mostly is."""
        if self.more_body or self.waiting_for_100_continue or not self.message_event.is_set():
            return await super().receive()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        self.message_event.clear()
        body, self.body = self.body, bytearray()
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    async def _send_whole(self, start: Message, body: bytes) -> bool:
        """Send an answer; return False, with nothing done, if it doesn't tell its length."""
        headers = [*self.default_headers, *start["headers"]]
        if not (closing := _CLOSE in headers) and not self.keep_alive:
            headers.append(_CLOSE)
        head = _head(start["status"], headers)
        if b"\r\ncontent-length: " not in head:
            return False
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return True
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.keep_alive &= not closing
        self.transport.write(head if self.scope["method"] == "HEAD" else head + body)
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True


def _head(status: int, headers: Headers) -> bytes:
    """Write a head, or raise ValueError for headers that would be more than they say."""
    lines = b"".join([b"%s: %s\r\n" % field for field in headers])
    if not (lines.count(b"\r") == lines.count(b"\n") == len(headers)) or _CONTROL.search(lines):
        raise ValueError("a header has a control character")
    return STATUS_LINE[status] + lines + b"\r\n"

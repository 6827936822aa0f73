"""ASGI's types as every server and framework can speak them: each has stricter ones of its own."""

from typing import Any, Final, TypeAlias

Scope: TypeAlias = Any
Message: TypeAlias = Any
Receive: TypeAlias = Any
Send: TypeAlias = Any
App: TypeAlias = Any

LATE: Final = "late"
"""In a scope's state: the server ended the body, which did not arrive in time."""

CLOSED: Final = "closed"
"""In a scope's state: the connection was made when the server had ended to accept requests."""

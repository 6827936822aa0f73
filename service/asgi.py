"""ASGI's types as every server and framework can speak them: each has stricter ones of its own."""

from typing import Any, TypeAlias

Scope: TypeAlias = Any
Message: TypeAlias = Any
Receive: TypeAlias = Any
Send: TypeAlias = Any
App: TypeAlias = Any

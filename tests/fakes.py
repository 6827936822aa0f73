"""Fakes of the parts that a test does not want to run for real."""

import asyncio
from collections.abc import Awaitable, Callable

from service.grants import TokenRequest
from service.responses import TokenResponse

Outcome = TokenResponse | Exception


class FakeEndpoint:
    """A token endpoint: its n-th call, from 1, returns or raises `respond(n)` when `go` is set."""

    def __init__(self, respond: Callable[[int], Outcome]) -> None:
        self._respond = respond
        self.calls = 0
        self.finished = 0
        self.go = asyncio.Event()
        self.go.set()

    async def fetch(self, _request: TokenRequest) -> TokenResponse:
        self.calls += 1
        number = self.calls
        try:
            await self.go.wait()
        finally:
            self.finished += 1
        outcome = self._respond(number)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def settle() -> None:
    """Let tasks that are ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


def run_strictly(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` in an event loop; what reaches the loop's exception handler is a failure."""
    problems: list[dict[str, object]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: problems.append(what))
        await main()

    asyncio.run(watched())
    assert problems == []

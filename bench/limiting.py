"""What the rate limit costs: CPU of one check, and memory as clients come.

python -m bench.limiting                                  in memory
RATE_LIMIT_STORAGE=redis://… python -m bench.limiting     and in that storage
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from service import rate_limit, settings
from service.metrics import Metrics

CREDENTIALS = {"CLIENT_ID": "a", "CLIENT_SECRET": "b", "SECRET_KEY": "c"}
WIDE, NARROW = "1000000/minute", "5/minute"
AT_ONCE = 64


def limiter(**environ: str) -> rate_limit.Limiter:
    """Return a limiter with these settings."""
    return rate_limit.Limiter(settings.load(CREDENTIALS | environ), Metrics("bench"))


def scopes(clients: int) -> Iterator[dict[str, Any]]:
    """Yield a request of each client."""
    for n in range(clients):
        peer = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
        yield {"client": (peer, 1), "headers": [(b"host", b"x")]}


def resident() -> float:
    """Return this process' resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def check(name: str, checks: int, **environ: str) -> None:
    """Print the CPU of one check of one client, many at once."""
    asked = limiter(**environ)
    [scope] = scopes(1)

    async def ask() -> None:
        for _ in range(checks // AT_ONCE):
            await asked.wait(scope)

    await ask()
    started = time.process_time()
    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    print(f"{name:<44}{(time.process_time() - started) / checks * 1e6:>8.0f} µs")
    await asked.aclose()


async def fill() -> None:
    """Print the memory that counts take as more and more clients come."""
    asked, before, steps = limiter(RATE_LIMIT="60/minute"), resident(), (10_000, 65_536, 1_000_000)
    for seen, scope in enumerate(scopes(steps[-1]), 1):
        await asked.wait(scope)
        if seen in steps:
            print(f"{f'{seen:,} clients':<44}{resident() - before:>8.1f} MiB")


async def library(name: str, clients: int, hit: Callable[[str], Awaitable[object]]) -> None:
    """Print what a request costs with limits' own memory, its walk through all counts included."""
    for n in range(clients):
        await hit(str(n))
        if n % 100 == 0:
            await settle()
    await settle()
    started = time.process_time()
    await hit("0")
    await settle()
    print(f"{f'{name}, {clients:,} clients':<44}{(time.process_time() - started) * 1e6:>8.0f} µs")


async def settle() -> None:
    """Wait until the walk has ended."""
    this = asyncio.current_task()
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not this))


async def main() -> None:
    """Measure, and print."""
    await check("in memory, passes", 50_000, RATE_LIMIT=WIDE)
    await check("in memory, refused", 50_000, RATE_LIMIT=NARROW)
    if url := os.environ.get("RATE_LIMIT_STORAGE"):
        await check("storage, passes", 10_000, RATE_LIMIT=WIDE, RATE_LIMIT_STORAGE=url)
        await check("storage, refused", 10_000, RATE_LIMIT=NARROW, RATE_LIMIT_STORAGE=url)
    item = parse("60/minute")
    sliding = SlidingWindowCounterRateLimiter(MemoryStorage())
    moving = MovingWindowRateLimiter(MemoryStorage())
    await library("limits' memory, sliding", 20_000, lambda client: sliding.hit(item, client))
    await library("limits' memory, moving", 1_000, lambda client: moving.hit(item, client))
    await fill()


if __name__ == "__main__":
    uvloop.run(main())

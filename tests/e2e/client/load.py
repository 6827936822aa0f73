"""Constant load on the Service until /tmp/stop appears; run in the cluster's client pod.

Half of the workers keep their connection, as proxies do; half make one per request, as apps do.
No request is repeated, every one is counted; prints the figures as one JSON object.
"""

import asyncio
import collections
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

SERVICE = os.environ["SERVICE_URL"]
STOP = Path("/tmp/stop")  # noqa: S108 - the client pod's own volume
TOKENS = Path("/tmp/tokens.json")  # noqa: S108
WORKERS = 8
PAUSE_SECONDS = 0.05
LIMIT_SECONDS = 900


def requests() -> Iterator[tuple[str, dict[str, str]]]:
    """Return URLs and forms: a refresh of a user's token, then the app access token."""
    token = json.loads(TOKENS.read_text())["authorization-code-flow"]["refresh_token"]
    refresh = f"{SERVICE}/authorization-code-flow/refresh-tokens", {"refresh_token": token}
    own = f"{SERVICE}/client-credentials-flow/retrieve-tokens", {"grant_type": "client_credentials"}
    return itertools.cycle((refresh, own))


async def work(
    keep: int, end: float, outcomes: collections.Counter[str], seconds: list[float]
) -> None:
    """Send one request after the other, over one connection or over new ones."""
    limits = httpx.Limits(max_keepalive_connections=keep)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:
        for url, form in requests():
            if STOP.exists() or time.monotonic() > end:  # noqa: ASYNC240 - a tmpfs doesn't block
                return
            start = time.monotonic()
            try:
                outcome = str((await client.post(url, data=form)).status_code)
            except httpx.HTTPError as error:
                outcome = f"{type(error).__name__} ({'kept' if keep else 'new'} connection)"
            seconds.append(time.monotonic() - start)
            outcomes[outcome] += 1
            await asyncio.sleep(PAUSE_SECONDS)


async def main() -> None:
    """Run the workers; print the outcomes of all requests."""
    start = time.monotonic()
    outcomes: collections.Counter[str] = collections.Counter()
    seconds: list[float] = []
    end = start + LIMIT_SECONDS
    await asyncio.gather(*(work(n % 2, end, outcomes, seconds) for n in range(WORKERS)))
    percentiles = statistics.quantiles(seconds, n=100)
    figures = {
        "requests": outcomes.total(),
        "failed": outcomes.total() - outcomes["200"],
        "outcomes": outcomes,
        "seconds": round(time.monotonic() - start),
        "p50_ms": round(percentiles[49] * 1000),
        "p99_ms": round(percentiles[98] * 1000),
        "max_ms": round(max(seconds) * 1000),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    asyncio.run(main())

"""`python -m tests.chaos.blackhole DIRECTORY NUMBER`: an IPv6 address of Spotify drops packets.

It runs in a network of its own, in which nothing receives what is sent to 2001:db8:83::2; `world`
makes it. For each of NUMBER services, it prints the status and seconds of its first calls as JSON.
"""

import asyncio
import json
import sys
from contextlib import closing
from pathlib import Path

from tests.chaos import resolver
from tests.chaos.flows import request
from tests.chaos.load import Response, once, run
from tests.chaos.processes import Service, Simulator
from tests.chaos.resolver import Resolver

NAME_SERVER = "127.83.53.1"
_NETWORK = (
    "ip link set lo up && ip link add out type veth peer name away && "
    "ip link set out up && ip link set away up && "
    "ip address add 2001:db8:83::1/64 dev out nodad && ip address add 192.0.2.83/24 dev out && "
    "ip neigh add 2001:db8:83::2 lladdr 02:00:00:00:00:01 dev out"
)
_DEAD, _ALIVE = "2001:db8:83::2", "192.0.2.83"
_CALLS = 8


def world(directory: Path) -> tuple[str, ...]:
    """Return the prefix of a command that runs in that network (needs root)."""
    script = f'{_NETWORK} && exec "$@"'
    return ("unshare", "--net", "sh", "-c", script, "sh", *resolver.world(directory, NAME_SERVER))


async def _first_calls(service: Service) -> list[Response]:
    return await asyncio.gather(*(once(service.address, request("refresh")) for _ in range(_CALLS)))


def main(directory: Path, services: int) -> None:
    """Make the first calls of each service at the same time, over new connections."""
    with (
        closing(Resolver(NAME_SERVER)) as names,
        Simulator(directory, host=_ALIVE) as simulator,
    ):
        names.addresses = [_DEAD, _ALIVE]
        url = f"http://{names.name}:{simulator.port}/api/token"
        for _ in range(services):
            with Service(directory, url, ALLOW_INSECURE_UPSTREAM="true") as service:
                responses = run(_first_calls(service))
                print(json.dumps([(response.status, response.seconds) for response in responses]))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""Call the service through the Gateway: `edge.py metadata|limit|once`; run in a client pod."""

import os
import sys

import httpx

SERVICE = os.environ["SERVICE_URL"]
LIMIT = 5


def metadata() -> None:
    """Check that the metadata names the URLs that clients have."""
    document = httpx.get(f"{SERVICE}/.well-known/oauth-authorization-server").raise_for_status()
    endpoints = document.json()
    _expect(endpoints["issuer"] == SERVICE, endpoints)
    _expect(endpoints["token_endpoint"] == f"{SERVICE}/api/token", endpoints)


def limit() -> None:
    """Exhaust the limit; a forged address does not help."""
    statuses = [_status({"X-Forwarded-For": f"198.51.100.{n}"}) for n in range(LIMIT + 1)]
    _expect(statuses == [httpx.codes.OK] * LIMIT + [httpx.codes.TOO_MANY_REQUESTS], statuses)


def once() -> None:
    """Check that another client's requests count for themselves."""
    _expect((status := _status({})) == httpx.codes.OK, status)


def _status(headers: dict[str, str]) -> int:
    url = f"{SERVICE}/client-credentials-flow/retrieve-tokens"
    return httpx.post(url, data={"grant_type": "client_credentials"}, headers=headers).status_code


def _expect(holds: bool, found: object) -> None:  # noqa: FBT001
    if not holds:
        sys.exit(f"not so: {found}")


if __name__ == "__main__":
    {"metadata": metadata, "limit": limit, "once": once}[sys.argv[1]]()

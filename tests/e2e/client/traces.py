"""Read the service's traces back from Jaeger; run in the cluster's client pod.

`traces.py POD...` waits for a swap's trace, holds its spans against what they must say, and prints
all traces for a search of secrets.
"""

import os
import sys
import time
from typing import Any

import httpx

JAEGER = os.environ["JAEGER_URL"]
BASE_PATH = httpx.URL(os.environ["SERVICE_URL"]).path.rstrip("/")
SWAP = f"POST {BASE_PATH}/authorization-code-flow-pkce/retrieve-tokens"
WAIT_SECONDS = 30


def main(pods: list[str]) -> None:
    """Check the first trace of a swap."""
    trace, text = _trace_of_a_swap()
    spans = {_tags(span["tags"])["span.kind"]: span for span in trace["spans"]}
    server, client = spans["server"], spans["client"]
    _expect(server["references"] == [], "the server span is the first")
    parents = [(reference["refType"], reference["spanID"]) for reference in client["references"]]
    _expect(parents == [("CHILD_OF", server["spanID"])], "the client span is below it")
    _expect(_tags(client["tags"])["server.address"] == "simulator", "it is the call to Spotify")
    resource = trace["processes"][server["processID"]]
    tags = _tags(resource["tags"])
    _expect(resource["serviceName"] == "spotify-api-server", "service.name")
    _expect(tags["k8s.pod.name"] in pods, "k8s.pod.name is a pod of the release")
    _expect({"k8s.namespace.name", "k8s.node.name", "service.version"} <= tags.keys(), f"{tags}")
    sys.stdout.write(text)


def _trace_of_a_swap() -> tuple[dict[str, Any], str]:
    query = {"service": "spotify-api-server", "limit": "1000", "lookback": "1h"}
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        response = httpx.get(f"{JAEGER}/api/traces", params=query).raise_for_status()
        for trace in response.json()["data"]:
            if {SWAP, "POST /api/token"} <= {span["operationName"] for span in trace["spans"]}:
                return trace, response.text
        time.sleep(1)
    sys.exit(f"no trace of a swap came to Jaeger in {WAIT_SECONDS} s")


def _tags(tags: list[dict[str, Any]]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in tags}


def _expect(holds: bool, what: str) -> None:  # noqa: FBT001
    if not holds:
        sys.exit(f"not so: {what}")


if __name__ == "__main__":
    main(sys.argv[1:])

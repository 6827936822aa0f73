"""Search stdin for everything that was secret so far; run in the cluster's client pod.

`secrecy.py SECRET...` looks for these, for what Spotify's stand-in was sent (codes, verifiers,
opened tokens, Basic headers) and for what the client was answered (access and sealed tokens).
"""

import json
import sys
from pathlib import Path

import httpx

SIMULATOR = "http://simulator:7001"
TOKENS = Path("/tmp/tokens.json")  # noqa: S108 - the client pod's own volume
SENT = {"code", "code_verifier", "refresh_token", "client_secret"}
ANSWERED = {"access_token", "refresh_token"}


def main(secrets: set[str]) -> None:
    """Print how many secrets were found, but not the secrets."""
    for request in httpx.get(f"{SIMULATOR}/admin/requests").json():
        secrets |= {value for name, value in request["form"] if name in SENT}
        secrets |= {value for name, value in request["headers"] if name.lower() == "authorization"}
    for tokens in json.loads(TOKENS.read_text()).values():
        secrets |= {tokens[name] for name in ANSWERED}
    text = sys.stdin.read()
    count = sum(secret in text for secret in secrets)
    sys.stdout.write(f"{count} of {len(secrets)} secrets in {len(text)} characters\n")
    sys.exit(count or not text)


if __name__ == "__main__":
    main(set(sys.argv[1:]))

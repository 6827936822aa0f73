"""`helm test`: send the service the requests of apps and probes, over the cluster's network."""

import base64
import hashlib
import os
import secrets
import sys
from urllib.parse import parse_qs, urlsplit

import httpx

CODE = "/authorization-code-flow-pkce/retrieve-tokens"
REFRESH = "/authorization-code-flow-pkce/refresh-tokens"


def main() -> None:
    """Check the service and its access to Spotify; with a simulator, get and refresh tokens."""
    # The Service routes to a ready pod a moment after helm sees that it is ready.
    patient = httpx.HTTPTransport(retries=5)
    url, base_path = os.environ["SERVICE_URL"], os.environ["BASE_PATH"]
    service = httpx.Client(base_url=url + base_path, transport=patient, timeout=30, trust_env=False)
    for path in (f"{base_path}/", "/healthz", "/readyz"):
        expect(service.get(url + path).status_code == httpx.codes.OK, f"GET {path} is answered 200")
    refuse_a_tampered_token(service)
    if os.environ.get("UPSTREAM"):
        get_an_app_token(service)
    if simulator := os.environ.get("SIMULATOR_URL"):
        swap(service, simulator)


def refuse_a_tampered_token(service: httpx.Client) -> None:
    """Check that a token that cannot be decrypted gets the reason on which apps match."""
    response = service.post(REFRESH, data={"refresh_token": "tampered"})
    error = {"error": True, "reason": "could not decrypt refresh token"}
    refused = response.status_code == httpx.codes.BAD_REQUEST and response.json() == error
    expect(refused, "a tampered refresh token is refused")


def get_an_app_token(service: httpx.Client) -> None:
    """Check that Spotify can be reached and accepts the client id and the client secret."""
    form = {"grant_type": "client_credentials"}
    response = service.post("/client-credentials-flow/retrieve-tokens", data=form)
    good = response.status_code == httpx.codes.OK
    why = "" if good else f": {response.status_code} {response.text[:500]}"
    expect(good, f"the app gets an access token from Spotify{why}")


def swap(service: httpx.Client, simulator: str) -> None:
    """Log in at the simulator as a user would, and swap and refresh with PKCE."""
    verifier = secrets.token_urlsafe(48)
    redirect_uri = os.environ["REDIRECT_URI"]
    query = {
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "code_challenge_method": "S256",
        "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        .decode()
        .rstrip("="),
    }
    # The service adds the client ID.
    login = urlsplit(service.get("/authorize", params=query).headers.get("Location", ""))
    with httpx.Client(base_url=simulator, timeout=30, trust_env=False) as user:
        sent_back = user.post(f"/authorize?{login.query}", data={"decision": "allow"})
    code = parse_qs(urlsplit(sent_back.headers.get("Location", "")).query).get("code", [""])[0]
    expect(bool(code), "the simulator gives a code")
    form = {"code": code, "code_verifier": verifier, "redirect_uri": redirect_uri}
    tokens = service.post(CODE, data=form)
    expect(tokens.status_code == httpx.codes.OK, "the code is swapped for tokens")
    token = tokens.json()["refresh_token"]
    refreshed = service.post(REFRESH, data={"refresh_token": token})
    expect(refreshed.status_code == httpx.codes.OK, "the sealed refresh token is good")
    expect(bool(refreshed.json().get("refresh_token")), "a refresh returns the next refresh token")


def expect(truth: bool, sentence: str) -> None:  # noqa: FBT001 - read aloud, it is a sentence
    """Print the sentence if it is true; otherwise end the test."""
    sys.stdout.write(f"{'ok' if truth else 'NOT OK'}: {sentence}\n")
    if not truth:
        sys.exit(1)


if __name__ == "__main__":
    main()

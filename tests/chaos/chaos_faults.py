"""Every fault of the simulator, in every flow.

The list of faults is the simulator's own: one without an expectation here fails.
"""

import json
import time
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest

from simulator import pkce
from simulator.faults import Fault
from tests.chaos.conftest import Figure
from tests.chaos.flows import FLOWS, REDIRECT_URI, VERIFIER, Flow
from tests.chaos.processes import Service, Simulator
from tests.evidence import Evidence
from tests.running import CLIENT_SECRET, SECRET_KEY

UPSTREAM_TIMEOUT = 1.0
SLACK = 1.5
"""Seconds that a machine under load may add."""

OURS = b'{"error":true,"reason":"'


class Expected(NamedTuple):
    """The status and first bytes of the response; `fault` are fields that make the test quick."""

    status: int
    begins: bytes
    fault: dict[str, object] = {}  # noqa: RUF012 - never changed


TOKENS = b'{"access_token":"'
PROXY_ERROR = b"upstream connect error"

EXPECTED: dict[str, list[Expected]] = {
    "status": [
        *(Expected(status, PROXY_ERROR, {"status": status}) for status in (400, 401, 403, 429)),
        *(Expected(status, PROXY_ERROR, {"status": status}) for status in (500, 502, 503, 504)),
        *(Expected(502, OURS, {"status": status}) for status in (200, 204, 301, 304)),
    ],
    # But for rate_limited, which is ratelimit with seconds to wait.
    "spotify": [
        Expected(400, b'{"error":"invalid_grant"'),
        Expected(400, b'{"error":"invalid_client"', {"error": "invalid_client"}),
        Expected(500, b'{"error":"server_error"', {"error": "server_error"}),
        Expected(503, PROXY_ERROR, {"error": "unavailable"}),
    ],
    "delay": [Expected(200, TOKENS, {"seconds": 0.2}), Expected(504, OURS, {"seconds": 3})],
    "reset": [Expected(502, OURS)],
    "close": [Expected(502, OURS)],
    "silence": [Expected(504, OURS)],
    "truncated": [Expected(502, OURS)],
    "garbage": [Expected(502, OURS)],
    "notobject": [Expected(502, OURS)],
    "gzip": [Expected(200, TOKENS)],
    "bomb": [Expected(502, OURS)],
    "html": [Expected(503, b"<!doctype html>")],
    "huge": [Expected(502, OURS)],
    # Retry-After: 0, so that the back-off does not refuse the next flow.
    "ratelimit": [Expected(429, b'{"error":{"status":429', {"retry_after": 0})],
    "redirect": [Expected(502, OURS)],
    "slow": [Expected(504, OURS), Expected(200, TOKENS, {"interval": 0.0001})],
    "badheader": [Expected(502, OURS)],
    "answer": [
        Expected(502, OURS),
        Expected(502, OURS, {"body": '{"refresh_token":["AQ-in-a-list-unsealed"]}'}),
        Expected(
            400, b'{"error":"invalid_grant"', {"status": 400, "body": '{"error":"invalid_grant"}'}
        ),
    ],
}

KINDS = [str(kind.__struct_config__.tag) for kind in Fault.__subclasses__()]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    secrets = Evidence()
    secrets.add(CLIENT_SECRET, "client secret")
    secrets.add(SECRET_KEY, "secret key")
    secrets.add(VERIFIER, "verifier")
    return secrets


@pytest.fixture(scope="module")
def service(
    simulator_process: Simulator, tmp_path_factory: pytest.TempPathFactory, evidence: Evidence
) -> Iterator[Service]:
    """Return one service for all faults, whose log is searched at the end."""
    with Service(
        tmp_path_factory.mktemp("service"),
        simulator_process.token_url,
        UPSTREAM_TIMEOUT=str(UPSTREAM_TIMEOUT),
        LOG_LEVEL="trace",
    ) as started:
        yield started
        evidence.seen += [("log", started.output()), ("stderr", started.errors())]
        assert evidence.leaks() == set()
        started.assert_no_defect()


def test_every_fault_has_an_expectation() -> None:
    """The table has exactly the faults of the simulator."""
    assert set(EXPECTED) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_fault_is_handled_in_every_flow(
    kind: str, service: Service, simulator: Simulator, evidence: Evidence, figure: Figure
) -> None:
    """Status and body are as expected, in time, and the next call is a 200."""
    before = service.footprint()
    seconds = [
        _check_fault(service, simulator, evidence, flow, {"kind": kind, **expected.fault}, expected)
        for flow in FLOWS.values()
        for expected in EXPECTED[kind]
    ]
    service.assert_settled(before, spare_files=4)
    statuses = ", ".join(str(expected.status) for expected in EXPECTED[kind])
    figure(f"{len(seconds)} calls: {statuses}; slowest {max(seconds):.2f} s")


def _check_fault(
    service: Service,
    simulator: Simulator,
    evidence: Evidence,
    flow: Flow,
    fault: dict[str, object],
    expected: Expected,
) -> float:
    """Check a call with a fault and one without; return the seconds of the first."""
    simulator.queue_faults(fault)
    start = time.monotonic()
    response = _call(service, simulator, evidence, flow)
    seconds = time.monotonic() - start
    assert (response.status_code, response.content[: len(expected.begins)]) == expected[:2]
    assert seconds < UPSTREAM_TIMEOUT + SLACK
    assert response.headers["cache-control"] == "no-store"
    if response.status_code == 429:
        assert response.headers.get("retry-after") == (
            "0" if fault["kind"] == "ratelimit" else None
        )
    assert _call(service, simulator, evidence, flow).status_code == 200
    assert service.status("/readyz") == service.status("/healthz") == 200
    assert not [entry for entry in simulator.requests() if entry["path"] == "/trap"]
    return seconds


def _call(service: Service, simulator: Simulator, evidence: Evidence, flow: Flow) -> httpx.Response:
    """Call with a single-use credential; add its secrets to the evidence."""
    form = flow.form(evidence.add(_credential(simulator, flow), "code or token"))
    for name in ("refresh_token", "code"):
        if name in form:
            evidence.add(form[name], f"{name} of the client's")
    response = service.client.post(flow.path, data=form)
    if response.status_code == 200:
        for name in {"access_token", "refresh_token"} & set(tokens := json.loads(response.content)):
            evidence.add(tokens[name], f"{name} of the response")
    elif response.content.startswith(OURS):
        evidence.seen.append(("own error", response.text))
    return response


def _credential(simulator: Simulator, flow: Flow) -> str:
    is_pkce = "pkce" in flow.path
    if "retrieve" in flow.path:
        order: dict[str, object] = {"redirect_uri": REDIRECT_URI}
        order |= {"code_challenge": pkce.challenge_of(VERIFIER)} if is_pkce else {}
        minted = simulator.client.post("/admin/codes", json=order)
    else:
        minted = simulator.client.post("/admin/refresh-tokens", json={"pkce": is_pkce})
    credential: str = next(iter(minted.raise_for_status().json().values()))
    return credential

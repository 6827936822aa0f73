"""/metrics, on its own port."""

import socket
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from service import __version__
from service.errors import Outcome
from service.grants import Flow
from service.sealing import Sealer, fingerprint
from tests.conftest import LogLines, Start
from tests.fakes import HeldSpotify
from tests.flows import (
    CODE,
    CREDENTIALS,
    PKCE_CODE,
    PKCE_REFRESH,
    REFRESH,
    queue_faults,
    valid_form,
    well_formed,
)
from tests.running import SECRET_KEY, free_port, wait_until
from tests.scraping import Service, measured
from tests.volley import volley

PATHS = {
    "client_credentials": CREDENTIALS,
    "authorization_code": CODE,
    "refresh": REFRESH,
    "pkce_authorization_code": PKCE_CODE,
    "pkce_refresh": PKCE_REFRESH,
}


@pytest.fixture
def service(start: Start) -> Service:
    return measured(start)


def test_success_is_counted_and_timed_by_flow(service: Service, simulator: httpx.Client) -> None:
    for flow in Flow:
        form = valid_form(simulator, PATHS[flow])
        service.client.post(PATHS[flow], data=form).raise_for_status()
    assert service.requests() == {f"{flow} success": 1 for flow in Flow}
    samples = service.scrape()
    duration = "spotify_api_server_upstream_duration_seconds"
    for flow in Flow:
        assert samples[f'{duration}_count{{flow="{flow}"}}'] == 1
        assert samples[f'{duration}_sum{{flow="{flow}"}}'] > 0


def test_refusal_of_spotify_is_counted_by_its_code(
    service: Service, simulator: httpx.Client
) -> None:
    body = '{"error":"invalid_grant","error_description":"secret-description"}'
    queue_faults(simulator, *[{"kind": "answer", "status": 400, "body": body}] * len(Flow))
    for flow in Flow:
        service.client.post(PATHS[flow], data=well_formed(PATHS[flow]))
    assert service.requests() == {f"{flow} refused": 1 for flow in Flow}
    samples = service.scrape()
    for flow in Flow:
        labels = f'error="invalid_grant",flow="{flow}"'
        assert samples[f"spotify_api_server_spotify_errors_total{{{labels}}}"] == 1


def test_code_that_rfc_6749_does_not_know_is_counted_as_other(
    service: Service, simulator: httpx.Client
) -> None:
    queue_faults(
        simulator, {"kind": "answer", "status": 400, "body": '{"error":"code-of-the-client"}'}
    )
    service.client.post(CREDENTIALS, data=well_formed(CREDENTIALS))
    text = httpx.get(f"{service.url}/metrics", trust_env=False).text
    assert 'error="other"' in text
    assert "code-of-the-client" not in text


def test_local_rejection_is_counted_without_a_call_to_spotify(service: Service) -> None:
    service.client.post(REFRESH, data={"refresh_token": "tampered"})
    service.client.post(CODE, content=b"code=x")
    assert service.requests() == {"refresh rejected": 1, "authorization_code rejected": 1}
    counts = [value for name, value in service.scrape().items() if "duration_seconds_count" in name]
    assert counts == [0] * len(Flow)


def test_failures_of_spotify_are_upstream_errors(service: Service, simulator: httpx.Client) -> None:
    queue_faults(simulator, {"kind": "status", "status": 503}, {"kind": "reset"})
    for _ in range(2):
        service.client.post(PKCE_REFRESH, data=well_formed(PKCE_REFRESH))
    assert service.requests() == {"pkce_refresh upstream_error": 2}


def test_token_is_counted_by_the_key_that_opened_it(start: Start, simulator: httpx.Client) -> None:
    port = free_port()
    previous = "previous-key-0123456789", "older-key-0123456789"
    client = start(METRICS_PORT=str(port), SECRET_KEYS_PREVIOUS="\n".join(previous))
    for key in (SECRET_KEY, SECRET_KEY, previous[0]):
        token = simulator.post("/admin/refresh-tokens", json={"pkce": True}).json()["refresh_token"]
        form = {"refresh_token": Sealer(key).seal(token)}
        client.post(PKCE_REFRESH, data=form).raise_for_status()
    client.post(REFRESH, data={"refresh_token": Sealer("foreign").seal("token")})
    samples = Service(client, f"http://127.0.0.1:{port}").scrape()
    assert {
        name.partition("{")[2]: value for name, value in samples.items() if "tokens_opened" in name
    } == {
        f'fingerprint="{fingerprint(SECRET_KEY)}",key="current"}}': 2,
        f'fingerprint="{fingerprint(previous[0])}",key="previous"}}': 1,
        f'fingerprint="{fingerprint(previous[1])}",key="previous"}}': 0,
    }


def test_paths_and_probes_are_not_counted(service: Service) -> None:
    for path in ("/", "/healthz", "/readyz", "/nowhere"):
        service.client.get(path)
    assert service.requests() == {}


def test_every_series_of_a_flow_is_there_from_the_start(service: Service) -> None:
    samples = service.scrape()
    for flow in Flow:
        for outcome in Outcome:
            name = f'spotify_api_server_requests_total{{flow="{flow}",outcome="{outcome}"}}'
            assert samples[name] == 0


def test_gauges_show_version_and_load(service: Service) -> None:
    samples = service.scrape()
    assert samples[f'spotify_api_server_build_info{{version="{__version__}"}}'] == 1
    assert samples["spotify_api_server_requests_in_flight"] == 0
    assert samples["spotify_api_server_upstream_in_flight"] == 0
    assert samples["process_resident_memory_bytes"] > 1e7


def test_only_metrics_are_on_the_metrics_port_and_none_on_the_other(service: Service) -> None:
    assert service.client.get("/metrics").status_code == 404
    for path in ("/", "/healthz", CREDENTIALS):
        assert httpx.get(service.url + path, trust_env=False).status_code == 404


@pytest.mark.parametrize(("target", "status"), [(b"/metrics", 200), (b"/metrics?a=\xff", 400)])
def test_bytes_outside_ascii_do_not_break_a_scrape(
    service: Service, target: bytes, status: int
) -> None:
    where = httpx.URL(service.url)
    with socket.create_connection((where.host, where.port or 80), timeout=20) as raw:
        fields = b"Host: x\r\nAccept: \xff\r\nConnection: close\r\n"
        raw.sendall(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, fields))
        assert raw.recv(65536).startswith(b"HTTP/1.1 %d " % status)


def test_metrics_port_that_is_taken_is_logged_and_tokens_are_served(
    start: Start, service: Service, log_lines: LogLines
) -> None:
    second = start(METRICS_PORT=service.url.rpartition(":")[2])
    assert second.get("/readyz").status_code == 200
    [line] = log_lines.of("metrics.failed")
    assert (line["level"], line["problem"]) == ("error", "Address already in use")


def listening() -> set[str]:
    """Return the TCP sockets on which this process listens (Linux)."""
    links = set()
    for file in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.add(str(file.readlink()))
    tables = Path("/proc/net").glob("tcp*")
    rows = [row.split() for table in tables for row in table.read_text().splitlines()]
    return links & {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"}


def test_zero_turns_metrics_off(start: Start, log_lines: LogLines) -> None:
    before = listening()
    start(METRICS_PORT="0")
    assert log_lines.of("server.started")  # after all ports
    assert len(listening() - before) == 1


def test_shared_refusal_is_counted_for_each_request_and_its_code_once(start: Start) -> None:
    with HeldSpotify(400, b'{"error":"invalid_grant"}') as spotify:
        service = measured(start, SPOTIFY_TOKEN_URL=spotify.url)

        def release() -> None:
            gauge = "spotify_api_server_requests_in_flight"
            wait_until(lambda: service.scrape()[gauge] == 4)
            spotify.release.set()

        volley(service.client, REFRESH, [well_formed(REFRESH)] * 4, release)
    assert service.requests() == {"refresh refused": 4}
    samples = service.scrape()
    errors = 'spotify_api_server_spotify_errors_total{error="invalid_grant",flow="refresh"}'
    assert samples[errors] == 1
    assert samples['spotify_api_server_avoided_calls_total{flow="refresh",reason="shared"}'] == 3
    assert samples['spotify_api_server_upstream_duration_seconds_count{flow="refresh"}'] == 1

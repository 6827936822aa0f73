"""What /metrics tells, on a port of its own."""

import re
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from service import __version__, app_token
from service.errors import Outcome
from service.grants import Flow
from service.sealing import Sealer, fingerprint
from tests.conftest import LogLines, Start
from tests.running import SECRET_KEY, free_port
from tests.test_routes import (
    CODE,
    CREDENTIALS,
    PKCE_CODE,
    PKCE_REFRESH,
    REFRESH,
    good_form,
    order,
    well_formed,
)
from tests.volley import volley

PATHS = {
    "client_credentials": CREDENTIALS,
    "authorization_code": CODE,
    "refresh": REFRESH,
    "pkce_authorization_code": PKCE_CODE,
    "pkce_refresh": PKCE_REFRESH,
}


class Service(NamedTuple):
    """A running service and where its metrics are."""

    client: httpx.Client
    url: str

    def scrape(self) -> dict[str, float]:
        answer = httpx.get(f"{self.url}/metrics", trust_env=False).raise_for_status()
        lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    def requests(self) -> dict[str, float]:
        """Return the counts of requests that aren't zero, by `flow outcome`."""
        found = {}
        for name, value in self.scrape().items():
            labels = re.fullmatch(
                r'spotify_api_server_requests_total\{flow="(.*)",outcome="(.*)"\}', name
            )
            if labels and value:
                found[" ".join(labels.groups())] = value
        return found


def measured(start: Start, **changes: str) -> Service:
    """Start a service that can be scraped."""
    port = free_port()
    return Service(start(METRICS_PORT=str(port), **changes), f"http://127.0.0.1:{port}")


@pytest.fixture
def service(start: Start) -> Service:
    return measured(start, UPSTREAM_TIMEOUT="0.3", UPSTREAM_MAX_IN_FLIGHT="1")


@pytest.mark.parametrize("flow", Flow)
def test_a_success_is_counted_by_flow_and_spotifys_time_observed(
    service: Service, simulator: httpx.Client, flow: str
) -> None:
    service.client.post(PATHS[flow], data=good_form(simulator, PATHS[flow])).raise_for_status()
    assert service.requests() == {f"{flow} success": 1}
    samples = service.scrape()
    duration = "spotify_api_server_upstream_duration_seconds"
    assert samples[f'{duration}_count{{flow="{flow}"}}'] == 1
    assert 0 < samples[f'{duration}_sum{{flow="{flow}"}}'] < 5


@pytest.mark.parametrize("flow", Flow)
def test_a_refusal_of_spotifys_is_counted_by_its_code(
    service: Service, simulator: httpx.Client, flow: str
) -> None:
    body = {"error": "invalid_grant", "error_description": "secret-description"}
    order(simulator, {"kind": "answer", "status": 400, "body": httpx.Response(200, json=body).text})
    service.client.post(PATHS[flow], data=well_formed(PATHS[flow]))
    assert service.requests() == {f"{flow} refused": 1}
    errors = f'spotify_api_server_spotify_errors_total{{error="invalid_grant",flow="{flow}"}}'
    assert service.scrape()[errors] == 1


def test_a_code_that_rfc_6749_does_not_know_is_counted_as_other(
    service: Service, simulator: httpx.Client
) -> None:
    order(simulator, {"kind": "answer", "status": 400, "body": '{"error":"code-of-the-client"}'})
    service.client.post(CREDENTIALS, data=well_formed(CREDENTIALS))
    text = httpx.get(f"{service.url}/metrics", trust_env=False).text
    assert 'error="other"' in text
    assert "code-of-the-client" not in text


def test_what_we_reject_is_counted_without_a_call_to_spotify(service: Service) -> None:
    service.client.post(REFRESH, data={"refresh_token": "tampered"})
    service.client.post(CODE, content=b"code=x")
    assert service.requests() == {"refresh rejected": 1, "authorization_code rejected": 1}
    counts = [value for name, value in service.scrape().items() if "duration_seconds_count" in name]
    assert counts == [0] * len(Flow)


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 503}, {"kind": "reset"}, {"kind": "silence"}],
    ids=["503", "reset", "silence"],
)
def test_spotifys_failures_are_counted_as_upstream_errors(
    service: Service, simulator: httpx.Client, fault: dict[str, object]
) -> None:
    order(simulator, fault)
    service.client.post(CREDENTIALS, data=well_formed(CREDENTIALS))
    assert service.requests() == {"client_credentials upstream_error": 1}


def test_a_token_is_counted_by_the_key_that_opened_it(
    start: Start, simulator: httpx.Client
) -> None:
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


def test_gauges_tell_version_and_what_is_under_way(service: Service) -> None:
    samples = service.scrape()
    assert samples[f'spotify_api_server_build_info{{version="{__version__}"}}'] == 1
    assert samples["spotify_api_server_requests_in_flight"] == 0
    assert samples["spotify_api_server_upstream_in_flight"] == 0
    assert samples["process_resident_memory_bytes"] > 1e7


def test_only_metrics_are_on_the_metrics_port_and_none_on_the_other(service: Service) -> None:
    assert service.client.get("/metrics").status_code == 404
    for path in ("/", "/healthz", CREDENTIALS):
        assert httpx.get(service.url + path, trust_env=False).status_code == 404


def test_a_metrics_port_that_is_taken_is_logged_and_tokens_are_served(
    start: Start, service: Service, log_lines: LogLines
) -> None:
    second = start(METRICS_PORT=service.url.rpartition(":")[2])
    assert second.get("/readyz").status_code == 200
    [line] = log_lines.of("metrics.failed")
    assert (line["level"], line["problem"]) == ("error", "Address already in use")


def test_zero_turns_metrics_off(start: Start, log_lines: LogLines) -> None:
    assert start(METRICS_PORT="0").get("/readyz").status_code == 200
    assert "metrics.failed" not in log_lines.text


def test_the_names_are_those_that_operations_knows(start: Start) -> None:
    """With everything on that has metrics of its own."""
    port = free_port()
    start(METRICS_PORT=str(port), RATE_LIMIT="1/day", RATE_LIMIT_STORAGE="redis://127.0.0.1")
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    own = set(re.findall(r"^# TYPE (spotify_api_server_\w+)", text, re.MULTILINE))
    told = set(re.findall(r"`(spotify_api_server_\w+)", Path("docs/operations.md").read_text()))
    assert own == told


def test_a_refusal_that_several_share_is_counted_for_each_and_its_code_once(
    start: Start, simulator: httpx.Client
) -> None:
    service = measured(start)
    order(simulator, {"kind": "delay", "seconds": 0.5})
    volley(service.client, REFRESH, [well_formed(REFRESH)] * 4)
    assert service.requests() == {"refresh refused": 4}
    samples = service.scrape()
    errors = 'spotify_api_server_spotify_errors_total{error="invalid_grant",flow="refresh"}'
    assert samples[errors] == 1
    assert samples['spotify_api_server_spared_calls_total{flow="refresh",reason="shared"}'] == 3
    assert samples['spotify_api_server_upstream_duration_seconds_count{flow="refresh"}'] == 1


def test_what_spotify_answers_to_a_renewal_is_counted(
    start: Start, simulator: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal is nobody's request; its error would stay unseen until the token ends."""
    monkeypatch.setattr(app_token, "LEAST_SECONDS", 1)
    service = measured(start)
    lasting = '{"access_token": "a", "token_type": "Bearer", "expires_in": 4}'
    order(simulator, {"kind": "answer", "status": 200, "body": lasting})
    form = {"grant_type": "client_credentials"}
    service.client.post(CREDENTIALS, data=form).raise_for_status()
    order(simulator, {"kind": "answer", "status": 400, "body": '{"error": "invalid_client"}'})
    time.sleep(2.1)  # half of its life: renewed from now on
    assert service.client.post(CREDENTIALS, data=form).json()["access_token"] == "a"
    counted = (
        'spotify_api_server_spotify_errors_total{error="invalid_client",flow="client_credentials"}'
    )
    for _ in range(100):
        if service.scrape().get(counted):
            break
        time.sleep(0.02)
    assert service.scrape()[counted] == 1
    assert service.requests() == {"client_credentials success": 2}

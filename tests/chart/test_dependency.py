"""The chart as a dependency of another chart: off and on, under an alias, with global values."""

import re
import shutil
from pathlib import Path

import pytest

from tests.chart.rendering import (
    CHART,
    HELMS,
    Manifest,
    Values,
    of_kind,
    only,
    parse,
    pod_of,
    run,
    server,
)

PARENT = """
apiVersion: v2
name: umbrella
version: 1.0.0
dependencies:
  - name: spotify-api-server
    version: 1.0.0
    alias: swap
    condition: swap.enabled
  - name: spotify-api-server
    version: 1.0.0
    alias: otherSwap
    condition: otherSwap.enabled
"""
OTHER = {"otherSwap": {"enabled": False}}
SWAP = {"enabled": True, "x-team": "apps", "spotify": {"existingSecret": "app"}}


@pytest.fixture(scope="module")
def umbrella(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("umbrella")
    (directory / "Chart.yaml").write_text(PARENT)
    shutil.copytree(CHART, directory / "charts/spotify-api-server")
    return directory


def render(umbrella: Path, major: int, values: Values) -> list[Manifest]:
    return parse(run(major, "template", "apps", str(umbrella), values=values))


@pytest.mark.parametrize("major", HELMS)
def test_dependency_can_be_disabled(umbrella: Path, major: int) -> None:
    assert render(umbrella, major, OTHER | {"swap": {"enabled": False}}) == []


@pytest.mark.parametrize("major", HELMS)
def test_a_dependency_is_named_by_its_alias_and_uses_global_values(
    umbrella: Path, major: int
) -> None:
    secrets = ["first", {"name": "second"}]
    shared = {"imageRegistry": "registry.example.com", "imagePullSecrets": secrets, "other": 1}
    manifests = render(umbrella, major, OTHER | {"global": shared, "swap": SWAP})
    for kind in ("Deployment", "Pod"):
        pod = pod_of(only(manifests, kind))
        assert pod["imagePullSecrets"] == [{"name": "first"}, {"name": "second"}]
        image = pod["containers"][0]["image"]
        assert image == "registry.example.com/spotify-api-server:1.0.0"
    assert server(manifests, name="swap")["name"] == "swap"
    assert only(manifests, "Service")["metadata"]["name"] == "apps-swap"


def test_two_dependencies_in_a_release_do_not_share_pods_or_alerts(umbrella: Path) -> None:
    metrics = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
    swap = {**SWAP, "image": {"registry": "registry.example.com"}, "metrics": metrics}
    other = {**swap, "fullnameOverride": "other", "service": {"type": "LoadBalancer"}}
    manifests = render(umbrella, 4, {"swap": swap, "otherSwap": other})
    deployments = of_kind(manifests, "Deployment")
    assert {pod_of(one)["containers"][0]["name"] for one in deployments} == {"swap", "otherswap"}
    selectors = [one["spec"]["selector"]["matchLabels"] for one in deployments]
    assert selectors[0] != selectors[1]
    # The Prometheus Operator names a job after the Service of the metrics.
    alerts = [str(one["spec"]["groups"]) for one in of_kind(manifests, "PrometheusRule")]
    jobs = [set(re.findall('job="([^"]*)"', text)) for text in alerts]
    assert sorted(jobs, key=str) == [{"apps-swap"}, {"other-metrics"}]
    services = {one["metadata"]["name"] for one in of_kind(manifests, "Service")}
    assert {"apps-swap", "other-metrics"} <= services

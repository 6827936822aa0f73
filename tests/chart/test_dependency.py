"""The chart as a dependency of another chart: off and on, under an alias, with global values."""

import shutil
from pathlib import Path

import pytest

from tests.chart.rendering import CHART, HELMS, Manifest, Values, only, parse, pod_of, run, server

PARENT = """
apiVersion: v2
name: umbrella
version: 1.0.0
dependencies:
  - name: spotify-api-server
    version: 1.0.0
    alias: swap
    condition: swap.enabled
"""
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
    assert render(umbrella, major, {"swap": {"enabled": False}}) == []


@pytest.mark.parametrize("major", HELMS)
def test_a_dependency_is_named_by_its_alias_and_uses_global_values(
    umbrella: Path, major: int
) -> None:
    secrets = ["first", {"name": "second"}]
    shared = {"imageRegistry": "registry.example.com", "imagePullSecrets": secrets, "other": 1}
    manifests = render(umbrella, major, {"global": shared, "swap": SWAP})
    for kind in ("Deployment", "Pod"):
        pod = pod_of(only(manifests, kind))
        assert pod["imagePullSecrets"] == [{"name": "first"}, {"name": "second"}]
        image = pod["containers"][0]["image"]
        assert image == "registry.example.com/spotify-api-server:1.0.0"
    assert server(manifests, name="swap")["name"] == "swap"
    assert only(manifests, "Service")["metadata"]["name"] == "apps-swap"

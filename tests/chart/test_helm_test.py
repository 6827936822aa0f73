"""The objects of `helm test`; `make e2e` runs the checks of its pod."""

from typing import Any

import pytest

from tests.chart.rendering import Manifest, is_hook, only, render

SIMULATOR = {"tests": {"simulatorUrl": "http://simulator:7001"}}


def environment(values: dict[str, Any]) -> dict[str, str]:
    [container] = only(render("minimal", values), "Pod")["spec"]["containers"]
    assert "valueFrom" not in str(container["env"]), "the pod needs no Secret"
    return {entry["name"]: entry["value"] for entry in container["env"]}


def policy_of_the_test() -> Manifest:
    [policy] = [
        manifest
        for manifest in render("minimal", SIMULATOR)
        if manifest["kind"] == "NetworkPolicy" and is_hook(manifest)
    ]
    return policy


def test_a_token_is_requested_unless_the_values_say_otherwise() -> None:
    assert environment({})["UPSTREAM"] == "true"
    assert "UPSTREAM" not in environment({"tests": {"upstream": False}})
    assert "UPSTREAM" not in environment({"config": {"clientCredentialsEnabled": False}})


def test_simulator_is_used_if_it_is_enabled() -> None:
    assert environment(SIMULATOR)["SIMULATOR_URL"] == "http://simulator:7001"
    assert "SIMULATOR_URL" not in environment({})


@pytest.mark.parametrize("values", [{}, SIMULATOR])
def test_helm_tests_can_be_disabled(values: dict[str, Any]) -> None:
    tests = values.get("tests", {}) | {"enabled": False}
    assert not [found for found in render("minimal", {"tests": tests}) if is_hook(found)]


def test_network_policy_allows_the_servers_and_the_simulator() -> None:
    manifests = render("minimal", SIMULATOR)
    policy = policy_of_the_test()["spec"]
    pod = only(manifests, "Pod")["metadata"]["labels"]
    server = only(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= pod.items()
    assert not policy["podSelector"]["matchLabels"].items() <= server.items()
    [dns, service, simulator] = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    [peer] = service["to"]
    assert peer["podSelector"]["matchLabels"].items() <= server.items()
    assert simulator == {"ports": [{"port": 7001}]}


def test_no_network_policy_when_policies_are_disabled() -> None:
    manifests = render("minimal", {"networkPolicy": {"enabled": False}})
    assert "NetworkPolicy" not in {manifest["kind"] for manifest in manifests}


def test_its_objects_have_labels_and_annotations_of_the_values() -> None:
    tests = {
        "labels": {"team": "apps", "app.kubernetes.io/component": "server"},
        "annotations": {"sidecar.istio.io/inject": "false", "helm.sh/hook": "post-install"},
    }
    hooks = [found for found in render("minimal", {"tests": tests}) if is_hook(found)]
    assert {found["kind"] for found in hooks} == {"NetworkPolicy", "Pod"}
    for metadata in (found["metadata"] for found in hooks):
        assert metadata["labels"]["team"] == "apps"
        assert metadata["labels"]["app.kubernetes.io/component"] == "test"
        assert metadata["annotations"]["sidecar.istio.io/inject"] == "false"
        assert metadata["annotations"]["helm.sh/hook"] == "test"

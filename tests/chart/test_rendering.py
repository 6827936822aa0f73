"""Every example renders with both versions of helm into valid manifests."""

import json
import os
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tests.chart.rendering import (
    CHART,
    CI,
    HELMS,
    Manifest,
    RefusedError,
    example_file,
    pods,
    render,
    run,
    template,
)
from tests.chart.restricted import violations

KUBERNETES = ("1.27", "1.37")
"""The oldest version that the chart supports, and the newest with schemas."""
TOOLS = Path(".venv-chart/bin")
NODE = Path("tests")
CUSTOM = {
    "ExternalSecret": "external-secrets/external-secrets.io/v1",
    "HTTPRoute": "gateway-api/gateway.networking.k8s.io/v1",
    "PrometheusRule": "prometheus-operator/monitoring.coreos.com/v1",
    "ServiceMonitor": "prometheus-operator/monitoring.coreos.com/v1",
}
"""Where in @kubernetes-models the schema of a custom resource is."""

SKIPPED = {
    ("CKV_K8S_43", "Deployment"): "a release's tag is never moved; image.digest is there for more",
    ("CKV_K8S_43", "Pod"): "likewise",
    ("CKV_K8S_15", "Deployment"): "with tags that don't move, Always costs a start its registry",
    ("CKV_K8S_15", "Pod"): "likewise",
    ("CKV_K8S_35", "Deployment"): "files are an option: spotify.mountAsFiles, spotify.files",
    ("CKV_K8S_8", "Pod"): "the pod of helm test ends by itself within seconds",
    ("CKV_K8S_9", "Pod"): "likewise",
}
"""Checks of checkov that are not followed, by kind of resource, with the reason."""


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a file of manifests for each example."""
    directory = tmp_path_factory.mktemp("rendered")
    for example in CI:
        (directory / f"{example}.yaml").write_text(template(example))
    return directory


@pytest.mark.parametrize("major", HELMS)
@pytest.mark.parametrize("example", CI)
def test_helm_lint_passes(example: str, major: int) -> None:
    assert "0 chart(s) failed" in run(
        major, "lint", "--strict", str(CHART), "--values", str(example_file(example))
    )


@pytest.mark.parametrize("example", CI)
def test_both_helms_render_the_same(example: str) -> None:
    def by_kind(major: int) -> list[Manifest]:
        return sorted(
            render(example, major=major), key=lambda one: (one["kind"], one["metadata"]["name"])
        )

    assert by_kind(4) == by_kind(3)


def validated(file: Path, version: str) -> str:
    """Return the output of kubernetes-validate for a file of manifests, in strict mode."""
    command = [str(TOOLS / "kubernetes-validate"), "-k", version, "--strict", str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("example", CI)
def test_kubernetes_knows_every_field(rendered: Path, example: str, version: str) -> None:
    output = validated(rendered / f"{example}.yaml", version)
    passed = re.findall(
        rf"passed for resource (\w+)/.* against version {version}$", output, re.MULTILINE
    )
    kinds = [manifest["kind"] for manifest in render(example)]
    assert sorted(passed) == sorted(kind.lower() for kind in kinds if kind not in CUSTOM), output


def test_an_unknown_field_is_found(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(template("minimal").replace("enableServiceLinks", "enableServiceLink"))
    assert "'enableServiceLink' was unexpected" in validated(file, KUBERNETES[-1])


def custom_resources() -> list[Manifest]:
    objects = [one for example in CI for one in render(example) if one["kind"] in CUSTOM]
    assert {one["kind"] for one in objects} == CUSTOM.keys()
    return objects


def faults(manifests: list[Manifest]) -> str:
    """Return the errors of custom resources: unknown fields, or violations of the schema."""
    lines = [
        f'import {{ {kind} }} from "@kubernetes-models/{place}";' for kind, place in CUSTOM.items()
    ]
    for number, one in enumerate(manifests):
        kind = one["kind"]
        lines += [
            f'/** @type {{import("@kubernetes-models/{CUSTOM[kind]}").I{kind}}} */',
            f"const resource{number} = {json.dumps(one)};",
            f"new {kind}(resource{number}).validate();",
        ]
    file = NODE / "node_modules" / f"rendered-{os.getpid()}.mjs"
    file.write_text("\n".join(lines))
    compiler = "node_modules/.bin/tsc --noEmit --checkJs --strict --skipLibCheck --module nodenext"
    for command in (compiler.split(), ["node"]):
        ran = subprocess.run(
            [*command, file.relative_to(NODE)],
            cwd=NODE,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            return ran.stdout + ran.stderr
    return ""


def test_operators_know_every_field_of_their_resources() -> None:
    assert faults(custom_resources()) == ""


@pytest.mark.parametrize(
    ("good", "bad", "fault"),
    [
        ('"scrapeTimeout"', '"scrapeTimeOut"', "scrapeTimeOut\"' does not exist"),
        ('"PathPrefix"', '"Prefix"', '"Prefix"'),
        ('"for": "2m"', '"for": "2 minutes"', "for must match pattern"),
        ('"refreshInterval"', '"refreshEvery"', "refreshEvery\"' does not exist"),
    ],
)
def test_a_fault_in_a_custom_resource_is_found(good: str, bad: str, fault: str) -> None:
    text = json.dumps(custom_resources())
    assert good in text
    assert fault in faults(json.loads(text.replace(good, bad)))


@pytest.mark.parametrize("example", CI)
def test_every_pod_is_restricted(example: str) -> None:
    objects = pods(render(example))
    assert {name.partition("/")[0] for name in objects} == {"Deployment", "Pod"}
    assert {name: violations(pod) for name, pod in objects.items()} == {
        name: [] for name in objects
    }


@pytest.mark.parametrize(
    ("unsafe", "violation"),
    [
        ({"securityContext": {"privileged": True}}, "spotify-api-server: privileged"),
        (
            {"securityContext": {"allowPrivilegeEscalation": True}},
            "spotify-api-server: allowPrivilegeEscalation",
        ),
        (
            {"securityContext": {"capabilities": {"add": ["NET_RAW"]}}},
            "spotify-api-server: capability NET_RAW",
        ),
        (
            {"securityContext": {"capabilities": {"drop": ["KILL"]}}},
            "spotify-api-server: capabilities not dropped",
        ),
        ({"securityContext": {"procMount": "Unmasked"}}, "spotify-api-server: procMount"),
        ({"podSecurityContext": {"runAsNonRoot": False}}, "spotify-api-server: no runAsNonRoot"),
        ({"podSecurityContext": {"runAsUser": 0}}, "pod: runAsUser=0"),
        ({"podSecurityContext": {"seccompProfile": None}}, "spotify-api-server: no seccompProfile"),
        (
            {"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}},
            "pod: seccompProfile",
        ),
        ({"podSecurityContext": {"seLinuxOptions": {"type": "spc_t"}}}, "pod: seLinuxOptions"),
        (
            {"podSecurityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
            "pod: sysctl kernel.msgmax",
        ),
        ({"extraVolumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "pod: volume hostPath"),
        ({"extraContainers": [{"name": "x", "image": "x"}]}, "x: allowPrivilegeEscalation"),
    ],
)
def test_an_unrestricted_pod_is_found(unsafe: dict[str, object], violation: str) -> None:
    [deployment, *_] = pods(render("minimal", unsafe)).values()
    assert violation in violations(deployment)


def test_checkov_finds_only_known_exceptions(rendered: Path) -> None:
    scan = [str(TOOLS / "checkov"), "--directory", str(rendered), "--framework", "kubernetes"]
    ran = subprocess.run(
        # NOTE: without --skip-download it would request policies from its vendor's server.
        [*scan, "--skip-download", "--quiet", "--output", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout, ran.stderr
    report = json.loads(ran.stdout)
    objects = defaultdict(set)
    for check in report["results"]["failed_checks"]:
        kind, _, owner = check["resource"].partition(".")
        objects[check["check_id"], kind].add(
            f"{check['check_name']}: {owner} in {check['file_path']}"
        )
    assert {key: objects[key] for key in objects.keys() - SKIPPED.keys()} == {}
    assert SKIPPED.keys() - objects.keys() == set(), "these need no reason any more"
    assert report["summary"]["passed"] > 100 * len(CI)
    assert not report["summary"]["parsing_errors"]


def test_kubernetes_older_than_supported_is_refused() -> None:
    assert template("minimal", options=("--kube-version", KUBERNETES[0] + ".0"))
    with pytest.raises(RefusedError, match=r"requires kubeVersion: >=1\.27\.0-0"):
        template("minimal", options=("--kube-version", "1.26.9"))

"""Test skaffold.yaml and k8s/ without a cluster.

`./test` has skaffold on PATH and runs this; `make test` doesn't find it by its name.
"""

import base64
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.chart.rendering import environment, only, parse
from tests.chart.restricted import violations
from tests.documents import code

Manifest = dict[str, Any]
VALIDATE = ".venv-chart/bin/kubernetes-validate"
KUBERNETES = ("1.27", "1.37")
"""The oldest and the newest that the chart supports."""
CONTEXTS = {
    "kind": "kind-spotify-api-server",
    "minikube": "minikube",
    "node": "spotify-api-server-node",
}
"""By profile."""
APP = {
    "CLIENT_ID": "id-of-the-app",
    "CLIENT_SECRET": "secret-of-the-app",
    "SECRET_KEY": "key-that-seals-the-tokens",
}
"""An app's credentials, as a developer sets them in the environment."""


def skaffold(*arguments: str, **variables: str) -> str:
    """Return skaffold's output without a cluster or container engine; `variables` are set."""
    inherited = {name: os.environ[name] for name in os.environ if name not in APP}
    done = subprocess.run(
        ["skaffold", *arguments],  # noqa: S607 - whose it is, ./path decides
        env={**inherited, "KUBECONFIG": os.devnull, "PYTHON_IMAGE": "base", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def effective(profiles: str, **variables: str) -> dict[str, Manifest]:
    """Return skaffold.yaml with `profiles` applied: its parts by name."""
    manifest = parse(skaffold("diagnose", "--yaml-only", f"--profile={profiles}", **variables))
    return {part["metadata"]["name"]: part for part in manifest}


def render(profiles: str, **variables: str) -> list[Manifest]:
    return parse(rendered(profiles, **variables))


def rendered(profiles: str, **variables: str) -> str:
    offline = ("--offline=true", "--digest-source=tag")
    return skaffold("render", *offline, f"--profile={profiles}", **variables)


def names(manifests: list[Manifest], kind: str) -> set[str]:
    return {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == kind}


def pods(manifests: list[Manifest]) -> list[Manifest]:
    """Return the specs of all pods that `manifests` create."""
    bare = [manifest["spec"] for manifest in manifests if manifest["kind"] == "Pod"]
    return bare + [
        manifest["spec"]["template"]["spec"]
        for manifest in manifests
        if manifest["kind"] == "Deployment"
    ]


def service(manifests: list[Manifest]) -> list[Manifest]:
    """Return those of `manifests` that the chart rendered."""
    name = "app.kubernetes.io/name"
    labelled = [(manifest["metadata"].get("labels", {}), manifest) for manifest in manifests]
    return [manifest for labels, manifest in labelled if labels.get(name) == "spotify-api-server"]


def test_the_schema_is_current() -> None:
    versions = json.loads(skaffold("schema", "list", "--output=json"))["versions"]
    parts = parse(Path("skaffold.yaml").read_text())
    assert {part["apiVersion"] for part in parts} <= set(versions[-2:])
    assert len({part["apiVersion"] for part in parts}) == 1


@pytest.mark.parametrize("profile", CONTEXTS)
def test_profile_names_its_cluster_regardless_of_the_current_context(profile: str) -> None:
    for variables in ({}, APP):
        parts = effective(profile, **variables)
        assert {part["deploy"]["kubeContext"] for part in parts.values()} == {CONTEXTS[profile]}


@pytest.mark.parametrize(("variables", "simulator"), [({}, {7001}), (APP, set())])
def test_browser_services_are_forwarded_to_separate_ports(
    variables: dict[str, str], simulator: set[int]
) -> None:
    parts = effective("kind", **variables).values()
    forwards = [one for part in parts for one in part["portForward"]]
    manifests = render("kind", **variables)
    assert {one["localPort"] for one in forwards} == {7000, 16686} | simulator
    for one in forwards:
        [target] = [
            manifest
            for manifest in manifests
            if manifest["kind"] == "Service" and manifest["metadata"]["name"] == one["resourceName"]
        ]
        assert one["namespace"] == target["metadata"]["namespace"]
        assert one["port"] in {port["port"] for port in target["spec"]["ports"]}


@pytest.mark.parametrize("profile", CONTEXTS)
def test_simulator_is_used_unless_credentials_are_set(profile: str) -> None:
    manifests = render(profile)
    assert names(manifests, "Deployment") == {"jaeger", "simulator", "spotify-api-server"}
    assert names(manifests, "Service") >= {"jaeger", "simulator", "spotify-api-server"}
    assert names(manifests, "Secret") == {"spotify-app"}
    settings = environment(service(manifests))
    assert settings["SPOTIFY_TOKEN_URL"]["value"] == "http://simulator:7001/api/token"
    assert settings["SPOTIFY_AUTHORIZE_URL"]["value"] == "http://127.0.0.1:7001/authorize"
    assert settings["CORS_ALLOW_ORIGINS"]["value"] == "http://127.0.0.1:7001"
    assert settings["ALLOW_INSECURE_UPSTREAM"]["value"] == "true"


@pytest.mark.parametrize("profile", CONTEXTS)
def test_client_id_in_the_environment_selects_spotify(profile: str) -> None:
    text = rendered(profile, **APP)
    assert text == rendered(f"{profile},spotify", **APP)
    manifests = parse(text)
    assert names(manifests, "Deployment") == {"jaeger", "spotify-api-server"}
    assert names(manifests, "Secret") == set()
    settings = environment(service(manifests))
    assert settings["SPOTIFY_TOKEN_URL"]["value"] == "https://accounts.spotify.com/api/token"
    assert settings["ALLOW_INSECURE_UPSTREAM"]["value"] == "false"
    assert "//simulator" not in text
    assert not any(value in text for value in APP.values())
    kubectl = effective(profile, **APP)["surroundings"]["deploy"]["kubectl"]
    assert kubectl["hooks"]["before"] == [{"host": {"command": ["k8s/secret"]}}]


def test_no_app_secret_is_created_without_client_id() -> None:
    assert "hooks" not in effective("kind")["surroundings"]["deploy"]["kubectl"]


@pytest.mark.parametrize("variables", [{}, APP], ids=["simulator", "spotify"])
def test_one_image_is_built_for_all_our_workloads(variables: dict[str, str]) -> None:
    [artifact] = [
        one
        for part in effective("kind", **variables).values()
        for one in part["build"].get("artifacts", [])
    ]
    assert artifact["docker"] == {"dockerfile": "Dockerfile", "target": "dev"}
    images = {
        container["image"].removeprefix("docker.io/library/")
        for pod in pods(render("kind", **variables))
        for container in pod["containers"]
    }
    [jaeger] = {image for image in images if "jaeger" in image}
    [ours] = images - {jaeger}
    # A tag of digits alone, as one commit in thirty is called, would be a number to Helm.
    assert ours.startswith("spotify-api-server:git-")
    # The one that `make e2e` proves, so that there is one version to raise.
    assert jaeger in Path("tests/e2e/cluster.yaml").read_text()


@pytest.mark.parametrize("variables", [{}, APP], ids=["simulator", "spotify"])
def test_the_namespace_enforces_restricted_and_every_pod_is(variables: dict[str, str]) -> None:
    manifests = render("kind", **variables)
    namespace = only(manifests, "Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [manifest for manifest in manifests if manifest["kind"] != "Namespace"]
    assert {manifest["metadata"]["namespace"] for manifest in others} == {namespace["name"]}
    assert len(pods(manifests)) >= 3
    for pod in pods(manifests):
        assert violations(pod) == []
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("variables", [{}, APP], ids=["simulator", "spotify"])
def test_kubernetes_knows_every_field(
    variables: dict[str, str], version: str, tmp_path: Path
) -> None:
    file = tmp_path / "manifests.yaml"
    file.write_text(rendered("kind", **variables))
    command = [VALIDATE, "-k", version, "--strict", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_simulator_secret_has_the_keys_that_chart_and_simulator_read() -> None:
    manifests = render("kind")
    keys = set(only(manifests, "Secret")["stringData"])
    containers = [container for pod in pods(manifests) for container in pod["containers"]]
    environments = [entry for container in containers for entry in container.get("env", [])]
    references = [
        entry["valueFrom"]["secretKeyRef"]
        for entry in environments
        if "secretKeyRef" in entry.get("valueFrom", {})
    ]
    assert {reference["name"] for reference in references} == {"spotify-app"}
    needed = {reference["key"] for reference in references if not reference.get("optional")}
    assert needed <= keys
    assert keys <= {reference["key"] for reference in references}


def test_kind_creates_the_cluster_of_the_profile() -> None:
    cluster = msgspec.yaml.decode(Path("k8s/kind.yaml").read_bytes())
    assert cluster["apiVersion"] == "kind.x-k8s.io/v1alpha4"
    assert f"kind-{cluster['name']}" == CONTEXTS["kind"]


def test_documented_profiles_exist_and_example_credentials_are_complete() -> None:
    commands = "".join(code("docs/development.md", "sh"))
    assert set(re.findall(r"skaffold dev --profile (\S+)", commands)) == set(CONTEXTS)
    example = Path("k8s/skaffold.env.example").read_text()
    asked = set(re.findall(r"\$\{?([A-Z_]{4,})", Path("k8s/secret").read_text()))
    assert set(re.findall(r"^([A-Z_]+)=$", example, re.MULTILINE)) == asked - {
        "SKAFFOLD_KUBE_CONTEXT"
    }
    assert "/skaffold.env" in Path(".gitignore").read_text().splitlines()


@pytest.fixture
def kubectl(tmp_path: Path) -> Path:
    """Create a fake kubectl that records its command line and its input."""
    program = tmp_path / "kubectl"
    program.write_text(
        '#!/bin/sh\necho "$@" >>"$0.calls"\ncase $* in *" -") cat >"$0.input" ;; esac\n'
    )
    program.chmod(0o755)
    return program


def make_secret(kubectl: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = f"{kubectl.parent}:{os.defpath}"
    return subprocess.run(
        ["k8s/secret"],  # noqa: S607 - ours
        env={"PATH": path, "SKAFFOLD_KUBE_CONTEXT": "a-context", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_secrets_are_never_passed_on_a_command_line(kubectl: Path) -> None:
    done = make_secret(kubectl, APP)
    assert done.returncode == 0, done.stderr
    command_lines = kubectl.with_suffix(".calls").read_text().splitlines()
    assert command_lines == [
        "--context a-context apply --server-side --force-conflicts --filename k8s/namespace.yaml",
        "--context a-context apply --server-side --force-conflicts --filename -",
    ]
    secret = msgspec.yaml.decode(kubectl.with_suffix(".input").read_bytes())
    example = msgspec.yaml.decode(Path("k8s/secret.example.yaml").read_bytes())
    assert secret["metadata"] == example["metadata"]
    assert secret["data"].keys() == example["stringData"].keys()
    for key, name in [("client-id", "CLIENT_ID"), ("client-secret", "CLIENT_SECRET")]:
        assert base64.b64decode(secret["data"][key]).decode() == APP[name]
    assert base64.b64decode(secret["data"]["secret-key"]).decode() == APP["SECRET_KEY"]
    assert secret["data"]["redirect-uri"] == ""


@pytest.mark.parametrize("missing", APP)
def test_no_secret_is_created_from_incomplete_settings(kubectl: Path, missing: str) -> None:
    done = make_secret(kubectl, {name: APP[name] for name in APP if name != missing})
    assert done.returncode != 0
    assert missing in done.stderr
    assert not kubectl.with_suffix(".calls").exists()

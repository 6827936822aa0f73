"""Render the chart with the helm on PATH, or with a downloaded one."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

Manifest = dict[str, Any]
Values = Mapping[str, Any]

CHART = Path("charts/spotify-api-server")
CI = sorted(path.stem.removesuffix("-values") for path in CHART.glob("ci/*-values.yaml"))
"""The names of the chart's examples."""
HELMS = (4, 3)
RELEASE, NAMESPACE = "swap", "apps"


class RefusedError(Exception):
    """The error that helm printed instead of manifests."""


@cache
def helm(major: int) -> str:
    """Return the path of helm in this major version: the installed one, or a download."""
    own = [Path(place, name) for place in os.get_exec_path() for name in ("helm", f"helm{major}")]
    for program in own:
        if program.is_file() and _version(str(program)).startswith(f"v{major}."):
            return str(program)
    ran = subprocess.run(
        [Path("tests/tools/path"), f"helm{major}"], stdout=subprocess.PIPE, text=True, check=True
    )
    return str(Path(ran.stdout.strip().rpartition(":")[2], f"helm{major}"))


def _version(program: str) -> str:
    command = [program, "version", "--template", "{{.Version}}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def run(major: int, *arguments: str, values: Values | None = None) -> str:
    """Run helm without a cluster; `values` win over files in `arguments`. Raises RefusedError."""
    ran = subprocess.run(
        [helm(major), *arguments, "--values", "-"],
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.defpath, "HOME": "/nonexistent"},
    )
    if ran.returncode:
        raise RefusedError(ran.stderr)
    return ran.stdout


def template(
    example: str | None,
    values: Values | None = None,
    *,
    major: int = 4,
    options: tuple[str, ...] = (),
) -> str:
    """Return the manifests of one of the chart's examples, changed by `values`."""
    files = ("--values", str(example_file(example))) if example else ()
    return run(
        major,
        "template",
        RELEASE,
        str(CHART),
        "--namespace",
        NAMESPACE,
        *files,
        *options,
        values=values,
    )


def render(example: str | None, values: Values | None = None, *, major: int = 4) -> list[Manifest]:
    """Return the manifests of one of the chart's examples, changed by `values`."""
    return parse(template(example, values, major=major))


def example_file(name: str) -> Path:
    """Return the file of one of the chart's examples."""
    return CHART / "ci" / f"{name}-values.yaml"


def parse(text: str) -> list[Manifest]:
    """Return the documents in helm's output."""
    documents = re.split(r"^---$", text, flags=re.MULTILINE)
    decoded = (msgspec.yaml.decode(document) for document in documents if document.strip())
    return [document for document in decoded if document]


def only(manifests: list[Manifest], kind: str) -> Manifest:
    """Return the only manifest of this kind."""
    [found] = of_kind(manifests, kind)
    return found


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Return the manifests of this kind; of those that exist for `helm test` only, its pod."""
    return [
        manifest
        for manifest in manifests
        if manifest["kind"] == kind and (kind == "Pod" or not is_hook(manifest))
    ]


def is_hook(manifest: Manifest) -> bool:
    """Return whether the object is a helm hook, such as for `helm test`."""
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def environment(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the server's environment, by name."""
    entries = [(entry["name"], entry) for entry in server(manifests)["env"]]
    assert len(dict(entries)) == len(entries), "a name is there twice"
    return dict(entries)


def server(manifests: list[Manifest], name: str = "spotify-api-server") -> Manifest:
    """Return the container of the service, which has the name of the chart."""
    containers = pod_of(only(manifests, "Deployment"))["containers"]
    return next(container for container in containers if container["name"] == name)


def pod_of(manifest: Manifest) -> Manifest:
    """Return the pod's spec in a Deployment or a Pod."""
    spec: Manifest = manifest["spec"]
    return spec["template"]["spec"] if manifest["kind"] == "Deployment" else spec


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the specs of all pods, by kind and name of their controllers."""
    return {
        f"{manifest['kind']}/{manifest['metadata']['name']}": pod_of(manifest)
        for manifest in manifests
        if manifest["kind"] in {"Deployment", "Pod"}
    }

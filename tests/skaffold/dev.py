"""Test `skaffold dev` in the cluster that KUBECONFIG names.

`./test dev` has skaffold on PATH and an engine to build with, and runs this; `make test` doesn't
find it by its name. What was measured stands in front of PASSED.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Report
from tests.guides.blocks import block

GUIDES = {
    "kind-spotify-api-server": "docs/development.md#with-skaffold",
    "minikube": "docs/development.md#with-skaffold/2",
    "spotify-api-server-node": "docs/development.md#where-there-is-no-docker/2",
}
"""By the current context, the block that says how."""
NAMESPACE = "spotify"
APP = {
    "CLIENT_ID": "id-of-the-app",
    "CLIENT_SECRET": "secret-of-the-app",
    "SECRET_KEY": "key-that-seals-the-tokens",
}
# skaffold takes an image that it built before for one that the cluster has: not in a new cluster.
# What it removes at the end may be layers that other images are built from.
OPTIONS = ("--cache-artifacts=false", "--port-forward=user", "--no-prune", "--no-prune-children")


def kubectl(*arguments: str) -> str:
    done = subprocess.run(
        ["kubectl", *arguments],  # noqa: S607 - whose it is, ./test decides
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def skaffold_dev() -> list[str]:
    """Return the documented command for the current context, word by word."""
    context = kubectl("config", "current-context")
    assert context in GUIDES, f"{context} has no profile in skaffold.yaml"
    [command] = re.findall(r"^skaffold dev .*$", block(GUIDES[context]), re.MULTILINE)
    return shlex.split(command)


class Development:
    """A running `skaffold dev`: its output and its forwarded ports."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    def output(self) -> str:
        return self._log.read_text()

    def wait_for(self, line: str, *, times: int = 1, seconds: float = 300) -> list[str]:
        """Wait for `times` matches of `line` in the output; return them."""
        end = time.monotonic() + seconds
        while len(found := re.findall(line, self.output())) < times:
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < end, f"no {line} in {self.output()}"
            time.sleep(0.1)
        return found

    def client(self, service: str) -> httpx.Client:
        """Return a client of a service, by the port that skaffold forwards now."""
        forward = rf"service/{service} in namespace {NAMESPACE}, .* -> (http://127\.0\.0\.1:\d+)"
        return httpx.Client(base_url=self.wait_for(forward)[-1], trust_env=False, timeout=10)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=120)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the checkout, to change code in it."""
    there = tmp_path_factory.mktemp("checkout")
    files = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        text=True,
    )
    for file in files.splitlines():
        if Path(file).is_file():
            (there / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, there / file)
    return there


@contextmanager
def developing(tree: Path, log: Path) -> Iterator[Development]:
    inherited = {name: os.environ[name] for name in os.environ if name not in APP}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*skaffold_dev(), *OPTIONS],
            cwd=tree,
            env=inherited,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    development = Development(process, log)
    try:
        development.wait_for("Watching for changes")
        yield development
    finally:
        if process.poll() is None:
            development.stop()
        kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=2m")


@pytest.fixture(scope="module")
def dev(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    with developing(tree, tmp_path_factory.mktemp("dev") / "log") as development:
        yield development


def running() -> set[str]:
    """Return the images of the pods that are not terminating."""
    pods = json.loads(kubectl("--namespace", NAMESPACE, "get", "pods", "--output=json"))["items"]
    staying = [pod["metadata"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return {metadata["labels"]["app.kubernetes.io/name"] for metadata in staying}


def own_token(client: httpx.Client) -> httpx.Response:
    form = {"grant_type": "client_credentials"}
    return client.post("/client-credentials-flow/retrieve-tokens", data=form)


def span_kinds(jaeger: httpx.Client) -> set[str]:
    """Return the kinds of the service's spans that Jaeger has."""
    found: list[dict[str, Any]] = jaeger.get(
        "/api/traces", params={"service": "spotify-api-server", "limit": 100}
    ).json()["data"]
    tags = [tag for trace in found for span in trace["spans"] for tag in span["tags"]]
    return {tag["value"] for tag in tags if tag["key"] == "span.kind"}


def test_service_simulator_and_jaeger_run(dev: Development) -> None:
    assert dev.process.poll() is None
    assert running() == {"jaeger", "simulator", "spotify-api-server"}


def test_the_forwarded_service_gets_a_token_from_the_simulator(dev: Development) -> None:
    with dev.client("spotify-api-server") as app:
        response = own_token(app)
    assert response.status_code == 200, response.text
    assert response.json()["access_token"]


def test_the_forwarded_jaeger_has_its_trace(dev: Development) -> None:
    end = time.monotonic() + 30
    with dev.client("jaeger") as jaeger:
        while not span_kinds(jaeger) >= {"server", "client"}:
            assert time.monotonic() < end, span_kinds(jaeger)
            time.sleep(0.5)


def test_code_change_is_served_within_a_minute(
    dev: Development, tree: Path, report: Report
) -> None:
    routes = tree / "service/routes.py"
    before = routes.read_text()
    assert before.count('Response("success"') == 1
    started = time.monotonic()
    routes.write_text(before.replace('Response("success"', 'Response("changed"'))
    dev.wait_for("Watching for changes", times=2, seconds=120)
    with dev.client("spotify-api-server") as client:
        assert client.get("/").text == "changed"
    seconds = time.monotonic() - started
    report(f"after {seconds:.1f} s")
    assert seconds < 60


def test_stop_removes_everything(dev: Development) -> None:
    dev.stop()
    assert "Cleaning up" in dev.output()
    kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=2m")
    assert kubectl("get", "namespace", NAMESPACE, "--ignore-not-found") == ""


def test_credentials_select_spotify_and_are_never_shown(tree: Path, tmp_path: Path) -> None:
    lines = (f"{name}={value}\n" for name, value in APP.items())
    (tree / "skaffold.env").write_text("".join(lines))
    with developing(tree, tmp_path / "log") as development:
        assert running() == {"jaeger", "spotify-api-server"}
        with development.client("spotify-api-server") as app:
            assert app.get("/readyz").status_code == 200
        for name in ("CLIENT_SECRET", "SECRET_KEY"):
            assert APP[name] not in development.output()

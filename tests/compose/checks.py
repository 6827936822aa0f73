"""Test docs/simulator.md with containers: its compose file, commands and workflow services.

`./test` builds the images and runs this; `make test` doesn't find it by its name, for it needs
Docker or podman.
"""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from tests.documents import code, dialogue, hardening, is_printed, printed_by
from tests.guides import blocks
from tests.running import free_port

ENGINE = os.environ["ENGINE"]
IMAGES = {
    "${{ vars.REGISTRY }}/spotify-api-server:1.0.0": os.environ["SERVICE_IMAGE"],
    "${{ vars.REGISTRY }}/spotify-api-server-simulator:1.0.0": os.environ["SIMULATOR_IMAGE"],
}
DOCUMENT = "docs/simulator.md"
UP, *LINES = dialogue(DOCUMENT)
KEYS = (
    "docs/simulator.md#start",
    "docs/simulator.md#log-in-without-a-browser",
    "docs/simulator.md#log-in-without-a-browser/2",
    "docs/simulator.md#log-in-without-a-browser/3",
    "docs/simulator.md#users-and-scopes",
    "docs/simulator.md#when-a-login-ends",
    "docs/simulator.md#when-a-login-ends/2",
    "docs/simulator.md#errors",
    "docs/simulator.md#errors/2",
)
"""Of all its blocks, in order: tests/guides holds the documents against them."""
DOWN = UP[0].replace("up --detach --wait", "down")
[WORKFLOW] = code(DOCUMENT, "yaml")
[JOB] = yaml.safe_load(WORKFLOW)["jobs"].values()


def shell(command: str, **variables: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", command],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def engine(*arguments: str) -> str:
    done = subprocess.run([ENGINE, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def free_ports() -> dict[str, str]:
    """Return free ports to replace those of the document, which may be in use here."""
    return {port: str(free_port()) for port in ("7000", "7001")}


def test_all_blocks_are_read() -> None:
    assert [blocks.block(key) for key in KEYS] == [command for command, _ in (UP, *LINES)]


# The compose file ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project() -> str:
    return f"compose-test-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def ports(project: str) -> Iterator[dict[str, str]]:
    """Start the containers as documented; fail if one is not healthy in time."""
    found = free_ports()
    variables = {
        "COMPOSE_PROJECT_NAME": project,
        "SERVICE_PORT": found["7000"],
        "SIMULATOR_PORT": found["7001"],
    }
    try:
        shell(UP[0], **variables)
        yield found
    finally:
        shell(DOWN, **variables)


@pytest.fixture(scope="module")
def containers(project: str, ports: dict[str, str]) -> list[dict[str, Any]]:
    assert ports
    names = engine(
        "ps", "--quiet", "--filter", f"label=com.docker.compose.project={project}"
    ).split()
    found: list[dict[str, Any]] = json.loads(engine("inspect", *names))
    return found


def test_playground_can_call_the_service(ports: dict[str, str]) -> None:
    origin = f"http://127.0.0.1:{ports['7001']}"
    configuration = httpx.get(f"{origin}/playground.json", trust_env=False).json()
    assert configuration["service_url"] == f"http://127.0.0.1:{ports['7000']}"
    url = f"{configuration['service_url']}/healthz"
    response = httpx.get(url, headers={"Origin": origin}, trust_env=False)
    assert response.headers["access-control-allow-origin"] == origin


def test_documented_commands_print_the_documented_output(ports: dict[str, str]) -> None:
    printed = printed_by((command for command, _ in LINES), ports)
    for (command, text), answer in zip(LINES, printed, strict=True):
        assert text is not None, command
        assert is_printed(text, answer), answer


def test_containers_have_no_capabilities(containers: list[dict[str, Any]]) -> None:
    [user] = [hardening()[at + 1] for at, word in enumerate(hardening()) if word == "--user"]
    assert len(containers) == 2
    for container in containers:
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert list(host["Tmpfs"]) == ["/tmp"]  # noqa: S108 - read, not written
        assert host["PidsLimit"] == 64
        assert host["Memory"] == 192 * 1024 * 1024
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
        assert container["Config"]["User"] == user
        assert container["State"]["Running"]
        status = engine("exec", container["Id"], "cat", "/proc/1/status")
        lines = dict(line.split(":", 1) for line in status.splitlines())
        assert {int(lines[f"Cap{kind}"], 16) for kind in ("Eff", "Prm", "Bnd")} == {0}


def test_ports_are_published_on_loopback_only(
    containers: list[dict[str, Any]], ports: dict[str, str]
) -> None:
    bound = [
        binding
        for container in containers
        for bindings in container["HostConfig"]["PortBindings"].values()
        for binding in bindings or []
    ]
    assert {binding["HostIp"] for binding in bound} == {"127.0.0.1"}
    assert {binding["HostPort"] for binding in bound} == set(ports.values())


# The workflow --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def job() -> Iterator[dict[str, str]]:
    """Start the services of the job as GitHub does: from a network of their own, by their names."""
    found, network = free_ports(), f"job-test-{secrets.token_hex(4)}"
    engine("network", "create", network)
    started: list[str] = []
    try:
        for name, service in JOB["services"].items():
            started.append(engine("run", "--detach", *options(name, service, found, network)))
        yield found
    finally:
        for container in started:
            engine("rm", "--force", container)
        engine("network", "rm", network)


def options(name: str, service: dict[str, Any], ports: dict[str, str], network: str) -> list[str]:
    """Return the `docker run` options of a GitHub service; an unknown key is a KeyError."""
    assert service.keys() <= {"image", "ports", "env"}
    published = [port.partition(":") for port in service["ports"]]
    return [
        f"--network={network}",
        f"--network-alias={name}",
        *(f"--publish=127.0.0.1:{ports[here]}:{there}" for here, _, there in published),
        *(f"--env={variable}={value}" for variable, value in service.get("env", {}).items()),
        IMAGES[service["image"]],
    ]


def test_job_waits_until_its_services_are_healthy(job: dict[str, str]) -> None:
    [wait] = [step["run"] for step in JOB["steps"] if step["name"].startswith("Wait")]
    for written, real in job.items():
        wait = wait.replace(f"127.0.0.1:{written}", f"127.0.0.1:{real}")
    shell(wait)
    form = {"grant_type": "client_credentials"}
    url = f"http://127.0.0.1:{job['7000']}/client-credentials-flow/retrieve-tokens"
    assert httpx.post(url, data=form, trust_env=False).json()["access_token"]

"""The guides' commands that need more than Python: containers, and the AWS CLI.

`./test` has both, and runs this; `make test` doesn't find it by its name.
"""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.guides import accounts
from tests.guides.terminals import Done, checkout, run, tool
from tests.running import free_port

ENGINE, IMAGE = (os.environ[name] for name in ("ENGINE", "IMAGE"))
AWS = Path(".venv-tools/bin/aws").resolve()
REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
# deploy.md lists further options for podman.
DOCKER = f"""\
PATH=${{PATH#*:}}
[[ {ENGINE} != podman || $1 != run ]] || set -- run --read-only-tmpfs=false "${{@:2}}"
exec {ENGINE} "$@"
"""
SUDO = '((EUID == 0)) && exec "$@" || PATH=${PATH#*:} exec sudo "$@"\n'


# Docker --------------------------------------------------------------------------------------


def engine(*arguments: str) -> str:
    done = subprocess.run([ENGINE, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@contextmanager
def old_server(port: int) -> Iterator[str]:
    """Run a stand-in for the original server, on its port."""
    settings = {**accounts.SECRETS, "SECRET_KEY": "the-key-of-the-old-server"}
    variables = [f"--env={name}={value}" for name, value in settings.items()]
    name = f"guides-{port}-old"
    engine(
        "run", "--detach", f"--name={name}", f"--publish=127.0.0.1:{port}:8080", *variables, IMAGE
    )
    try:
        yield name
    finally:
        for each in (name, f"guides-{port}"):  # podman removes none if one isn't there
            engine("rm", "--force", each)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Done, str]]:
    """Switch from the old server to this one and back, as documented."""
    there, port = tmp_path_factory.mktemp("docker"), free_port()
    tool(there / "tools/docker", DOCKER)
    tool(there / "tools/sudo", SUDO)
    with old_server(port) as name:
        terminal = accounts.DOCKER._replace(
            fill={
                **accounts.DOCKER.fill,
                "127.0.0.1:8080": f"127.0.0.1:{port}",
                "spotify-api-server": f"guides-{port}",
            },
            variables={
                "OLD": name,
                "IMAGE": IMAGE,
                "CONTAINERS_CONF": os.environ.get("CONTAINERS_CONF", ""),
            },
        )
        yield run(terminal, checkout(there / "checkout"), there / "tools"), name


def test_docker_commands_replace_the_old_server_and_restore_it(
    docker: tuple[Done, str],
) -> None:
    done, old = docker
    assert done.status == 0, done.errors
    assert engine("inspect", "--format={{.State.Status}}", old) == "running"


# AWS -----------------------------------------------------------------------------------------


class Amazon(BaseHTTPRequestHandler):
    """Serves AWS's JSON protocols, and records operations and parameters."""

    calls: list[tuple[str, dict[str, Any]]]

    def do_POST(self) -> None:
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.calls.append((operation, body))
        response = json.dumps({"ARN": f"arn:aws:secretsmanager:::{body.get('SecretId')}"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(response)))
        self.end_headers()
        self.wfile.write(response)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def amazon() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    calls: list[tuple[str, dict[str, Any]]] = []
    handler = type("Handler", (Amazon,), {"calls": calls})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", calls
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def aws(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Done, dict[str, list[dict[str, Any]]]]:
    """Return the results of the commands, and the calls to AWS by operation."""
    there = tmp_path_factory.mktemp("aws")
    tool(there / "tools/aws", f'exec {AWS} "$@"\n')
    role = "arn:aws:iam::123456789012:role/{}".format
    with amazon() as (url, calls):
        variables = {
            "AWS_ENDPOINT_URL": url,
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "key",
            "ECR_IMAGE": f"{REGISTRY}/spotify-api-server:1.0.0",
            "EXECUTION_ROLE": role("execution"),
            "INFRASTRUCTURE_ROLE": role("infrastructure"),
            "INSTANCE_ROLE": role("instance"),
            "ACCESS_ROLE": role("access"),
            "SERVICE": "arn:aws:apprunner:eu-central-1:123456789012:service/old/0123456789abcdef",
        }
        done = run(
            accounts.AWS._replace(variables=variables),
            checkout(there / "checkout"),
            there / "tools",
        )
    sorted_out: dict[str, list[dict[str, Any]]] = {}
    for operation, parameters in calls:
        sorted_out.setdefault(operation, []).append(parameters)
    return done, sorted_out


def test_aws_cli_accepts_the_documented_commands(
    aws: tuple[Done, dict[str, list[dict[str, Any]]]],
) -> None:
    done, calls = aws
    assert done.status == 0, done.errors
    once = ("CreateExpressGatewayService", "CreateService", "UpdateService")
    assert [len(calls[operation]) for operation in once] == [1, 1, 1]


def test_aws_stores_secrets_unchanged(
    aws: tuple[Done, dict[str, list[dict[str, Any]]]],
) -> None:
    kept = {call["Name"].partition("/")[2]: call["SecretString"] for call in aws[1]["CreateSecret"]}
    assert {name: kept[name] for name in accounts.SECRETS} == accounts.SECRETS
    assert len(kept.pop("SECRET_KEY")) == 64


def test_aws_passes_each_secret_by_its_name(
    aws: tuple[Done, dict[str, list[dict[str, Any]]]],
) -> None:
    arns = {
        name: f"arn:aws:secretsmanager:::spotify-api-server/{name}"
        for name in (*accounts.SECRETS, "SECRET_KEY")
    }
    [express] = aws[1]["CreateExpressGatewayService"]
    secrets = express["primaryContainer"]["secrets"]
    assert {secret["name"]: secret["valueFrom"] for secret in secrets} == arns
    for call in (*aws[1]["CreateService"], *aws[1]["UpdateService"]):
        image = call["SourceConfiguration"]["ImageRepository"]["ImageConfiguration"]
        assert image == {"Port": "8080", "RuntimeEnvironmentSecrets": arns}

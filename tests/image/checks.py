"""Test the images in containers that run as in production.

`./test` builds the images and runs this; `make test` doesn't find it by its name, for it needs
Docker or podman. What was measured stands in front of PASSED.
"""

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from service import __version__
from simulator.pkce import challenge_of
from tests.conftest import Report
from tests.documents import entry_point, hardening

ENGINE, IMAGE, DEV_IMAGE = (os.environ[name] for name in ("ENGINE", "IMAGE", "DEV_IMAGE"))
PYTHON = "/opt/venv/bin/python"
LIMIT = 150_000_000
"""Bytes on top of the base image."""
HARDENED = (
    *hardening(),
    # podman makes more than /tmp writable by default.
    *(["--read-only-tmpfs=false"] if ENGINE == "podman" else []),
    *("--memory", "128m"),  # less than is documented
)
ID, SECRET, CALLBACK = "the-app", "the-secret", "http://127.0.0.1:8888/callback"
VERIFIER = secrets.token_urlsafe(48)
DRAIN_SECONDS = 5


class Container(NamedTuple):
    name: str

    def run(self, *command: str) -> str:
        return engine("exec", self.name, *command)

    def address(self, network: str) -> str:
        [description] = json.loads(engine("container", "inspect", self.name))
        found: str = description["NetworkSettings"]["Networks"][network]["IPAddress"]
        return found

    def client(self, port: int) -> httpx.Client:
        """Return a client of the container, by the host port published for `port`."""
        address = engine("port", self.name, f"{port}/tcp").splitlines()[0]
        return httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=20)


def engine(*arguments: str) -> str:
    done = subprocess.run([ENGINE, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def once(*command: str) -> str:
    """Return the output of a command in a new container."""
    return engine(
        "run", "--rm", "--network=none", f"--entrypoint={command[0]}", IMAGE, *command[1:]
    )


@contextmanager
def running(network: str, *arguments: str) -> Iterator[Container]:
    name = f"{network}-{secrets.token_hex(2)}"
    engine("run", "--detach", f"--name={name}", f"--network={network}", *arguments)
    try:
        yield Container(name)
    finally:
        engine("rm", "--force", name)


def is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


def wait_for(client: httpx.Client) -> None:
    for _ in range(150):
        if is_up(client):
            return
        time.sleep(0.2)
    pytest.fail(f"{client.base_url} is not up after 30 s")


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    [image] = json.loads(engine("image", "inspect", IMAGE))
    found: dict[str, Any] = image["Config"]
    return found


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    name = f"image-test-{secrets.token_hex(4)}"
    engine("network", "create", name)
    try:
        yield name
    finally:
        engine("network", "rm", name)


@pytest.fixture(scope="module")
def simulator(network: str) -> Iterator[Container]:
    command = (
        "-m",
        "simulator",
        "--host=0.0.0.0",
        f"--client-id={ID}",
        f"--client-secret={SECRET}",
    )
    start = ("--publish=127.0.0.1::7001", f"--entrypoint={PYTHON}", DEV_IMAGE, *command)
    with running(network, *start) as container:
        with container.client(7001) as client:
            wait_for(client)
        yield container


@pytest.fixture(scope="module")
def service(network: str, simulator: Container) -> Iterator[Container]:
    settings = {
        "CLIENT_ID": ID,
        "CLIENT_SECRET": SECRET,
        "SECRET_KEY": secrets.token_hex(),
        "SPOTIFY_TOKEN_URL": "http://simulator:7001/api/token",
        "ALLOW_INSECURE_UPSTREAM": "true",
        "DRAIN_SECONDS": str(DRAIN_SECONDS),
    }
    environment = [f"--env={name}={value}" for name, value in settings.items()]
    # Not all of podman's networks have a name server.
    host = f"--add-host=simulator:{simulator.address(network)}"
    ports = ("--publish=127.0.0.1::8080", "--publish=127.0.0.1::9464")
    with running(network, *HARDENED, host, *ports, *environment, IMAGE) as container:
        with container.client(8080) as client:
            wait_for(client)
        yield container


@pytest.fixture(scope="module")
def app(service: Container) -> Iterator[httpx.Client]:
    with service.client(8080) as client:
        yield client


@pytest.fixture(scope="module")
def tokens(app: httpx.Client, simulator: Container) -> dict[str, Any]:
    """Log in as a user does, and exchange the code."""
    query = {
        "client_id": ID,
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "code_challenge_method": "S256",
        "code_challenge": challenge_of(VERIFIER),
    }
    with simulator.client(7001) as client:
        location = client.post("/authorize", params=query, data={"decision": "allow"})
    [code] = parse_qs(urlsplit(location.headers["location"]).query)["code"]
    form = {"code": code, "code_verifier": VERIFIER, "redirect_uri": CALLBACK}
    response = app.post("/authorization-code-flow-pkce/retrieve-tokens", data=form)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def refresh(app: httpx.Client, token: str) -> httpx.Response:
    path = "/authorization-code-flow-pkce/refresh-tokens"
    return app.post(path, data={"refresh_token": token})


def own_token(app: httpx.Client) -> httpx.Response:
    form = {"grant_type": "client_credentials"}
    return app.post("/client-credentials-flow/retrieve-tokens", data=form)


def test_labels_describe_the_image(config: dict[str, Any], report: Report) -> None:
    labels = {name.rpartition("image.")[2]: value for name, value in config["Labels"].items()}
    report({name: labels[name] for name in ("version", "revision", "base.name")})
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()  # noqa: S607
    assert labels["version"] == __version__
    assert labels["revision"].removesuffix("-dirty") == head
    assert labels["licenses"] == "MIT"
    assert labels["title"]
    assert labels["description"]
    assert labels["created"]


def test_entrypoint_is_python_as_user_10001(config: dict[str, Any]) -> None:
    assert config["Entrypoint"] == entry_point() == [PYTHON, "-m", "service"]
    assert config["Cmd"] == entry_point("CMD") == ["serve"]
    assert config["User"] == "10001:10001"
    assert set(config["ExposedPorts"]) == {"8080/tcp", "9464/tcp"}


def test_size_above_the_base_is_bounded(config: dict[str, Any], report: Report) -> None:
    base = config["Labels"]["org.opencontainers.image.base.name"]
    added = layers(IMAGE)[: -len(layers(base))]
    report(
        " + ".join(f"{size / 1e6:.1f}" for size in added if size) + f" = {sum(added) / 1e6:.1f} MB"
    )
    assert sum(added) <= LIMIT


def layers(image: str) -> list[float]:
    """Return the sizes of an image's layers in bytes, newest first, from human-readable output."""
    units = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
    sizes = engine("history", "--format={{.Size}}", image).splitlines()
    numbers = [size.rstrip("kMGB ") for size in sizes]
    return [
        float(number) * units[size.removeprefix(number).strip()]
        for size, number in zip(sizes, numbers, strict=True)
    ]


def test_environment_has_no_installer_and_no_simulator() -> None:
    look = """
import importlib.util
print(*filter(importlib.util.find_spec, ["pip", "setuptools", "simulator"]))
"""
    assert once(PYTHON, "-c", look) == ""


@pytest.mark.parametrize("python", ["python3", PYTHON])
def test_image_has_no_compiler(python: str) -> None:
    look = "import shutil; print(*filter(shutil.which, ['cc', 'gcc', 'ld', 'make']))"
    assert once(python, "-c", look) == ""


def test_every_import_has_unchecked_bytecode(report: Report) -> None:
    look = """
import importlib, os, pkgutil, sys
import service
for module in pkgutil.iter_modules(service.__path__, "service."):
    importlib.import_module(module.name)
files = [module.__cached__ for module in sys.modules.values() if getattr(module, "__cached__", 0)]
unchecked = (1).to_bytes(4, "little")  # PEP 552
def is_good(file):
    return os.path.exists(file) and open(file, "rb").read(8)[4:] == unchecked
print(sys.version.split()[0], len(files), *(file for file in files if not is_good(file)))
"""
    version, modules, *wrong = once(PYTHON, "-c", look).split()
    report(f"Python {version}, {modules} modules")
    assert not wrong


@pytest.mark.skipif(ENGINE != "podman", reason="docker's own exporter keeps the times of files")
def test_second_build_has_the_same_layers(report: Report) -> None:
    again = f"{IMAGE}-again"
    build = ["tests/image/build", "runtime", "--no-cache"]
    subprocess.run(build, check=True, capture_output=True, env={**os.environ, "IMAGE": again})
    try:
        first, second = (diff_ids(image) for image in (IMAGE, again))
    finally:
        # buildah may leave a container, which uses the image.
        subprocess.run([ENGINE, "rmi", again], check=False, capture_output=True)
    report(f"{len(first)} layers")
    assert first == second


def diff_ids(image: str) -> list[str]:
    [description] = json.loads(engine("image", "inspect", image))
    found: list[str] = description["RootFS"]["Layers"]
    return found


def test_start_without_settings_exits_with_78() -> None:
    command = [ENGINE, "run", "--rm", "--network=none", IMAGE]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 78


def test_process_1_is_unprivileged_python(service: Container, report: Report) -> None:
    status = dict(
        re.findall(r"^(\w+):\s+(\S+)", service.run("cat", "/proc/1/status"), re.MULTILINE)
    )
    report({name: status[name] for name in ("Name", "Uid", "CapBnd", "NoNewPrivs", "Seccomp")})
    assert status["Name"] == "python"
    assert status["Uid"] == status["Gid"] == "10001"
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_only_tmp_can_be_written(service: Container) -> None:
    script = (
        'for place in / /app /opt/venv /run /var/tmp /tmp; do touch "$place/x" 2>&1; done; true'
    )
    refused = service.run("sh", "-c", script).splitlines()
    assert len(refused) == 5
    assert all(line.endswith("Read-only file system") for line in refused), refused


def test_image_runs_as_any_user_on_any_port(network: str) -> None:
    """As Heroku runs it: see heroku.yml."""
    settings = {"CLIENT_ID": ID, "CLIENT_SECRET": SECRET, "SECRET_KEY": SECRET, "PORT": "5123"}
    environment = [f"--env={name}={value}" for name, value in settings.items()]
    options = ("--user=43210:43210", "--read-only", "--publish=127.0.0.1::5123", *environment)
    with (
        running(network, *options, IMAGE) as container,
        container.client(5123) as client,
    ):
        wait_for(client)


def test_refresh_token_is_sealed(tokens: dict[str, Any]) -> None:
    assert tokens["access_token"]
    assert tokens["expiration_date"]
    assert re.fullmatch(r"[\w-]{40,}", tokens["refresh_token"])


def test_a_sealed_token_refreshes(app: httpx.Client, tokens: dict[str, Any]) -> None:
    response = refresh(app, tokens["refresh_token"])
    assert response.status_code == 200, response.text
    assert response.json()["access_token"] != tokens["access_token"]
    assert response.json()["refresh_token"]


def test_a_tampered_token_is_refused(app: httpx.Client, tokens: dict[str, Any]) -> None:
    token = tokens["refresh_token"]
    response = refresh(app, ("B" if token[0] == "A" else "A") + token[1:])
    assert response.status_code == 400
    assert response.json() == {"error": True, "reason": "could not decrypt refresh token"}


def test_app_access_token_is_returned(app: httpx.Client) -> None:
    response = own_token(app)
    assert response.status_code == 200, response.text
    assert response.json()["access_token"]


def test_metrics_are_served_on_their_own_port(service: Container, app: httpx.Client) -> None:
    counted = 'spotify_api_server_requests_total{flow="client_credentials",outcome="success"}'
    assert own_token(app).is_success
    with service.client(9464) as metrics:
        assert counted in metrics.get("/metrics").text
    assert app.get("/metrics").status_code == 404


def test_memory_and_processes_are_bounded(service: Container, report: Report) -> None:
    memory = cgroup(service, "memory.max", "memory/memory.limit_in_bytes")
    [peak] = re.findall(r"VmHWM:\s+(.*)", service.run("cat", "/proc/1/status"))
    report(f"at most {peak} of {memory} bytes")
    assert memory == 128 * 1024 * 1024
    assert cgroup(service, "pids.max", "pids/pids.max") == 64


def cgroup(container: Container, *files: str) -> int:
    """Read a limit from the file that this version of cgroups has."""
    script = 'cd /sys/fs/cgroup && for file; do [ ! -e "$file" ] || cat "$file"; done'
    return int(container.run("sh", "-c", script, "sh", *files))


def test_sigterm_drains_and_exits_with_0(
    service: Container, app: httpx.Client, report: Report
) -> None:
    started = time.monotonic()
    engine("kill", "--signal=TERM", service.name)
    while app.get("/readyz").status_code == 200:
        assert time.monotonic() - started < DRAIN_SECONDS
    assert app.get("/healthz").is_success
    status = engine("wait", service.name)
    seconds = time.monotonic() - started
    report(f"after {seconds:.1f} s")
    assert status == "0", engine("logs", service.name)
    assert DRAIN_SECONDS - 0.5 < seconds < DRAIN_SECONDS + 5

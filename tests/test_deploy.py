"""app.json, heroku.yml and the documented fly.toml match the image and the settings."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import yaml

from service.settings import FILE_SETTINGS, Settings
from tests.documents import code_anywhere, docker_run, entry_point
from tests.running import environment, free_port, wait_until_ready

SETTINGS = {field.name.upper(): field for field in msgspec.structs.fields(Settings)}
DOCKERFILE = Path("Dockerfile").read_text()


class Variable(msgspec.Struct, forbid_unknown_fields=True):
    description: str
    value: str | None = None
    required: bool = True
    generator: Literal["secret"] | None = None


class Dynos(msgspec.Struct, forbid_unknown_fields=True):
    quantity: int
    size: Literal["eco", "basic", "standard-1x", "standard-2x", "performance-m", "performance-l"]


class AppJson(msgspec.Struct, forbid_unknown_fields=True):
    """As https://devcenter.heroku.com/articles/app-json-schema has it, of what is used here."""

    name: str
    description: str
    keywords: list[str]
    stack: Literal["container"]
    success_url: str
    formation: dict[Literal["web"], Dynos]
    env: dict[str, Variable]


@pytest.fixture
def app_json() -> AppJson:
    return msgspec.json.decode(Path("app.json").read_bytes(), type=AppJson)


@pytest.fixture
def fly() -> dict[str, Any]:
    [text] = code_anywhere("toml", "kill_timeout")
    return tomllib.loads(text)


def default(name: str) -> float:
    found: float = SETTINGS[name].default
    return found


def longest_stop() -> float:
    return sum(map(default, ("DRAIN_SECONDS", "REQUEST_TIMEOUT", "UPSTREAM_TIMEOUT")))


def test_heroku_requires_the_settings_and_generates_the_key(app_json: AppJson) -> None:
    required = {name for name, field in SETTINGS.items() if field.required}
    asked = {name for name, variable in app_json.env.items() if variable.required}
    assert set(app_json.env) <= set(SETTINGS)
    assert required == asked - {"METRICS_PORT"}
    assert [name for name, item in app_json.env.items() if item.generator] == ["SECRET_KEY"]
    assert [name for name, item in app_json.env.items() if item.value] == ["METRICS_PORT"]


def test_heroku_builds_the_production_image_and_runs_its_command() -> None:
    heroku = yaml.safe_load(Path("heroku.yml").read_text())
    assert heroku == {"build": {"docker": {"web": "Dockerfile"}}}
    assert re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.MULTILINE)[-1] == "runtime"


def test_image_command_starts_the_service() -> None:
    """Heroku runs the image's command, with PORT in the environment."""
    port = free_port()
    environ = environment("http://127.0.0.1:1/api/token", PORT=str(port), HOST="0.0.0.0")  # noqa: S104 - as in the image
    started = [sys.executable, *entry_point()[1:], *entry_point("CMD")]
    with subprocess.Popen(started, env=environ, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until_ready(process, f"http://127.0.0.1:{port}")
        finally:
            process.kill()


def test_fly_runs_the_production_image_within_its_limits(fly: dict[str, Any]) -> None:
    assert fly["build"] == {"dockerfile": "Dockerfile", "build-target": "runtime"}
    assert re.findall(r"\bPORT=(\d+)", DOCKERFILE) == [str(fly["http_service"]["internal_port"])]
    assert [check["path"] for check in fly["http_service"]["checks"]] == ["/readyz"]
    assert fly["http_service"]["concurrency"]["hard_limit"] == default("UPSTREAM_MAX_IN_FLIGHT")
    assert fly["metrics"] == {"port": default("METRICS_PORT"), "path": "/metrics"}
    assert "services" not in fly


def test_fly_and_docker_wait_until_the_service_has_stopped(fly: dict[str, Any]) -> None:
    words = docker_run()
    assert fly["kill_signal"] == "SIGTERM"
    assert fly["kill_timeout"] > longest_stop()
    assert float(words[words.index("--stop-timeout") + 1]) > longest_stop()


def test_documented_docker_run_publishes_one_port_on_loopback() -> None:
    words = docker_run()
    published = [words[at + 1] for at, word in enumerate(words) if word == "--publish"]
    assert published == ["127.0.0.1:8080:8080"]


def test_base_image_has_a_tested_version_of_python() -> None:
    [version] = re.findall(r"^ARG PYTHON_IMAGE=\S+:(3\.\d+)-", DOCKERFILE, re.MULTILINE)
    tests = yaml.safe_load(Path(".github/workflows/ci.yml").read_text())["jobs"]["test"]
    assert version == tests["strategy"]["matrix"]["python"][-1]


def test_documented_commands_set_settings_that_exist() -> None:
    scripts = "".join(code_anywhere("sh", "_"))
    prefixes = "|".join({name.partition("_")[0] for name in SETTINGS if "_" in name})
    named = set(re.findall(rf"\b(?:{prefixes})_[A-Z_]+\b", scripts))
    assert named >= {"CLIENT_ID", "CLIENT_SECRET_FILE", "SECRET_KEY", "METRICS_PORT"}
    assert named <= set(SETTINGS) | {f"{name}_FILE" for name in FILE_SETTINGS}

"""docs/deploy.md, and what hosts read (app.json, heroku.yml), fit image and settings."""

import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec
import pytest
import yaml

from service.settings import FILE_SETTINGS, Settings
from tests.documents import code, docker_run, entry_point
from tests.running import environment, free_port

SETTINGS = {field.name.upper(): field for field in msgspec.structs.fields(Settings)}
DEPLOY = Path("docs/deploy.md").read_text()
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
def heroku() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path("heroku.yml").read_text())
    return found


@pytest.fixture
def fly() -> dict[str, Any]:
    [text] = code("docs/deploy.md", "toml")
    return tomllib.loads(text)


def default(name: str) -> float:
    found: float = SETTINGS[name].default
    return found


def longest_stop() -> float:
    return sum(map(default, ("DRAIN_SECONDS", "REQUEST_TIMEOUT", "UPSTREAM_TIMEOUT")))


def test_heroku_asks_for_settings_that_exist_and_all_that_are_required(app_json: AppJson) -> None:
    assert set(app_json.env) <= set(SETTINGS)
    required = {name for name, field in SETTINGS.items() if field.required}
    asked = {name for name, variable in app_json.env.items() if variable.required}
    assert required == asked - {"METRICS_PORT"}


def test_heroku_makes_the_secret_key_and_knows_no_other_value_of_a_secret(
    app_json: AppJson,
) -> None:
    assert [name for name, item in app_json.env.items() if item.generator] == ["SECRET_KEY"]
    assert [name for name, item in app_json.env.items() if item.value] == ["METRICS_PORT"]


def test_heroku_builds_the_stage_that_is_for_production(heroku: dict[str, Any]) -> None:
    assert heroku["build"] == {"docker": {"web": "Dockerfile"}}
    assert re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.MULTILINE)[-1] == "runtime"


def test_the_service_starts_as_heroku_starts_it(heroku: dict[str, Any]) -> None:
    """The entry point gets the image's command, and PORT from the environment."""
    assert "run" not in heroku
    port = free_port()
    environ = environment("http://127.0.0.1:1/api/token", PORT=str(port), HOST="0.0.0.0")  # noqa: S104 - as in the image
    started = [sys.executable, *entry_point()[1:], *entry_point("CMD")]
    with subprocess.Popen(started, env=environ, stdout=subprocess.DEVNULL) as process:
        try:
            while not answers(f"http://127.0.0.1:{port}/readyz"):
                assert process.poll() is None
                time.sleep(0.05)
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_fly_runs_the_production_stage_on_its_port_and_asks_it_for_readiness(
    fly: dict[str, Any],
) -> None:
    assert fly["build"] == {"dockerfile": "Dockerfile", "build-target": "runtime"}
    assert re.findall(r"\bPORT=(\d+)", DOCKERFILE) == [str(fly["http_service"]["internal_port"])]
    assert [check["path"] for check in fly["http_service"]["checks"]] == ["/readyz"]


def test_fly_sends_no_more_than_the_service_takes(fly: dict[str, Any]) -> None:
    assert fly["http_service"]["concurrency"]["hard_limit"] == default("UPSTREAM_MAX_IN_FLIGHT")


def test_fly_waits_until_the_service_has_ended(fly: dict[str, Any]) -> None:
    assert fly["kill_signal"] == "SIGTERM"
    assert fly["kill_timeout"] > longest_stop()


def test_fly_scrapes_metrics_inside(fly: dict[str, Any]) -> None:
    assert fly["metrics"] == {"port": default("METRICS_PORT"), "path": "/metrics"}
    assert "services" not in fly


def test_the_longest_stop_is_the_documented_one() -> None:
    assert f"{longest_stop():.0f} s with the defaults" in DEPLOY


def test_base_image_names_a_python_that_is_tested() -> None:
    [version] = re.findall(r"^ARG PYTHON_IMAGE=\S+:(3\.\d+)-", DOCKERFILE, re.MULTILINE)
    tests = yaml.safe_load(Path(".github/workflows/ci.yml").read_text())["jobs"]["test"]
    assert version == tests["strategy"]["matrix"]["python"][-1]


def test_docker_waits_until_the_service_has_ended_and_publishes_one_port_at_home() -> None:
    words = docker_run()
    assert float(words[words.index("--stop-timeout") + 1]) > longest_stop()
    published = [words[at + 1] for at, word in enumerate(words) if word == "--publish"]
    assert published == ["127.0.0.1:8080:8080"]


def test_the_documented_commands_set_settings_that_exist() -> None:
    scripts = "".join(code("docs/deploy.md", "sh"))
    prefixes = "|".join({name.partition("_")[0] for name in SETTINGS if "_" in name})
    named = set(re.findall(rf"\b(?:{prefixes})_[A-Z_]+\b", scripts))
    assert named >= {"CLIENT_ID", "CLIENT_SECRET_FILE", "SECRET_KEY", "METRICS_PORT"}
    assert named <= set(SETTINGS) | {f"{name}_FILE" for name in FILE_SETTINGS}

"""No value is dead, none is unknown to the schema, and the service understands what they become."""

import base64
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest

from service import settings as service_settings
from tests.chart.rendering import (
    CHART,
    CI,
    RefusedError,
    Values,
    environment,
    of_kind,
    render,
    template,
)

Path = tuple[str, ...]

DEFAULTS: dict[str, Any] = msgspec.yaml.decode((CHART / "values.yaml").read_bytes())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
TEXTS = (
    "other",
    "0.5",
    "45s",
    "32Mi",
    "850m",
    "https://other.example.com",
    "/other",
    f"sha256:{'0' * 64}",
)
"""Texts of which each text value takes at least one."""
LISTS = ([{"name": "other"}], ["other"], ["https://other.example.com"], ["192.0.2.0/24"])
OPTIONAL = {"initialDelaySeconds", "timeoutSeconds"}
"""What a probe can have and need not."""


def leaves(values: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Walk what can be set; an object without keys and a list are values as a whole."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


LEAVES = dict(leaves(DEFAULTS))


def schema_of(path: Path) -> dict[str, Any]:
    """Return what the schema says of a value; empty where it leaves that to Kubernetes."""
    found = SCHEMA
    for name in path:
        found = resolved(found.get("properties", {}).get(name, {}))
    return found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "").rpartition("/")[2]
    return SCHEMA["definitions"][reference] if reference else schema


def others(path: Path, value: object) -> Iterator[object]:
    """Propose values of the same type; the schema may refuse some of them."""
    if choices := schema_of(path).get("enum"):
        yield from choices
    elif isinstance(value, bool):
        yield from (True, False)
    elif isinstance(value, int | float):
        yield from (value * 2 + 1, value / 2)
    elif isinstance(value, str):
        yield from TEXTS
    elif isinstance(value, list):
        yield from LISTS
    else:
        yield {"other": "1"}


def nested(path: Path, value: object) -> Values:
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def changes_something(path: Path, value: object) -> bool:
    """Tell whether another value makes other manifests of any example, or the chart refuse it.

    That the schema refuses it is no use of the value: it does not know the templates.
    """
    for example in CI:
        for other in others(path, value):
            try:
                if template(example, nested(path, other)) != rendered(example):
                    return True
            except RefusedError as refused:
                if "execution error" in str(refused):
                    return True
    return False


@cache
def rendered(example: str) -> str:
    return template(example)


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_every_value_is_used(path: Path) -> None:
    assert changes_something(path, LEAVES[path])


def test_a_dead_value_is_found() -> None:
    assert not changes_something(("global",), {})


def test_schema_and_values_know_the_same() -> None:
    def known(schema: dict[str, Any], values: dict[str, Any], path: Path) -> None:
        if schema.get("additionalProperties") is False:
            names = schema["properties"].keys() - {"global"}
            assert names - OPTIONAL == values.keys() - OPTIONAL, ".".join(path)
            for name in names & values.keys():
                known(resolved(schema["properties"][name]), values[name], (*path, name))

    known(SCHEMA, DEFAULTS, ())


def test_values_are_told_in_200_lines() -> None:
    assert len((CHART / "values.yaml").read_text().splitlines()) <= 200


def settings(example: str, values: Values | None = None) -> service_settings.Settings:
    """Return what the service makes of the environment that the chart gives it."""
    manifests = render(example, values)
    secrets = {one["metadata"]["name"]: one["data"] for one in of_kind(manifests, "Secret")}
    environ = {}
    for name, entry in environment(manifests).items():
        if "value" in entry:
            environ[name] = entry["value"]
        elif reference := entry["valueFrom"].get("secretKeyRef"):
            kept = secrets[reference["name"]]
            assert reference["key"] in kept or reference.get("optional")
            environ[name] = base64.b64decode(kept.get(reference["key"], "")).decode()
    return service_settings.load(environ)


def test_the_chart_adds_nothing_of_its_own_to_the_service() -> None:
    """Each default is the service's own, but for what the image sets, and the credentials."""
    expected = service_settings.load(
        {
            "CLIENT_ID": "ci-client-id",
            "CLIENT_SECRET": "ci-client-secret",
            "SECRET_KEY": "ci-secret-key-0123456789",
            "HOST": "0.0.0.0",  # noqa: S104 - as in the image
            "PORT": "8080",
        }
    )
    assert plain(settings("minimal")) == plain(expected)


def plain(settings: service_settings.Settings) -> dict[str, object]:
    """Return settings that can be compared: secrets never are equal."""
    found = msgspec.structs.asdict(settings)
    found.update(client_secret=None, secret_key=None, secret_keys_previous=None)
    return {**found, "secrets": settings.secrets}


def test_the_service_understands_every_value() -> None:
    got = settings("everything", {"config": {"drainSeconds": 7.5, "upstreamMaxInFlight": 100000}})
    assert {
        "ci-client-secret",
        "ci-secret-key-0123456789",
        "an-earlier-secret-key-01",
        "an-earlier-secret-key-02",
        "rediss://:ci-password@valkey.example.com:6380/1",
        "ci-password",
        "http://ci-user:ci-proxy-password@proxy.example.com:3129",
        "ci-proxy-password",
    } <= {*got.secrets}
    assert (got.rate_limit, got.trusted_proxies) == ("60/minute", ("10.0.0.0/8", "fd00::/8"))
    assert (got.base_path, got.public_url) == ("/spotify", "https://swap.example.com/spotify")
    assert got.redirect_uri == "my-app:/callback"
    assert got.cors_allow_origins == ("https://app.example.com", "https://beta.example.com")
    assert got.allowed_redirect_uris == {"my-app:/callback", "https://app.example.com/callback"}
    assert not got.client_credentials_enabled
    assert (got.drain_seconds, got.upstream_max_in_flight) == (7.5, 100000)


def test_every_setting_of_the_service_can_be_set() -> None:
    names = {field.name.upper() for field in msgspec.structs.fields(service_settings.Settings)}
    templates = (CHART / "templates/_environment.tpl").read_text()
    assert names - set(re.findall("[A-Z_]{4,}", templates)) == set()

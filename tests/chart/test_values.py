"""Every value is used, in the schema, and understood by the service."""

import base64
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
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
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
STRINGS = (
    "other",
    "0.5",
    "45s",
    "32Mi",
    "850m",
    "https://other.example.com",
    "/other",
    "30/minute",
    "192.0.2.1",
    "None",
    f"sha256:{'0' * 64}",
)
"""Strings of which each string value accepts at least one."""
ITEMS: tuple[object, ...] = (
    "other",
    "https://other.example.com",
    "192.0.2.0/24",
    "SpotifyAPIServerDown",
    "IPv6",
    5353,
    {"name": "other"},
    {"path": "/other"},
    {"type": "other"},
    {"name": "other", "image": "other"},
    {"name": "other", "mountPath": "/other"},
    {"name": "other", "emptyDir": {}},
    {"ip": "192.0.2.1", "hostnames": ["other"]},
    {"secretRef": {"name": "other"}},
    {"podSelector": {}},
    {"to": [{"podSelector": {}}]},
    {"hosts": ["swap.example.com"]},
    {"method": "POST"},
    {"operator": "Exists"},
    {"maxSkew": 2, "topologyKey": "other", "whenUnsatisfiable": "DoNotSchedule"},
    {"type": "Pods", "pods": {}},
)
"""Items of which each list accepts at least one."""
OBJECTS: tuple[object, ...] = (
    {"other": "1"},
    {"request": "5s"},
    {"preStop": {"sleep": {"seconds": 1}}},
    {"nameservers": ["192.0.2.1"]},
    {"podAffinity": {}},
)
"""Objects of which each empty object accepts at least one."""
KUBERNETES = {
    "autoscaling.behavior",
    "metrics.dashboard.labels",
    "podSecurityContext",
    "resources",
    "securityContext",
    "strategy",
}
"""Values with more properties than values.yaml sets."""
PROBE = {"initialDelaySeconds", "successThreshold", "terminationGracePeriodSeconds"}
OPTIONAL = {
    "": {"enabled"},
    "probes.startup": {*PROBE, "timeoutSeconds"},
    "probes.liveness": PROBE,
    "probes.readiness": PROBE,
}
"""Properties that the schema has and values.yaml does not set, by path."""


def leaves(values: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value with its path; lists and empty objects are values as a whole."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


LEAVES = dict(leaves(DEFAULTS))


def schema_of(path: Path) -> dict[str, Any]:
    """Return the schema of a value."""
    found = SCHEMA
    for name in path:
        found = resolved(found.get("properties", {}).get(name, found.get("additionalProperties")))
    return found


def resolved(schema: dict[str, Any] | None) -> dict[str, Any]:
    if not schema:
        return {}
    reference = schema.get("$ref", "").rpartition("/")[2]
    return SCHEMA["$defs"][reference] if reference else schema


def others(path: Path, value: object) -> Iterator[object]:
    """Propose other values of the same type; the schema refuses some of them."""
    if choices := schema_of(path).get("enum"):
        yield from (choice for choice in reversed(choices) if choice != value)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value / 2)
    elif isinstance(value, str):
        yield from (text for text in STRINGS if text != value)
    elif isinstance(value, list):
        yield from ([item] for item in ITEMS)
    elif isinstance(value, dict):
        yield from OBJECTS
    else:
        yield 30001


def nested(path: Path, value: object) -> Values:
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def merged(defaults: Values, values: Values) -> Values:
    """Return the defaults with other values, as helm merges them."""
    both = defaults.keys() & values.keys()
    objects = {name for name in both if isinstance(defaults[name], dict) and values[name]}
    return {
        **defaults,
        **values,
        **{name: merged(defaults[name], values[name]) for name in objects},
    }


def changes_something(path: Path, value: object) -> bool:
    """Return whether another value changes an example's manifests, or the templates refuse it."""
    for other in others(path, value):
        if not VALIDATOR.is_valid(merged(DEFAULTS, nested(path, other))):
            continue
        for example in ("everything", *CI):
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


def test_unused_value_fails_the_check() -> None:
    assert not changes_something(("global", "other"), "")


def test_schema_and_values_have_the_same_names() -> None:
    def compare(schema: dict[str, Any], values: object, path: str) -> None:
        if not isinstance(values, dict) or not values or path in KUBERNETES:
            return
        names = schema.get("properties", {}).keys() - OPTIONAL.get(path, set())
        assert names == values.keys() - OPTIONAL.get(path, set()), path
        for name in names:
            compare(resolved(schema["properties"][name]), values[name], f"{path}.{name}".strip("."))

    compare(SCHEMA, DEFAULTS, "")


def settings(example: str, values: Values | None = None) -> service_settings.Settings:
    """Return the service's settings in the environment that the chart sets."""
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


def test_defaults_are_those_of_the_service() -> None:
    """The defaults equal the service's, except those of the image and the credentials."""
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
    assert (got.port, got.metrics_port, got.log_format) == (8080, 9464, "json")
    assert got.cors_allow_origins == ("https://app.example.com", "https://beta.example.com")
    assert got.allowed_redirect_uris == {"my-app:/callback", "https://app.example.com/callback"}
    assert not got.client_credentials_enabled
    assert (got.drain_seconds, got.upstream_max_in_flight) == (7.5, 100000)


def test_every_setting_of_the_service_can_be_set() -> None:
    names = {field.name for field in msgspec.structs.fields(service_settings.Settings)}
    config = {
        re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key) for key in DEFAULTS["config"]
    }
    templates = (CHART / "templates/_env.tpl").read_text()
    assert names - config - {name.lower() for name in re.findall("[A-Z_]{4,}", templates)} == set()


def test_config_is_in_the_order_of_the_environment() -> None:
    assert list(DEFAULTS["config"]) == sorted(DEFAULTS["config"])


BLOCKS = sorted({path[:length] for path in LEAVES for length in range(1, len(path))})


@pytest.mark.parametrize("path", BLOCKS, ids=".".join)
def test_null_for_a_block_renders_or_is_refused_by_the_schema(path: Path) -> None:
    try:
        result = template("everything", nested(path, None))
    except RefusedError as refused:
        result = str(refused)
    assert re.search(
        r"^kind: |meet the specifications|/deployment.yaml:1:4\): [a-z]", result, re.MULTILINE
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"config": {"logLevel": "INFO"}}, 'value: "INFO"'),
        ({"otel": {"enabled": True, "endpoint": "http://a:1", "samplerArg": 0.1}}, 'value: "0.1"'),
        ({"image": {"tag": 20261125}}, "image: registry.example.com/spotify-api-server:20261125\n"),
        ({"image": {"registry": "", "repository": "localhost/x"}}, "image: localhost/x:1.0.0\n"),
        ({"image": {"registry": "", "repository": "a:5000/x/y"}}, "image: a:5000/x/y:1.0.0\n"),
        ({"image": {"registry": "a.example/team"}}, "image: a.example/team/spotify-api-server:"),
        ({"podAnnotations": None, "podLabels": None, "commonLabels": None}, "kind: Deployment"),
        ({"autoscaling": {"enabled": True, "targetCPU": "70%"}}, "averageUtilization: 70\n"),
        ({"autoscaling": {"enabled": True, "targetCPU": 0.5}}, 'averageValue: "0.5"\n'),
        ({"replicaCount": None, "podDisruptionBudget": {"minAvailable": 1}}, "minAvailable: 1\n"),
        ({"strategy": None}, "kind: Deployment"),
        ({"tmpSizeLimit": "16M"}, "sizeLimit: 16M\n"),
        ({"config": {"host": "::"}}, 'value: "::"'),
        (
            {
                "rateLimit": {
                    "limit": "1/day",
                    "trustedProxies": ["192.0.2.1", "172.16.0.0/12", "fd00::/8", "::1"],
                }
            },
            'value: "192.0.2.1,172.16.0.0/12,fd00::/8,::1"',
        ),
        (
            {"otel": {"enabled": True, "endpoint": "http://[$(HOST_IP)]:4318"}},
            'value: "http://[$(HOST_IP)]:4318"',
        ),
        ({"rateLimit": {"limit": "5/second;1000/day"}}, 'value: "5/second;1000/day"'),
        ({"rateLimit": {"limit": "100 per 5 minutes"}}, 'value: "100 per 5 minutes"'),
        ({"podSecurityContext": None, "securityContext": None}, "securityContext:\n"),
        (
            {
                "probes": {
                    "readiness": {
                        "periodSeconds": None,
                        **dict.fromkeys(("timeoutSeconds", "failureThreshold")),
                    }
                }
            },
            "port: http}\n",
        ),
        ({"podDisruptionBudget": {"maxUnavailable": "50%"}}, "maxUnavailable: 50%\n"),
        ({"x-anything": {"a": 1}, "enabled": True}, "kind: Deployment"),
    ],
)
def test_unusual_values_are_accepted(values: Values, text: str) -> None:
    assert text in template("minimal", values)

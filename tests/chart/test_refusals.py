"""Wrong values are refused one by one, each with a sentence that says what to do."""

import re

import pytest

from tests.chart.rendering import HELMS, RefusedError, Values, render, template

MISSING = (
    "The Spotify app's credentials are missing: set spotify.existingSecret to the name of a Secret "
    "that has them, or set spotify.clientId, spotify.clientSecret and spotify.secretKey, or "
    "externalSecret.enabled."
)
MORE = (
    "The Spotify app's credentials have more than one source: set one of spotify.existingSecret, "
    "spotify.clientId with its companions, and externalSecret.enabled."
)
UNLIMITED = (
    "rateLimit.trustedProxies and rateLimit.storage need rateLimit.limit, such as 60/minute."
)
STORAGE = (
    "rateLimit.storage.url must be redis://, rediss://, valkey:// or valkeys://, a host, "
    "and no more than a port and the number of a database."
)
PROXY = (
    "upstreamProxy.url must be http:// or https://, a host and a port, such as "
    "http://proxy.example.com:3128."
)
INSECURE = (
    "config.spotifyTokenUrl must be https: it gets the client secret; "
    "config.allowInsecureUpstream lifts this for a simulator."
)
INSECURE_LOGIN = (
    "config.spotifyAuthorizeUrl must be https: users log in there; "
    "config.allowInsecureUpstream lifts this for a simulator."
)
ELSEWHERE = (
    "spotify.redirectUri and spotify.secretKeysPrevious go into the Secret that the chart makes: "
    "put them into yours instead."
)
STORE = {"secretStoreRef": {"name": "vault"}}

SENTENCES: list[tuple[str | None, Values, str]] = [
    (None, {}, MISSING),
    (
        None,
        {"spotify": {"clientSecret": "s", "secretKey": "k"}},
        "The Spotify app's credentials are incomplete: spotify.clientId is missing.",
    ),
    (
        "minimal",
        {"spotify": {"clientSecret": ""}},
        "The Spotify app's credentials are incomplete: spotify.clientSecret is missing.",
    ),
    (
        "minimal",
        {"spotify": {"secretKey": ""}},
        "The Spotify app's credentials are incomplete: spotify.secretKey is missing.",
    ),
    ("minimal", {"spotify": {"existingSecret": "mine"}}, MORE),
    ("minimal", {"externalSecret": {"enabled": True, "remoteKey": "x", **STORE}}, MORE),
    ("existing-secret", {"externalSecret": {"enabled": True, "remoteKey": "x", **STORE}}, MORE),
    ("existing-secret", {"spotify": {"redirectUri": "my-app:/callback"}}, ELSEWHERE),
    ("existing-secret", {"spotify": {"secretKeysPrevious": ["an-earlier-key"]}}, ELSEWHERE),
    (
        "minimal",
        {"spotify": {"keys": {"clientId": "secret-key"}}},
        "spotify.keys must be as many different names.",
    ),
    (
        "external-secret",
        {"externalSecret": {"secretStoreRef": {"name": ""}}},
        "externalSecret.enabled needs externalSecret.secretStoreRef.name.",
    ),
    (
        "external-secret",
        {"externalSecret": {"remoteKey": ""}},
        "externalSecret.enabled needs either externalSecret.remoteKey or externalSecret.data.",
    ),
    (
        "external-secret",
        {"externalSecret": {"data": [{"secretKey": "client-id"}]}},
        "externalSecret.enabled needs either externalSecret.remoteKey or externalSecret.data.",
    ),
    (
        "minimal",
        {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 4}},
        "autoscaling.minReplicas is more than autoscaling.maxReplicas.",
    ),
    (
        "minimal",
        {"otel": {"enabled": True}},
        "otel.enabled needs otel.endpoint, such as http://jaeger-collector:4318.",
    ),
    ("minimal", {"config": {"spotifyTokenUrl": "http://simulator:7001/api/token"}}, INSECURE),
    ("minimal", {"config": {"spotifyAuthorizeUrl": "http://a:7001/authorize"}}, INSECURE_LOGIN),
    (
        "minimal",
        {"httpRoute": {"enabled": True}},
        "httpRoute.enabled needs httpRoute.parentRefs, the Gateways that it belongs to.",
    ),
    ("minimal", {"ingress": {"enabled": True}}, "ingress.enabled needs ingress.hosts."),
    (
        "minimal",
        {"metrics": {"enabled": False, "serviceMonitor": {"enabled": True}}},
        "metrics.serviceMonitor.enabled needs metrics.enabled.",
    ),
    (
        "minimal",
        {"metrics": {"enabled": False, "prometheusRule": {"enabled": True}}},
        "metrics.prometheusRule.enabled needs metrics.enabled.",
    ),
    (
        "minimal",
        {"extraEnv": [{"name": "CLIENT_SECRET", "value": "in clear"}]},
        "extraEnv must not have CLIENT_SECRET: the chart sets it, from values of its own.",
    ),
    (
        "minimal",
        {"extraEnv": [{"name": "LOG_LEVEL", "value": "debug"}]},
        "extraEnv must not have LOG_LEVEL: the chart sets it, from values of its own.",
    ),
    ("minimal", {"rateLimit": {"trustedProxies": ["10.0.0.0/8"]}}, UNLIMITED),
    ("minimal", {"rateLimit": {"storage": {"url": "redis://valkey"}}}, UNLIMITED),
    (
        "minimal",
        {"rateLimit": {"limit": "1/day", "storage": {"url": "redis://a", "existingSecret": "b"}}},
        "rateLimit.storage has more than one source: set either url or existingSecret.",
    ),
    *[
        ("minimal", {"rateLimit": {"limit": "1/day", "storage": {"url": url}}}, STORAGE)
        for url in (
            "valkey:6379",
            "http://a",
            "redis://",
            "redis://a/b",
            "rediss://a?x=y",
            "redis://:p@a:port",
        )
    ],
    (
        "minimal",
        {"extraEnv": [{"name": "RATE_LIMIT_STORAGE", "value": "redis://:in-clear@valkey"}]},
        "extraEnv must not have RATE_LIMIT_STORAGE: it comes from a Secret, see rateLimit.storage.",
    ),
    (
        "minimal",
        {"upstreamProxy": {"url": "http://proxy:3128", "existingSecret": "b"}},
        "upstreamProxy has more than one source: set either url or existingSecret.",
    ),
    *[
        ("minimal", {"upstreamProxy": {"url": url}}, PROXY)
        for url in (
            "proxy:3128",
            "socks5://hunter2@proxy:1080",
            "http://proxy",
            "http://proxy:0",
            "http://proxy:3128/path",
            "http://me:hunter2@proxy:3128?x",
        )
    ],
    (
        "minimal",
        {"extraEnv": [{"name": "UPSTREAM_PROXY", "value": "http://me:hunter2@proxy:3128"}]},
        "extraEnv must not have UPSTREAM_PROXY: it comes from a Secret, see upstreamProxy.",
    ),
    (
        "everything",
        {"extraEnv": [{"name": "UPSTREAM_PROXY_FILE", "value": "/run/secrets/proxy"}]},
        "extraEnv must not have UPSTREAM_PROXY_FILE: the chart sets it, from values of its own.",
    ),
    (
        "minimal",
        {"extraEnv": [{"name": "SECRET_KEY_FILE", "value": "/run/secrets/key"}]},
        "extraEnv must not have SECRET_KEY_FILE: the chart sets it, from values of its own.",
    ),
    (
        "minimal",
        {"config": {"spotifyTokenUrl": "https://somebody:hunter2@example.com"}},
        "config.spotifyTokenUrl must not have a user name or a password in it.",
    ),
    (
        "minimal",
        {"config": {"spotifyAuthorizeUrl": "https://somebody:hunter2@example.com"}},
        "config.spotifyAuthorizeUrl must not have a user name or a password in it.",
    ),
    (
        "minimal",
        {"config": {"publicUrl": "https://somebody:hunter2@example.com"}},
        "config.publicUrl must not have a user name or a password in it.",
    ),
    (
        "everything",
        {"otel": {"endpoint": "http://somebody:hunter2@jaeger:4317"}},
        "otel.endpoint must not have a user name or a password in it.",
    ),
    (
        "minimal",
        {"spotify": {"clientId": "hunter2:hunter2"}},
        "spotify.clientId must not have a colon in it.",
    ),
    (
        "minimal",
        {"spotify": {"clientSecret": "hunter2\n"}},
        "spotify.clientSecret must not have white space around it.",
    ),
    (
        "minimal",
        {"spotify": {"secretKeysPrevious": ["hunter2\nhunter3"]}},
        "spotify.secretKeysPrevious must have one key per item, without line ends in it.",
    ),
]
"""An example, what is changed in it, and the sentence, which is the chart's own."""

SCHEMA: list[tuple[Values, str, str]] = [
    ({"replicas": 3}, "", "additional properties 'replicas' not allowed"),
    ({"config": {"loglevel": "info"}}, "/config", "additional properties 'loglevel' not allowed"),
    ({"spotify": {"keys": {"id": "x"}}}, "/spotify/keys", "additional properties 'id' not allowed"),
    (
        {"probes": {"liveness": {"exec": {}}}},
        "/probes/liveness",
        "additional properties 'exec' not allowed",
    ),
    (
        {"config": {"logLevel": "loud"}},
        "/config/logLevel",
        "value must be one of 'trace', 'debug', 'info', 'notice', 'warning', 'error', 'critical'",
    ),
    ({"config": {"drainSeconds": -1}}, "/config/drainSeconds", "minimum: got -1, want 0"),
    (
        {"config": {"upstreamTimeout": 0}},
        "/config/upstreamTimeout",
        "exclusiveMinimum: got 0, want 0",
    ),
    (
        {"config": {"upstreamMaxInFlight": 0}},
        "/config/upstreamMaxInFlight",
        "minimum: got 0, want 1",
    ),
    ({"config": {"requestTimeout": "10"}}, "/config/requestTimeout", "got string, want number"),
    *[
        ({"config": {"basePath": path}}, "/config/basePath", f"'{path}' does not match pattern")
        for path in ("spotify", "/", "/spotify/", "/a//b", "/a/../b", "/a b")
    ],
    (
        {"config": {"publicUrl": "swap.example.com"}},
        "/config/publicUrl",
        "'swap.example.com' does not match pattern",
    ),
    (
        {"config": {"allowInsecureUpstream": "true"}},
        "/config/allowInsecureUpstream",
        "got string, want boolean",
    ),
    (
        {"config": {"corsAllowOrigins": ["*"]}},
        "/config/corsAllowOrigins/0",
        "'*' does not match pattern",
    ),
    (
        {"config": {"corsAllowOrigins": ["https://app.example.com/"]}},
        "/config/corsAllowOrigins/0",
        "'https://app.example.com/' does not match pattern",
    ),
    (
        {"config": {"allowedRedirectUris": ["my-app:/a,my-app:/b"]}},
        "/config/allowedRedirectUris/0",
        "'my-app:/a,my-app:/b' does not match pattern",
    ),
    (
        {"config": {"spotifyTokenUrl": "accounts.spotify.com/api/token"}},
        "/config/spotifyTokenUrl",
        "'accounts.spotify.com/api/token' does not match pattern",
    ),
    ({"spotify": {"clientId": 42}}, "/spotify/clientId", "got number, want string"),
    (
        {"spotify": {"secretKeysPrevious": "an-earlier-key"}},
        "/spotify/secretKeysPrevious",
        "got string, want array",
    ),
    ({"image": {"digest": "sha256:42"}}, "/image/digest", "'sha256:42' does not match pattern"),
    ({"image": {"tag": "a/b"}}, "/image/tag", "'a/b' does not match pattern"),
    ({"image": {"repository": ""}}, "/image/repository", "minLength: got 0, want 1"),
    (
        {"image": {"pullPolicy": "Sometimes"}},
        "/image/pullPolicy",
        "value must be one of 'Always', 'IfNotPresent', 'Never'",
    ),
    (
        {"otel": {"protocol": "http/json"}},
        "/otel/protocol",
        "value must be one of 'http/protobuf', 'grpc'",
    ),
    ({"otel": {"samplerArg": "1.5"}}, "/otel/samplerArg", "'1.5' does not match pattern"),
    (
        {"otel": {"resourceAttributes": {"a": "b,c=d"}}},
        "/otel/resourceAttributes/a",
        "'b,c=d' does not match pattern",
    ),
    (
        {"metrics": {"serviceMonitor": {"interval": "30"}}},
        "/metrics/serviceMonitor/interval",
        "'30' does not match pattern",
    ),
    (
        {"metrics": {"prometheusRule": {"inFlightRatio": 80}}},
        "/metrics/prometheusRule/inFlightRatio",
        "maximum: got 80, want 1",
    ),
    ({"replicaCount": 1.5}, "/replicaCount", "got number, want integer"),
    ({"autoscaling": {"minReplicas": 0}}, "/autoscaling/minReplicas", "minimum: got 0, want 1"),
    (
        {"podDisruptionBudget": {"maxUnavailable": "half"}},
        "/podDisruptionBudget/maxUnavailable",
        "'half' does not match pattern",
    ),
    (
        {"service": {"type": "ExternalName"}},
        "/service/type",
        "value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'",
    ),
    ({"service": {"port": 70000}}, "/service/port", "maximum: got 70,000, want 65,535"),
    ({"ingress": {"hosts": [""]}}, "/ingress/hosts/0", "minLength: got 0, want 1"),
    ({"podLabels": {"tier": 1}}, "/podLabels/tier", "got number, want string"),
    ({"tmpSizeLimit": "16"}, "/tmpSizeLimit", "'16' does not match pattern"),  # noqa: S108 - no path
    ({"extraEnv": [{"value": "x"}]}, "/extraEnv/0", "missing property 'name'"),
    ({"fullnameOverride": "Swap"}, "/fullnameOverride", "'Swap' does not match pattern"),
    (
        {"tests": {"simulatorUrl": "simulator:7001"}},
        "/tests/simulatorUrl",
        "'simulator:7001' does not match pattern",
    ),
]
"""What is changed in the minimal example, where the schema finds it, and what Helm 4 says."""


@pytest.mark.parametrize("major", HELMS)
@pytest.mark.parametrize(("example", "values", "sentence"), SENTENCES)
def test_the_chart_says_what_is_wrong(
    example: str | None, values: Values, sentence: str, major: int
) -> None:
    with pytest.raises(RefusedError) as refused:
        template(example, values, major=major)
    said = str(refused.value)
    assert re.search(r"^Error: execution error at \([^)]*\): (.*)", said).group(1) == sentence  # type: ignore[union-attr]
    assert "hunter2" not in said


@pytest.mark.parametrize(("values", "place", "complaint"), SCHEMA)
def test_the_schema_says_what_is_wrong(values: Values, place: str, complaint: str) -> None:
    with pytest.raises(RefusedError) as refused:
        template("minimal", values)
    [line] = [
        line for line in str(refused.value).splitlines() if line.startswith(f"- at '{place}'")
    ]
    nested = str(refused.value).partition(line)[2] if "anyOf" in line else line
    assert complaint in nested


@pytest.mark.parametrize(("values", "place", "_complaint"), SCHEMA)
def test_helm_3_refuses_the_same(values: Values, place: str, _complaint: str) -> None:
    with pytest.raises(RefusedError) as refused:
        template("minimal", values, major=3)
    assert f"- {place.strip('/').replace('/', '.') or '(root)'}" in str(refused.value)


def test_no_secret_is_made_up() -> None:
    """Without values for it there is no Secret, and no default that could stand in for one."""
    for example in ("existing-secret", "external-secret"):
        assert "Secret" not in {manifest["kind"] for manifest in render(example)}

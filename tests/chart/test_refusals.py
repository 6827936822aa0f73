"""Invalid values are refused, each with a message that explains the fix."""

import re

import pytest

from tests.chart.rendering import (
    CHART,
    RefusedError,
    Values,
    example_file,
    render,
    run,
    template,
)

MISSING = (
    "The credentials of the Spotify app are missing: set spotify.existingSecret to the name of a "
    "Secret, or spotify.clientId, spotify.clientSecret and spotify.secretKey, or "
    "externalSecret.enabled, or spotify.files."
)
MORE = (
    "The credentials of the Spotify app have more than one source: set only one of "
    "spotify.existingSecret, spotify.clientId (with clientSecret and secretKey), "
    "externalSecret.enabled and spotify.files."
)
UNLIMITED = (
    "rateLimit.trustedProxies and rateLimit.storage need rateLimit.limit, such as 60/minute."
)
STORAGE = (
    "rateLimit.storage.url must be redis://, rediss://, valkey:// or valkeys:// with a host, "
    "and at most a port and the number of a database."
)
PROXY = (
    "upstreamProxy.url must be http:// or https:// with a host and a port, such as "
    "http://proxy.example.com:3128."
)
INSECURE = (
    "config.spotifyTokenUrl must be https: it receives the client secret. "
    "config.allowInsecureUpstream allows http for a simulator."
)
INSECURE_LOGIN = (
    "config.spotifyAuthorizeUrl must be https: users log in there. "
    "config.allowInsecureUpstream allows http for a simulator."
)
ELSEWHERE = (
    "spotify.secretKeysPrevious belongs to spotify.secretKey: with another source of credentials, "
    "add the previous keys there."
)
IMAGE = {"image": {"registry": "registry.example.com"}}
FILES = {"clientId": "/a", "clientSecret": "/b", "secretKey": "/c"}
STORE = {"secretStoreRef": {"name": "vault"}}

SENTENCES: list[tuple[str | None, Values, str]] = [
    (None, IMAGE, MISSING),
    (
        None,
        {**IMAGE, "spotify": {"clientSecret": "s", "secretKey": "k"}},
        "The credentials of the Spotify app are incomplete: spotify.clientId is missing.",
    ),
    (
        "minimal",
        {"spotify": {"clientSecret": ""}},
        "The credentials of the Spotify app are incomplete: spotify.clientSecret is missing.",
    ),
    (
        "minimal",
        {"spotify": {"secretKey": ""}},
        "The credentials of the Spotify app are incomplete: spotify.secretKey is missing.",
    ),
    ("minimal", {"spotify": {"existingSecret": "mine"}}, MORE),
    ("minimal", {"externalSecret": {"enabled": True, "remoteKey": "x", **STORE}}, MORE),
    ("existing-secret", {"externalSecret": {"enabled": True, "remoteKey": "x", **STORE}}, MORE),
    ("existing-secret", {"spotify": {"secretKeysPrevious": ["an-earlier-key"]}}, ELSEWHERE),
    (
        "minimal",
        {"spotify": {"keys": {"clientId": "secret-key"}}},
        "spotify.keys must be different names.",
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
        "autoscaling.minReplicas must not be larger than autoscaling.maxReplicas.",
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
        "httpRoute.enabled needs httpRoute.parentRefs, the Gateways of the route.",
    ),
    (
        "minimal",
        {"ingress": {"enabled": True}},
        'ingress.enabled needs ingress.hosts; "*" is a rule for every host.',
    ),
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
        "extraEnv must not contain CLIENT_SECRET: the chart sets it from other values.",
    ),
    (
        "minimal",
        {"extraEnv": [{"name": "LOG_LEVEL", "value": "debug"}]},
        "extraEnv must not contain LOG_LEVEL: the chart sets it from other values.",
    ),
    ("minimal", {"rateLimit": {"trustedProxies": ["10.0.0.0/8"]}}, UNLIMITED),
    ("minimal", {"rateLimit": {"storage": {"url": "redis://valkey"}}}, UNLIMITED),
    (
        "minimal",
        {"rateLimit": {"limit": "1/day", "storage": {"url": "redis://a", "existingSecret": "b"}}},
        "rateLimit.storage has more than one source: set one of url, existingSecret and file.",
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
            "redis://:hunter2@a:65536",
            "redis://:hunter 2@a",
            "redis://a/123456",
            "redis://a..b",
        )
    ],
    (
        "minimal",
        {"extraEnv": [{"name": "RATE_LIMIT_STORAGE", "value": "redis://:in-clear@valkey"}]},
        "extraEnv must not contain RATE_LIMIT_STORAGE: set rateLimit.storage.",
    ),
    (
        "minimal",
        {"upstreamProxy": {"url": "http://proxy:3128", "existingSecret": "b"}},
        "upstreamProxy has more than one source: set one of url, existingSecret and file.",
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
            "http://me:hunter2@proxy:65536",
            "http://me:hunter 2@proxy:1",
            "http://[:::1]:3128",
        )
    ],
    (
        "minimal",
        {"extraEnv": [{"name": "UPSTREAM_PROXY", "value": "http://me:hunter2@proxy:3128"}]},
        "extraEnv must not contain UPSTREAM_PROXY: set upstreamProxy.",
    ),
    (
        "minimal",
        {"extraEnv": [{"name": "UPSTREAM_PROXY_FILE", "value": "/run/secrets/proxy"}]},
        "extraEnv must not contain UPSTREAM_PROXY_FILE: set upstreamProxy.",
    ),
    (
        "minimal",
        {"extraEnv": [{"name": "SECRET_KEY_FILE", "value": "/run/secrets/key"}]},
        "extraEnv must not contain SECRET_KEY_FILE: the chart sets it from other values.",
    ),
    (
        "minimal",
        {"config": {"spotifyTokenUrl": "https://somebody:hunter2@example.com"}},
        "config.spotifyTokenUrl must not contain a user name or a password.",
    ),
    (
        "minimal",
        {"config": {"spotifyAuthorizeUrl": "https://somebody:hunter2@example.com"}},
        "config.spotifyAuthorizeUrl must not contain a user name or a password.",
    ),
    (
        "minimal",
        {"config": {"publicUrl": "https://somebody:hunter2@example.com"}},
        "config.publicUrl must not contain a user name or a password.",
    ),
    (
        "everything",
        {"otel": {"endpoint": "http://somebody:hunter2@jaeger:4317"}},
        "otel.endpoint must not contain a user name or a password.",
    ),
    (
        "minimal",
        {"spotify": {"clientId": "hunter2:hunter2"}},
        "spotify.clientId must not contain a colon.",
    ),
    (
        "minimal",
        {"spotify": {"clientSecret": "hunter2\n"}},
        "spotify.clientSecret must not begin or end with white space.",
    ),
    (
        "minimal",
        {"spotify": {"clientSecret": "hunter2\tand"}},
        "spotify.clientSecret must not contain control characters.",
    ),
    *[
        (
            "minimal",
            {"rateLimit": {"limit": "1/day", "trustedProxies": [network]}},
            (
                f"rateLimit.trustedProxies has {network}: the bits after the prefix must be zero, "
                "as in 10.0.0.0/8."
            ),
        )
        for network in ("10.0.0.1/8", "172.17.0.0/12", "fd00::1/64")
    ],
    *[
        (
            "minimal",
            {name: {key: url}},
            (
                f"{name}.{key} must be a URL with a host name or an address, and at most a port "
                "from 1 to 65535."
            ),
        )
        for name, key, url in (
            ("config", "publicUrl", "https://swap.example.com:65536"),
            ("config", "spotifyTokenUrl", "https://swap.example.com:port/"),
            ("config", "spotifyAuthorizeUrl", "https://swap..example.com"),
            ("otel", "endpoint", "http://$(NODE_IP):4318"),
            ("tests", "simulatorUrl", "http://simulator:0"),
        )
    ],
    *[
        (
            "minimal",
            {"config": {"host": host}},
            "config.host must not be a loopback address: neither probes nor clients reach it.",
        )
        for host in ("127.0.0.1", "localhost", "::1")
    ],
    (
        "minimal",
        {"spotify": {"secretKeysPrevious": ["hunter2\nhunter3"]}},
        "spotify.secretKeysPrevious must be a list with one key per item, without line breaks.",
    ),
    (
        "minimal",
        {"enabled": False},
        "enabled: false has an effect only in a parent chart, as the condition of its dependency.",
    ),
    (
        "minimal",
        {"image": {"registry": ""}},
        (
            "image.registry is missing: this chart is not from a release, so set image.registry "
            "and image.tag (or image.digest) to an image that the cluster can pull."
        ),
    ),
    ("minimal", {"spotify": {"files": FILES}}, MORE),
    (
        "files",
        {"spotify": {"files": {"secretKey": ""}}},
        "The credentials of the Spotify app are incomplete: spotify.files.secretKey is missing.",
    ),
    (
        "minimal",
        {"spotify": {"files": {"secretKeysPrevious": "/vault/secrets/previous"}}},
        "spotify.files needs clientId, clientSecret and secretKey.",
    ),
    (
        "files",
        {"spotify": {"redirectUri": "my-app:/callback"}},
        "spotify.redirectUri and spotify.files.redirectUri are both set: set one of them.",
    ),
    (
        "files",
        {"spotify": {"mountAsFiles": True}},
        "spotify.mountAsFiles mounts Secrets, and with spotify.files there is none.",
    ),
    (
        "minimal",
        {"config": {"basePath": "/healthz"}},
        "config.basePath must not be the path of an endpoint outside it.",
    ),
    (
        "minimal",
        {"config": {"corsAllowOrigins": ["https://app.example.com:443"]}},
        (
            "config.corsAllowOrigins must not contain a default port (:80, :443): browsers leave "
            "it out."
        ),
    ),
    (
        "minimal",
        {"otel": {"enabled": True, "endpoint": "http://jaeger:4318/v1/traces"}},
        "otel.endpoint must not end with /v1/traces: the exporter adds it.",
    ),
    (
        "minimal",
        {"otel": {"enabled": True, "endpoint": "http://jaeger:4317/path", "protocol": "grpc"}},
        "otel.endpoint must not have a path with otel.protocol grpc.",
    ),
    (
        "minimal",
        {"metrics": {"serviceMonitor": {"interval": "5s"}}},
        (
            "metrics.serviceMonitor.scrapeTimeout must not be longer than "
            "metrics.serviceMonitor.interval."
        ),
    ),
    (
        "minimal",
        {"autoscaling": {"enabled": True, "targetCPU": ""}},
        (
            "autoscaling.enabled needs autoscaling.targetCPU, autoscaling.targetMemory or "
            "autoscaling.metrics."
        ),
    ),
    *[
        (
            "minimal",
            {"autoscaling": {"enabled": True, **target}, "resources": {"limits": {"cpu": limit}}},
            (
                f"autoscaling.{next(iter(target))} must be below resources.limits.{resource}, or "
                "no load scales the pods up."
            ),
        )
        for target, limit, resource in (
            ({"targetCPU": "700m"}, "500m", "cpu"),
            ({"targetCPU": 1}, "1", "cpu"),
            ({"targetCPU": "200%"}, 0.2, "cpu"),
            ({"targetMemory": "1Gi"}, "1", "memory"),
        )
    ],
    (
        "minimal",
        {
            "autoscaling": {"enabled": True, "targetCPU": "70%"},
            "resources": {"requests": {"cpu": None}},
        },
        "autoscaling.targetCPU is a share of resources.requests.cpu, which is missing.",
    ),
    (
        "minimal",
        {"podDisruptionBudget": {"minAvailable": 2}},
        (
            "podDisruptionBudget.minAvailable must be smaller than the smallest number of pods, or "
            "nodes cannot be drained."
        ),
    ),
    (
        "minimal",
        {"podDisruptionBudget": {"maxUnavailable": 2}},
        (
            "podDisruptionBudget.maxUnavailable must be smaller than the largest number of pods, "
            "or it protects none."
        ),
    ),
    (
        "minimal",
        {"podDisruptionBudget": {"maxUnavailable": None}},
        "podDisruptionBudget needs maxUnavailable or minAvailable.",
    ),
    (
        "minimal",
        {"service": {"port": 9464}},
        "service.port and service.metricsPort must be different.",
    ),
    (
        "minimal",
        {"service": {"nodePort": 30001}},
        "service.nodePort needs service.type NodePort or LoadBalancer.",
    ),
    (
        "minimal",
        {"service": {"type": "NodePort", "loadBalancerClass": "x"}},
        "service.loadBalancerClass needs service.type LoadBalancer.",
    ),
    (
        "load-balancer",
        {"service": {"clusterIP": "None"}},
        "service.clusterIP None needs service.type ClusterIP.",
    ),
    (
        "load-balancer",
        {
            "service": {"externalTrafficPolicy": "Cluster"},
            "rateLimit": {"limit": "60/minute", "trustedProxies": None},
        },
        (
            "service.externalTrafficPolicy Cluster replaces client addresses by those of nodes, so "
            "that rateLimit.limit counts all clients as one: use Local, or set "
            "rateLimit.trustedProxies."
        ),
    ),
    (
        "everything",
        {"ingress": {"tls": [{"secretName": "x", "hosts": ["other.example.com"]}]}},
        "ingress.tls has the host other.example.com, which is not in ingress.hosts.",
    ),
    (
        "minimal",
        {"resources": {"requests": {"memory": "1Gi"}}},
        "resources.requests.memory must not be larger than resources.limits.memory.",
    ),
    (
        "minimal",
        {"extraEnv": [{"name": "TZ", "value": "UTC"}, {"name": "TZ", "value": "CET"}]},
        "extraEnv contains TZ more than once.",
    ),
    (
        "minimal",
        {"extraVolumes": [{"name": "tmp", "emptyDir": {}}]},
        "extraVolumes must not contain tmp, a volume of the chart.",
    ),
    *[
        (
            "minimal",
            {"extraEnv": [{"name": name, "value": "x"}]},
            f"extraEnv must not contain {name}: set {value}.",
        )
        for name, value in (
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otel"),
            ("RATE_LIMIT", "rateLimit.limit"),
            ("SECRET_KEYS_PREVIOUS", "spotify"),
        )
    ],
    (
        "minimal",
        {"extraVolumes": [{"name": "a", "emptyDir": {}}, {"name": "a", "configMap": {}}]},
        "extraVolumes contains a more than once.",
    ),
    (
        "minimal",
        {
            "extraContainers": [{"name": "a", "image": "x"}],
            "initContainers": [{"name": "a", "image": "y"}],
        },
        "extraContainers and initContainers contain a more than once.",
    ),
    *[
        (
            "minimal",
            {"podDisruptionBudget": {"minAvailable": share}},
            (
                "podDisruptionBudget.minAvailable must be smaller than the smallest number of "
                "pods, or nodes cannot be drained."
            ),
        )
        for share in ("51%", "99%")
    ],
    (
        "minimal",
        {"podDisruptionBudget": {"maxUnavailable": "51%"}},
        (
            "podDisruptionBudget.maxUnavailable must be smaller than the largest number of pods, "
            "or it protects none."
        ),
    ),
    (
        "everything",
        {"httpRoute": {"timeouts": {"request": "5s", "backendRequest": "1m"}}},
        "httpRoute.timeouts.backendRequest must not be longer than httpRoute.timeouts.request.",
    ),
    (
        "minimal",
        {"extraContainers": [{"name": "spotify-api-server", "image": "x"}]},
        (
            "extraContainers and initContainers must not contain spotify-api-server, the "
            "container of the chart."
        ),
    ),
]
"""An example, the changed values, and the chart's error message."""

SCHEMA: list[tuple[Values, str, str]] = [
    ({"config": {"publicUrl": None}}, "/config", "missing property 'publicUrl'"),
    ({"service": {"port": None}}, "/service", "missing property 'port'"),
    ({"ingress": None}, "", "missing property 'ingress'"),
    ({"probes": {"startup": None}}, "/probes", "missing property 'startup'"),
    (
        {"metrics": {"prometheusRule": {"inFlightRatio": None}}},
        "/metrics/prometheusRule",
        "missing property 'inFlightRatio'",
    ),
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
    ({"image": {"repository": ""}}, "/image/repository", "'' does not match pattern"),
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
    ({"replicaCount": 1.5}, "/replicaCount", "got number, want null or integer"),
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
    ({"ingress": {"hosts": [""]}}, "/ingress/hosts/0", "'' does not match pattern"),
    ({"podLabels": {"tier": 1}}, "/podLabels/tier", "got number, want string"),
    ({"tmpSizeLimit": "16 MB"}, "/tmpSizeLimit", "'16 MB' does not match pattern"),  # noqa: S108 - no path
    *[
        ({"rateLimit": {"limit": limit}}, "/rateLimit/limit", "does not match pattern")
        for limit in ("60/fortnight", "0/minute", "60", "1/500 days", "1/2 years")
    ],
    *[
        ({"rateLimit": {"trustedProxies": [network]}}, "/rateLimit/trustedProxies/0", "not match")
        for network in ("999.1.1.1/99", "10.0.0.0/33", "proxy", "fd00::/129")
    ],
    *[
        ({"config": {"host": host}}, "/config/host", "does not match pattern")
        for host in ("not an ip", "...", "0.0.0.0:8080")
    ],
    (
        {"config": {"spotifyTokenUrl": "https://a b/"}},
        "/config/spotifyTokenUrl",
        "'https://a b/' does not match pattern",
    ),
    ({"fullnameOverride": "my.swap"}, "/fullnameOverride", "'my.swap' does not match pattern"),
    ({"fullnameOverride": "1swap"}, "/fullnameOverride", "'1swap' does not match pattern"),
    *[
        (
            {"podDisruptionBudget": {"maxUnavailable": most}},
            "/podDisruptionBudget/maxUnavailable",
            text,
        )
        for most, text in ((0, "got 0, want 1"), ("0%", "not match"), ("200%", "not match"))
    ],
    *[
        ({"ingress": {"hosts": [host]}}, "/ingress/hosts/0", "does not match pattern")
        for host in ("https://swap.example.com", "swap.example.com/path", "swap.example.com:443")
    ],
    ({"httpRoute": {"hostnames": ["a:443"]}}, "/httpRoute/hostnames/0", "not match"),
    *[
        ({"image": {"repository": name}}, "/image/repository", "does not match pattern")
        for name in ("ghcr.io/x/y:1", "ghcr.io/x/Y", "ghcr.io/x/y@sha256:0")
    ],
    ({"image": {"registry": "ghcr.io/"}}, "/image/registry", "does not match pattern"),
    ({"resources": {"limit": {}}}, "/resources", "additional properties 'limit' not allowed"),
    ({"resources": {"limits": {"cpu": "lots"}}}, "/resources/limits/cpu", "does not match pattern"),
    (
        {"securityContext": {"runAsNonRooot": True}},
        "/securityContext",
        "additional properties 'runAsNonRooot' not allowed",
    ),
    (
        {"podSecurityContext": {"fsgroup": 1}},
        "/podSecurityContext",
        "additional properties 'fsgroup' not allowed",
    ),
    (
        {
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "skew": 1}
            ]
        },
        "/topologySpreadConstraints/0",
        "additional properties 'skew' not allowed",
    ),
    (
        {"affinity": {"podAntiaffinity": {}}},
        "/affinity",
        "additional properties 'podAntiaffinity' not allowed",
    ),
    (
        {"extraContainers": [{"name": "x"}]},
        "/extraContainers/0",
        "missing property 'image'",
    ),
    (
        {"initContainers": [{"name": "x", "image": "x", "comand": []}]},
        "/initContainers/0",
        "additional properties 'comand' not allowed",
    ),
    ({"extraVolumes": [{"name": "x"}]}, "/extraVolumes/0", "minProperties: got 1, want 2"),
    (
        {"networkPolicy": {"ingressFrom": [{"podSelektor": {}}]}},
        "/networkPolicy/ingressFrom/0",
        "additional properties 'podSelektor' not allowed",
    ),
    ({"extraEnv": [{"name": "A B", "value": "x"}]}, "/extraEnv/0/name", "'A B' does not match"),
    ({"extraEnv": [{"name": "A", "value": 1}]}, "/extraEnv/0/value", "got number, want string"),
    ({"podLabels": {"-": "a"}}, "/podLabels", "additional properties '-' not allowed"),
    ({"podAnnotations": {"a b": "c"}}, "/podAnnotations", "properties 'a b' not allowed"),
    ({"spotify": {"existingSecret": "a..b"}}, "/spotify/existingSecret", "not match"),
    ({"httpRoute": {"hostnames": ["192.0.2.1"]}}, "/httpRoute/hostnames/0", "'not' failed"),
    ({"httpRoute": {"timeouts": {"request": "100000s"}}}, "/httpRoute/timeouts/request", "not"),
    ({"ingress": {"hosts": ["a", "a"]}}, "/ingress/hosts", "items at 0 and 1 are equal"),
    (
        {"service": {"loadBalancerSourceRanges": ["192.0.2.1"]}},
        "/service/loadBalancerSourceRanges/0",
        "'allOf' failed",
    ),
    ({"autoscaling": {"targetCPU": "70.5%"}}, "/autoscaling/targetCPU", "not match"),
    (
        {"strategy": {"rollingUpdate": {"maxSurge": "some"}}},
        "/strategy/rollingUpdate/maxSurge",
        "not match",
    ),
    (
        {"metrics": {"serviceMonitor": {"interval": "30s1m"}}},
        "/metrics/serviceMonitor/interval",
        "'30s1m' does not match pattern",
    ),
    ({"podLabels": {"tier": "a b"}}, "/podLabels/tier", "'a b' does not match pattern"),
    (
        {"metrics": {"prometheusRule": {"disabled": ["Down"]}}},
        "/metrics/prometheusRule/disabled/0",
        "value must be one of",
    ),
    ({"extraEnv": [{"value": "x"}]}, "/extraEnv/0", "missing property 'name'"),
    ({"fullnameOverride": "Swap"}, "/fullnameOverride", "'Swap' does not match pattern"),
    (
        {"tests": {"simulatorUrl": "simulator:7001"}},
        "/tests/simulatorUrl",
        "'simulator:7001' does not match pattern",
    ),
]
"""Changes of the minimal example, the path in the schema's error, and Helm 4's message."""


@pytest.mark.parametrize(("example", "values", "sentence"), SENTENCES)
def test_invalid_values_are_refused_with_a_reason(
    example: str | None, values: Values, sentence: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        template(example, values)
    message = str(refused.value)
    assert re.search(r"^Error: execution error at \([^)]*\): (.*)", message).group(1) == sentence  # type: ignore[union-attr]
    assert "hunter2" not in message


def test_release_name_must_be_a_valid_service_name() -> None:
    with pytest.raises(RefusedError, match=r"The name my\.swap-spotify-api-server, from the rel"):
        run(4, "template", "my.swap", str(CHART), "--values", str(example_file("minimal")))


@pytest.mark.parametrize(("values", "place", "complaint"), SCHEMA)
def test_schema_violations_are_reported(values: Values, place: str, complaint: str) -> None:
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


def test_no_secret_is_generated() -> None:
    """Without its values there is no Secret, and no default replaces it."""
    for example in ("existing-secret", "external-secret"):
        assert "Secret" not in {manifest["kind"] for manifest in render(example)}

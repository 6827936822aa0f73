"""Relations between the objects: selectors, checksums, references, disabled objects."""

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest

from service.grants import GRANTS
from service.oauth import TOKEN_PATHS
from tests.chart.rendering import (
    CHART,
    CI,
    RELEASE,
    Manifest,
    Values,
    environment,
    is_hook,
    of_kind,
    only,
    pod_of,
    render,
    run,
    server,
)
from tests.documents import code


def template_of(manifests: list[Manifest]) -> Manifest:
    found: Manifest = only(manifests, "Deployment")["spec"]["template"]
    return found


@pytest.mark.parametrize("example", CI)
def test_selectors_match_only_servers(example: str) -> None:
    manifests = render(example)
    labels = template_of(manifests)["metadata"]["labels"].items()
    test = only(manifests, "Pod")["metadata"]["labels"].items()
    selectors = [one["spec"]["selector"] for one in of_kind(manifests, "Service")]
    selectors += [one["spec"]["podSelector"] for one in of_kind(manifests, "NetworkPolicy")]
    selectors += [one["spec"]["selector"] for one in of_kind(manifests, "PodDisruptionBudget")]
    selectors.append(only(manifests, "Deployment")["spec"]["selector"])
    for selector in selectors:
        wanted = selector.get("matchLabels", selector).items()
        assert wanted <= labels
        assert not wanted <= test


def test_the_service_monitor_finds_the_port_once() -> None:
    manifests = render("everything", {"service": {"type": "LoadBalancer"}})
    monitor = only(manifests, "ServiceMonitor")["spec"]
    found = [
        port["name"]
        for service in of_kind(manifests, "Service")
        if monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        for port in service["spec"]["ports"]
    ]
    assert found.count(monitor["endpoints"][0]["port"]) == 1


def test_only_a_changed_secret_restarts_pods() -> None:
    def checksum(values: Values) -> str:
        annotations = template_of(render("minimal", values))["metadata"]["annotations"]
        found: str = annotations["checksum/secret"]
        return found

    before = checksum({})
    assert checksum({"replicaCount": 5, "commonLabels": {"a": "b"}}) == before
    for change in (
        {"clientSecret": "another"},
        {"secretKey": "another"},
        {"secretKeysPrevious": ["another"]},
        {"redirectUri": "another:"},
        {"keys": {"clientId": "another"}},
    ):
        assert checksum({"spotify": change}) != before


def test_pod_annotations_cannot_replace_the_checksum() -> None:
    values = {"podAnnotations": {"checksum/secret": "mine", "mine": "too"}}
    annotations = template_of(render("minimal", values))["metadata"]["annotations"]
    assert re.fullmatch("[0-9a-f]{64}", annotations["checksum/secret"])
    assert annotations["mine"] == "too"


def test_custom_labels_cannot_replace_selector_labels() -> None:
    mine = {"app.kubernetes.io/name": "mine", "team": "apps"}
    manifests = render("everything", {"podLabels": mine, "commonLabels": mine})
    assert template_of(manifests)["metadata"]["labels"]["team"] == "apps"
    for manifest in [*manifests, template_of(manifests)]:
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "spotify-api-server"
        assert labels["team"] == "apps"


def test_a_withdrawn_key_is_removed_from_the_secret() -> None:
    """Kubernetes keeps in `data` what an upgrade takes out of `stringData`."""
    secret = only(render("minimal"), "Secret")
    assert "stringData" not in secret
    secrets = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    assert secrets == {
        "client-id": "ci-client-id",
        "client-secret": "ci-client-secret",
        "secret-key": "ci-secret-key-0123456789",
    }


SECRETS = {
    "CLIENT_ID",
    "CLIENT_SECRET",
    "SECRET_KEY",
    "SECRET_KEYS_PREVIOUS",
    "RATE_LIMIT_STORAGE",
    "UPSTREAM_PROXY",
}


@pytest.mark.parametrize("example", CI)
def test_secrets_are_only_references(example: str) -> None:
    manifests = render(example)
    for name, entry in environment(manifests).items():
        if name in SECRETS:
            assert entry["valueFrom"].keys() == {"secretKeyRef"}
        elif name.removesuffix("_FILE") in SECRETS:
            assert entry["value"].startswith("/")
    without = [manifest for manifest in manifests if manifest["kind"] != "Secret"]
    for text in ("ci-client-secret", "ci-secret-key", "an-earlier-secret-key", "ci-proxy-password"):
        assert text not in str(without)


def mounted(manifests: list[Manifest]) -> dict[str, tuple[str, str]]:
    """Return the Secret and key of each file in the volume of secrets, by path in the container."""
    [mount] = [one for one in server(manifests)["volumeMounts"] if one["name"] == "secrets"]
    assert mount["readOnly"]
    volumes = pod_of(only(manifests, "Deployment"))["volumes"]
    [volume] = [one["projected"] for one in volumes if one["name"] == "secrets"]
    return {
        f"{mount['mountPath']}/{item['path']}": (source["secret"]["name"], item["key"])
        for source in volume["sources"]
        for item in source["secret"]["items"]
    }


@pytest.mark.parametrize("example", ["minimal", "everything", "existing-secret", "external-secret"])
def test_secrets_can_be_mounted_as_files(example: str) -> None:
    before = {
        name: tuple(entry["valueFrom"]["secretKeyRef"][part] for part in ("name", "key"))
        for name, entry in environment(render(example)).items()
        if name in SECRETS
    }
    manifests = render(example, {"spotify": {"mountAsFiles": True}})
    entries = environment(manifests)
    files = mounted(manifests)
    assert not SECRETS & entries.keys()
    assert {name: files[entries[f"{name}_FILE"]["value"]] for name in before} == before
    assert len(files) == len(before)


def test_a_secret_without_previous_keys_can_be_mounted() -> None:
    spotify = {"mountAsFiles": True, "keys": {"secretKeysPrevious": ""}}
    manifests = render("existing-secret", {"spotify": spotify})
    assert "SECRET_KEYS_PREVIOUS_FILE" not in environment(manifests)


def test_files_need_no_secret() -> None:
    manifests = render("files")
    assert "secret" not in {key.lower() for key in re.findall(r"\w+(?=KeyRef)", str(manifests))}
    assert not of_kind(manifests, "Secret")
    files = {
        name: entry["value"] for name, entry in environment(manifests).items() if "_FILE" in name
    }
    assert files == {
        "CLIENT_ID_FILE": "/vault/secrets/client-id",
        "CLIENT_SECRET_FILE": "/vault/secrets/client-secret",
        "SECRET_KEY_FILE": "/vault/secrets/secret-key",
        "SECRET_KEYS_PREVIOUS_FILE": "/vault/secrets/secret-keys-previous",
        "REDIRECT_URI_FILE": "/vault/secrets/redirect-uri",
        "RATE_LIMIT_STORAGE_FILE": "/vault/secrets/valkey",
        "UPSTREAM_PROXY_FILE": "/vault/secrets/proxy",
    }
    assert [rule["ports"][0]["port"] for rule in policy("files")["egress"]] == [
        53,
        3130,
        4318,
        6390,
    ]


@pytest.mark.parametrize("example", ["existing-secret", "external-secret", "minimal"])
def test_the_redirect_uri_is_a_plain_value_beside_any_source(example: str) -> None:
    entries = environment(render(example, {"spotify": {"redirectUri": "my-app:/callback"}}))
    assert entries["REDIRECT_URI"] == {"name": "REDIRECT_URI", "value": "my-app:/callback"}


@pytest.mark.parametrize("example", CI)
def test_pods_have_probes_resources_and_no_token(example: str) -> None:
    manifests = render(example)
    for pod in (pod_of(only(manifests, "Deployment")), pod_of(only(manifests, "Pod"))):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
    assert only(manifests, "ServiceAccount")["automountServiceAccountToken"] is False
    container = server(manifests)
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]  # noqa: S108
    assert container["startupProbe"]["httpGet"] == container["livenessProbe"]["httpGet"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["resources"].keys() == {"requests", "limits"}


def test_a_rollout_keeps_all_pods() -> None:
    strategy = only(render("minimal"), "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize(
    ("drain", "request_", "upstream"), [(5, 10, 10), (0, 0.5, 0.5), (60, 30, 90)]
)
def test_the_grace_period_is_longer_than_the_drain(
    drain: float, request_: float, upstream: float
) -> None:
    config = {"drainSeconds": drain, "requestTimeout": request_, "upstreamTimeout": upstream}
    pod = pod_of(only(render("minimal", {"config": config}), "Deployment"))
    assert pod["terminationGracePeriodSeconds"] >= drain + request_ + upstream + 7


@pytest.mark.parametrize(
    ("values", "made"),
    [
        ({"replicaCount": 1}, False),
        ({"replicaCount": 2}, True),
        ({"replicaCount": 1, "autoscaling": {"enabled": True}}, True),
        ({"autoscaling": {"enabled": True, "minReplicas": 1}}, True),
        ({"replicaCount": None}, True),
        ({"podDisruptionBudget": {"enabled": False}}, False),
    ],
)
def test_a_disruption_budget_is_made_for_more_than_one_replica(values: Values, made: bool) -> None:  # noqa: FBT001
    budgets = of_kind(render("minimal", values), "PodDisruptionBudget")
    assert [one["spec"]["unhealthyPodEvictionPolicy"] for one in budgets] == ["AlwaysAllow"] * made


def test_autoscaling_leaves_replicas_out() -> None:
    assert only(render("minimal"), "Deployment")["spec"]["replicas"] == 2
    manifests = render("minimal", {"autoscaling": {"enabled": True}})
    assert "replicas" not in only(manifests, "Deployment")["spec"]
    scaler = only(manifests, "HorizontalPodAutoscaler")["spec"]
    assert scaler["behavior"].keys() == {"scaleUp", "scaleDown"}
    [metric] = scaler["metrics"]
    # Not a percentage of the request, which is the usage of an idle pod.
    assert metric["resource"]["target"] == {"type": "AverageValue", "averageValue": "700m"}


def test_a_digest_replaces_the_tag() -> None:
    digest = f"sha256:{'0' * 64}"
    image = {"registry": "registry.example.com", "tag": "2", "digest": digest}
    for pod in ("Deployment", "Pod"):
        [container, *_] = pod_of(only(render("minimal", {"image": image}), pod))["containers"]
        assert container["image"] == f"registry.example.com/spotify-api-server@{digest}"


def policy(example: str, values: Values | None = None) -> dict[str, Any]:
    found: dict[str, Any] = only(render(example, values), "NetworkPolicy")["spec"]
    return found


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("https://accounts.spotify.com/api/token", 443),
        ("https://proxy.example.com:8443/token", 8443),
        ("https://[2001:db8::1]:8443/token", 8443),
        ("https://[2001:db8::1]/token", 443),
    ],
)
def test_egress_is_dns_and_the_port_of_spotify(url: str, port: int) -> None:
    spec = policy("minimal", {"config": {"spotifyTokenUrl": url}})
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert [[one["port"] for one in rule["ports"]] for rule in spec["egress"]] == [[53, 53], [port]]


def test_egress_includes_collector_and_storage() -> None:
    ports = [rule["ports"][0]["port"] for rule in policy("everything")["egress"]]
    assert {53, 3129, 4317, 6380, 8443} == {*ports}


@pytest.mark.parametrize(
    ("storage", "port"),
    [
        ({"url": "redis://valkey"}, 6379),
        ({"url": "valkeys://:p%40@[::1]/3"}, 6379),
        ({"url": "rediss://me:p@valkey:7000/1"}, 7000),
        ({"existingSecret": "mine", "port": 7001}, 7001),
    ],
)
def test_egress_to_the_storage_is_the_port_of_its_url(storage: Values, port: int) -> None:
    manifests = render("minimal", {"rateLimit": {"limit": "1/day", "storage": storage}})
    egress = only(manifests, "NetworkPolicy")["spec"]["egress"]
    assert [rule["ports"][0]["port"] for rule in egress] == [53, 443, port]


@pytest.mark.parametrize(
    ("proxy", "port"),
    [
        ({"url": "http://me:p%40@proxy:3128"}, 3128),
        ({"url": "https://[2001:db8::1]:8443/"}, 8443),
        ({"existingSecret": "mine", "port": 8080}, 8080),
    ],
)
def test_egress_to_spotify_is_the_port_of_the_proxy(proxy: Values, port: int) -> None:
    egress = policy("minimal", {"upstreamProxy": proxy})["egress"]
    assert [rule["ports"][0]["port"] for rule in egress] == [53, port]


@pytest.mark.parametrize(
    "values",
    [
        lambda host: {"rateLimit": {"limit": "1/day", "storage": {"url": f"redis://{host}"}}},
        lambda host: {"upstreamProxy": {"url": f"http://{host}:3128"}},
    ],
    ids=["storage", "proxy"],
)
def test_another_storage_or_proxy_restarts_pods(values: Callable[[str], Values]) -> None:
    def annotations(host: str) -> dict[str, str]:
        manifests = render("minimal", values(host))
        found: dict[str, str] = template_of(manifests)["metadata"]["annotations"]
        return found

    assert annotations("a") == annotations("a") != annotations("b")


def test_no_annotation_is_a_hash_of_a_password_alone() -> None:
    """The URL of the storage may have a password that can be guessed."""

    def annotation(host: str) -> str:
        storage = {"url": f"redis://:password@{host}", "existingSecret": ""}
        manifests = render("existing-secret", {"rateLimit": {"storage": storage}})
        found: str = template_of(manifests)["metadata"]["annotations"]["checksum/rate-limit"]
        return found

    assert annotation("a") == annotation("b") == "revision-1"


def test_ingress_is_limited_to_peers_and_the_test_pod() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"a": "b"}}}
    manifests = render("minimal", {"networkPolicy": {"ingressFrom": [peer]}})
    [http, metrics] = only(manifests, "NetworkPolicy")["spec"]["ingress"]
    [first, second] = http["from"]
    assert first == peer
    test = only(manifests, "Pod")["metadata"]["labels"]
    assert second["podSelector"]["matchLabels"].items() <= test.items()
    assert "from" not in metrics


@pytest.mark.parametrize(
    ("values", "policy"),
    [
        ({}, None),
        ({"rateLimit": {"limit": "60/minute"}}, "Local"),
        ({"service": {"externalTrafficPolicy": "Cluster"}}, "Cluster"),
        (
            {
                "service": {"externalTrafficPolicy": "Cluster"},
                "rateLimit": {"limit": "60/minute", "trustedProxies": ["10.0.0.0/8"]},
            },
            "Cluster",
        ),
    ],
)
def test_a_rate_limit_keeps_the_addresses_of_clients(values: Values, policy: str | None) -> None:
    service, _ = of_kind(render("load-balancer", values), "Service")
    assert service["spec"].get("externalTrafficPolicy") == policy
    assert (
        "externalTrafficPolicy"
        not in only(render("minimal", {"rateLimit": {"limit": "1/day"}}), "Service")["spec"]
    )


def test_a_service_has_the_fields_that_are_set() -> None:
    fields = {
        "type": "LoadBalancer",
        "clusterIP": "10.0.0.9",
        "internalTrafficPolicy": "Local",
        "ipFamilies": ["IPv6"],
        "ipFamilyPolicy": "SingleStack",
        "loadBalancerClass": "example.com/lb",
        "loadBalancerSourceRanges": ["192.0.2.0/24"],
        "trafficDistribution": "PreferClose",
    }
    service = {**fields, "nodePort": 30080, "labels": {"a": "b"}, "annotations": {"c": "d"}}
    outside, _ = of_kind(render("minimal", {"service": service}), "Service")
    assert outside["spec"].items() >= fields.items()
    assert outside["spec"]["ports"][0]["nodePort"] == 30080
    assert outside["metadata"]["labels"]["a"] == "b"
    assert outside["metadata"]["annotations"] == {"c": "d"}
    inside = only(render("minimal"), "Service")["spec"]
    assert inside.keys() == {"type", "selector", "ports"}


def rule(values: Values) -> dict[str, Any]:
    found: dict[str, Any] = only(render("everything", values), "HTTPRoute")["spec"]["rules"][0]
    return found


def paths(values: Values) -> list[tuple[str, str]]:
    """Return the type and path of each match, which Ingress and HTTPRoute have in common."""
    ingress = only(render("everything", values), "Ingress")["spec"]["rules"][0]["http"]["paths"]
    route = [match["path"] for match in rule(values)["matches"]]
    found = [(path["pathType"], path["path"]) for path in ingress]
    assert found == [(match["type"].removeprefix("Path"), match["value"]) for match in route]
    return found


METADATA = "/.well-known/oauth-authorization-server/spotify"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, [("Prefix", "/spotify"), ("Exact", METADATA)]),
        ({"config": {"publicUrl": ""}}, [("Prefix", "/spotify"), ("Exact", METADATA)]),
        (
            {"config": {"publicUrl": ""}, "httpRoute": {"hostnames": []}, "ingress": {"tls": []}},
            [("Prefix", "/spotify")],
        ),
        ({"config": {"basePath": ""}}, [("Prefix", "/")]),
    ],
)
def test_routes_match_the_base_path(values: Values, expected: list[tuple[str, str]]) -> None:
    assert paths(values) == expected


def test_matches_and_paths_replace_the_base_path() -> None:
    match = {"path": {"type": "Exact", "value": "/swap"}, "method": "POST"}
    values = {
        "httpRoute": {"matches": [match], "timeouts": {"request": "30s"}},
        "ingress": {"paths": [{"path": "/swap"}], "hosts": ["*"]},
    }
    assert rule(values)["matches"] == [match]
    assert rule(values)["timeouts"] == {"request": "30s"}
    [ingress] = only(render("everything", values), "Ingress")["spec"]["rules"]
    assert "host" not in ingress
    [path] = ingress["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/swap", "Prefix")


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"httpRoute": {"hostnames": ["*.a.example", "b.example"]}}, "https://b.example/spotify"),
        ({"httpRoute": {"enabled": False}}, "https://swap.example.com/spotify"),
        ({"httpRoute": {"enabled": False}, "ingress": {"tls": []}}, None),
        ({"httpRoute": {"enabled": False}, "ingress": {"hosts": ["*"]}}, None),
        ({"config": {"publicUrl": "http://a.example"}}, "http://a.example"),
    ],
)
def test_the_public_url_is_that_of_the_route(values: Values, url: str | None) -> None:
    config = {"publicUrl": "", **values.get("config", {})}
    entries = environment(render("everything", {**values, "config": config}))
    assert entries.get("PUBLIC_URL", {}).get("value") == url


def test_the_autoscaler_has_the_metrics_that_are_set() -> None:
    pods = {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "Value"}}}
    autoscaling = {"enabled": True, "targetCPU": "70%", "targetMemory": "150Mi", "metrics": [pods]}
    cpu, memory, custom = only(
        render("minimal", {"autoscaling": autoscaling}), "HorizontalPodAutoscaler"
    )["spec"]["metrics"]
    assert cpu["resource"] == {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 70},
    }
    assert memory["resource"]["target"] == {"type": "AverageValue", "averageValue": "150Mi"}
    assert custom == pods


def test_replicas_can_be_left_out() -> None:
    manifests = render("minimal", {"replicaCount": None})
    assert "replicas" not in only(manifests, "Deployment")["spec"]


def test_a_disruption_budget_can_have_a_minimum() -> None:
    budget = {"minAvailable": "50%"}
    spec = only(render("minimal", {"podDisruptionBudget": budget}), "PodDisruptionBudget")["spec"]
    assert spec["minAvailable"] == "50%"
    assert "maxUnavailable" not in spec


def test_a_pod_has_the_fields_that_are_set() -> None:
    wait = {"name": "wait", "image": "registry.example.com/wait:1", "restartPolicy": "Always"}
    pod_fields = {
        "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["proxy"]}],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["192.0.2.53"]},
        "runtimeClassName": "gvisor",
        "schedulerName": "mine",
        "terminationGracePeriodSeconds": 90,
        "initContainers": [wait],
    }
    deployment_fields = {
        "minReadySeconds": 5,
        "revisionHistoryLimit": 0,
        "strategy": {"type": "Recreate"},
    }
    container_fields = {"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}
    values = {
        **pod_fields,
        **deployment_fields,
        **container_fields,
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "probes": {"readiness": {"successThreshold": 2}},
    }
    manifests = render("minimal", values)
    deployment = only(manifests, "Deployment")
    assert pod_of(deployment).items() >= pod_fields.items()
    assert deployment["spec"].items() >= deployment_fields.items()
    container = server(manifests)
    assert container.items() >= container_fields.items()
    assert container["envFrom"] == [{"secretRef": {"name": "more"}}]
    assert container["readinessProbe"]["successThreshold"] == 2


def test_extra_objects_are_templates() -> None:
    name = '{{ include "spotify-api-server.fullname" . }}-extra'
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: '{name}'\n"
    objects = [{**kind, "metadata": {"name": name}}, text]
    first, second = of_kind(render("minimal", {"extraObjects": objects}), "ConfigMap")
    assert first == second == {**kind, "metadata": {"name": f"{RELEASE}-spotify-api-server-extra"}}


def test_the_service_monitor_has_the_fields_that_are_set() -> None:
    monitor = {
        "namespace": "monitoring",
        "scheme": "https",
        "tlsConfig": {"insecureSkipVerify": True},
        "relabelings": [{"action": "labeldrop", "regex": "pod"}],
        "metricRelabelings": [{"action": "drop", "regex": "python_.*"}],
    }
    found = only(render("everything", {"metrics": {"serviceMonitor": monitor}}), "ServiceMonitor")
    assert found["metadata"]["namespace"] == monitor.pop("namespace")
    assert found["spec"]["namespaceSelector"] == {"matchNames": ["apps"]}
    assert found["spec"]["endpoints"][0].items() >= monitor.items()


def test_every_object_is_in_the_chosen_namespace() -> None:
    manifests = render("everything", {"namespaceOverride": "other"})
    assert {one["metadata"]["namespace"] for one in manifests} == {"other"}


def test_every_object_has_the_common_annotations_and_its_own() -> None:
    common = {"a": "common", "b": "common"}
    manifests = render(
        "minimal", {"commonAnnotations": common, "service": {"annotations": {"a": "x"}}}
    )
    for one in manifests:
        own = {"a": "x"} if one["kind"] == "Service" else {}
        found = one["metadata"]["annotations"].items()
        assert {key: value for key, value in found if "helm.sh" not in key} == {**common, **own}


def test_dns_ports_and_peers_are_values() -> None:
    dns = {"ports": [53, 5353], "peers": [{"namespaceSelector": {}}]}
    rule = policy("minimal", {"networkPolicy": {"dns": dns}})["egress"][0]
    assert {(port["port"], port["protocol"]) for port in rule["ports"]} == {
        (number, protocol) for number in (53, 5353) for protocol in ("UDP", "TCP")
    }
    assert rule["to"] == [{"namespaceSelector": {}}]


def test_a_collector_on_each_node_is_reached_by_its_address() -> None:
    entries = environment(render("files"))
    assert entries["HOST_IP"]["valueFrom"] == {"fieldRef": {"fieldPath": "status.hostIP"}}
    names = list(entries)
    assert names.index("HOST_IP") < names.index("OTEL_EXPORTER_OTLP_ENDPOINT")
    assert entries["OTEL_EXPORTER_OTLP_ENDPOINT"]["value"] == "http://$(HOST_IP):4318"
    assert "HOST_IP" not in environment(render("everything"))


def test_an_upgrade_keeps_what_kubernetes_cannot_change() -> None:
    """Selectors and names are those of 1.0.0: a change needs a new major version."""
    manifests = render("everything", {"fullnameOverride": ""})
    name = f"{RELEASE}-spotify-api-server"
    selector = {
        "app.kubernetes.io/name": "spotify-api-server",
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/component": "server",
    }
    assert only(manifests, "Deployment")["spec"]["selector"] == {"matchLabels": selector}
    assert only(manifests, "Service")["spec"]["selector"] == selector
    assert {(one["kind"], one["metadata"]["name"]) for one in manifests if not is_hook(one)} == {
        ("ConfigMap", f"{name}-dashboard"),
        ("Deployment", name),
        ("HTTPRoute", name),
        ("HorizontalPodAutoscaler", name),
        ("Ingress", name),
        ("NetworkPolicy", name),
        ("PodDisruptionBudget", name),
        ("PrometheusRule", name),
        ("Secret", name),
        ("Secret", f"{name}-proxy"),
        ("Secret", f"{name}-rate-limit"),
        ("Service", name),
        ("ServiceAccount", name),
        ("ServiceMonitor", name),
    }


def test_metrics_stay_internal_with_a_load_balancer() -> None:
    outside, inside = of_kind(render("load-balancer"), "Service")
    assert [port["name"] for port in outside["spec"]["ports"]] == ["http"]
    assert "type" not in inside["spec"]
    assert [port["name"] for port in inside["spec"]["ports"]] == ["metrics"]


def test_metrics_can_be_off() -> None:
    manifests = render("minimal", {"metrics": {"enabled": False}})
    assert environment(manifests)["METRICS_PORT"]["value"] == "0"
    assert "9464" not in str(manifests)


def test_traces_have_resource_attributes_of_the_pod() -> None:
    entries = environment(render("everything"))
    attributes = dict(
        one.split("=") for one in entries["OTEL_RESOURCE_ATTRIBUTES"]["value"].split(",")
    )
    assert attributes == {
        "deployment.environment.name": "ci",
        "k8s.container.name": "spotify-api-server",
        "k8s.deployment.name": "swap",
        "k8s.namespace.name": "apps",
        "k8s.node.name": "$(NODE_NAME)",
        "k8s.pod.name": "$(POD_NAME)",
        "k8s.pod.uid": "$(POD_UID)",
        "service.instance.id": "$(POD_UID)",
    }
    names = list(entries)
    for name in re.findall(r"\$\((\w+)\)", entries["OTEL_RESOURCE_ATTRIBUTES"]["value"]):
        assert names.index(name) < names.index("OTEL_RESOURCE_ATTRIBUTES")
        assert "fieldRef" in entries[name]["valueFrom"]


def test_values_are_not_expanded() -> None:
    config = {"allowedRedirectUris": ["my-app:/$(SECRET_KEY)"]}
    entries = environment(render("minimal", {"config": config}))
    assert entries["ALLOWED_REDIRECT_URIS"]["value"] == "my-app:/$$(SECRET_KEY)"


def test_names_that_look_like_other_types_are_strings() -> None:
    """YAML reads an unquoted 123 as a number and true as a boolean."""
    keys = {"clientId": "1", "clientSecret": "2", "secretKey": "true"}
    values = {
        "nameOverride": "123",
        "fullnameOverride": "true",
        "namespaceOverride": "123",
        "imagePullSecrets": ["123"],
        "serviceAccount": {"name": "123"},
        "spotify": {"keys": keys},
        "ingress": {"className": "123"},
        "rateLimit": {"storage": {"key": "3"}},
    }
    manifests = render("everything", values)
    for one in manifests:
        assert (one["metadata"]["name"], one["metadata"]["namespace"]) >= ("123", "123")
        assert one["metadata"]["labels"]["app.kubernetes.io/name"] == "123"
    for one in (only(manifests, "Deployment"), only(manifests, "Pod")):
        assert pod_of(one)["serviceAccountName"] == "123"
        assert pod_of(one)["imagePullSecrets"] == [{"name": "123"}]
    references = [
        entry["valueFrom"]["secretKeyRef"]
        for entry in environment(manifests).values()
        if "secretKeyRef" in entry.get("valueFrom", {})
    ]
    assert {(one["name"], one["key"]) for one in references} >= {("true", "1"), ("true", "true")}
    assert {"1", "2", "true", "3"} <= {
        key for one in of_kind(manifests, "Secret") for key in one["data"]
    }
    assert only(manifests, "Ingress")["spec"]["ingressClassName"] == "123"


@pytest.mark.parametrize("example", CI)
def test_names_are_short_enough(example: str) -> None:
    manifests = render(example, {"fullnameOverride": "", "nameOverride": "n" * 63})
    for manifest in manifests:
        assert len(manifest["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in manifest["metadata"]["labels"].values())


def test_pods_of_a_rollout_spread_over_zones_and_hosts() -> None:
    manifests = render("minimal")
    spread = pod_of(only(manifests, "Deployment"))["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    for one in spread:
        selector = one["labelSelector"]["matchLabels"].items()
        assert selector <= template_of(manifests)["metadata"]["labels"].items()
        assert one["matchLabelKeys"] == ["pod-template-hash"]


def notes(example: str, values: Values | None = None) -> str:
    """Return NOTES.txt as `helm install` prints it."""
    file = str(CHART / "ci" / f"{example}-values.yaml")
    printed = run(
        4, "install", RELEASE, str(CHART), "--dry-run=client", "--values", file, values=values
    )
    return printed.partition("NOTES:\n")[2]


WILDCARD = {
    "config": {"publicUrl": ""},
    "httpRoute": {"hostnames": ["*.example.com"]},
    "ingress": {"enabled": False},
}
PATHS = [*(grant.path for grant in GRANTS), TOKEN_PATHS[0]]


@pytest.mark.parametrize(
    ("example", "values", "base"),
    [
        (
            "everything",
            {"config": {"clientCredentialsEnabled": True, "publicUrl": ""}},
            "https://swap.example.com/spotify",
        ),
        (
            "everything",
            {"config": {"clientCredentialsEnabled": True, "publicUrl": "https://a.example/b/"}},
            "https://a.example/b",
        ),
        (
            "minimal",
            {"ingress": {"enabled": True, "hosts": ["swap.example.org"], "tls": [{}]}},
            "https://swap.example.org",
        ),
        (
            "minimal",
            {
                "config": {"basePath": "/b"},
                "ingress": {"enabled": True, "hosts": ["swap.example.org"]},
            },
            "http://swap.example.org/b",
        ),
        ("minimal", {}, "http://swap-spotify-api-server.default"),
        (
            "minimal",
            {"config": {"basePath": "/b"}},
            "http://swap-spotify-api-server.default/b",
        ),
        ("load-balancer", {}, "http://swap-spotify-api-server.default:443"),
    ],
)
def test_notes_list_urls_and_code(example: str, values: Values, base: str) -> None:
    text = notes(example, values)
    for path in PATHS:
        assert re.search(rf"^  .*{re.escape(base + path)}$", text, re.MULTILINE)
    swift = "".join(code("docs/apps.md", "swift"))
    documented = re.findall(r'\w+(?::| =) URL\(string: "https://swap.example.com.*"\)', swift)
    assert len(documented) == 4
    for line in documented:
        assert line.replace("https://swap.example.com", base) in text
    inside = base.startswith("http://swap-")
    assert ("works inside the cluster only" in text) == inside
    assert ("port-forward" in text) == (inside and example == "minimal")


def test_notes_mention_a_disabled_flow() -> None:
    text = notes("everything")
    assert "disabled (config.clientCredentialsEnabled)" in text
    assert "/client-credentials-flow/" not in text


@pytest.mark.parametrize(
    ("example", "values", "sentence"),
    [
        (
            "minimal",
            {"ingress": {"enabled": True, "hosts": ["a.example"]}},
            "WARNING: http://a.exa",
        ),
        ("minimal", {}, "set spotify.redirectUri, or it gets 400."),
        (
            "existing-secret",
            {},
            "set spotify.redirectUri or the key REDIRECT_URI of the Secret, or",
        ),
        ("load-balancer", {}, "get service swap-spotify-api-server --watch"),
        ("load-balancer", {"service": {"type": "NodePort"}}, "spec.ports[0].nodePort"),
        ("everything", WILDCARD, "The host names are wildcards (*.example.com)"),
        ("everything", {"config": {"publicUrl": ""}}, "Its metadata (RFC 8414): https://swap.exam"),
        ("files", {}, "Restart them after a file has changed"),
    ],
)
def test_notes_list_the_next_steps(example: str, values: Values, sentence: str) -> None:
    assert sentence in notes(example, values)


def test_notes_contain_no_secret() -> None:
    assert "ci-client-id" in notes("everything")
    assert not re.search("ci-client-secret|secret-key-0|password", notes("everything"))

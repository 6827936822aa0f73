"""The chart accepts the routes in docs/kubernetes.md, and trusts their proxies."""

import msgspec
import pytest

from tests.chart.rendering import parse, template
from tests.documents import code

ROUTES = [example for example in code("docs/kubernetes.md", "yaml") if "trustedProxies" in example]


@pytest.mark.parametrize("example", ROUTES, ids=["gateway", "traefik", "nginx"])
def test_documented_ingress_renders_with_trusted_proxies(example: str) -> None:
    values = msgspec.yaml.decode(example)
    values |= {
        "spotify": {"existingSecret": "app"},
        "image": {"registry": "registry.example.com/you"},
    }
    rendered = parse(template(None, values))
    assert {one["kind"] for one in rendered} & {"HTTPRoute", "Ingress"}
    [pods] = [one for one in rendered if one["kind"] == "Deployment"]
    [container] = pods["spec"]["template"]["spec"]["containers"]
    environ = {one["name"]: one.get("value") for one in container["env"]}
    assert environ["TRUSTED_PROXIES"] == "10.0.0.0/8"

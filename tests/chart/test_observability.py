"""Alerts and dashboard use metrics that exist, and alerts fire when they should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.grants import GRANTS
from service.oauth import TOKEN_PATHS
from tests.chart.promql import Matcher, grouped_by, matchers, metrics
from tests.chart.rendering import CHART, NAMESPACE, RELEASE, only, render
from tests.conftest import Start
from tests.running import free_port

ALERTS = sorted(Path("tests/chart/alerts").glob("*.yaml"))
DASHBOARD: dict[str, Any] = json.loads((CHART / "files/dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OPERATIONS = Path("docs/operations.md").read_text()
TARGET = {"namespace", "job", "pod", "container", "endpoint", "instance", "service"}
"""Labels that the ServiceMonitor's scrapes give to every series."""

Samples = dict[str, list[dict[str, str]]]


def rules() -> list[dict[str, Any]]:
    # The release name is the `job` label of the tests' series.
    rule = only(render("everything", {"fullnameOverride": RELEASE}), "PrometheusRule")
    [group] = rule["spec"]["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


RULES = {rule["alert"]: rule for rule in rules()}


def asked_by_dashboard() -> Iterator[str]:
    """Return every expression of the dashboard, with its variables as a reader would set them."""
    found = [target["expr"] for panel in PANELS for target in panel["targets"]]
    found += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    for expression in found:
        text = expression.replace("$namespace", NAMESPACE).replace("$job", RELEASE)
        yield text.replace("$__rate_interval", "2m").replace("$__range", "3h")


DASHBOARD_EXPRESSIONS = sorted(set(asked_by_dashboard()))
EXPRESSIONS = [*(rule["expr"] for rule in RULES.values()), *DASHBOARD_EXPRESSIONS]


def promtool(*arguments: str, directory: Path) -> str:
    """Run promtool."""
    program = shutil.which("promtool")
    assert program, "promtool is missing: install Prometheus (Debian's package prometheus)"
    ran = subprocess.run(
        [program, *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def write_rules(directory: Path, written: list[dict[str, Any]]) -> None:
    groups = {"groups": [{"name": RELEASE, "rules": written}]}
    (directory / "rules.yaml").write_bytes(msgspec.yaml.encode(groups))


def test_rules_are_valid(tmp_path: Path) -> None:
    write_rules(tmp_path, list(RULES.values()))
    assert f"{len(RULES)} rules found" in promtool(
        "check", "rules", "rules.yaml", directory=tmp_path
    )


def test_dashboard_queries_are_valid(tmp_path: Path) -> None:
    recorded = [
        {"record": f"dashboard:{number}", "expr": expression}
        for number, expression in enumerate(DASHBOARD_EXPRESSIONS)
    ]
    write_rules(tmp_path, recorded)
    promtool("check", "rules", "rules.yaml", directory=tmp_path)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda path: path.stem)
def test_an_alert_fires_only_when_it_should(alert: Path, tmp_path: Path) -> None:
    """The tests' series are in the file, with what Prometheus then has to say."""
    write_rules(tmp_path, list(RULES.values()))
    shutil.copy(alert, tmp_path)
    assert "SUCCESS" in promtool("test", "rules", alert.name, directory=tmp_path)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda path: path.stem)
def test_alert_that_never_fires_fails_the_check(alert: Path, tmp_path: Path) -> None:
    write_rules(tmp_path, [{**rule, "expr": "vector(0) > 1"} for rule in RULES.values()])
    shutil.copy(alert, tmp_path)
    with pytest.raises(AssertionError, match="FAILED"):
        promtool("test", "rules", alert.name, directory=tmp_path)


def test_every_alert_is_tested_and_documented() -> None:
    assert [alert.stem for alert in ALERTS] == sorted(RULES)
    for alert in ALERTS:
        cases = [
            case
            for test in msgspec.yaml.decode(alert.read_bytes())["tests"]
            for case in test["alert_rule_test"]
        ]
        assert {case["alertname"] for case in cases} == {alert.stem}
        assert {bool(case.get("exp_alerts")) for case in cases} == {True, False}
    assert set(re.findall(r"^\| `(SpotifyAPIServer\w+)`", OPERATIONS, re.MULTILINE)) == set(RULES)


def test_thresholds_are_values() -> None:
    limits = {"upstreamErrorRatio": 0.125, "upstreamSeconds": 7.5, "inFlightRatio": 0.5}
    values = {"metrics": {"prometheusRule": limits}, "config": {"upstreamMaxInFlight": 100}}
    [group] = only(render("everything", values), "PrometheusRule")["spec"]["groups"]
    found = {
        rule["alert"].removeprefix("SpotifyAPIServer"): rule["expr"] for rule in group["rules"]
    }
    assert "> 0.125\n" in found["UpstreamErrors"]
    assert "> 7.5" in found["UpstreamSlow"]
    assert found["Saturated"].endswith("> 50")


def alerts(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rule = only(render("minimal", {"metrics": {"prometheusRule": values}}), "PrometheusRule")
    return {one["alert"]: one for one in rule["spec"]["groups"][0]["rules"]}


def test_alerts_name_their_runbook() -> None:
    for name, rule in alerts({"enabled": True}).items():
        assert rule["annotations"]["description"].endswith(f". See {name} in docs/runbooks.md.")
        assert f"## {name}\n" in Path("docs/runbooks.md").read_text()
    for name, rule in RULES.items():
        page = "https://runbooks.example.com/swap"
        assert rule["annotations"]["runbook_url"] == f"{page}#{name.lower()}"


def test_alerts_can_be_removed_labelled_and_added() -> None:
    disabled = ["SpotifyAPIServerUpstreamSlow", "SpotifyAPIServerFailing"]
    extra = {"alert": "Mine", "expr": "vector(1)"}
    labels = {"team": "apps", "severity": "none"}
    got = alerts(
        {"enabled": True, "disabled": disabled, "alertLabels": labels, "extraRules": [extra]}
    )
    assert got.pop("Mine") == extra
    assert alerts({"enabled": True}).keys() - got.keys() == {*disabled}
    assert {rule["labels"]["team"] for rule in got.values()} == {"apps"}
    assert {rule["labels"]["severity"] for rule in got.values()} == {"critical", "warning"}


@pytest.fixture
def scrape(start: Start) -> Samples:
    """Return the metrics of a real service after calls with a wrong client secret."""
    port = free_port()
    client = start(
        METRICS_PORT=str(port),
        CLIENT_SECRET="wrong",
        RATE_LIMIT="1000/minute",
        RATE_LIMIT_STORAGE=f"redis://127.0.0.1:{free_port()}",
    )
    form = {"code": "x", "code_verifier": "v" * 43, "redirect_uri": "a:/b", "refresh_token": "x"}
    for path in (*(grant.path for grant in GRANTS), TOKEN_PATHS[0]):
        assert client.post(path, data=form).status_code >= 400
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def lacking(scrape: Samples, expression: str) -> set[str | Matcher]:
    """Return the metrics and labels of an expression that no series has."""
    missing: set[str | Matcher] = {name for name in metrics(expression) if name not in scrape}
    missing |= {one for one in matchers(expression) if not is_there(scrape, one)}
    exported = {
        label for name in metrics(expression) & scrape.keys() for label in labels(scrape, name)
    }
    return missing | grouped_by(expression) - exported


def labels(scrape: Samples, metric: str) -> set[str]:
    return TARGET.union(*scrape[metric])


def is_there(scrape: Samples, one: Matcher) -> bool:
    """Return whether a series has the label with a selected value."""
    if one.label in TARGET:
        return one.value in {NAMESPACE, RELEASE}
    values = {series.get(one.label) for series in scrape.get(one.metric, [])} - {None}
    pattern = one.value if one.operator == "=~" else re.escape(one.value)
    return all(
        any(re.fullmatch(part, str(value)) for value in values) for part in pattern.split("|")
    )


def test_alerts_and_dashboard_use_existing_series(scrape: Samples) -> None:
    assert {expr: lacking(scrape, expr) for expr in EXPRESSIONS if lacking(scrape, expr)} == {}


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        ("rate(spotify_api_server_request_total[5m])", "spotify_api_server_request_total"),
        ("sum by (route) (spotify_api_server_requests_total)", "route"),
        (
            'spotify_api_server_requests_total{outcome=~"failed|broken"}',
            Matcher("spotify_api_server_requests_total", "outcome", "=~", "failed|broken"),
        ),
        (
            'spotify_api_server_build_info{flow="refresh"}',
            Matcher("spotify_api_server_build_info", "flow", "=", "refresh"),
        ),
        ('up{job="swap"}', "up"),
    ],
)
def test_missing_series_fails_the_check(
    scrape: Samples, expression: str, missing: str | Matcher
) -> None:
    assert missing in lacking(scrape, expression)


def test_used_metrics_are_documented() -> None:
    queried = {name for expression in EXPRESSIONS for name in metrics(expression)}
    documented = set(re.findall(r"^\| `(\w+)`", OPERATIONS, re.MULTILINE))
    ours = {name for name in queried if name.startswith("spotify_api_server_")}
    assert ours
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in ours} - documented == set()


def test_the_dashboard_uses_the_chosen_datasource() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    users = [*PANELS, *DASHBOARD["annotations"]["list"], variables["namespace"], variables["job"]]
    users += [target for panel in PANELS for target in panel["targets"]]
    assert all(user["datasource"] == chosen for user in users)
    for panel in PANELS:
        for target in panel["targets"]:
            assert 'namespace="$namespace", job=~"$job"' in target["expr"], panel["title"]


def test_legends_use_remaining_labels() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            left = grouped_by(target["expr"]) or TARGET
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= left


def test_panels_have_a_position_a_title_and_a_unit() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(column for column, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["title"] and panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)


def test_the_dashboard_is_not_altered() -> None:
    data = only(render("everything"), "ConfigMap")["data"]
    assert [json.loads(text) for text in data.values()] == [DASHBOARD]

"""The chart's README and guide are current, and their examples can be installed."""

import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.chart.rendering import CHART, parse, template

README = (CHART / "README.md").read_text()
GUIDE = Path("docs/kubernetes.md")
EXAMPLES = [
    example
    for text in (README, GUIDE.read_text())
    for example in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
]
IMAGE = {"image": {"registry": "registry.example.com"}}
CREDENTIALS = {"spotify": {"existingSecret": "app"}}


def test_the_readme_is_generated_from_the_values() -> None:
    ran = subprocess.run(
        [Path("tests/chart/helm-docs"), "--check"], capture_output=True, text=True, check=False
    )
    assert not ran.returncode, f"run: make chart-docs\n{ran.stdout}{ran.stderr}"


def test_every_value_has_a_description() -> None:
    rows = re.findall(r"^\| (\S+) \| \w+ \| .* \| *(.*?) *\|$", README, re.MULTILINE)
    assert len(rows) > 100
    assert [name for name, description in rows if not description] == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_can_be_installed(example: str) -> None:
    values = msgspec.yaml.decode(example)
    needed = IMAGE if {"externalSecret", "spotify"} & values.keys() else {**IMAGE, **CREDENTIALS}
    assert parse(template(None, {**needed, **values}))


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert all((CHART / link).exists() for link in links)


def test_versions_are_those_of_the_chart() -> None:
    chart = msgspec.yaml.decode((CHART / "Chart.yaml").read_bytes())
    [oldest] = re.findall(r"Kubernetes (\d\.\d+) or newer", README)
    assert chart["kubeVersion"] == f">={oldest}.0-0"
    [version] = re.findall('__version__ = "(.*)"', Path("service/__init__.py").read_text())
    assert chart["appVersion"] == version

"""The chart's README tells what the chart does."""

import re
from pathlib import Path

import msgspec
import pytest

from tests.chart import readme
from tests.chart.rendering import CHART, parse, template
from tests.chart.test_values import LEAVES

TEXT = readme.README.read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_table_is_that_of_the_values() -> None:
    assert readme.current() == TEXT, "run: make chart-docs"


def test_no_value_is_left_out() -> None:
    told = re.findall(r"^\| `([^`]+)` \| `", TEXT, re.MULTILINE)
    for path in LEAVES:  # by itself, or with those beside it
        assert {".".join(path), ".".join(path[:-1]), ".".join(path[:-2])} & {*told}


@pytest.mark.parametrize("example", EXAMPLES)
def test_its_examples_can_be_installed(example: str) -> None:
    assert parse(template(None, msgspec.yaml.decode(example)))


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    assert all((CHART / link).exists() for link in links)


def test_its_versions_are_those_of_the_chart() -> None:
    chart = msgspec.yaml.decode((CHART / "Chart.yaml").read_bytes())
    [oldest] = re.findall(r"Kubernetes (\d\.\d+) or newer", TEXT)
    assert chart["kubeVersion"] == f">={oldest}.0-0"
    [version] = re.findall('__version__ = "(.*)"', Path("service/__init__.py").read_text())
    assert chart["appVersion"] == version

"""Parse a PromQL expression: its metrics, and the labels that it selects or groups by.

Enough of the language for the chart's own expressions, whose syntax promtool checks.
"""

import re
from typing import Final, NamedTuple

WORDS: Final = frozenset(["and", "bool", "by", "offset", "on", "or", "unless", "without"])


class Matcher(NamedTuple):
    """A label of a metric that is selected by: name, operator and value."""

    metric: str
    label: str
    operator: str
    value: str


def matchers(expression: str) -> set[Matcher]:
    """Return everything in braces, with the metric in front of it."""
    return {
        Matcher(metric, *found)
        for metric, braces in re.findall(r"(\w+)\s*\{([^}]*)\}", expression)
        for found in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', braces)
    }


def metrics(expression: str) -> set[str]:
    """Return the names of all metrics: not functions, keywords, labels or durations."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\boffset\s+\w+', " ", expression)
    bare = re.sub(r"\b(by|on|without)\s*\([^)]*\)", " ", bare)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)) - WORDS


def grouped_by(expression: str) -> set[str]:
    """Return the labels in `by (…)` and the like."""
    groups = re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", expression)
    return {label.strip() for group in groups for label in group.split(",") if label.strip()}

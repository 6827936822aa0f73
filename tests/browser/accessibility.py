"""Accessibility violations, found by axe (https://github.com/dequelabs/axe-core)."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_AXE = Path("tests/node_modules/axe-core/axe.min.js")
_RUN = "() => axe.run(document, {resultTypes: ['violations', 'incomplete']})"


def violations(page: Page) -> list[str]:
    """Return the violations of WCAG 2.2 A and AA and of axe's best practices, with their elements.

    NOTE: evaluate() uses the debugger, which the page's Content-Security-Policy does not restrict.
    """
    page.evaluate(_AXE.read_text())
    result: dict[str, Any] = page.evaluate(_RUN)
    assert len(result["passes"]) > 10, "axe checked too few rules"
    return [
        f"{rule['id']}: {node['target']}: {node['failureSummary']}"
        for rule in result["violations"]
        for node in rule["nodes"]
    ]

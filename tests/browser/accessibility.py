"""What axe finds that keeps people out of a page: https://github.com/dequelabs/axe-core."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_AXE = Path("tests/browser/npm/node_modules/axe-core/axe.min.js")
_RUN = "() => axe.run(document, {resultTypes: ['violations', 'incomplete']})"


def violations(page: Page) -> list[str]:
    """Return what breaks a rule of WCAG 2.2 A and AA or of best practice, and where.

    NOTE: evaluate() goes through the debugger, which a page's policy doesn't bind.
    """
    page.evaluate(_AXE.read_text())
    result: dict[str, Any] = page.evaluate(_RUN)
    assert len(result["passes"]) > 10, "axe found nothing to look at"
    return [
        f"{found['id']}: {node['target']}: {node['failureSummary']}"
        for found in result["violations"]
        for node in found["nodes"]
    ]

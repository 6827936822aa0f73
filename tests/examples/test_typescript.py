"""examples/typescript: its own tests and its linter."""

import re
from pathlib import Path

from tests.chaos.processes import Service, Simulator
from tests.examples.running import run

EXAMPLE = Path("examples/typescript")


def test_it_passes_the_compiler_as_it_is_in_a_browser_and_the_linter() -> None:
    run("npm", "run", "--silent", "check", directory=EXAMPLE)


def test_it_passes_its_own_tests_and_leaves_the_simulator_as_at_its_start(
    service: Service, simulator: Simulator
) -> None:
    def state() -> list[object]:
        paths = ("settings", "faults", "requests", "users")
        return [simulator.client.get(f"/admin/{path}").json() for path in paths]

    before = state()
    addresses = {"SERVICE": service.url, "SIMULATOR": simulator.url}
    report = run("npm", "test", directory=EXAMPLE, environ=addresses).stdout
    [passed] = re.findall(r"^. pass (\d+)$", report, re.MULTILINE)
    assert int(passed) >= 14
    assert state() == before

"""Run the tests and the linter of examples/typescript."""

import re
from pathlib import Path

from tests.chaos.processes import Service, Simulator
from tests.examples.running import run

EXAMPLE = Path("examples/typescript")


def test_compiler_and_linter_pass() -> None:
    run("npm", "run", "--silent", "check", directory=EXAMPLE)


def test_own_tests_pass_and_reset_the_simulator(service: Service, simulator: Simulator) -> None:
    def state() -> list[object]:
        paths = ("settings", "faults", "requests", "users")
        return [simulator.client.get(f"/admin/{path}").json() for path in paths]

    before = state()
    addresses = {"SERVICE": service.url, "SIMULATOR": simulator.url}
    report = run("npm", "test", directory=EXAMPLE, environ=addresses).stdout
    [passed] = re.findall(r"^. pass (\d+)$", report, re.MULTILINE)
    assert int(passed) >= 16
    assert state() == before

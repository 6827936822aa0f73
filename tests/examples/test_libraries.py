"""Client libraries of others, each in the language it is for, against service and simulator."""

from pathlib import Path

import pytest

from tests.chaos.processes import Service, Simulator
from tests.examples.running import run

LIBRARIES = Path("tests/examples/libraries")
PYTHON = (
    *(".venv-libraries/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
    f"--confcutdir={LIBRARIES}",  # what is above imports the service
    *("-o", "filterwarnings=default"),  # the libraries' warnings are about the libraries
)


@pytest.fixture
def addresses(service: Service, simulator: Simulator) -> dict[str, str]:
    return {"SERVICE": service.url, "SIMULATOR": simulator.url}


@pytest.mark.parametrize("tests", sorted(LIBRARIES.glob("test_*.py")), ids=lambda path: path.stem)
def test_python(addresses: dict[str, str], tests: Path) -> None:
    assert " passed" in run(*PYTHON, tests, environ=addresses).stdout


def test_javascript(addresses: dict[str, str]) -> None:
    script = LIBRARIES / "libraries.test.mjs"
    report = run("node", "--test", "--test-reporter=tap", script, environ=addresses).stdout
    assert "\n# pass 3\n" in report

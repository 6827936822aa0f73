"""Client libraries of others, each in the language it is for, against service and simulator."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.chaos.processes import Service, Simulator

LIBRARIES = Path("tests/examples/libraries")
PYTHON = (
    *(".venv-libraries/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
    f"--confcutdir={LIBRARIES}",  # what is above imports the service
    *("-o", "filterwarnings=default"),  # the libraries' warnings are about the libraries
)


@pytest.mark.parametrize("tests", sorted(LIBRARIES.glob("test_*.py")), ids=lambda path: path.stem)
def test_python(service: Service, simulator: Simulator, tests: Path) -> None:
    assert run(service, simulator, *PYTHON, str(tests)).count("passed") == 1


def run(service: Service, simulator: Simulator, *command: str) -> str:
    """Run tests of a library; return what they write."""
    ran = subprocess.run(
        command,
        env={
            "PATH": os.environ["PATH"],
            "SERVICE": service.url,
            "SIMULATOR": simulator.url,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_javascript(service: Service, simulator: Simulator) -> None:
    script = str(LIBRARIES / "libraries.test.mjs")
    assert "\n# pass 3\n" in run(
        service, simulator, "node", "--test", "--test-reporter=tap", script
    )

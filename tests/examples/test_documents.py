"""Run the commands and compile the code in the READMEs of examples/ and in docs/apps.md."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.documents import code
from tests.examples.running import run
from tests.running import free_port

EXAMPLES = Path("examples")
READMES = sorted(EXAMPLES.glob("*/README.md"))
USER = Path(__file__).with_name("user.py")
PLACEHOLDERS = "SERVER=http://127.0.0.1:7000 SIMULATOR=http://127.0.0.1:7001"


@pytest.fixture
def make_run() -> Iterator[str]:
    """Start the program of `make run`; return the URLs that it prints, as shell variables."""
    environ = {"PATH": os.environ["PATH"], "PORT": str(free_port()), "METRICS_PORT": "0"}
    command = [sys.executable, "-m", "simulator.demo"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        printed = re.compile(r"Open the playground: +(\S+)/$|The service: +(\S+)$")
        page, service = islice(filter(None, map(printed.match, demo.stdout)), 2)
        yield f"SERVER={service[2]} SIMULATOR={page[1]}"
        demo.send_signal(signal.SIGTERM)
        demo.stdout.read()


def test_each_example_has_a_readme() -> None:
    assert [path.parent for path in READMES] == sorted(
        path for path in EXAMPLES.iterdir() if path.is_dir()
    )


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_readme_commands_work(make_run: str, readme: Path) -> None:
    [script] = code(str(readme), "sh")
    assert PLACEHOLDERS in script
    script = script.replace(PLACEHOLDERS, make_run)
    ran = run("bash", "-euo", "pipefail", stdin=script, environ={"BROWSER": str(USER)})
    assert ran.stdout.count("access token BQ") == 2
    assert ran.stderr == "not logged in: opening the browser\n"


def test_typescript_in_the_documents_compiles(tmp_path: Path) -> None:
    documents = ["docs/apps.md", "examples/typescript/README.md"]
    blocks = [block for document in documents for block in code(document, "ts")]
    assert len(blocks) == 3
    project = EXAMPLES.resolve() / "typescript"
    for source in ("swap.ts", "native.ts"):
        (tmp_path / source).write_text((project / "src" / source).read_text())
    for number, block in enumerate(blocks):
        (tmp_path / f"block{number}.ts").write_text(block)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(project / "node_modules")
    options = json.loads((project / "tsconfig.json").read_text())["compilerOptions"]
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    run(project / "node_modules/.bin/tsc", "--noEmit", directory=tmp_path)


def test_python_in_the_documents_passes_mypy(tmp_path: Path) -> None:
    [in_readme] = code("examples/python/README.md", "python")
    [in_apps] = code("docs/apps.md", "python")
    assert in_readme == in_apps
    block = tmp_path / "block.py"
    block.write_text(in_apps)
    run(
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        block,
        environ={"MYPYPATH": str(EXAMPLES / "python")},
    )

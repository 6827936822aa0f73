"""nginx, twice: as the upstream, which answers every refresh alike, and as a bare proxy to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from bench.load import wait_ready
from bench.rig import free_port, spawned
from bench.tokens import UPSTREAM_ANSWER, UPSTREAM_APP_ANSWER
from bench.tools import echo_module, tool

TOKEN_PATH = "/api/token"  # noqa: S105 - a path


@contextmanager
def upstream(core: int, directory: Path) -> Iterator[str]:
    """Run the upstream on `core`; yield the origin that stands for Spotify's."""
    answers = {"answer": UPSTREAM_ANSWER, "app_answer": UPSTREAM_APP_ANSWER}
    with _nginx("upstream.conf", core, directory, module=str(echo_module()), **answers) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def proxy(core: int, directory: Path, origin: str) -> Iterator[int]:
    """Run a proxy to the upstream at `origin` on `core`; yield its port."""
    with _nginx("proxy.conf", core, directory, upstream=origin.removeprefix("http://")) as port:
        yield port


@contextmanager
def _nginx(name: str, core: int, directory: Path, **values: str) -> Iterator[int]:
    port = free_port()
    conf, log = directory / name, directory / f"{name}.log"
    template = Template((Path(__file__).parent / name).read_text())
    conf.write_text(template.substitute(values, directory=directory, port=port))
    # -e: or nginx opens the system's own log before it reads ours from the file.
    command = [tool("nginx"), "-e", str(log), "-c", str(conf), "-p", str(directory)]
    with spawned(command, core, log, env={}) as process:
        wait_ready(process, port, TOKEN_PATH)
        yield port

"""The static upstream: nginx, which answers every refresh alike and costs the server nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from bench.load import wait_ready
from bench.rig import free_port, spawned
from bench.tokens import UPSTREAM_ANSWER
from bench.tools import echo_module, tool

_PATH = "/api/token"


@contextmanager
def upstream(core: int, directory: Path) -> Iterator[str]:
    """Run the upstream on `core`; yield the URL that stands for Spotify's."""
    port = free_port()
    conf = directory / "upstream.conf"
    conf.write_text(_conf(port, directory))
    log = directory / "upstream.log"
    # -e: or nginx opens the system's own log before it reads ours from the file.
    command = [tool("nginx"), "-e", str(log), "-c", str(conf), "-p", str(directory)]
    with spawned(command, core, log, env={}) as process:
        wait_ready(process, port, _PATH)
        yield f"http://127.0.0.1:{port}{_PATH}"


def _conf(port: int, directory: Path) -> str:
    template = Template((Path(__file__).parent / "upstream.conf").read_text())
    return template.substitute(
        module=echo_module(), directory=directory, port=port, answer=UPSTREAM_ANSWER
    )

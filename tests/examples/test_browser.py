"""Run examples/typescript/src/swap.ts in Chromium, on a page of another origin."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from urllib.parse import urlencode

import httpx

from tests.chaos.processes import Service, Simulator
from tests.chromium import ARGUMENTS, executable

HERE = Path(__file__).parent
Handlers = dict[str, Callable[[str], str]]


class Site(SimpleHTTPRequestHandler):
    """Serves a directory; POST requests go to the handler of their path."""

    def __init__(self, *arguments: object, handlers: Handlers, directory: Path) -> None:
        self._handlers = handlers
        super().__init__(*arguments, directory=str(directory))  # type: ignore[arg-type]

    def do_POST(self) -> None:
        posted = self.rfile.read(int(self.headers["Content-Length"])).decode()
        body = self._handlers[self.path](posted).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def site(directory: Path, handlers: Handlers) -> Iterator[str]:
    handler = partial(Site, handlers=handlers, directory=directory)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def agree(url: str) -> str:
    """Agree on the login page; return the redirect's target."""
    return httpx.post(url, data={"decision": "allow"}, trust_env=False).headers["location"]


def test_page_logs_in_refreshes_and_reads_errors(simulator: Simulator, tmp_path: Path) -> None:
    results: Queue[str] = Queue()

    def limit(_: str) -> str:
        simulator.queue_faults({"kind": "ratelimit", "retry_after": 9})
        return ""

    def result(posted: str) -> str:
        results.put(posted)
        return ""

    pages, profile, logs = (tmp_path / name for name in ("site", "profile", "service"))
    pages.mkdir()
    logs.mkdir()
    shutil.copy("examples/typescript/dist/src/swap.js", pages)
    shutil.copy(HERE / "browser.js", pages)
    (pages / "index.html").write_text('<script type="module" src="browser.js"></script>')
    handlers: Handlers = {"/agree": agree, "/limit": limit, "/result": result}
    with (
        site(pages, handlers) as origin,
        Service(logs, simulator.token_url, CORS_ALLOW_ORIGINS=origin) as service,
    ):
        query = {"server": service.url, "authorizeUrl": f"{simulator.url}/authorize"}
        page = f"{origin}/index.html?{urlencode(query)}"
        with subprocess.Popen(
            [executable(), "--headless", *ARGUMENTS, f"--user-data-dir={profile}", page],
            stderr=subprocess.DEVNULL,
        ) as chromium:
            try:
                received = json.loads(results.get(timeout=60))
            finally:
                chromium.terminate()
    assert received == {
        "refreshed": True,
        "localError": "could not decrypt refresh token",
        "retryAfter": 9,
    }

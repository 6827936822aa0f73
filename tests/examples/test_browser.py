"""examples/typescript/src/swap.ts in a real Chromium, on a page of an origin of its own."""

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
Answers = dict[str, Callable[[str], str]]


class Site(SimpleHTTPRequestHandler):
    """Serves a directory; what is posted goes to the function of that path."""

    def __init__(self, *arguments: object, answers: Answers, directory: Path) -> None:
        self._answers = answers
        super().__init__(*arguments, directory=str(directory))  # type: ignore[arg-type]

    def do_POST(self) -> None:
        posted = self.rfile.read(int(self.headers["Content-Length"])).decode()
        body = self._answers[self.path](posted).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def site(directory: Path, answers: Answers) -> Iterator[str]:
    handler = partial(Site, answers=answers, directory=directory)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def person(url: str) -> str:
    """Agree; return where the browser is sent."""
    return httpx.post(url, data={"decision": "allow"}, trust_env=False).headers["location"]


def test_a_page_logs_in_refreshes_and_reads_errors_and_retry_after(
    simulator: Simulator, tmp_path: Path
) -> None:
    results: Queue[str] = Queue()

    def limit(_: str) -> str:
        simulator.befall({"kind": "ratelimit", "retry_after": 9})
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
    answers: Answers = {"/person": person, "/limit": limit, "/result": result}
    with (
        site(pages, answers) as origin,
        Service(logs, simulator.token_url, CORS_ALLOW_ORIGINS=origin) as service,
    ):
        about = {"server": service.url, "authorizeUrl": f"{simulator.url}/authorize"}
        page = f"{origin}/index.html?{urlencode(about)}"
        with subprocess.Popen(
            [executable(), "--headless", *ARGUMENTS, f"--user-data-dir={profile}", page],
            stderr=subprocess.DEVNULL,
        ) as chromium:
            try:
                shown = json.loads(results.get(timeout=60))
            finally:
                chromium.terminate()
    assert shown == {
        "refreshed": True,
        "ours": "could not decrypt refresh token",
        "retryAfter": 9,
    }

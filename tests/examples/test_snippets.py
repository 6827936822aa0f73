"""The lines that /try and docs/apps.md show: each compiles, and those that can run here log in.

Swift, and what is Android's in Kotlin, are compiled against declarations (swift/, kotlin/) that say
what those libraries' sources say; everything else runs against service and simulator.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from simulator.pkce import challenge_of
from tests.chaos.processes import Service, Simulator
from tests.examples.documented import Snippet, snippets, spotify, text
from tests.examples.running import run
from tests.running import CLIENT_ID

HERE = Path(__file__).parent
TYPESCRIPT = Path("examples/typescript").resolve()
JARS = Path(".kotlin").resolve()
VERIFIER = "v" * 43
Flow = Literal["pkce", "code"]
Tokens = dict[str, str]
FLOWS: tuple[Flow, Flow] = ("pkce", "code")


SPOTIFY = spotify()
# Nothing that Spotify would give or take, but a page shows what its settings hold.
AWKWARD = snippets(
    origin="http://127.0.0.1:1",
    clientId="""it's "$HOME" \\(1) `id` ${2}""",
    authorizeUrl="http://127.0.0.1:1/authorize",
    redirectUri="""my-app://it's/"$HOME"/\\(1)/${2}""",
    scopes=["user-read-email", "playlist-read-private"],
)


@pytest.fixture
def here(service: Service, simulator: Simulator) -> list[Snippet]:
    """Return the snippets as the page of this service shows them."""
    return snippets(
        origin=service.url,
        clientId=CLIENT_ID,
        authorizeUrl=f"{simulator.url}/authorize",
        scopes=["user-read-email"],
    )


def code_of(url: str) -> str:
    """Agree at the page; return the code that the browser would take to the app."""
    answer = httpx.post(url, data={"decision": "allow"}, trust_env=False)
    [code] = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
    return code


def issued(simulator: Simulator, redirect_uri: str, flow: Flow) -> str:
    """Return a code for an app whose login doesn't run here."""
    order = {"redirect_uri": redirect_uri}
    if flow == "pkce":
        order["code_challenge"] = challenge_of(VERIFIER)
    code: str = simulator.client.post("/admin/codes", json=order).json()["code"]
    return code


def assert_refreshed(first: Tokens, second: Tokens, flow: Flow) -> None:
    assert first["access_token"] != second["access_token"]
    assert ("refresh_token" in second) == (flow == "pkce")


@pytest.mark.parametrize("language", ["kotlin", "typescript"])
@pytest.mark.parametrize("step", ["refresh", "client"])
def test_the_servers_url_comes_before_how_a_form_is_posted(language: str, step: str) -> None:
    """Who looks for it sees it without scrolling."""
    lines = text(SPOTIFY, language, step, "pkce")
    posting = {"kotlin": "fun post(", "typescript": "function post("}[language]
    assert lines.index("https://swap.example.com/") < lines.index(posting)


# curl --------------------------------------------------------------------------------------------


@pytest.fixture
def shell() -> Iterator[Callable[[str], str]]:
    """Return a shell that a person pastes lines into; it gives what they print."""
    with subprocess.Popen(
        ["bash", "-eu"],  # noqa: S607
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as bash:
        stdin, stdout = bash.stdin, bash.stdout
        assert stdin
        assert stdout

        def paste(lines: str) -> str:
            stdin.write(f"{lines}\necho; echo =end\n")
            stdin.flush()
            return "".join(iter(stdout.readline, "=end\n")).strip()

        yield paste
        stdin.close()


@pytest.mark.parametrize("flow", FLOWS)
def test_curl_logs_in_and_refreshes(
    here: list[Snippet], shell: Callable[[str], str], flow: Flow
) -> None:
    link, _, swap = text(here, "curl", "login", flow).partition("\n\n")
    code = code_of(shell(link))
    first = json.loads(shell(swap.replace("CODE=''", f"CODE='{code}'")))
    line = text(here, "curl", "refresh", flow)
    token = f"REFRESH_TOKEN='{first['refresh_token']}'"
    second = json.loads(shell(line.replace("REFRESH_TOKEN=''", token)))
    assert_refreshed(first, second, flow)


def test_curl_gets_the_apps_own_token(here: list[Snippet], shell: Callable[[str], str]) -> None:
    assert "access_token" in json.loads(shell(text(here, "curl", "client", "pkce")))


@pytest.mark.parametrize("flow", FLOWS)
def test_curl_quotes_what_a_shell_would_take_for_its_own(
    shell: Callable[[str], str], flow: Flow
) -> None:
    url = shell(text(AWKWARD, "curl", "login", flow).partition("\n\n")[0])
    query = parse_qs(urlsplit(url).query)
    assert query["client_id"] == ["""it's "$HOME" \\(1) `id` ${2}"""]
    assert query["redirect_uri"] == ["""my-app://it's/"$HOME"/\\(1)/${2}"""]


# TypeScript --------------------------------------------------------------------------------------


def test_typescript_logs_in_and_refreshes(here: list[Snippet], tmp_path: Path) -> None:
    """Compiled strictly, with what a browser has, all at once; run by Node.js."""
    sources = []
    for about, given in (("here", here), ("spotify", SPOTIFY), ("awkward", AWKWARD)):
        for one in given:
            if one.language == "typescript":
                path = tmp_path / f"{about}-{one.step}-{one.flow}.mts"
                path.write_text(one.text)
                sources.append(path)
    flags = ("--strict", "--target", "ES2022", "--module", "ES2022", "--noUnusedLocals")
    browser = ("--lib", "ES2022,DOM", "--moduleResolution", "Bundler")
    run(TYPESCRIPT / "node_modules/.bin/tsc", *flags, *browser, *sources)

    def call(flow: Flow, step: str, function: str, *arguments: str) -> str:
        module = (tmp_path / f"here-{step}-{flow}.mjs").as_uri()
        script = (
            f"const module = await import({module!r});"
            f"const answer = await module.{function}(...process.argv.slice(1));"
            "process.stdout.write(JSON.stringify(answer));"
        )
        return run("node", "--input-type=module", "--eval", script, "--", *arguments).stdout

    for flow in FLOWS:
        verifier = [VERIFIER] if flow == "pkce" else []
        url = json.loads(call(flow, "login", "loginUrl", "state", *verifier))
        assert parse_qs(urlsplit(url).query)["state"] == ["state"]
        first = json.loads(call(flow, "login", "retrieveTokens", code_of(url), *verifier))
        second = json.loads(call(flow, "refresh", "refreshTokens", first["refresh_token"]))
        assert_refreshed(first, second, flow)
    assert "access_token" in json.loads(call("pkce", "client", "retrieveAppToken"))


# Kotlin ------------------------------------------------------------------------------------------


def test_kotlin_retrieves_and_refreshes(
    here: list[Snippet], simulator: Simulator, tmp_path: Path
) -> None:
    """One compilation for all, which takes its time; a package for each keeps them apart."""
    sources = [HERE / "kotlin/auth.kt", HERE / "kotlin/main.kt"]
    for prefix, given in (("", here), ("spotify.", SPOTIFY), ("awkward.", AWKWARD)):
        for one in given:
            if one.language == "kotlin":
                package = f"{prefix}{one.flow}.{one.step}"
                path = tmp_path / f"{package}.kt"
                path.write_text(f"package {package}\n\n{one.text}")
                sources.append(path)
    [library] = JARS.glob("kotlin-stdlib-*.jar")
    compiler = ("java", "-cp", f"{JARS}/*", "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler")
    classes = tmp_path / "classes"
    flags = ("-Werror", "-no-stdlib", "-no-reflect", "-cp", library, "-d", classes)
    run(*compiler, *flags, *sources)

    def call(*arguments: str) -> Tokens:
        printed = run("java", "-cp", f"{classes}:{library}", "MainKt", *arguments).stdout
        answer: Tokens = json.loads(printed)
        return answer

    for flow in FLOWS:
        verifier = [VERIFIER] if flow == "pkce" else []
        code = issued(simulator, "my-app://callback", flow)
        first = call(f"{flow}-login", code, *verifier)
        assert_refreshed(first, call(f"{flow}-refresh", first["refresh_token"]), flow)
    assert "access_token" in call("client")


# Swift -------------------------------------------------------------------------------------------


def test_swift_compiles(here: list[Snippet], tmp_path: Path) -> None:
    """Each by itself, as a file of an app; what one declares is no concern of the next."""
    modules = ("Combine", "SpotifyWebAPI", "SpotifyiOS")
    for module in modules:
        (tmp_path / f"{module}.swift").write_text((HERE / f"swift/{module}.swift").read_text())
    named = []
    for about, given in (("here", here), ("spotify", SPOTIFY), ("awkward", AWKWARD)):
        for one in given:
            if one.language in {"swift", "ios"}:
                named.append(f"{about}-{one.language}-{one.step}-{one.flow}.swift")
                (tmp_path / named[-1]).write_text(one.text)
    assert len(named) == 3 * 2 * (3 + 2)
    lines = [f"swiftc -emit-module -parse-as-library -I . {module}.swift" for module in modules]
    lines.append(
        f"printf '%s\\n' {' '.join(named)} | xargs -P 2 -n 1"
        " swiftc -typecheck -parse-as-library -warnings-as-errors -swift-version 5 -I ."
    )
    run(HERE / "swift/run", tmp_path, "\n".join(lines))

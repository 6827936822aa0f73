"""Compile the snippets in docs/apps.md, and run those that need no phone.

Swift, and the Kotlin code for Android, compile against declarations (swift/, kotlin/) that repeat
the sources of the libraries. The other snippets run against the service and the simulator.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from simulator.pkce import challenge_of
from tests.chaos.processes import Service, Simulator
from tests.examples.documented import pointed_at, snippets
from tests.examples.running import run
from tests.running import CLIENT_ID

HERE = Path(__file__).parent
TYPESCRIPT = Path("examples/typescript").resolve()
LIBRARIES = Path("tests/examples/libraries").resolve()
NODE = Path("tests/node_modules").resolve()
JARS = Path(".kotlin").resolve()
NOT_COMPILED = {"flutter"}  # there is no Dart SDK
VERIFIER = "v" * 43
Tokens = dict[str, str]


@pytest.fixture
def here(service: Service, simulator: Simulator) -> dict[str, str]:
    """Return the snippets by name, with the URLs of the service and the simulator."""
    return pointed_at(service.url, f"{simulator.url}/authorize", CLIENT_ID)


def code_of(url: str) -> str:
    """Agree on the login page; return the code in the redirect."""
    response = httpx.post(url, data={"decision": "allow"}, trust_env=False)
    [code] = parse_qs(urlsplit(response.headers["location"]).query)["code"]
    return code


def assert_refreshed(first: Tokens, second: Tokens) -> None:
    assert first["access_token"] != second["access_token"]
    assert "refresh_token" in second


def test_every_snippet_has_a_test() -> None:
    curl = {"curl-login", "curl-retrieve", "curl-refresh", "curl-app"}
    scripts = {"typescript", "react-native", "expo"}
    mobile = {"kotlin", "kotlin-keystore", "swift", "swift-keychain", "ios"}
    assert set(snippets()) == curl | scripts | mobile | NOT_COMPILED


# curl --------------------------------------------------------------------------------------------


@pytest.fixture
def shell() -> Iterator[Callable[[str], str]]:
    """Return a function that runs commands in one shell and returns their output."""
    with subprocess.Popen(
        ["bash", "-eu"],  # noqa: S607
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as bash:
        stdin, stdout = bash.stdin, bash.stdout
        assert stdin
        assert stdout

        def paste(commands: str) -> str:
            stdin.write(f"{commands}\necho; echo =end\n")
            stdin.flush()
            return "".join(iter(stdout.readline, "=end\n")).strip()

        yield paste
        stdin.close()


def test_curl_logs_in_and_refreshes(here: dict[str, str], shell: Callable[[str], str]) -> None:
    code = code_of(shell(here["curl-login"]))
    first = json.loads(shell(here["curl-retrieve"].replace("CODE=''", f"CODE='{code}'")))
    token = f"REFRESH_TOKEN='{first['refresh_token']}'"
    second = json.loads(shell(here["curl-refresh"].replace("REFRESH_TOKEN=''", token)))
    assert_refreshed(first, second)


def test_curl_gets_an_app_token(here: dict[str, str], shell: Callable[[str], str]) -> None:
    assert "access_token" in json.loads(shell(here["curl-app"]))


# TypeScript --------------------------------------------------------------------------------------


def test_typescript_logs_in_and_refreshes(here: dict[str, str], tmp_path: Path) -> None:
    """Compile strictly with the types of a browser; run in Node.js."""
    source = tmp_path / "app.mts"
    source.write_text(here["typescript"])
    flags = ("--strict", "--target", "ES2022", "--module", "ES2022", "--noUnusedLocals")
    browser = ("--lib", "ES2022,DOM", "--moduleResolution", "Bundler")
    run(TYPESCRIPT / "node_modules/.bin/tsc", *flags, *browser, source)

    def call(function: str, *arguments: str) -> str:
        script = (
            f"const module = await import({(tmp_path / 'app.mjs').as_uri()!r});"
            f"const response = await module.{function}(...process.argv.slice(1));"
            "process.stdout.write(JSON.stringify(response));"
        )
        return run("node", "--input-type=module", "--eval", script, "--", *arguments).stdout

    url = json.loads(call("loginUrl", "state", VERIFIER))
    assert parse_qs(urlsplit(url).query)["state"] == ["state"]
    first = json.loads(call("retrieveTokens", code_of(url), VERIFIER))
    second = json.loads(call("refreshTokens", first["refresh_token"]))
    assert_refreshed(first, second)
    assert "access_token" in json.loads(call("retrieveAppToken"))


@pytest.mark.parametrize("name", ["react-native", "expo"])
def test_react_native_compiles(tmp_path: Path, name: str) -> None:
    source = tmp_path / "app.ts"
    source.write_text(snippets()[name])
    (tmp_path / "node_modules").symlink_to(NODE)
    flags = ("--strict", "--noEmit", "--skipLibCheck", "--noUnusedLocals", "--target", "ES2022")
    modules = ("--module", "ESNext", "--moduleResolution", "Bundler")
    types = LIBRARIES / "react-native.d.ts"
    run(TYPESCRIPT / "node_modules/.bin/tsc", *flags, *modules, types, source, directory=tmp_path)


# Kotlin ------------------------------------------------------------------------------------------


def test_kotlin_retrieves_and_refreshes(
    here: dict[str, str], simulator: Simulator, tmp_path: Path
) -> None:
    sources = [tmp_path / "app.kt", tmp_path / "keystore.kt"]
    for source, name in zip(sources, ["kotlin", "kotlin-keystore"], strict=True):
        source.write_text(f"package app\n\n{here[name]}")
    declarations = sorted((HERE / "kotlin").glob("*.kt"))
    names = ("kotlin-stdlib-*", "kotlinx-coroutines-*", "json-*")
    libraries = ":".join(str(jar) for name in names for jar in JARS.glob(f"{name}.jar"))
    compiler = ("java", "-cp", f"{JARS}/*", "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler")
    classes = tmp_path / "classes"
    flags = ("-Werror", "-no-stdlib", "-no-reflect", "-cp", libraries, "-d", classes)
    run(*compiler, *flags, *declarations, *sources)

    def call(*arguments: str) -> Tokens:
        output = run("java", "-cp", f"{classes}:{libraries}", "MainKt", *arguments).stdout
        tokens: Tokens = json.loads(output)
        return tokens

    # The login needs Android: the simulator issues a code without it.
    request = {"redirect_uri": "my-app://callback", "code_challenge": challenge_of(VERIFIER)}
    code = simulator.client.post("/admin/codes", json=request).json()["code"]
    first = call("retrieve", code, VERIFIER)
    assert_refreshed(first, call("refresh", first["refresh_token"]))
    assert "access_token" in call("app")


# Swift -------------------------------------------------------------------------------------------


def test_swift_compiles(tmp_path: Path) -> None:
    modules = ("Combine", "Security", "SpotifyWebAPI", "SpotifyiOS")
    for module in modules:
        (tmp_path / f"{module}.swift").write_text((HERE / f"swift/{module}.swift").read_text())
    for name in ("swift", "swift-keychain", "ios"):
        (tmp_path / f"app-{name}.swift").write_text(snippets()[name])
    lines = [f"swiftc -emit-module -parse-as-library -I . {module}.swift" for module in modules]
    check = "swiftc -typecheck -parse-as-library -warnings-as-errors -swift-version 5 -I ."
    lines += [f"{check} app-swift.swift app-swift-keychain.swift", f"{check} app-ios.swift"]
    run(HERE / "swift/run", tmp_path, "\n".join(lines))

"""Every block of the documents is accounted for; those that need nothing are run."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.sealing import Sealer
from simulator.accounts import Accounts
from simulator.app import create_app as create_simulator
from simulator.server import running as running_simulator
from tests.conftest import Start
from tests.guides import accounts, blocks, stand_in
from tests.guides.terminals import Done, Terminal, checkout, run
from tests.running import CLIENT_ID, CLIENT_SECRET, SECRET_KEY, free_port

EVERY = blocks.every()
CI = Path(".ci/run").read_text().splitlines()
SHELLCHECK = (
    f"{sys.prefix}/bin/shellcheck",
    "--shell=bash",
    "--severity=style",
    "--external-sources",
)
# Set in another block or by the reader; used in another block; a file of the reader's.
BETWEEN_BLOCKS = "--exclude=SC2154,SC2034,SC1091"
ORIGINALS = [
    vector
    for vector in json.loads(Path("tests/vectors.json").read_text())["vectors"]
    if vector["secret_key"] == SECRET_KEY
]
"""Tokens that the original server sealed."""


# Accounts ------------------------------------------------------------------------------------


def test_every_block_runs_somewhere() -> None:
    in_terminals = {key for terminal in accounts.TERMINALS for key in terminal.blocks}
    assert in_terminals | accounts.ELSEWHERE.keys() | accounts.STAGES == EVERY.keys()


@pytest.mark.parametrize(("key", "reader"), accounts.ELSEWHERE.items())
def test_who_runs_a_block_reads_it_from_the_document(key: str, reader: str) -> None:
    assert re.search(rf"(?<![\w/]){re.escape(key)}(?![\w/-])", Path(reader).read_text())
    assert accounts.RUN_BY[reader] in CI


@pytest.mark.parametrize("key", sorted(accounts.STAGES))
def test_a_stage_runs_each_line(key: str) -> None:
    for line in EVERY[key].splitlines():
        target = re.sub(r"=\S+$", "=", line)
        assert any(stage == line or re.sub(r"=\S+$", "=", stage) == target for stage in CI), line


@pytest.mark.parametrize("key", EVERY)
def test_a_block_is_sound_shell(key: str) -> None:
    done = subprocess.run(
        [*SHELLCHECK, BETWEEN_BLOCKS, "-"],
        input=EVERY[key],
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_key_is_the_anchor_of_its_heading_and_its_number(tmp_path: Path) -> None:
    document = tmp_path / "guide.md"
    document.write_text(
        "# A `b`, c\n```sh\none\n# no heading\n```\n```text\nno\n```\n```sh\ntwo\n```\n"
    )
    assert blocks.block(f"{document}#a-b-c") == "one\n# no heading\n"
    assert blocks.block(f"{document}#a-b-c/2") == "two\n"
    with pytest.raises(KeyError):
        blocks.block(f"{document}#a-b-c/3")


# Against service and simulator ---------------------------------------------------------------


@pytest.fixture
def where(tmp_path: Path) -> Path:
    return checkout(tmp_path / "checkout")


def test_the_request_in_http_md_is_answered_with_tokens(
    start: Start, simulator: httpx.Client, where: Path, tmp_path: Path
) -> None:
    service = start()
    code = simulator.post("/admin/codes", json={"redirect_uri": "my-app://callback"}).json()["code"]
    fill = {"…": code, "127.0.0.1:7000": service.base_url.netloc.decode()}
    done = run(accounts.SWAP._replace(fill=fill), where, tmp_path / "tools")
    assert json.loads(done.output)["refresh_token"], done


@pytest.fixture(scope="module")
def spotify() -> Iterator[str]:
    """Return where a Spotify is that knows the refresh token in the first of the originals."""
    known = Accounts()
    minted = known.issue_refresh_token(pkce=False)
    known._refresh_tokens[ORIGINALS[0]["plaintext"]] = known._refresh_tokens[minted]  # noqa: SLF001
    with running_simulator(create_simulator(known)) as url:
        yield url


@pytest.fixture(scope="module")
def trial(spotify: str, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Try the service beside the original, as migrate.md says, with tokens that it sealed."""
    settings = {"CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET, "SECRET_KEY": SECRET_KEY}
    terminal = accounts.TRIAL._replace(
        fill={f"{n}='…'": f"{n}='{v}'" for n, v in settings.items()} | {"7010": str(free_port())},
        variables={"SPOTIFY_TOKEN_URL": f"{spotify}/api/token", "DRAIN_SECONDS": "0"},
    )
    there = tmp_path_factory.mktemp("trial")
    where = checkout(there / "checkout")
    (where / "tokens.txt").write_text("".join(f"{token['ciphertext']}\n" for token in ORIGINALS))
    return run(terminal, where, there / "tools")


def test_a_trial_beside_the_original_goes_through(trial: Done) -> None:
    assert trial.status == 0, trial.errors
    assert "curl:" not in trial.errors


def test_a_trial_tells_that_spotify_takes_the_credentials(trial: Done) -> None:
    assert "CLIENT_ID and CLIENT_SECRET are right" in trial.output


def test_a_trial_opens_every_token_of_the_original(trial: Done) -> None:
    assert re.search(rf"^  current +\w+ +{len(ORIGINALS)}$", trial.output, re.MULTILINE)
    assert re.search(r"^  none +0$", trial.output, re.MULTILINE)


def test_a_trial_refreshes_a_token_of_the_original(trial: Done) -> None:
    assert re.search(r'\{"access_token":"[^"]+"', trial.output)
    assert '"event":"token.refreshed"' in trial.output


def test_a_trial_counts_what_the_original_can_not_open(trial: Done) -> None:
    stuck = sum(len(token["ciphertext"]) % 4 == 3 for token in ORIGINALS)
    assert stuck
    assert re.search(rf"^ *{stuck}$", trial.output, re.MULTILINE)


def test_tokens_of_an_own_backend_are_sealed_in_order(where: Path, tmp_path: Path) -> None:
    (where / "raw.txt").write_text("AQ-one\nAQ-two\n")
    terminal = accounts.SEAL._replace(variables={"SECRET_KEY": SECRET_KEY})
    done = run(terminal, where, tmp_path / "tools")
    assert done.status == 0, done.errors
    sealed = (where / "tokens.txt").read_text().splitlines()
    assert [Sealer(SECRET_KEY).open(token).token for token in sealed] == ["AQ-one", "AQ-two"]


# With stand-ins ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=accounts.HOSTS)
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Terminal, Done]:
    there = tmp_path_factory.mktemp(request.param)
    terminal = accounts.HOSTS[request.param]
    return terminal, run(terminal, checkout(there / "checkout"), there / "tools")


def test_the_commands_for_a_host_take_what_the_guide_gives_them(
    host: tuple[Terminal, Done],
) -> None:
    terminal, done = host
    assert done.status == 0, done.errors
    assert {call[0] for call in done.calls} == set(terminal.stand_ins)


def test_a_misspelt_option_is_refused(
    host: tuple[Terminal, Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the test above would show nothing."""
    monkeypatch.setenv("CALLS", "/dev/null")
    for call in host[1].calls:
        for at, word in enumerate(call):
            if word.startswith("-"):
                misspelt = [*call[:at], word.replace("-", "-x", 1), *call[at + 1 :]]
                assert stand_in.main(misspelt) == 2, misspelt


def test_heroku_gets_the_secrets_that_are_in_the_files(tmp_path: Path, where: Path) -> None:
    calls = run(accounts.HOSTS["heroku"], where, tmp_path / "tools").calls
    [settings] = [call[2:] for call in calls if call[:2] == ["heroku", "config:set"]]
    assert {f"{name}={value}" for name, value in accounts.SECRETS.items()} < set(settings)


@pytest.mark.parametrize(
    "call",
    [
        ["heroku", "creat"],
        ["heroku", "create", "--stack"],
        ["heroku", "create", "--stack", "contaner"],
        ["heroku", "config", "--shell=yes"],
        ["heroku", "config:set"],
        ["heroku", "config:set", "CLIENT_ID="],
        ["heroku", "config:set", "CLIENT_ID=…"],
        ["heroku", "stack:set", "container", "container"],
        [
            "gcloud",
            "secrets",
            "add-iam-policy-binding",
            "CLIENT_ID",
            "--role=roles/secretmanager.secretAccessor",
        ],
    ],
    ids=" ".join,
)
def test_a_stand_in_refuses_what_the_command_would(
    call: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLS", "/dev/null")
    assert stand_in.main(call) == 2


def test_every_command_that_is_stood_in_for_has_a_source() -> None:
    commands = tomllib.loads(stand_in.COMMANDS.read_text())
    assert all(command["source"] for command in commands.values())

"""Every block of the documents is accounted for; those that need nothing are run."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.sealing import Sealer
from simulator.accounts import Accounts
from simulator.app import create_app as create_simulator
from simulator.server import running as running_simulator
from tests.conftest import Start
from tests.documents import dialogue, is_printed, printed_by
from tests.guides import accounts, blocks, stand_in
from tests.guides.terminals import checkout, run
from tests.running import CLIENT_ID, CLIENT_SECRET, SECRET_KEY, free_port

EVERY = blocks.every()
CI = Path(".ci/run").read_text()
SHELLCHECK = (
    f"{sys.prefix}/bin/shellcheck",
    "--shell=bash",
    "--severity=style",
    "--external-sources",
)
# Set in another block or by the reader; used in another block; a file of the reader's; a reader
# sees that cd failed.
BETWEEN_BLOCKS = "--exclude=SC2154,SC2034,SC1091,SC2164"
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


def test_reader_of_a_block_names_it_and_runs_in_ci() -> None:
    for key, reader in accounts.ELSEWHERE.items():
        assert re.search(rf"(?<![\w/]){re.escape(key)}(?![\w/-])", Path(reader).read_text()), key
        assert accounts.RUN_BY[reader] in CI, reader


def test_ci_runs_each_line_of_a_stage() -> None:
    for key in accounts.STAGES:
        for line in EVERY[key].splitlines():
            assert re.sub(r"=\S+$", "=", line) in CI, line


def test_blocks_are_sound_shell(tmp_path: Path) -> None:
    for key, text in EVERY.items():
        (tmp_path / key.replace("/", ":")).write_text(text)
    done = subprocess.run(
        [*SHELLCHECK, BETWEEN_BLOCKS, *tmp_path.iterdir()],
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_key_is_the_anchor_of_its_heading_and_its_number(tmp_path: Path) -> None:
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


def test_documented_request_gets_tokens(
    start: Start, simulator: httpx.Client, where: Path, tmp_path: Path
) -> None:
    service = start()
    code = simulator.post("/admin/codes", json={"redirect_uri": "my-app://callback"}).json()["code"]
    fill = {"…": code, "127.0.0.1:7000": service.base_url.netloc.decode()}
    done = run(accounts.SWAP._replace(fill=fill), where, tmp_path / "tools")
    assert json.loads(done.output)["refresh_token"], done


@pytest.fixture
def spotify() -> Iterator[str]:
    """Return the URL of a simulator that knows the refresh token in the first of the originals."""
    known = Accounts()
    known.issue_refresh_token(pkce=False, token=ORIGINALS[0]["plaintext"])
    with running_simulator(create_simulator(known)) as url:
        yield url


def test_trial_beside_the_original(spotify: str, where: Path, tmp_path: Path) -> None:
    """The trial accepts the credentials, opens all tokens of the original and refreshes one."""
    settings = {"CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET, "SECRET_KEY": SECRET_KEY}
    terminal = accounts.TRIAL._replace(
        fill={f"{n}='…'": f"{n}='{v}'" for n, v in settings.items()} | {"7010": str(free_port())},
        variables={"SPOTIFY_TOKEN_URL": f"{spotify}/api/token", "DRAIN_SECONDS": "0"},
    )
    (where / "tokens.txt").write_text("".join(f"{token['ciphertext']}\n" for token in ORIGINALS))
    stuck = sum(len(token["ciphertext"]) % 4 == 3 for token in ORIGINALS)  # RFC 4648, section 3.2
    trial = run(terminal, where, tmp_path / "tools")
    assert trial.status == 0, trial.errors
    assert "curl:" not in trial.errors
    for line in (
        "CLIENT_ID and CLIENT_SECRET are right",
        rf"^  current +\w+ +{len(ORIGINALS)}$",
        r"^  none +0$",
        r'\{"access_token":"[^"]+"',
        '"event":"token.refreshed"',
        rf"^ *{stuck}$",
    ):
        assert re.search(line, trial.output, re.MULTILINE), line


def test_commands_of_the_simulators_guide_print_what_it_says(
    start: Start, simulator: httpx.Client
) -> None:
    _, *documented = dialogue(accounts.SIMULATOR)  # the first starts containers: make compose-test
    ports = {"7000": str(start().base_url.port), "7001": str(simulator.base_url.port)}
    printed = printed_by((command for command, _ in documented), ports)
    for (command, text), real in zip(documented, printed, strict=True):
        assert text is not None, command
        assert is_printed(text, real), real


def test_quick_start_clones_the_repository(tmp_path: Path) -> None:
    terminal = accounts.CLONE._replace(variables={"REPOSITORY": str(Path.cwd())})
    done = run(terminal, tmp_path, tmp_path / "tools")
    assert done.status == 0, done.errors
    assert (tmp_path / "spotify-api-server/README.md").is_file()


def test_credentials_of_an_own_app_are_checked(
    simulator: httpx.Client, where: Path, tmp_path: Path
) -> None:
    token_url = f"{str(simulator.base_url).rstrip('/')}/api/token"
    terminal = accounts.OWN_APP._replace(variables={"SPOTIFY_TOKEN_URL": token_url})
    done = run(terminal, where, tmp_path / "tools")
    assert done.status == 0, done.errors
    assert "CLIENT_ID and CLIENT_SECRET are right" in done.output


def test_seal_keeps_the_order_of_tokens(where: Path, tmp_path: Path) -> None:
    (where / "raw.txt").write_text("AQ-one\nAQ-two\n")
    terminal = accounts.SEAL._replace(variables={"SECRET_KEY": SECRET_KEY})
    done = run(terminal, where, tmp_path / "tools")
    assert done.status == 0, done.errors
    sealed = (where / "tokens.txt").read_text().splitlines()
    assert [Sealer(SECRET_KEY).open(token).token for token in sealed] == ["AQ-one", "AQ-two"]


# With stand-ins ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", accounts.HOSTS)
def test_commands_for_a_host_are_accepted(name: str, where: Path, tmp_path: Path) -> None:
    terminal = accounts.HOSTS[name]
    done = run(terminal, where, tmp_path / "tools")
    assert done.status == 0, done.errors
    assert {call[0] for call in done.calls} == set(terminal.stand_ins)


def test_heroku_gets_the_secrets_in_the_files(tmp_path: Path, where: Path) -> None:
    calls = run(accounts.HOSTS["heroku"], where, tmp_path / "tools").calls
    [settings] = [call[2:] for call in calls if call[:2] == ["heroku", "config:set"]]
    assert {f"{name}={value}" for name, value in accounts.SECRETS.items()} < set(settings)


@pytest.mark.parametrize(
    "call",
    [
        ["heroku", "creat"],
        ["heroku", "create", "--stack"],
        ["heroku", "create", "--stack", "contaner"],
        ["heroku", "config", "--shel"],
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
def test_stand_in_refuses_what_the_command_would(
    call: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLS", "/dev/null")
    assert stand_in.main(call) == 2

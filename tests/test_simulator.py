"""docs/simulator.md: what its lines print, and that it tells all there is to tell."""

import re
from pathlib import Path
from typing import get_args

import httpx
import pytest

from simulator import admin, users
from simulator.faults import Fault, SpotifyError
from tests.conftest import Start
from tests.documents import dialogue, is_printed, printed_by

DOCUMENT = "docs/simulator.md"
TEXT = Path(DOCUMENT).read_text()


@pytest.fixture
def ports(start: Start, simulator: httpx.Client) -> dict[str, str]:
    """Return which ports stand for those of the document."""
    return {"7000": str(start().base_url.port), "7001": str(simulator.base_url.port)}


def test_each_line_prints_what_the_document_says(ports: dict[str, str]) -> None:
    _, *blocks = dialogue(DOCUMENT)  # the first starts containers: make compose-test
    printed = printed_by((command for command, _ in blocks), ports)
    for (command, text), answer in zip(blocks, printed, strict=True):
        assert text is not None, command
        assert is_printed(text, answer), answer


def test_every_endpoint_that_steers_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([^|]*)` \|", TEXT, re.MULTILINE)
    told = {
        (method.strip("`, "), row.split()[-1].replace("ID", "{user:str}"))
        for row in rows
        if "/" in row
        for method in row.split()[:-1]
    }
    assert told == {
        (method, path)
        for handler in admin.HANDLERS
        for path in handler.paths
        for method in handler.http_methods
        if method != "HEAD"
    }


def test_every_user_error_kind_of_fault_and_setting_is_told() -> None:
    kinds = {str(kind.__struct_config__.tag) for kind in Fault.__subclasses__()}
    names = {user.id for user in users.KNOWN} | set(get_args(SpotifyError)) | kinds
    assert not [name for name in names if f"`{name}`" not in TEXT and f'"{name}"' not in TEXT]
    settings = admin.SettingsChange.__struct_fields__
    assert not [name for name in settings if f"`{name}`" not in TEXT]

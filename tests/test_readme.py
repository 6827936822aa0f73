"""The README says what the code does."""

import re
from pathlib import Path

import msgspec
import pytest

from service import settings as service_settings
from service.app import create_app
from service.settings import Settings
from tests.guides.blocks import anchor_of

README = Path("README.md").read_text()
SETTINGS = Path("docs/settings.md").read_text()
DOCUMENTS = [
    *map(Path, ("README.md", "CONTRIBUTING.md", ".github/SECURITY.md")),
    *sorted(Path("docs").rglob("*.md")),
]


def section(title: str) -> str:
    """Return what the README has below a heading."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table in a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def documented_settings() -> dict[str, str]:
    return {name: row[-1] for row in rows(SETTINGS) for name in re.findall(r"`([A-Z_]+)`", row[0])}


def test_the_table_of_settings_has_every_setting_and_no_other() -> None:
    fields = {field.name.upper() for field in msgspec.structs.fields(Settings)}
    assert set(documented_settings()) == fields


@pytest.mark.parametrize("field", msgspec.structs.fields(Settings), ids=lambda field: field.name)
def test_a_settings_default_is_the_documented_one(field: msgspec.structs.FieldInfo) -> None:
    cell = documented_settings()[field.name.upper()]
    if field.required:
        assert cell == "required"
    elif cell == "none":
        assert not field.default
    else:
        shown = re.fullmatch(r"`(.+)`", cell)
        assert shown
        assert service_settings._CONVERTERS[field.name](shown[1]) == field.default  # noqa: SLF001


def test_the_readme_has_the_settings_that_everybody_meets_in_the_same_words() -> None:
    everywhere = rows(SETTINGS)
    few = rows(section("Settings").replace("](docs/", "]("))
    assert few == [row for row in everywhere if row in few]
    required = [row for row in everywhere if row[-1] == "required"]
    assert [row for row in few if row[-1] == "required"] == required
    assert "](docs/settings.md)" in section("Settings")


def test_the_settings_that_can_be_files_are_named() -> None:
    paragraph = SETTINGS.partition("\n| name")[0]
    named = set(re.findall(r"`([A-Z_]+)`", paragraph))
    assert named == service_settings.FILE_SETTINGS


def test_the_table_of_endpoints_has_every_route_and_no_other() -> None:
    environ = {"CLIENT_ID": "a", "CLIENT_SECRET": "b", "SECRET_KEY": "c"}
    app = create_app(service_settings.load(environ))
    served = {
        f"{method} {route.path}"
        for route in app.routes
        for method in getattr(route, "methods", ())
        if method in {"GET", "POST"}
    }
    documented = [
        name for row in rows(section("Endpoints")) for name in re.findall(r"`(.+?)`", row[0])
    ]
    assert sorted(documented) == sorted(served)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_into_a_document_lead_to_a_heading(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
        there = document.parent / target if target else document
        headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
        assert anchor in map(anchor_of, headings), f"{target}#{anchor}"


def test_the_makefile_is_short_and_begins_with_help() -> None:
    text = Path("Makefile").read_text()
    assert len(text.splitlines()) <= 60
    targets = re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE)
    assert targets[0] == "help"

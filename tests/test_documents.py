"""The tables of settings and endpoints, and every link, are correct."""

import itertools
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import yaml

from service import settings as service_settings
from service.app import create_app
from service.settings import Settings
from tests.guides.blocks import anchor_of

GITHUB = "../../actions/"
"""Pages of the repository on GitHub, relative to a document at its root."""
REQUIRED = {"CLIENT_ID": "a", "CLIENT_SECRET": "b", "SECRET_KEY": "c"}
DOCUMENTS = [
    Path(name)
    for name in subprocess.check_output(["git", "ls-files", "*.md"], text=True).split()  # noqa: S607
]


def tables() -> Iterator[list[list[str]]]:
    """Yield every table in README.md and docs/, as rows of cells, the head first."""
    for document in (Path("README.md"), *sorted(Path("docs").rglob("*.md"))):
        for table in re.findall(r"(?:^\|.*\n)+", document.read_text(), re.MULTILINE):
            head, _, *rows = [
                [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
            ]
            yield [head, *rows]


def in_code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def settings_tables() -> list[dict[str, str]]:
    """Return the default of each setting, for each table that has defaults of settings."""
    names = {field.name.upper() for field in msgspec.structs.fields(Settings)}
    return [
        {name: row[-1] for row in rows for name in in_code(row[0])}
        for head, *rows in tables()
        if head[-1] == "default" and names & set(in_code(rows[0][0]))
    ]


def test_one_table_has_every_setting() -> None:
    names = {field.name.upper() for field in msgspec.structs.fields(Settings)}
    assert names in [set(table) for table in settings_tables()]


def test_documented_defaults_are_the_real_ones() -> None:
    fields = {field.name.upper(): field for field in msgspec.structs.fields(Settings)}
    for table in settings_tables():
        for name, cell in table.items():
            field = fields[name]
            if cell == "required":
                assert field.required, name
            elif cell == "none":
                assert not field.default, name
            else:
                [default] = in_code(cell)
                loaded = service_settings.load(REQUIRED | {name: default})
                assert getattr(loaded, field.name) == field.default, name


def test_chart_values_of_settings_exist() -> None:
    values = yaml.safe_load(Path("charts/spotify-api-server/values.yaml").read_text())
    named = {
        name: in_code(row[head.index("chart value")])
        for head, *rows in tables()
        if "chart value" in head
        for row in rows
        for name in in_code(row[0])
    }
    for field in msgspec.structs.fields(Settings):
        first, *rest = field.name.split("_")
        camel_case = first + "".join(map(str.title, rest))
        named.setdefault(field.name.upper(), [f"config.{camel_case}"])
    for path in itertools.chain.from_iterable(named.values()):
        found = values
        for key in path.split("."):
            assert key in found, path
            found = found[key]


def test_endpoint_table_has_every_route() -> None:
    app = create_app(service_settings.load(REQUIRED))
    served = sorted(
        f"{method} {route.path}"
        for route in app.routes
        for method in getattr(route, "methods", ())
        if method in {"GET", "POST"}
    )
    documented = [
        sorted(
            name for row in rows for name in in_code(row[0]) if name.startswith(("GET ", "POST "))
        )
        for _, *rows in tables()
    ]
    assert served in documented


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings; GitHub numbers those that repeat."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE):
        anchor, number = anchor_of(heading), 0
        while (name := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(name)
    return found


def prose(document: Path) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def broken_links(documents: Sequence[Path]) -> Iterator[str]:
    for document in documents:
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
            target, _, anchor = link.partition("#")
            if "://" in link or link.startswith(("mailto:", GITHUB)):
                continue
            there = document.parent / target if target else document
            if not there.exists() or (anchor and anchor not in anchors(there)):
                yield f"{document}: {link}"


def test_links_lead_to_files_and_headings() -> None:
    assert not list(broken_links(DOCUMENTS))


def test_link_checker_finds_broken_links(tmp_path: Path) -> None:
    document = tmp_path / "guide.md"
    document.write_text("# One\n[a](#one) [b](#two) [c](none.md) [d](guide.md#one)\n")
    assert list(broken_links([document])) == [f"{document}: #two", f"{document}: none.md"]

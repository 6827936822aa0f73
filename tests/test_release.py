"""A release needs the tag's version in every file that states one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHANGELOG = """\
# Changelog

## [7.8.9] - 2026-11-24

### Added

- A.

## [7.8.8] - 2026-11-23

- B.
"""
VERSIONED = ("service/__init__.py", "charts/spotify-api-server/Chart.yaml", "CHANGELOG.md")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the files involved, with release 7.8.9 after 7.8.8."""
    for file in (*VERSIONED, ".ci/release-notes"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / file)
    for file in VERSIONED[:2]:
        change(
            tmp_path / file, r'(?m)^(__version__ = "|version: |appVersion: ")[\d.]+', r"\g<1>7.8.9"
        )
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def change(file: Path, pattern: str, replacement: str) -> None:
    text, times = re.subn(pattern, replacement, file.read_text())
    assert times
    file.write_text(text)


def notes(tree: Path, tag: str = "v7.8.9") -> subprocess.CompletedProcess[str]:
    command = [str(tree / ".ci/release-notes"), tag]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_notes_are_the_section_of_the_changelog(tree: Path) -> None:
    printed = notes(tree)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.strip() == "### Added\n\n- A."


@pytest.mark.parametrize(
    ("file", "pattern", "message"),
    [
        ("service/__init__.py", "7.8.9", "service/__init__.py is 7.8.0"),
        (
            "charts/spotify-api-server/Chart.yaml",
            "(?<=\nversion: )7.8.9",
            "chart's version is 7.8.0",
        ),
        ("charts/spotify-api-server/Chart.yaml", "(?<=appVersion: .)7.8.9", "appVersion is 7.8.0"),
        ("CHANGELOG.md", "7.8.9", "no dated section for 7.8.9"),
        ("CHANGELOG.md", "2026-11-24", "no dated section for 7.8.9"),
    ],
)
def test_other_version_is_refused(tree: Path, file: str, pattern: str, message: str) -> None:
    change(tree / file, pattern, "7.8.0")
    refused = notes(tree)
    assert refused.returncode == 1
    assert message in refused.stderr
    assert not refused.stdout


def test_other_tag_is_refused(tree: Path) -> None:
    assert "the tag says 7.9.0" in notes(tree, "v7.9.0").stderr

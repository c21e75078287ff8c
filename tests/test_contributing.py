"""The lists of files in CONTRIBUTING are right and complete, and the toys of the wheel test consist of these files."""

from __future__ import annotations

import re

import pytest

from support.accounts import PROVIDERS
from support.toys import FORMAT, FORMAT_FILES, PROVIDER, PROVIDER_FILES
from support.wheels import FOLDERS, ROOT
from tranship.connectors.registry import CONNECTORS
from tranship.schemas import export_profiles
from tranship.schemas.customer import COLUMNS

FORMATS = [name for name, connector in CONNECTORS.items() if connector.suffixes]
NAMES = {
    "A provider": PROVIDERS,
    "A file format": FORMATS,
    "A database": ["duckdb", "postgres"],
    "An export profile": sorted(export_profiles.index()),
    "A field": PROVIDERS,
}
"""The value of `<name>` in each list."""


WRITTEN_BY_SCRIPTS = ("profiles", "codes", "commands", "connectors", "python", "report")
"""Pages that nobody changes by hand."""


def listed(kind: str) -> list[str]:
    """Return the files of one list, in order."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    match = re.search(rf"^\*\*{kind}\*\*.*:\n\n((?:- .*\n)+)", text, re.MULTILINE)
    assert match, f"CONTRIBUTING.md has no list for {kind!r}."
    return [file for line in match[1].splitlines() for file in re.findall(r"`([^` ]+\.\w+)`", line.split(": ")[0])]


def with_most(words: list[str], share: float) -> set[str]:
    """Return the files of the product, and of the helpers of tests, that contain at least this share of the words."""
    folders = (*FOLDERS, "tests/support")
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path.stem not in WRITTEN_BY_SCRIPTS]
    files = [ROOT / "README.md", *pages, *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    found = set()
    for path in files:
        text = path.read_text(encoding="utf-8").lower()
        count = sum(re.search(rf"(?<![a-z0-9]){word}(?![a-z0-9])", text) is not None for word in words)
        if count >= share * len(words):
            found.add(path.relative_to(ROOT).as_posix())
    return found


@pytest.mark.parametrize("kind", NAMES)
def test_every_file_of_a_list_is_there(kind: str) -> None:
    for file in listed(kind):
        for name in NAMES[kind] if "<name>" in file else [""]:
            assert (ROOT / file.replace("<name>", name)).is_file(), f"{kind}: there is no {file} for {name}"


def test_what_names_every_provider_is_listed() -> None:
    assert with_most(PROVIDERS, 1) <= set(listed("A provider"))


@pytest.mark.slow
def test_what_names_most_fields_is_listed() -> None:
    own = {file for file in with_most(list(COLUMNS), 2 / 3) if file.startswith("schemas/providers/")}
    assert with_most(list(COLUMNS), 2 / 3) - own <= set(listed("A field"))


@pytest.mark.parametrize("kind", ["A provider", "A file format"])
def test_a_toy_consists_of_the_files_listed(kind: str) -> None:
    name, files = (PROVIDER, PROVIDER_FILES) if kind == "A provider" else (FORMAT, FORMAT_FILES)
    expected = {file.replace("<name>", name) for file in listed(kind)}
    own = {file.replace("<name>", name) for file in listed(kind) if "<name>" in file}
    assert own <= set(files) <= expected

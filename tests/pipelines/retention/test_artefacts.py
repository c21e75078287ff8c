"""The list of artefacts, compared with what real runs leave behind."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from support import left_behind
from support.artefacts import texts
from support.sandboxes import ROOT
from tranship.pipelines.retention import artefacts


def kinds(state: Path) -> dict[Path, artefacts.Artefact | None]:
    """Return the kind of every file of a state directory."""
    folders = [file.parent for file in state.rglob("manifest.json")]
    found = {}
    for file in (path for path in state.rglob("*") if path.is_file()):
        home = next((folder for folder in folders if folder in file.parents), None)
        name = file.relative_to(home or state).as_posix()
        found[file] = artefacts.of_run(name) if home else artefacts.of_state(name)
    return found


@pytest.mark.slow
def test_every_file_that_runs_leave_behind_is_in_the_list(state: Path) -> None:
    found = kinds(state)
    assert len(found) > 300
    assert [str(file.relative_to(state)) for file, kind in found.items() if kind is None] == []


@pytest.mark.slow
def test_files_without_records_have_no_value_of_a_customer(state: Path) -> None:
    found = kinds(state)
    people = ["user3@example.org", "User 3 Ltd", "49301234503", left_behind.PERSON.lower()]
    held = {name for name, text in texts(state) for person in people if person in text.lower()}
    assert held
    for file, kind in found.items():
        if kind and kind.keeps in ("counts", "lock"):
            assert str(file.relative_to(state)) not in held, file


def test_unknown_names_have_no_kind() -> None:
    assert artefacts.of_run("new_file.parquet") is None
    assert artefacts.of_run("stage/deep/000000.parquet") is None
    assert artefacts.of_state("new.json") is None


def test_the_page_about_retention_lists_every_kind_of_file() -> None:
    page = (ROOT / "docs" / "how-to" / "retention.md").read_text(encoding="utf-8")
    for kind in (*artefacts.RUN, *artefacts.STATE):
        assert f"| `{kind.name}` | {kind.purpose} |" in page


INNER = {"dropped.parquet", "patched.parquet", "read.json"}
"""Files in folders of a run: identity/, pages/."""
OF_ENGINES = {"_current.json", "customers.parquet", "part.parquet", "present.parquet"}
"""Files of engines, in their work folder or at the destination."""
NAME = r"[a-z_/]+\.(parquet|csv|json|jsonl|html|xlsx|sqlite|duckdb|txt)"


@pytest.mark.slow
def test_every_file_name_in_the_code_of_runs_is_in_the_list() -> None:
    places = [ROOT / "connectors" / "contract.py"]
    for folder in ("pipelines", "connectors/api", "connectors/databases"):
        places += sorted((ROOT / folder).rglob("*.py"))
    found = {
        node.value
        for place in places
        for node in ast.walk(ast.parse(place.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(NAME, node.value)
    }
    assert len(found) > 30
    known = {name for name in found if artefacts.of_run(name) or artefacts.of_state(name)}
    assert found - known - INNER - OF_ENGINES == set()


def test_every_file_on_the_page_about_runs_is_in_the_list() -> None:
    page = (ROOT / "docs" / "concepts" / "runs.md").read_text(encoding="utf-8")
    names = {found[0] for found in re.finditer(rf"(?<=`){NAME}(?=`)", page)}
    assert len(names) > 15
    assert {name for name in names if not artefacts.of_run(name) and not artefacts.of_state(name)} == set()

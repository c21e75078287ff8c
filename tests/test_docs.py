"""The pages of docs/: their commands are run, their tables are compared with the code, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import click
import pytest

from support.postgres_server import Database
from support.shown_commands import NOT_RUN, ROOT, Block, Reader, blocks, commands, readers_folder
from tranship.pipelines.cli.main import cli
from tranship.pipelines.exit_codes import EXIT_CODES
from tranship.pipelines.run import run
from tranship.pipelines.settings import load
from tranship.pipelines.settings_model import Settings
from tranship.schemas import codes
from tranship.schemas.customer import COLUMNS

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.name != "llms.txt")
RUN_ELSEWHERE = ("start.md", "operation.md", "state-in-a-bucket.md")
"""One continues where the README ends: tests/test_readme.py; one needs a web server: tests/test_operation_page.py; one
needs a bucket: tests/test_state_in_bucket.py."""
TEXTS = (ROOT / "README.md", *PAGES)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def of_all(language: str) -> list[Any]:
    """Return each block of this language in README and docs, with the name of its place."""
    found = [(page, block) for page in TEXTS for block in blocks(page.read_text(encoding="utf-8"), language)]
    return [pytest.param(block, id=f"{name(page)}:{block.line}") for page, block in found]


# What is shown is run ------------------------------------------------------------------------------------------


def shows_commands(page: Path) -> bool:
    return any(not command.text.startswith(NOT_RUN) for command in commands(page.read_text(encoding="utf-8")))


def of_a_page(page: Path) -> Any:
    marks = [pytest.mark.postgres] if "$DATABASE_URL" in page.read_text(encoding="utf-8") else []
    return pytest.param(page, id=name(page), marks=marks)


RUN_HERE = [of_a_page(page) for page in PAGES if page.name not in RUN_ELSEWHERE and shows_commands(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_HERE)
def test_commands_do_what_a_page_shows(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    variables = {}
    if request.node.get_closest_marker("postgres"):
        database: Database = request.getfixturevalue("postgres_database")
        variables = {"DATABASE_URL": database.url}
    Reader(readers_folder(tmp_path), variables).follow([page])


ON_ENGINES = "docs/beyond-one-machine.md:"
"""Its Python is run by tests/pipelines/distributed, on Spark and on Sail."""


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in of_all("python") if not block.id.startswith(ON_ENGINES)])
def test_python_runs(block: Block, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    ran = subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


TESTED_WITH_SERVERS = ("docs/operation.md:", "docs/how-to/state-in-a-bucket.md:")


@pytest.mark.parametrize("block", [block for block in of_all("toml") if not block.id.startswith(TESTED_WITH_SERVERS)])
def test_settings_files_are_valid(block: Block) -> None:
    Settings(**tomllib.loads(block.text))


OTHERS = {"sh", "crontab", "ini", ""}
"""Blocks with commands that no test runs here: they need an engine, a server of another program, or hours."""


def commands_of_others(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each command of Tranship in the files of other programs."""
    for language in OTHERS:
        for block in blocks(text, language):
            whole = re.sub(r" *\\\n *", " ", block.text)
            for line in whole.splitlines():
                if command := re.search(r"(?:^|ExecStart=|&& )(?:\S+/bin/)?tranship (.+)", line):
                    yield block.line, command[1]


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_commands_that_are_not_run_are_valid(page: Path) -> None:
    for line, command in commands_of_others(page.read_text(encoding="utf-8")):
        words = shlex.split(command)
        try:
            cli.commands[words[0]].make_context(words[0], words[1:])
        except click.ClickException as error:
            raise AssertionError(f"{name(page)}:{line}: tranship {command}\n{error.format_message()}") from error


def test_commands_of_other_programs_are_seen() -> None:
    seen = [command for page in PAGES for _, command in commands_of_others(page.read_text(encoding="utf-8"))]
    assert {"run crm.toml --quiet"} < set(seen)
    assert len(seen) > 4


def test_what_is_installed_is_shown_elsewhere() -> None:
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), "sh"):
            for line in block.text.splitlines():
                assert line.startswith((*NOT_RUN, "tranship ", "    ", "#")) or page.name == "beyond-one-machine.md", (
                    f"{name(page)}:{block.line}: use console, so that it is run"
                )


def test_every_make_target_shown_exists() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in TEXTS:
        shown = set(re.findall(r"\bmake ([a-z-]+)(?=[`\n ]*(?:ARGS|`|\n))", page.read_text(encoding="utf-8")))
        assert shown <= known, f"{name(page)}: {shown - known}"


# The reference -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["pages", pytest.param("pages_of_exports", marks=pytest.mark.slow)])
def test_what_is_derived_from_the_code_is_up_to_date(of: str) -> None:
    script = DOCS / "reference" / "build.py"
    module = module_from_spec(spec_from_file_location("build_reference", script))
    module.__spec__.loader.exec_module(module)
    for page, text in getattr(module, of)():
        assert page.is_file(), f"{name(page)}: run python docs/reference/build.py"
        assert page.read_text(encoding="utf-8") == text, f"{name(page)}: run python docs/reference/build.py"


# Links ---------------------------------------------------------------------------------------------------------

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def without_code(text: str) -> str:
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda found: "`" + "x" * (len(found[0]) - 2) + "`", text)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page, as GitHub and the built pages have them, and the stable ones of codes."""
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)"></a>', text))


OTHER_TEXTS = (ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", DOCS / "llms.txt")


@pytest.mark.parametrize("page", [*TEXTS, *OTHER_TEXTS], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)}: no file {target}"
        assert not anchor or anchor in anchors(file), f"{name(page)}: no anchor {target}"


def test_every_page_is_in_the_index() -> None:
    """The pages of exports are in the list of the page about them."""
    listed = {
        (page.parent / f"{line}.md").relative_to(DOCS).as_posix()
        for page in (DOCS / "index.md", DOCS / "how-to" / "known-exports.md")
        for block in re.findall(r"^```{toctree}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.M)
        for line in block.split()
    }
    assert {page.relative_to(DOCS).as_posix() for page in PAGES} - {"index.md"} <= listed


# Tables --------------------------------------------------------------------------------------------------------


def table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading of a page, without its head."""
    prose = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", prose, re.DOTALL | re.MULTILINE)
    assert section, f"{page} has no section {heading!r}"
    lines = [line for line in section[1].splitlines() if line.startswith("|")]
    assert len(lines) > 2, f"{page}: no table under {heading!r}"
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def named(cell: str) -> list[str]:
    """Return the texts in back quotes."""
    return re.findall(r"`([^`]+)`", cell)


def test_exit_codes() -> None:
    assert [int(row[0]) for row in table("reference/exit-codes.md", "Exit codes")] == list(EXIT_CODES)


def test_how_many_exports_are_known() -> None:
    known = len(list((ROOT / "schemas" / "exports").glob("*.toml")))
    assert f"recognises {known} exports" in " ".join((DOCS / "how-to" / "known-exports.md").read_text().split())
    assert f"Samples of {known} known exports" in (DOCS / "safety.md").read_text()


def test_status_words() -> None:
    said = {word: row[0].strip("`") for row in table("reference/words.md", "Status words") for word in named(row[1])}
    assert said == codes.STATUS_WORDS


def test_customer_types() -> None:
    said = {word: row[0].strip("`") for row in table("reference/words.md", "Customer types") for word in named(row[1])}
    assert said == codes.CUSTOMER_TYPE_WORDS


def test_blocked_values() -> None:
    said = {
        row[0]: {word.lower() for word in named(row[1])}
        for row in table("concepts/identity.md", "Values that identify nobody")
    }
    assert said == {
        "external ids and aliases": codes.BLOCKED_IDS - codes.NO_VALUE_WORDS,
        "e-mails": codes.BLOCKED_EMAILS,
        "the part before the `@`": codes.BLOCKED_EMAIL_LOCALS,
        "words for no id or e-mail": codes.NO_VALUE_WORDS,
    }


def test_fields() -> None:
    assert [name for row in table("reference/fields.md", "Fields of a customer") for name in named(row[0])] == list(
        COLUMNS
    )


def test_every_command_is_listed() -> None:
    listed = {
        words[1]
        for row in table("reference/command-line.md", "The command line")
        for words in [named(row[0])[0].split()]
    }
    assert listed == set(cli.commands)


def test_files_of_a_run(tmp_path: Path) -> None:
    ends = {"source": str(ROOT / "sample_data" / "nightly"), "destination": f"duckdb:///{tmp_path}/w.duckdb"}
    report = run(load({**ends, "state_dir": tmp_path}, {}))
    said = {
        name
        for row in table("concepts/runs.md", "Files of a run")
        for cell in row
        for name in named(cell)
        if name != "*"
    }
    assert said == {path.name for path in Path(report.run_dir).iterdir()}

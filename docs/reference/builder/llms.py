"""llms.txt: what Tranship is, its commands, and its pages with a line each, for programs that read documentation."""

from __future__ import annotations

import re
from pathlib import Path

from tranship.pipelines.cli.command_help import JOBS
from tranship.pipelines.cli.main import cli

_INSTALL = """\
Install it from a checkout, into a virtual environment: `pip install .`; `pip install ".[postgres]"` adds Postgres,
`pip install ".[cloud]"` cloud storage. The command is `tranship`, the package `tranship`. Exit codes: 0 done, 2 wrong
command or file, 3 remote error, 4 done with rejects, 5 stopped by a limit with nothing written."""


def text(root: Path) -> str:
    """Return the text."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    commands = []
    parts = [
        "# Tranship",
        f"> {_first_paragraph(readme)}",
        _INSTALL,
        "## Commands",
    ]
    for job in JOBS:
        listed = [(name, command) for name, command in cli.commands.items() if getattr(command, "job", None) == job]
        commands += [f"- `tranship {name}`: {command.get_short_help_str()}" for name, command in listed]
    parts.append("\n".join(commands))
    index = (root / "docs" / "index.md").read_text(encoding="utf-8")
    for title, names in re.findall(r"^```{toctree}\n:caption: (.+)\n(?::.*\n)*\n((?:.+\n)+?)```$", index, re.MULTILINE):
        parts.append(f"## {title}")
        parts.append("\n".join(_line(root / "docs" / f"{name}.md", name) for name in names.split()))
        if title == "How to":
            parts += ["## Exports of known systems", "\n".join(_exports(root))]
    return "\n\n".join(parts) + "\n"


def _exports(root: Path) -> list[str]:
    """Return a line for the page of each export profile."""
    pages = sorted((root / "docs" / "how-to" / "exports").glob("*.md"))
    return [f"- [{_title(page)}]({page.relative_to(root / 'docs').as_posix()})" for page in pages]


def _title(path: Path) -> str:
    heading = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert heading, path
    return heading[1]


def _line(path: Path, name: str) -> str:
    page = path.read_text(encoding="utf-8")
    return f"- [{_title(path)}]({name}.md): {_first_sentence(page)}"


_LONG_ENOUGH = 20


def _first_paragraph(page: str) -> str:
    """Return the first paragraph below the title, without links."""
    body = re.sub(r"<!--.*?-->|<a id=[^>]*></a>|^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n{2,}", body)]
    prose = [part for part in paragraphs if len(part) >= _LONG_ENOUGH and part[0] not in "|#>-*0123456789"]
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", prose[0])


def _first_sentence(page: str) -> str:
    return re.split(r"(?<=[^.][.:?])(?: |$)", _first_paragraph(page))[0].rstrip(":")

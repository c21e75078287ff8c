"""Write the reference that is derived from the code: parts of pages in docs/reference/, between two comments each.

Run it with the project's Python after the code has changed: .venv/bin/python docs/reference/build.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tranship.connectors import errors
from tranship.pipelines import explain
from tranship.pipelines.exit_codes import EXIT_CODES
from tranship.pipelines.settings_model import Settings
from tranship.schemas.explanations import refusals
from tranship.schemas.faults import RULES, WARNINGS

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]


def anchor(name: str) -> str:
    """Return an anchor that does not change with the heading below it."""
    return f'<a id="{name}"></a>'


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; a bar within a cell is escaped."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    shown = [f"| {' | '.join(line)} |".replace("|  |", "| |").replace("|  |", "| |") for line in lines]
    return "\n".join([shown[0], "|" + "---|" * len(lines[0]), *shown[1:]])


_FEW: Final = 2


# Codes -------------------------------------------------------------------------------------------------------------


def codes(known: Iterable[str]) -> str:
    """Return a section for each text, with the codes that share it."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for code in known:
        _, meaning, advice, example = explain.page(code).explanation
        rule = RULES.get(code) or WARNINGS.get(code) or explain.page(code).explanation.sentence
        field = code.partition(".")[0]
        generic = tuple(re.sub(rf"\b{field}\b", "FIELD", text) for text in (meaning, advice, example))
        groups.setdefault((rule, *generic[:2]), []).append(code)  # type: ignore[arg-type]
    return "\n\n".join(_code_section(rule, members) for (rule, *_), members in groups.items())


def _code_section(rule: str, members: list[str]) -> str:
    _, meaning, advice, example = explain.page(members[0]).explanation
    is_reason = "." not in members[0]
    heading = refusals.shown(members[0]) if is_reason else ", ".join(f"`{code}`" for code in members)
    if len(members) > _FEW:
        heading = f"`FIELD.{members[0].partition('.')[2]}`"
        fields = ", ".join(f"`{code.partition('.')[0]}`" for code in members)
        meaning = f"{meaning}\nThe fields are {fields}."
    return _section("".join(map(anchor, members)), heading, rule, meaning, advice, example)


def _section(anchors: str, heading: str, rule: str, meaning: str, advice: str, example: str) -> str:
    first, *more = meaning.split("\n")
    parts = [anchors, f"### {heading}", f"*{rule}*" if "`" not in rule and "*" not in rule else rule, _prose(first)]
    if more:
        parts.append("\n".join(f"- {line}" if ": " in line else _prose(line) for line in more))
    parts.append(f"**What to do.** {_prose(advice)}")
    if example:
        parts.append(f"```text\n{example}\n```")
    return "\n\n".join(parts)


_VALUE: Final = r"(?:[\w:.-]+=[\w.%-]+|\d+(?:%|min|h)?|last|[A-Z]{2,}|upsert|skip|wait|refuse)(?![\w-])"


def _prose(text: str) -> str:
    """Return text with options, settings and commands as code, and nothing that Markdown takes for something else."""
    return re.sub(rf"(?<![`\w-])(--[a-z-]+(?: {_VALUE})?)", r"`\1`", text)


def exit_codes() -> str:
    """Return a section for each exit code."""
    return "\n\n".join(
        _section(anchor(str(code)), str(code), *explain.page(str(code)).explanation) for code in EXIT_CODES
    )


def errors_of_python() -> str:
    """Return a section for each error."""
    return "\n\n".join(
        _section(anchor(name), f"`tranship.{name}`", *explain.page(name).explanation[:3], "")
        + _based_on(getattr(errors, name))
        for name in explain.error_names()
    )


def _based_on(kind: type[Exception]) -> str:
    base = kind.__bases__[0].__name__
    return "" if base == "Exception" else f" It is a kind of [`{base}`](#tranship{base.lower()})."


# Settings and fields -----------------------------------------------------------------------------------------------


def default_of(name: str) -> str:
    """Return the default of a setting, in back quotes; empty if there is none."""
    field = Settings.model_fields[name]
    if name == "workers":
        return "cores, at most 8"
    if field.is_required():
        return "required"
    default: Any = field.get_default(call_default_factory=True, validated_data={})
    if default is None or default == () or default == {}:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def settings() -> str:
    """Return the table of all settings."""
    rows = [(f"`{name}`", default_of(name), str(field.description)) for name, field in Settings.model_fields.items()]
    return table(("name", "default", "meaning"), rows)


PARTS: Final[dict[str, dict[str, Callable[[], str]]]] = {
    "codes.md": {
        "rejects": lambda: codes(RULES),
        "refusals": lambda: codes(refusals.REFUSALS),
        "stale": lambda: codes(refusals.STALE),
        "warnings": lambda: codes(WARNINGS),
    },
    "exit-codes.md": {"exit codes": exit_codes},
    "errors.md": {"errors": errors_of_python},
    "settings.md": {"settings": settings},
}
"""Page → name of the part → what writes it."""


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each page and its text, with the parts that are derived from the code."""
    for name, parts in PARTS.items():
        path = HERE / name
        text = path.read_text(encoding="utf-8")
        for part, write in parts.items():
            begin, end = f"<!-- {part}: written by docs/reference/build.py -->", f"<!-- end of {part} -->"
            before, found, rest = text.partition(begin)
            _, closed, after = rest.partition(end)
            if not found or not closed:
                sys.exit(f"{path}: there is no {begin} … {end}")
            text = f"{before}{begin}\n\n{write()}\n\n{end}{after}"
        yield path, text


if __name__ == "__main__":
    for page, text in pages():
        page.write_text(text, encoding="utf-8")

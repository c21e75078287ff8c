"""Pieces of Markdown that the pages derived from the code consist of."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable
from typing import Final

_VALUE: Final = r"(?:[\w:.-]+=[\w.%-]+|\d+(?:%|min|h)?|last|[A-Z]{2,}|upsert|skip|wait|refuse)(?![\w-])"


def anchor(name: str) -> str:
    """Return an anchor that does not change with the heading below it."""
    return f'<a id="{name}"></a>'


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; a bar within a cell is escaped."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    shown = [f"| {' | '.join(line)} |".replace("|  |", "| |").replace("|  |", "| |") for line in lines]
    return "\n".join([shown[0], "|" + "---|" * len(lines[0]), *shown[1:]])


def prose(text: str) -> str:
    """Return text with options, settings and commands as code, and nothing that Markdown takes for something else."""
    spans = re.split(r"(`[^`]*`)", text)
    return "".join(
        span if span.startswith("`") else re.sub(rf"(?<![\w-])(--[a-z-]+(?: {_VALUE})?)", r"`\1`", span)
        for span in spans
    )


def paragraphs(docstring: str | None) -> str:
    """Return a docstring as Markdown: indented lines are Python."""
    found = []
    for part in inspect.cleandoc(docstring or "").split("\n\n"):
        if part.startswith("    "):
            found.append(f"```text\n{textwrap.dedent(part)}\n```")
        else:
            found.append(prose(" ".join(part.split())))
    return "\n\n".join(found)


def attribute_texts(kind: type) -> dict[str, str]:
    """Return attribute of a class → the text below it in the source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    texts: dict[str, str] = {}
    name = ""
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            texts[name] = ""
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            texts[name] = " ".join(str(node.value.value).split())
        else:
            name = ""
    return texts

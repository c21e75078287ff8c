"""The pages about the Python API and the report."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from typing import Any, ForwardRef, is_typeddict

import msgspec

import tranship
from builder.markdown import anchor, attribute_texts, paragraphs, table
from tranship.pipelines.report import Counts, Report
from tranship.pipelines.settings_model import Settings

_PYTHON = """\
# The Python API

<!-- Written by docs/reference/build.py. -->

[Use it from Python](../how-to/python.md) shows it at work. Options are the [settings](settings.md), by name. Errors are
described in [Errors in Python](errors.md). Everything below is a name of the package `tranship`.
"""
_REPORT = """\
# The report of a run

<!-- Written by docs/reference/build.py. -->

`tranship run --json` prints it, `report.json` in the folder of the run keeps it, and `tranship.run` returns it as
`tranship.Report`. New fields may be added; existing ones keep their names and meanings.
"""

_BALANCE = """\
Every record that was read has one fate: `read` is the sum of `skipped`, `rejected`, `merged`, `created`, `updated`,
`unchanged`, `refused`, `stale`, `unknown` and `left`."""


def python_page() -> str:
    """Return the page about the functions and results."""
    known = {name: getattr(tranship, name) for name in tranship.__all__}
    functions = {name: value for name, value in known.items() if inspect.isfunction(value)}
    results = {
        name: value
        for name, value in known.items()
        if inspect.isclass(value) and not issubclass(value, Exception) and hasattr(value, "__annotations__")
    }
    parts = [_PYTHON, "## Functions", *(_function(name, value) for name, value in functions.items())]
    parts += ["## Results and values", *(_class(name, value) for name, value in results.items())]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _function(name: str, function: Any) -> str:
    signature = inspect.signature(function)
    # Annotations are text, which is shown in quotes.
    listed = [re.sub(r": '([^']*)'", r": \1", str(param)) for param in signature.parameters.values()]
    star = next(
        (place for place, param in enumerate(signature.parameters.values()) if param.kind is param.KEYWORD_ONLY), None
    )
    if star is not None:
        listed.insert(star, "*")
    shown = f"{name}({', '.join(listed)})"
    if len(shown) > _WIDTH:
        shown = f"{name}(\n" + "".join(f"    {one},\n" for one in listed) + ")"
    result = str(signature.return_annotation)
    return "\n\n".join(
        [anchor(name), f"### `{name}`", f"```text\n{shown} -> {result}\n```", paragraphs(function.__doc__)]
    )


_WIDTH = 100


def _class(name: str, kind: type) -> str:
    hints = {field: _type(hint) for field, hint in inspect.get_annotations(kind).items() if field[0] != "_"}
    parts = [anchor(name), f"### `{name}`", paragraphs(kind.__doc__)]
    if is_typeddict(kind):
        names = {
            field: f"[`{field}`](settings.md#{field})" if field in Settings.model_fields else f"`{field}`"
            for field in hints
        }
        return "\n\n".join(
            [*parts, table(("name", "type"), [(names[field], f"`{hint}`") for field, hint in hints.items()])]
        )
    texts = attribute_texts(kind)
    if any(texts.get(field) for field in hints):
        rows = [(f"`{field}`", f"`{hint}`", texts.get(field, "")) for field, hint in hints.items()]
        parts.append(table(("attribute", "type", "meaning"), rows))
    elif hints:
        parts.append(table(("attribute", "type"), [(f"`{field}`", f"`{hint}`") for field, hint in hints.items()]))
    methods = [
        f"- `{method}`: {paragraphs(value.__doc__)}"
        for method, value in vars(kind).items()
        if inspect.isfunction(value) and method[0] != "_" and value.__doc__
    ]
    return "\n\n".join([*parts, *(["\n".join(" ".join(line.split()) for line in methods)] if methods else [])])


def _type(hint: Any) -> str:
    """Return an annotation as it is written."""
    return hint.__forward_arg__ if isinstance(hint, ForwardRef) else str(hint)


def report_page() -> str:
    """Return the page about the report, with its JSON Schema."""
    schema = msgspec.json.schema(Report)
    parts = [
        _REPORT,
        _json_table(Report, "report-"),
        anchor("counts"),
        "## Counts",
        _BALANCE,
        _json_table(Counts, "counts-"),
        "## JSON Schema",
        f"```json\n{json.dumps(schema, indent=1)}\n```",
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _json_table(kind: type, prefix: str) -> str:
    texts = attribute_texts(kind)
    rows = []
    for field in dataclasses.fields(kind):
        if not texts[field.name]:
            raise SystemExit(f"{kind.__name__}.{field.name} has no text below it.")
        rows.append((f"{anchor(prefix + field.name)}`{field.name}`", f"`{field.type}`", texts[field.name]))
    return table(("name", "type", "meaning"), rows)

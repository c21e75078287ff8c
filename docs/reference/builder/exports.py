"""The how-to pages about exports of known systems, one for each profile, and their list in how-to/known-exports.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import tranship
from builder.markdown import table
from tranship.pipelines.inspection import Column
from tranship.schemas import export_profiles

FOLDER: Final = "how-to/exports"
_LONGEST: Final = 40
_BEGINNING: Final = """\
<!-- Written by docs/reference/build.py. -->

Export the customers, and load the file unchanged. Look at it first:

```sh
tranship inspect export{suffix}
tranship run export{suffix} "duckdb:///warehouse.duckdb?table=customers"
```

To try it without an export of your own, load the [sample](../../../{sample}), which has made-up customers:

```sh
tranship run {sample} customers.jsonl
```

## How it is recognised

A file is read with the profile `{name}` if it has all headers of one of these sets, in exactly this spelling.
`--profile {name}` uses the profile whatever the headers are, `--profile none` never.

{sets}

Source of the profile: {source}.

## What each column becomes

Columns of the sample; others are mapped by their names, and kept in `metadata` if no field fits."""
_END: Final = """\
## If it does not fit

Your own rules take precedence: `--map name="First Name + Last Name"`, `--value status:"on hold"=suspended`, `--ignore
Notes`. [Columns](../../concepts/columns.md) explains them, [Load the export of a known system](../known-exports.md)
what all exports have in common, and [Map status words](../status-words.md) what to do about an unknown status."""


def pages(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the page of each profile, and its text. Each sample is inspected, as a user would do."""
    for name in export_profiles.index():
        yield root / "docs" / FOLDER / f"{name}.md", _page(root, name)


def listing() -> str:
    """Return the list of all profiles, by title, for the page that leads to them."""
    by_title = sorted(export_profiles.index().items(), key=lambda item: item[1].title.casefold())
    rows = [(f"[{known.title}](exports/{name}.md)", f"`{name}`") for name, known in by_title]
    toctree = "\n".join(f"exports/{name}" for name, _ in by_title)
    return f"{table(('export', 'profile'), rows)}\n\n```{{toctree}}\n:hidden:\n\n{toctree}\n```"


def sample_of(root: Path, name: str) -> Path:
    """Return the sample of a profile, a file with made-up customers."""
    (found,) = (file for file in (root / "tests" / "exports").glob(f"{name}.*") if not file.match("*.expected.json"))
    return found


def _page(root: Path, name: str) -> str:
    content = export_profiles.load(name)
    about = content["recognise"]
    sample = sample_of(root, name)
    shown = sample.relative_to(root).as_posix()
    found = tranship.inspect(sample)
    headers = about["headers"] if isinstance(about["headers"][0], list) else [about["headers"]]
    sets = "\n".join(f"- {', '.join(f'`{header}`' for header in names)}" for names in headers)
    parts = [
        f"# Load {about['name']}",
        _BEGINNING.format(name=name, suffix=sample.suffix, sample=shown, sets=sets, source=about["source"].rstrip(".")),
        table(("column", "becomes", "for example"), [_row(column) for column in found.columns]),
        *_rules(content),
        *_not_loaded(found.columns),
        _END,
    ]
    return "\n\n".join(parts) + "\n"


def _row(column: Column) -> tuple[str, str, str]:
    fields = [column.field] if isinstance(column.field, str) else column.field or []
    becomes = ", ".join(f"[`{field}`](../../reference/fields.md#{field})" for field in fields)
    if column.becomes == "metadata":
        becomes = "kept in `metadata`"
    example = next(iter(column.samples), "")
    shown = example if len(example) <= _LONGEST else f"{example[:_LONGEST]}…"
    return f"`{column.name}`", becomes or "not loaded", f"`{shown}`" if shown.strip() else ""


def _rules(content: dict[str, Any]) -> list[str]:
    rules = {**content.get("fields", {}), **content.get("set", {})}
    lines = [f"- `{field}` is {f'`{rule}`' if rule else 'left empty'}" for field, rule in rules.items()]
    for field, words in content.get("values", {}).items():
        meanings = ", ".join(f"`{word}` is {f'`{value}`' if value else 'no value'}" for word, value in words.items())
        lines.append(f"- In `{field}`, {meanings}")
    if condition := content.get("where"):
        lines.append(f"- Only records are read for which `{condition}`")
    if forms := content.get("date_format"):
        lines.append(f"- Dates are also read as {', '.join(f'`{form}`' for form in forms)}")
    if not lines:
        return []
    introduction = (
        "`|` separates alternatives, of which the first that is filled is used; `+` joins columns with a blank."
    )
    return ["## The rules of the profile", introduction, "\n".join(lines)]


def _not_loaded(columns: tuple[Column, ...]) -> list[str]:
    left_out = [column.name for column in columns if column.becomes == "nothing" or column.field == []]
    kept = [column.name for column in columns if column.becomes == "metadata"]
    lines = []
    if left_out:
        lines.append(f"- Not loaded: {', '.join(f'`{name}`' for name in left_out)}")
    if kept:
        lines.append(
            f"- No field, kept in `metadata`: {', '.join(f'`{name}`' for name in kept)}. `--extra drop` drops them"
        )
    return ["## What is not loaded into a field", "\n".join(lines)] if lines else []

"""A settings file to start from, written from the inspection of a source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tranship.connectors.addresses import redacted
from tranship.pipelines import field_rules, toml_file
from tranship.pipelines.inspection import Inspection
from tranship.pipelines.settings_model import Reading
from tranship.schemas import export_profiles
from tranship.schemas.counted import counted


def pipeline_toml(inspection: Inspection, reading: Reading) -> str:
    """Return a settings file to start from, which can be run unchanged and names every column."""
    tables = ("fields", "values", "defaults", "set", "options")
    given = reading.model_dump(mode="json", include=set(Reading.model_fields), exclude={"source", *tables})
    sources = [redacted(source) for source in reading.sources]
    options = {
        name: value
        for name, value in given.items()
        if value != Reading.model_fields[name].get_default() and value not in ([], {})
    }
    if inspection.recognised and reading.profile is None:
        options["profile"] = export_profiles.find(inspection.recognised)
    kept = [column.name for column in inspection.columns if column.becomes == "metadata"]
    dropped = [column.name for column in inspection.columns if column.becomes == "nothing" and column.field is None]
    lines = [
        "# A tranship pipeline. Try it: tranship run THIS_FILE --dry-run",
        "# Add any option of `tranship run --help`, with _ for -. `tranship schema` prints a schema for editors.",
        "",
        f"source = {_value(sources[0] if len(sources) == 1 else sources)}",
        'destination = "duckdb:///customers.duckdb?table=customers"',
        *(f"{name} = {_value(value)}" for name, value in options.items()),
        *(
            f"# {text}: {toml_file.value(names)}"
            for text, names in (("not mapped, kept in metadata", kept), ("not mapped, dropped", dropped))
            if names
        ),
        "",
        "# Values where the source has none: field = value.",
        "[defaults]",
        *(f"{name} = {_value(value)}" for name, value in reading.defaults.items()),
        "",
        '# Field = its column, or "Company | First Name + Last Name": the first that is filled is used, + joins with a',
        "# blank. `tranship fields` lists the fields.",
        "[fields]",
        *(f"{name} = {_value(rule)}" for name, rule in inspection.rules.items() if name not in inspection.expressions),
        *(_toml_choice(name, column, fitting) for name, fitting in inspection.conflicts.items() for column in fitting),
        *(["", "# Options of a connector of another package.", "[options]"] if reading.options else []),
        *(f"{toml_file.value(name)} = {_value(value)}" for name, value in reading.options.items()),
        *(["", "# SQL expressions on the columns of the source.", "[set]"] if inspection.expressions else []),
        *(f"{name} = {_value(text)}" for name, text in inspection.expressions.items()),
    ]
    for name, words in reading.values.items():
        lines += [
            "",
            f"[values.{name}]",
            *(f"{toml_file.value(word)} = {_value(value)}" for word, value in words.items()),
        ]
    used = [column.name for column in inspection.columns if column.becomes == "field"]
    lines += [
        "",
        "# For other files with these headers, use this file as a profile: --profile THIS_FILE",
        "[recognise]",
        f"name = {toml_file.value(_stem(sources[0]))}",
        f"headers = {toml_file.value(used)}",
    ]
    return "\n".join(lines) + "\n"


def _stem(source: str) -> str:
    """Return the last part of a path or URL, without suffixes."""
    return re.split(r"[/\\]", source)[-1].partition(".")[0]


def _toml_choice(field: str, column: str, fitting: Sequence[str]) -> str:
    columns = counted(len(fitting), "column")
    return f"# {field} = {_value(field_rules.quoted(column))}  # {columns} match {field}: uncomment one of them"


def _value(value: Any) -> str:
    """Return the value of a setting, in which `${NAME}` would be that of an environment variable."""
    return toml_file.value(value).replace("${", "$${")

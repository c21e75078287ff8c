"""The tables of settings and of the fields of a customer."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args, get_origin

from builder.markdown import anchor, prose, table
from tranship.pipelines import option_names
from tranship.pipelines.cli import render
from tranship.pipelines.settings_model import Settings
from tranship.pipelines.settings_schema import settings_schema
from tranship.schemas.faults import RULES, WARNINGS


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


def choices_of(name: str) -> tuple[str, ...]:
    """Return the values of a setting that has a choice, also that of a table's values."""
    pending = [Settings.model_fields[name].annotation]
    while pending:
        kind = pending.pop()
        if get_origin(kind) is Literal:
            return get_args(kind)
        pending += get_args(kind)
    return ()


def meaning_of(name: str) -> str:
    """Return the description of a setting, with its choices."""
    text = prose(str(Settings.model_fields[name].description))
    choices = choices_of(name)
    return f"{text} One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else text


def settings() -> str:
    """Return the table of all settings, and of the tables that only a file has."""
    rows = [
        (f"{anchor(name)}`{name}`", f"`--{option_names.option(name)}`", default_of(name), meaning_of(name))
        for name in Settings.model_fields
    ]
    in_files = settings_schema()["properties"]
    rows += [
        (f"{anchor(name)}`{shown}`", "", "", in_files[name]["description"])
        for name, shown in (("pipelines", "[pipelines.NAME]"), ("recognise", "[recognise]"))
    ]
    return table(("name", "option", "default", "meaning"), rows)


_REJECTED: Final = ("external_id", "email", "name")
"""Where an invalid value costs the record, unless --on-invalid says otherwise; the setting names the same."""


def fields() -> str:
    """Return the table of types and codes of fields."""
    rows = []
    for field in render.fields():
        own = [code for code in (*RULES, *WARNINGS) if code.partition(".")[0] == field.name]
        linked = ", ".join(f"[`{code}`](codes.md#{code})" for code in own)
        cost = "the record" if field.name in _REJECTED else "the value"
        rows.append((f"{anchor(field.name)}`{field.name}`", field.type, cost, linked))
    return table(("field", "type", "an invalid value costs", "codes"), rows)

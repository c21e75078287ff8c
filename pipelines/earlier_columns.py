"""The setting `columns` of earlier versions, source column → field or fields, which became `fields` and `ignore`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tranship.pipelines import field_rules


def without_columns(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of an earlier version, whose `columns` were source column → field or fields, in today's form."""
    settings = dict(given)
    fields, ignored = _of_columns({} if "fields" in settings else settings.pop("columns", {}))
    if fields or ignored:
        settings["fields"] = fields | settings.get("fields", {})
        settings["ignore"] = [*ignored, *settings.get("ignore", [])]
    return settings


def is_of_source(columns: Any) -> bool:
    """Whether `columns` are those of the source, column → field or fields, as earlier versions had them."""
    if not isinstance(columns, Mapping):
        return True
    from tranship.schemas.customer import COLUMNS  # not for help

    return any(
        not isinstance(value, str) or not value or (key not in COLUMNS and value in COLUMNS)
        for key, value in columns.items()
    )


def _of_columns(columns: Any) -> tuple[dict[str, str], list[str]]:
    """Return the rules of fields, and the ignored columns, for column → field or fields."""
    fields, ignored = {}, []
    for column, targets in columns.items() if isinstance(columns, Mapping) else ():
        for field in (targets or [""]) if isinstance(targets, list | tuple) else [targets]:
            if field:
                fields[str(field)] = field_rules.quoted(str(column))
            else:
                ignored.append(str(column))
    return fields, ignored


def replacement(where: str, columns: Any) -> list[str]:
    """Return the lines to write instead of `columns`, a setting of earlier versions."""
    fields, ignored = _of_columns(columns)
    lines = [f"{field} = {json.dumps(rule, ensure_ascii=False)}" for field, rule in fields.items()]
    if not lines and not ignored:
        lines = ['name = "Company | First Name + Last Name"']
    left_out = [f"ignore = {json.dumps(ignored, ensure_ascii=False)}"] if ignored else []
    return [
        f"{where}: was replaced by fields, with the field first. Write:",
        *left_out,
        *(["[fields]", *lines] if lines else []),
    ]

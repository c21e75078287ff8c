"""Messages about invalid settings: each names the option, variable or file, and the value."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, get_origin

from tranship.connectors import suggestions, value_errors
from tranship.pipelines import option_names
from tranship.pipelines.settings_model import Reading, Settings

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

COMMAND: Final = "command"
ENVIRONMENT: Final = "environment"
CALL: Final = "call"
"""Where a setting is given; any other place is the path of a file."""

_ARGUMENTS: Final = ("source", "destination")
"""Settings that a command takes as arguments, not as options."""


def sentences(error: ValidationError, origin: Mapping[str, str], kind: type[Reading]) -> list[str]:
    """Return a line for each invalid setting; `origin` is where each was given."""
    lines: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        if not problem["loc"]:  # about several settings; the message names them
            lines[""] = f"{value_errors.reason(problem)}."
            continue
        name = str(problem["loc"][0])
        lines.setdefault(name, _sentence(name, problem, origin.get(name, ""), kind))
    return list(lines.values())


def _sentence(name: str, problem: ErrorDetails, where: str, kind: type[Reading]) -> str:
    if problem["type"] == "missing":
        return f"{name}: is missing. {Settings.model_fields[name].description}"
    if problem["type"] == "extra_forbidden":
        of_kind = " of a source" if name in Settings.model_fields else ""
        near = suggestions.advice(name, kind.model_fields, "The settings are")
        return f"{place(name, where)}: unknown setting{of_kind}. {near}"
    is_table = get_origin(Settings.model_fields[name].annotation) is dict
    key = str(problem["loc"][1]) if is_table and len(problem["loc"]) > 1 else None
    value = problem["input"] if value_errors.names_value(problem) else None
    advice = f" {Settings.model_fields[name].description}" if problem["type"] == "string_pattern_mismatch" else ""
    return f"{place(name, where, value, key)}: {value_errors.reason(problem)}.{advice}"


def place(name: str, where: str, value: Any = None, key: str | None = None) -> str:
    """Return how a setting, with its value or one pair of its table, is spelled where it was given."""
    pair = [part for part in (key, value) if part is not None]
    text = "=".join(map(str, pair))
    if where == COMMAND and name in _ARGUMENTS:
        return " ".join([name.upper(), *([shlex.quote(text)] if pair else [])])
    if where == COMMAND:
        return " ".join([f"--{option_names.option(name)}", *([shlex.quote(text)] if pair else [])])
    if where == ENVIRONMENT:
        variable = option_names.variable(name)
        return f"{variable}, {text}" if key else "=".join([variable, *([text] if pair else [])])
    if where in (CALL, ""):
        name = f"{name}[{key!r}]" if key else name
        return name if value is None else f"{name}={value!r}"
    name = f"{name}.{key}" if key else name
    return f"{name} ({where})" if value is None else f"{name} = {json.dumps(value, ensure_ascii=False)} ({where})"

"""The JSON Schema of a settings file, for editors: the settings of one run, or of several pipelines."""

from __future__ import annotations

from typing import Any, Final

from tranship.pipelines import pipelines_file
from tranship.pipelines.settings_model import Settings

_SEVERAL: Final = (
    "Several pipelines in one file: the settings of each are in a table of its name, and those above the tables are "
    "shared."
)
_PROFILE: Final = "The headers by which a file used as an export profile is recognised. A run does not use them."
_VARIABLE: Final = {"type": "string", "pattern": r"\$\{", "description": "The value of an environment variable."}
_LIMITS: Final = ("max_conflicts", "max_rejects", "max_warnings", "max_deletes", "max_changes")
_NUMBERS: Final = {
    **dict.fromkeys(_LIMITS, "number"),
    **dict.fromkeys(("lookback", "settle", "lock_timeout", "statement_timeout", "since", "until", "sheet"), "integer"),
}
"""Settings that are text and may be written as a number in TOML."""
_IN_TABLES: Final = {
    "defaults": ["integer"],
    "values": ["integer"],
    "options": ["number", "boolean"],
    "expect": ["number"],
    "retention": ["integer", "boolean"],
}
"""Tables of text whose values may be of another type in TOML."""


def settings_schema() -> dict[str, Any]:
    """Return the schema. What a command, the environment or the top of a file can add is not required of a pipeline."""
    found = Settings.model_json_schema()
    settings = {name: _in_toml(name, schema) for name, schema in found["properties"].items()}
    of_pipeline = {name: schema for name, schema in settings.items() if name != "pipeline"}
    found["properties"] = {
        **settings,
        pipelines_file.TABLE: {
            "type": "object",
            "description": _SEVERAL,
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{pipelines_file.NAME}$"},
            "additionalProperties": {"$ref": "#/$defs/pipeline"},
        },
        "recognise": {"type": "object", "description": _PROFILE},
    }
    ends = found.pop("required")
    found["anyOf"] = [{"required": [pipelines_file.TABLE]}, {"required": ["recognise"]}, {"required": ends}]
    of_one = {"type": "object", "properties": of_pipeline, "additionalProperties": False}
    found["$defs"] = {**found.get("$defs", {}), "pipeline": {"description": "The settings of one pipeline.", **of_one}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _in_toml(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a setting with the other forms that a file may have: a number for text, one text for a list,
    and the value of an environment variable for anything.
    """
    if name in _IN_TABLES:
        return {**schema, "additionalProperties": _with_types(schema["additionalProperties"], _IN_TABLES[name])}
    about: dict[str, Any] = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in about}
    forms = rest["anyOf"] if list(rest) == ["anyOf"] else [rest]
    # TOML has no null.
    forms = [form for form in forms if form != {"type": "null"}]
    if name in _NUMBERS:
        forms.append({"type": _NUMBERS[name], "minimum": 0})
    if any(form.get("type") == "array" for form in forms) and {"type": "string"} not in forms:
        forms.append({"type": "string"})
    if {"type": "string"} not in forms and not any(form.get("type") == "object" for form in forms):
        forms.append(_VARIABLE)
    about = {key: value for key, value in about.items() if value is not None}
    return {**about, "anyOf": forms} if len(forms) > 1 else {**about, **forms[0]}


def _with_types(schema: dict[str, Any], others: list[str]) -> dict[str, Any]:
    if "additionalProperties" in schema:
        return {**schema, "additionalProperties": _with_types(schema["additionalProperties"], others)}
    return {**schema, "type": ["string", *others]}

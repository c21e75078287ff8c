"""A raw customer of GrowPanel's sandbox: the checks of a row, and the effect of a change.

https://api.growpanel.io/openapi.json; behaviour that is not documented is marked *assumed*.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from tranship.schemas.codes import country_codes

Row = dict[str, Any]

TEXTS: Final = (
    *("id", "name", "email", "created_date", "country", "state", "trial_started", "paid_started", "cancel_date"),
    *("status", "currency"),
)
"""The fields of a customer that are text or null, in the order of responses."""
DATES: Final = ("created_date", "trial_started", "paid_started", "cancel_date")
REQUIRED: Final = ("id", "created_date", "country", "data_source")
UPDATED: Final = ("name", "email", "custom_variables", "status", "currency", "paid_started", "cancel_date")
"""The fields that a PUT changes. The specification has the first three; the others are only in the older reference, and
are accepted in both dialects (assumed)."""
LONGEST_VARIABLE: Final = 255
LONGEST_VALUE: Final = 1000
"""Characters of a custom variable's name and value (assumed)."""


def fault(row: Row, required: Sequence[str]) -> str | None:
    """Return the message about the first fault of a row, or null."""
    for field in TEXTS:
        value = row.get(field)
        if value is not None and not isinstance(value, str):
            return f"{field} must be a string"
    for field in required:
        if not row.get(field):
            return f"{field} is required"
    for field in DATES:
        if row.get(field) and not _is_date(row[field]):
            return f"{field} must be an ISO 8601 date"
    if row.get("country") and row["country"].upper() not in country_codes():
        return "country must be an ISO 3166 alpha-2 code"
    return _variables_fault(row.get("custom_variables"))


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _variables_fault(variables: object) -> str | None:
    if variables is None:
        return None
    if not isinstance(variables, dict):
        return "custom_variables must be an object"
    for name, value in variables.items():
        if value is not None and not isinstance(value, str):
            return "custom_variables: values must be strings"
        if len(name) > LONGEST_VARIABLE:
            return f"custom_variables: a key has at most {LONGEST_VARIABLE} characters"
        if value is not None and len(value) > LONGEST_VALUE:
            return f"custom_variables: a value has at most {LONGEST_VALUE} characters"
    return None


def merged(old: Row | None, sent: Row, fields: Sequence[str]) -> Row:
    """Return a customer after a change of these fields: fields not sent are kept, null clears a field (assumed).

    Custom variables are merged by name, and null removes one (assumed). A status that was never sent is derived from
    the dates (assumed).
    """
    new: Row = dict(old) if old else {**dict.fromkeys(TEXTS), "custom_variables": {}, "data_source": None}
    for field in fields:
        if field in sent and field != "custom_variables":
            new[field] = sent[field]
    if "custom_variables" in fields and "custom_variables" in sent:
        variables = sent["custom_variables"]
        kept = {} if variables is None else {**new["custom_variables"], **variables}
        new["custom_variables"] = {name: value for name, value in kept.items() if value is not None}
    if not new["status"] or (old and "status" not in sent and old["status"] == status_by_dates(old)):
        new["status"] = status_by_dates(new)
    return new


def status_by_dates(row: Row) -> str:
    """Return the status derived from the dates of a customer (assumed)."""
    if row["cancel_date"]:
        return "canceled"
    if row["paid_started"]:
        return "active"
    return "trialing" if row["trial_started"] else "lead"


def key_of(row: Row) -> str:
    """Return the key of a customer: ids are unique only within a data source, and keys are sorted by id."""
    return f"{row['id']}\0{row['data_source']}"

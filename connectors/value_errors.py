"""Reasons why the value of an option is invalid, in plain English instead of pydantic's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_REASONS: Final = {
    "literal_error": "is not valid; use {expected}",
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_type": "is not text",
    "string_pattern_mismatch": "is not valid",
    "tuple_type": "is not a list of texts",
    "dict_type": "is not a table (in Python: a dict)",
    "path_type": "is not a path",
}
"""Type of an error → its reason."""


def reason(problem: ErrorDetails) -> str:
    """Return the end of a sentence about the value, without a full stop."""
    words = {name: str(value).replace("'", "") for name, value in problem.get("ctx", {}).items()}
    if problem["type"] in _REASONS:
        return _REASONS[problem["type"]].format(**words)
    return problem["msg"].removeprefix("Value error, ")


def names_value(problem: ErrorDetails) -> bool:
    """Return whether the sentence needs the value in addition to the option: a reason of `_REASONS` about a text or
    number."""
    return problem["type"] in _REASONS and isinstance(problem["input"], str | int | float)

"""Messages of DuckDB's errors, without secrets and customers' values."""

from __future__ import annotations

from typing import Final

import duckdb

from tranship.connectors import known_secrets
from tranship.connectors.databases.quoted_values import without_values

_OF_SQL: Final = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.SyntaxException)
"""Errors in SQL itself, found before any value is read."""


def first_line(error: Exception) -> str:
    """Return the first line of an error message, without secrets and e-mail addresses."""
    return known_secrets.safe_message(str(error).splitlines()[0]) if str(error) else type(error).__name__


def message_of(error: duckdb.Error) -> str:
    """Return the first line of an error, without the values that it quotes."""
    line = first_line(error)
    if isinstance(error, _OF_SQL):
        return line
    if isinstance(error, duckdb.InvalidInputException):
        # Calls of error() in a query have any message, and patterns are repeated without quotes.
        return "Invalid Input Error: a function refused a value"
    return without_values(line)

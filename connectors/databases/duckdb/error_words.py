"""What DuckDB says about an error, without customers' values."""

from __future__ import annotations

from typing import Final

import duckdb

from tranship.connectors.databases.quoted_values import without_values
from tranship.connectors.databases.table_mapping import first_line

_OF_SQL: Final = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.SyntaxException)
"""Errors in SQL itself, found before any value is read."""


def words_of(error: duckdb.Error) -> str:
    """Return the first line of an error, without the values that it quotes."""
    line = first_line(error)
    if isinstance(error, _OF_SQL):
        return line
    if isinstance(error, duckdb.InvalidInputException):
        # error() in a query says what it likes, and patterns are repeated without quotes.
        return "Invalid Input Error: a function refused a value"
    return without_values(line)

"""Addresses of DuckDB tables: `duckdb:///warehouse.duckdb?table=customers`, four slashes for an absolute path."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from tranship.connectors.address_secrets import shown_option
from tranship.connectors.addresses import (
    is_same_file,
    local_path,
    percent_decoded,
    redacted,
    resolved_path,
    schema_and_table,
)
from tranship.connectors.databases.as_of import parse_as_of
from tranship.connectors.databases.history_table import HISTORIES, history_of
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.table_mapping import CHANGES, WRITTEN
from tranship.connectors.errors import ConfigError


class DuckDbAddress(Struct, frozen=True):
    """A DuckDB file and a table or query in it."""

    path: Path
    schema: str
    table: str
    query: str | None
    as_of: datetime | None = None
    """The moment as of which the table is read; null: as it is."""
    database: str = ""
    """DuckDB's name for the file, set once it is open: needed for a schema `billing` in `billing.duckdb`."""

    @property
    def name(self) -> str:
        """The table, quoted, in its database and schema."""
        return f"{self.place}.{quoted(self.table)}"

    @property
    def title(self) -> str:
        """File and table, for messages."""
        return f"{self.path}: table {self.table}"

    @property
    def ledger(self) -> str:
        """The ledger beside the table, quoted."""
        return f"{self.place}.{quoted(LEDGER)}"

    @property
    def written_table(self) -> str:
        """The table beside it with the last written values, quoted."""
        return f"{self.place}.{quoted(WRITTEN)}"

    @property
    def changes_table(self) -> str:
        """The table beside it with the changes of runs, quoted."""
        return f"{self.place}.{quoted(CHANGES)}"

    @property
    def history(self) -> str:
        """The history of the table beside it, quoted."""
        return f"{self.place}.{quoted(history_of(self.table))}"

    @property
    def histories(self) -> str:
        """The table beside it that keeps what the tables with a history are like, quoted."""
        return f"{self.place}.{quoted(HISTORIES)}"

    @property
    def place(self) -> str:
        """Database and schema, quoted."""
        return f"{quoted(self.database)}.{quoted(self.schema)}"


def parse_address(spec: str) -> DuckDbAddress:
    """`duckdb:///path?table=schema.table` or `?query=…`, percent-encoded where need be (`%20`, `%26`, `%3F`).

    Write a name that contains a dot in double quotes. Raises ConfigError.
    """
    scheme = re.match("duckdb://", spec, re.IGNORECASE)
    place, mark, options = spec[scheme.end() :].partition("?") if scheme else ("", "", "")
    path = percent_decoded(spec, place.removeprefix("/"))
    if not place.startswith("/") or not path.strip("/") or path == ":memory:":
        raise ConfigError(
            f"{redacted(spec)}: a DuckDB address needs three slashes and a path: duckdb:///warehouse.duckdb"
        )
    given: dict[str, str] = {}
    for option in options.split("&") if mark else ():
        key, _, value = option.partition("=")
        if key not in ("table", "query", "as_of"):
            raise ConfigError(
                f"{redacted(spec)}: unknown parameter {shown_option(key)!r}. Use table, query or as_of; inside them, "
                "write & as %26."
            )
        if key in given or not value:
            raise ConfigError(f"{redacted(spec)}: {key} is given {'twice' if value else 'no value'}.")
        given[key] = percent_decoded(spec, value)
    if "query" in given and len(given) > 1:
        other = next(name for name in given if name != "query")
        raise ConfigError(f"{redacted(spec)}: give either {other} or query, not both.")
    schema, table = schema_and_table(spec, given.get("table", "customers"))
    as_of = parse_as_of(spec, given["as_of"]) if "as_of" in given else None
    return DuckDbAddress(local_path(path), schema or "main", table, given.get("query"), as_of)


def identity(spec: str) -> str:
    """Return one text for all spellings of a table's address. Raises ConfigError."""
    address = parse_address(spec)
    return f"duckdb {resolved_path(address.path)} {address.schema.lower()}.{address.table.lower()}"


def file(spec: str) -> Path:
    """Return the file in which the tables are. Raises ConfigError."""
    return parse_address(spec).path


def same_place(first: str, second: str) -> bool:
    """Return whether two addresses mean the same table or query. Raises ConfigError."""
    a, b = parse_address(first), parse_address(second)
    if (a.schema.lower(), a.table.lower(), a.query) != (b.schema.lower(), b.table.lower(), b.query):
        return False
    return is_same_file(a.path, b.path) or a.path.resolve() == b.path.resolve()

"""A DuckDB table, view or query as a source: `?query=SELECT …` reads the result of a query."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl

from tranship.connectors.contract import HEAD_RECORDS, ArrowPart, Layout, Waiting, from_arrow
from tranship.connectors.databases import as_of
from tranship.connectors.databases.duckdb.address import DuckDbAddress, parse_address
from tranship.connectors.databases.duckdb.catalog import describe_missing
from tranship.connectors.databases.duckdb.connection import connect
from tranship.connectors.databases.duckdb.error_messages import message_of
from tranship.connectors.databases.duckdb.history import history_columns
from tranship.connectors.databases.history_table import VALID_FROM, history_of, is_history
from tranship.connectors.databases.narrowing import condition
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.table_mapping import DELETED, bookkeeping_columns, deleted_rows_note
from tranship.connectors.errors import ConfigError, ConnectorError
from tranship.connectors.local_failures import local_failure

BATCH_ROWS: Final = 61_440


class DuckDbSource:
    """A table, a view or a query. Customers marked as deleted in a table created by Tranship are skipped, also in a
    query over one.
    """

    def __init__(self, spec: str, waiting: Waiting | None = None) -> None:
        self._address = parse_address(spec)
        address = self._address
        if not address.path.exists():
            raise ConfigError(f"{address.path}: there is no such database.")
        self._connection, address = connect(address, read_only=True, waiting=waiting)
        relation = f"({address.query.rstrip().rstrip(';')}\n)" if address.query else address.name
        past: tuple[str, ...] = ()
        try:
            if address.as_of:
                relation, past = self._as_of(address, address.as_of)
            described = self._connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
            if address.query:
                self._must_name_once(address, relation)
            types = {row[0]: row[1] for row in described}
            ours = bookkeeping_columns(types, of_query=bool(address.query))
            for hidden in ours:
                del types[hidden]
            kept = f" WHERE {quoted(DELETED)} IS NULL" if DELETED in ours else ""
            endless = [
                name for name, dtype in types.items() if dtype.startswith(("DATE", "TIMESTAMP")) and dtype[-1] != "]"
            ]
            counted = self._connection.execute(
                f"SELECT count(*) {''.join(f', bool_or(isinf({quoted(name)}))' for name in endless)} "
                f"FROM {relation}{kept}"
            ).fetchall()[0]
            deleted = f"SELECT count(*) FROM {relation} WHERE {quoted(DELETED)} IS NOT NULL"
            left = self._connection.execute(deleted).fetchall()[0][0] if address.query and kept else 0
        except duckdb.Error as error:
            reason = message_of(error)
            if isinstance(error, duckdb.CatalogException) and not address.query:
                what, meant = describe_missing(self._connection, address)
                reason = f"there is no {what}{f'; {meant}' if meant else ''}. Name one with ?table=schema.table."
            self._connection.close()
            raise ConfigError(f"{address.path}: {reason}") from None
        # A data frame cannot hold an infinite timestamp; as text it is rejected as unreadable.
        types |= {name: "INFINITE" for name, found in zip(endless, counted[1:], strict=True) if found}
        self._types = types
        self._columns = tuple(types)
        shown = ", ".join(_readable(name, dtype) for name, dtype in types.items())
        self._rows, self._shown = f"(SELECT * FROM {relation}{kept})", shown
        self._select = f"SELECT {shown} FROM {relation}{kept}"
        self.size: int | None = counted[0]
        self._count = self.size
        self.left_out = 0
        self._name = f"{address.path}:{'query' if address.query else address.table}"
        if address.as_of:
            self._name += as_of.shown(address.as_of)
        self._notes = (*past, *deleted_rows_note(left))

    def _as_of(self, address: DuckDbAddress, moment: datetime) -> tuple[str, tuple[str, ...]]:
        """Return the relation with the customers as of a time, and notes. Raises ConfigError if there is no history."""
        columns = history_columns(self._connection, address)
        if not is_history(columns):
            self._connection.close()
            raise as_of.no_history(f"{address.path}:{address.table}", history_of(address.table))
        begins = self._connection.execute(
            f"SELECT epoch_us(min({VALID_FROM}))::BIGINT FROM {address.history}"
        ).fetchall()[0][0]
        begun = None if begins is None else datetime.fromtimestamp(begins / 1e6, UTC)
        return as_of.relation(address.history, list(columns), moment), (as_of.note(moment, begun),)

    def _must_name_once(self, address: DuckDbAddress, relation: str) -> None:
        """Raise ConfigError if a query returns two columns of one name, which an outer query would rename silently."""
        given = [row[0].lower() for row in self._connection.execute(f"DESCRIBE {relation}").fetchall()]
        if twice := [name for name in given if given.count(name) > 1]:
            self._connection.close()
            raise ConfigError(f"{address.path}:query: returns column {twice[0]} twice; give each its own name with AS.")

    def layouts(self) -> list[Layout]:
        """Return the columns, without those that Tranship keeps for itself."""
        return [Layout(self._name, self._columns, self._notes, head=self._head)]

    def _head(self) -> pl.DataFrame | None:
        """Return the first records of a table."""
        try:
            found = self._connection.cursor().sql(f"{self._select} LIMIT {HEAD_RECORDS}").to_arrow_table()
        except duckdb.Error:  # which reading will report
            return None
        return from_arrow(found)

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return name and number of rows. A table may change without either, so an earlier read is never reused."""
        return [{"name": self._name, "size": None, "rows": self._count}]

    def narrow(self, column: str, since: datetime | int) -> None:
        """Leave out old records in the query, and count them."""
        wanted = condition(column, self._types.get(column, ""), since)
        if wanted is None:
            return
        try:
            found = self._connection.execute(
                f"SELECT count(*), count(*) FILTER (WHERE {wanted}) FROM {self._rows}"
            ).fetchall()[0]
        except duckdb.Error as error:
            raise local_failure(error, self._name) or ConnectorError(
                f"{self._name}: cannot be read ({message_of(error)})."
            ) from None
        self.left_out, self.size = found[0] - found[1], found[1]
        self._select = f"SELECT {self._shown} FROM {self._rows} WHERE {wanted}"

    def parts(self, _keep: Path, /) -> Iterator[ArrowPart]:
        """Yield rows in the order of the table, in one snapshot."""
        row = 1
        try:
            for table in self._connection.cursor().sql(self._select).to_arrow_reader(BATCH_ROWS):
                yield ArrowPart(self._name, table, row, row - 1 + table.num_rows)
                row += table.num_rows
        except duckdb.Error as error:
            raise local_failure(error, self._name) or ConnectorError(
                f"{self._name}: reading failed near row {row} ({message_of(error)})."
            ) from None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


_PLAIN: Final = re.compile(
    r"VARCHAR(\[\])?|BOOLEAN|U?(TINY|SMALL|BIG)?INT(EGER)?|UUID|FLOAT|DOUBLE|DATE|TIMESTAMP[^\[]*"
)


def _readable(name: str, dtype: str) -> str:
    """Return a column in a type that polars reads: nested types as JSON, unknown ones as text."""
    column = quoted(name)
    if _PLAIN.fullmatch(dtype):
        return column
    nested = dtype.endswith("]") or dtype.startswith(("STRUCT(", "MAP("))
    return f"{f'to_json({column})' if nested else column}::VARCHAR AS {column}"

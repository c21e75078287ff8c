"""The changes of runs in DuckDB: written in the transaction of a run, and read for `tranship changes`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import duckdb
import polars as pl

from tranship.connectors.addresses import redacted
from tranship.connectors.contract import CHANGES as FRAME
from tranship.connectors.contract import Plan, WriteRequest
from tranship.connectors.databases.changes import (
    COMMENT,
    KEY_OF_DELETE,
    NOT_IN_SOURCE,
    READ_COLUMNS,
    REASON_OF_UPDATE,
    UNDO,
    Assignment,
    creates,
    first_creates,
    is_first_load,
    key_of_create,
    key_of_update,
    of_customer,
    removals,
    updates,
)
from tranship.connectors.databases.duckdb.address import DuckDbAddress, parse_address
from tranship.connectors.databases.duckdb.catalog import existing_columns, table_exists
from tranship.connectors.databases.duckdb.connection import connect
from tranship.connectors.databases.duckdb.error_messages import message_of
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import CHANGES, DELETED, Column, TableMapping
from tranship.connectors.errors import ConfigError, ConnectorError
from tranship.connectors.local_failures import local_failure
from tranship.schemas.customer import KEY

_BATCH_ROWS: Final = 65_536


class ChangeLog:
    """The changes of one run, recorded before each statement of its write; those of a new table after it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, address: DuckDbAddress, request: WriteRequest) -> None:
        self._connection, self._address, self._request = connection, address, request
        if table_exists(connection, address, CHANGES):
            return
        json = _compressed_json(connection, address)
        connection.execute(
            f"CREATE TABLE {address.changes_table} (run_id VARCHAR NOT NULL, "
            "table_name VARCHAR NOT NULL, customer_key VARCHAR, action VARCHAR NOT NULL, changed_fields VARCHAR[], "
            f"before {json}, after {json}, reason VARCHAR, changed_at TIMESTAMP WITH TIME ZONE NOT NULL)"
        ).fetchall()
        connection.execute(f"COMMENT ON TABLE {address.changes_table} IS {literal(COMMENT)}").fetchall()

    def record_new_table(self) -> None:
        """Record all rows of the table, which this run has created. To read their keys there costs a third less than to
        derive them from the survivors again.
        """
        self._insert("create", first_creates(f"t.{quoted(KEY)}", f"{self._address.name} t"))

    def record_creates(self, mapping: TableMapping, plan: Plan, written: Mapping[str, str], chosen: str) -> None:
        """Record the survivors `s` that are inserted, given column → value and the join that chooses them."""
        key, rows = key_of_create(mapping), f"_survivors s{chosen}"
        if is_first_load(self._request, plan):
            self._insert("create", first_creates(key, rows))
            return
        columns, _ = existing_columns(self._connection, self._address)
        stored = {name: f"CAST({value} AS {columns[name].dtype})" for name, value in written.items()}
        self._insert("create", creates(_DuckDb(columns), stored, key, self._reason("NULL"), rows))

    def record_updates(self, mapping: TableMapping, assignments: Sequence[Assignment]) -> None:
        """Record the updates of the plan. The rows still have their old values."""
        rows = (
            "_plan p JOIN _survivors s ON s._row = p.row JOIN _differs d ON d.row = p.row "
            f"JOIN {self._address.name} t ON t.rowid = p.target"
        )
        key = self._key(mapping, key_of_update(mapping))
        held = "" if mapping.key else " JOIN _table h ON h.target = p.target"
        where = f"{rows}{held} WHERE p.action = 'update'"
        dialect = _DuckDb(existing_columns(self._connection, self._address)[0])
        self._insert("update", updates(dialect, assignments, key, self._reason(REASON_OF_UPDATE), where))

    def record_deletes(self, mapping: TableMapping) -> None:
        """Record the rows of `_gone`, which are removed or marked as deleted."""
        held = "" if mapping.key else " JOIN _table h ON h.target = g.target"
        rows = f"_gone g JOIN {self._address.name} t ON t.rowid = g.target{held}"
        key = self._key(mapping, KEY_OF_DELETE)
        columns, _ = existing_columns(self._connection, self._address)
        dialect = _DuckDb(columns)
        reason = self._reason(literal(NOT_IN_SOURCE))
        if self._request.hard_delete:
            self._insert("delete", removals(dialect, list(columns), key, reason, rows))
        else:
            mark = [Assignment(DELETED, "now()")]
            self._insert("delete", updates(dialect, mark, key, reason, rows))

    def _reason(self, otherwise: str) -> str:
        return literal(UNDO) if self._request.undo else otherwise

    def _key(self, mapping: TableMapping, otherwise: str) -> str:
        return f"t.{quoted(mapping.key)}::VARCHAR" if mapping.key else otherwise

    def _insert(self, action: str, changes: str) -> None:
        self._connection.execute(
            f"INSERT INTO {self._address.changes_table} SELECT {literal(self._request.run_id)}, "
            f"{literal(self._address.table)}, customer_key, {literal(action)}, changed_fields, before, after, reason, "
            f"now() FROM ({changes}) c"
        ).fetchall()


def _compressed_json(connection: duckdb.DuckDBPyConnection, address: DuckDbAddress) -> str:
    """Return the type of a column of JSON: with zstd, writing takes three quarters of the time, and the file less than
    half of the space. A file in the format of DuckDB before 1.2 does not have it.
    """
    [(version,)] = connection.execute(
        f"SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = {literal(address.database)}"
    ).fetchall()
    return "JSON" if version in (None, "v1.0.0+") else "JSON USING COMPRESSION zstd"


class _DuckDb:
    """DuckDB's dialect, for a table with these columns."""

    barrier = ""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._floating = {name for name, column in columns.items() if re.search("FLOAT|DOUBLE", column.dtype)}

    def json(self, column: str, value: str) -> str:
        """Return a value as the text of JSON."""
        found = f"to_json({value})::VARCHAR"
        if column not in self._floating:
            return found
        # JSON has neither NaN nor infinity.
        return f"CASE WHEN json_valid({found}) THEN {found} ELSE to_json(({value})::VARCHAR)::VARCHAR END"

    def present(self, texts: Sequence[str]) -> str:
        """Return a list without nulls."""
        return f"list_filter([{', '.join(texts) or 'NULL::VARCHAR'}], lambda f: f IS NOT NULL)"

    def joined(self, texts: Sequence[str]) -> str:
        """Return one text."""
        return f"concat_ws(', ', {', '.join(texts) or 'NULL'})"


def changes(spec: str, run_id: str, customer: str | None) -> Iterator[pl.DataFrame]:
    """Yield what a run has changed in this table. Raises ConfigError, and Busy if another process has the file open."""
    address = parse_address(spec)
    if not address.path.exists():
        raise ConfigError(f"{redacted(spec)}: the database file {address.path} does not exist.")
    connection, address = connect(address, read_only=True)
    with closing(connection):
        yield from _read(connection, address, run_id, customer)


def _read(
    connection: duckdb.DuckDBPyConnection, address: DuckDbAddress, run_id: str, customer: str | None
) -> Iterator[pl.DataFrame]:
    if not table_exists(connection, address, CHANGES):
        return
    where = f"run_id = {literal(run_id)} AND lower(table_name) = lower({literal(address.table)})"
    where += f" AND {of_customer(customer)}" if customer is not None else ""
    try:
        found: Any = connection.sql(
            f"SELECT {READ_COLUMNS} FROM {address.changes_table} WHERE {where} ORDER BY customer_key, action"
        ).to_arrow_reader(_BATCH_ROWS)
        for batch in found:
            yield pl.DataFrame(batch).cast(FRAME)
    except (duckdb.Error, pl.exceptions.PolarsError) as error:
        why = message_of(error) if isinstance(error, duckdb.Error) else "its columns are of other types"
        raise local_failure(error, address.path) or ConnectorError(
            f"{address.path}: {CHANGES} cannot be read ({why})."
        ) from None

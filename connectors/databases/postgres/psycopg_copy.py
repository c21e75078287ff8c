"""A connection to Postgres by psycopg and COPY in CSV, used if the ADBC driver is not installed: slower, with the same
rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import polars as pl
import psycopg
import pyarrow as pa
from pyarrow import csv

from tranship.connectors.databases.postgres.address import PostgresAddress
from tranship.connectors.databases.postgres.connection import connection_string, stream_error
from tranship.connectors.databases.postgres.server_errors import connect_error, connection_lost, translate_error
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.errors import TranshipError

_LISTS: Final = (1009, 1015)
_READ: Final[dict[int, Callable[[pl.Expr], pl.Expr]]] = {
    16: lambda text: text == "t",
    17: lambda text: text.str.slice(2).str.decode("hex"),
    21: lambda text: text.cast(pl.Int16),
    23: lambda text: text.cast(pl.Int32),
    20: lambda text: text.cast(pl.Int64),
    700: lambda text: text.cast(pl.Float32),
    701: lambda text: text.cast(pl.Float64),
    1082: lambda text: text.str.to_date("%Y-%m-%d"),
    1114: lambda text: text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us"),
    1184: lambda text: text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f+00", time_unit="us", time_zone="UTC"),
    **dict.fromkeys(_LISTS, lambda text: text.str.json_decode(pl.List(pl.String))),
}
"""OID of a type → how its text is read; all other types stay text."""

_COLUMN_TYPES: Final = {
    pl.Boolean: "boolean",
    pl.Int16: "smallint",
    pl.Int32: "integer",
    pl.Int64: "bigint",
    pl.Float32: "real",
    pl.Float64: "double precision",
    pl.Date: "date",
    pl.Datetime("us"): "timestamp",
    pl.Datetime("us", "UTC"): "timestamptz",
    pl.List(pl.String): "text[]",
}


class CopyConnection:
    """A `connectors.databases.postgres.connection.Connection` by COPY."""

    def __init__(self, address: PostgresAddress) -> None:
        """Connect. Raises ConfigError, Unreachable or Refused."""
        self._address = address
        try:
            self._connection = psycopg.connect(connection_string(address), autocommit=True)
        except psycopg.Error as error:
            raise connect_error(address, str(error)) from None

    def execute(self, sql: str) -> int:
        """Run a statement."""
        with self._translating_errors():
            return self._connection.execute(sql.encode()).rowcount

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._translating_errors():
            return list(self._connection.execute(sql.encode()).fetchall())

    def query_value(self, sql: str) -> Any:
        """Return the only value of a query."""
        return self.query(sql)[0][0]

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """Return the rows of a query in batches."""
        with self._translating_errors():
            described = self._connection.execute(f"SELECT * FROM ({sql}) q LIMIT 0".encode()).description or []
        names = [column.name for column in described]
        types = {column.name: column.type_code for column in described}
        chosen = ", ".join(
            f"to_json(q.{quoted(name)})" if types[name] in _LISTS else f"q.{quoted(name)}" for name in names
        )
        values = [
            (read(pl.col(name)) if (read := _READ.get(types[name])) else pl.col(name)).alias(name) for name in names
        ]
        empty = pl.DataFrame(schema=dict.fromkeys(names, pl.String)).select(values)
        copied = self._copied(f"COPY (SELECT {chosen} FROM ({sql}) q) TO STDOUT (FORMAT csv, FORCE_QUOTE *)", names)
        batches = (batch for frame in copied for batch in frame.select(values).to_arrow().to_batches())
        return pa.RecordBatchReader.from_batches(empty.to_arrow().schema, batches)

    def _copied(self, sql: str, names: list[str]) -> Iterator[pl.DataFrame]:
        """Yield batches of text; a null is unquoted and empty, an empty text is quoted."""
        with self._translating_errors(), self._connection.cursor().copy(sql.encode()) as copy:
            pieces = _CopyReader(copy)
            if pieces.is_empty:
                return
            reader = csv.open_csv(
                pa.PythonFile(pieces, mode="r"),
                csv.ReadOptions(column_names=names),
                csv.ParseOptions(newlines_in_values=True),
                csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
            for batch in reader:
                yield pl.DataFrame(batch)

    def copy_rows(self, table: str, rows: pa.RecordBatchReader, *, schema: str | None = None) -> int:
        """Copy rows into a table."""
        fields = pl.DataFrame(_plain(rows.schema.empty_table())).schema
        into = f"{quoted(schema)}.{quoted(table)}" if schema else f"pg_temp.{quoted(table)}"
        columns = ", ".join(map(quoted, fields))
        if not schema:
            typed = ", ".join(f"{quoted(name)} {_COLUMN_TYPES.get(dtype, 'text')}" for name, dtype in fields.items())
            self.execute(f"CREATE TEMPORARY TABLE {quoted(table)} ({typed})")
        texts = [_text(name, dtype) for name, dtype in fields.items()]
        count = 0
        with (
            self._translating_errors(),
            self._connection.cursor().copy(f"COPY {into} ({columns}) FROM STDIN (FORMAT csv)".encode()) as copy,
        ):
            for batch in rows:
                frame = pl.DataFrame(_plain(pa.Table.from_batches([batch])))
                copy.write(frame.select(texts).write_csv(include_header=False, quote_style="non_numeric"))
                count += frame.height
        return count

    def stream_error(self, doing: str, error: Exception) -> TranshipError:
        """Return the error behind a broken stream."""
        return stream_error(self, self._address, doing, error)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if error.sqlstate is None or self._connection.closed:
                raise connection_lost(self._address) from None
            diagnosis = error.diag
            name = diagnosis.constraint_name or diagnosis.column_name
            raise translate_error(
                self._address, error.sqlstate, diagnosis.message_primary or str(error), name, diagnosis.context
            ) from None


class _CopyReader(io.RawIOBase):
    """The output of COPY as a file."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._pieces = iter(copy)
        self._left = bytes(next(self._pieces, b""))
        self.is_empty = not self._left

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes; none at the end."""
        self._left = self._left or bytes(next(self._pieces, b""))
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


def _plain(table: pa.Table) -> pa.Table:
    """Return the table with JSON as text, since polars does not support Arrow's JSON type."""
    schema = [f.with_type(pa.string()) if isinstance(f.type, pa.JsonType) else f for f in table.schema]
    return table.cast(pa.schema(schema))


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return the values of a column in a form that CSV can hold and the server reads."""
    if dtype == pl.Binary:
        return pl.concat_str(pl.lit("\\x"), pl.col(name).bin.encode("hex")).alias(name)
    return _array(name) if dtype == pl.List(pl.String) else pl.col(name)


def _array(name: str) -> pl.Expr:
    """Return a list of texts in the server's syntax for arrays."""
    quote, backslash = pl.lit('"'), "\\"
    item = (
        pl.element().str.replace_all(backslash, backslash * 2, literal=True).str.replace_all('"', '\\"', literal=True)
    )
    items = pl.col(name).list.eval(pl.concat_str(quote, item, quote)).list.join(",")
    return pl.concat_str(pl.lit("{"), items, pl.lit("}")).alias(name)

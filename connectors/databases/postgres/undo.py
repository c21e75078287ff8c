"""A Postgres table of which a run is taken back, as `connectors/databases/undo_plan.py` compares it.

Values are compared as the server writes them as text. What the run wrote into a column of an unusual type is cast by
the server first, as the write did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.before_images import image
from tranship.connectors.databases.postgres.before_images import exact_texts, named_images, numbered
from tranship.connectors.databases.postgres.catalog import references_to
from tranship.connectors.databases.postgres.compare import PostgresComparedTable
from tranship.connectors.databases.postgres.constraints import try_query
from tranship.connectors.databases.postgres.context import WriteContext
from tranship.connectors.databases.postgres.deletes import GONE, may_fail, undeletable_rows
from tranship.connectors.databases.postgres.known_rows import json_image, sent_as_json
from tranship.connectors.databases.postgres.last_written import LastWritten
from tranship.connectors.databases.postgres.transfer import copy_to_server, rows_by_place, stream_into
from tranship.connectors.databases.postgres.values import as_text, is_plain, value_sent, without_blanks
from tranship.connectors.databases.quoting import quoted
from tranship.connectors.databases.table_mapping import Column, MappedField, TableMapping

_WRITTEN: Final = "_tranship_written_values"
_FOUND: Final = "_tranship_found"
_CONVERTED: Final = "LEFT JOIN _converted c ON c.row = u.row LEFT JOIN _now t ON t.n = u.n"
_WRITTEN_ALIKE: Final = (
    *("VARCHAR", "JSON", "UUID", "BOOLEAN", "SMALLINT", "INTEGER", "BIGINT"),
    *("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"),
)
"""Types whose values DuckDB and the server, under `exact_texts`, write as the same text."""


class PostgresUndoneTable(PostgresComparedTable):
    """The table on the server. `columns` are those that can be written."""

    def __init__(self, context: WriteContext, columns: Mapping[str, Column]) -> None:
        super().__init__(context)
        self._fillable = columns

    def image_type(self, column: str) -> str:  # noqa: ARG002
        """All images are texts."""
        return "VARCHAR"

    def kept_value(self, column: str, value: str) -> str:  # noqa: ARG002
        """Parquet keeps texts as they are."""
        return value

    def restored_column(self, column: str) -> Column:
        """Return the column with texts for values, which the server casts."""
        return Column(column, "VARCHAR", cast_by_server=True)

    def load_written(self, values: Mapping[str, MappedField | str]) -> None:
        """Create `_written_values`, a view: `_survivors` has the run's records while it is used. Only values that
        DuckDB may write otherwise than the server are sent there, and of JSON only what is not evidently as it was.
        """
        assert self._context.request.undo  # noqa: S101  (this is an undo)
        as_kept = self._context.request.undo.is_undo  # its records have texts of the server
        known = {
            name: f"({_sent(value)})::VARCHAR"
            for name, value in values.items()
            if as_kept or _is_written_alike(self._fillable[name])
        }
        asked = {name: _sent(value) for name, value in values.items() if name not in known}
        if asked:
            alike = {
                name: f"{is_plain(sent)} AND json({sent})::VARCHAR = {without_blanks(f't.{image(name)}')}"
                for name, sent in asked.items()
                if self._context.types[name].base == "jsonb"
            }
            self._load_converted(asked, alike)
            known |= {name: f"c.{image(name)}" for name in asked}
            known |= {
                name: f"CASE WHEN c.row IS NULL AND {asked[name]} IS NOT NULL THEN t.{image(name)} "
                f"ELSE {known[name]} END"
                for name in alike
            }
        texts = "".join(f", {text} AS {image(name)}" for name, text in known.items())
        self._context.duck.execute(
            f"CREATE OR REPLACE TEMP VIEW _written_values AS SELECT u.row{texts} FROM _undone u "
            f"JOIN _survivors s ON s._row = u.row {_CONVERTED if asked else ''}"
        ).fetchall()

    def _load_converted(self, values: Mapping[str, str], alike: Mapping[str, str]) -> None:
        """Create `_converted`: row, and as `=<name>` the values (SQL) of the run's records as the server stores them,
        of records that have any that is not `alike` (SQL) the current one.
        """
        context = self._context
        sent = ", ".join(f"{value} AS {quoted(name)}" for name, value in values.items())
        wanted = " OR ".join(
            f"({value} IS NOT NULL AND ({alike[name]}) IS NOT TRUE)" if name in alike else f"{value} IS NOT NULL"
            for name, value in values.items()
        )
        rows = (
            f"SELECT u.row::BIGINT AS row, {sent} FROM _undone u JOIN _survivors s ON s._row = u.row "
            f"LEFT JOIN _now t ON t.n = u.n WHERE {wanted}"
        )
        copy_to_server(context.connection, _WRITTEN, context.duck.sql(rows))
        stored = [f"({context.types[name].cast(f'u.{quoted(name)}')})::text" for name in values]
        with exact_texts(context.connection):
            stream = context.connection.stream(f"SELECT row{numbered(stored)} FROM pg_temp.{_WRITTEN} u")
            rows_of = f"SELECT row::UBIGINT AS row{named_images(list(values))} FROM _stream"
            stream_into(context.duck, f"CREATE OR REPLACE TEMP TABLE _converted AS {rows_of}", stream)
        context.connection.execute(f"DROP TABLE pg_temp.{_WRITTEN}")

    def load_current(self) -> None:
        """Create `_now`, with the JSON that changes need (`known_rows.py`)."""
        context = self._context
        [(most,)] = context.duck.execute(
            "SELECT 2 * (SELECT count(*) FROM _found) > (SELECT count(*) FROM _table)"
        ).fetchall()
        texts, empty = list(self._fillable), self._empty_columns() if most else []
        texts = [name for name in texts if name not in empty]
        as_json = sent_as_json(context.types) if context.request.record_changes else []
        values = numbered([f"t.{quoted(name)}::text" for name in texts])
        values += "".join(f", to_json(t.{quoted(name)})::text AS j{number}" for number, name in enumerate(as_json))
        images = named_images(texts) + "".join(f", NULL::VARCHAR AS {image(name)}" for name in empty)
        images += "".join(f", j{number} AS {json_image(name)}" for number, name in enumerate(as_json))
        if most:
            self._load_scanned(values, images)
        else:
            self._load_by_place(values, images)

    def _empty_columns(self) -> list[str]:
        """Return the columns without any value, which need not be sent: time depends on the number of fields."""
        names = list(self._fillable)
        counts = ", ".join(f"count(t.{quoted(name)})" for name in names)
        [found] = self._context.connection.query(f"SELECT {counts} FROM {self._existing.name} t")
        return [name for name, count in zip(names, found, strict=True) if not count]

    def _load_scanned(self, values: str, images: str) -> None:
        """Create `_now` from a scan of the whole table, which is faster if most rows are wanted."""
        relation = self._existing
        place = "s.ctid" if relation.partitions else "('0x' || hex(s.ctid))::BIGINT"
        with exact_texts(self._context.connection):
            stream = self._context.connection.stream(
                f"SELECT {relation.row_id_sent} AS ctid{values} FROM {relation.name} t"
            )
            rows = f"SELECT f.n, f.target{images} FROM _stream s JOIN _found f ON f.target = {place}"
            stream_into(self._context.duck, f"CREATE OR REPLACE TEMP TABLE _now AS {rows}", stream)

    def _load_by_place(self, values: str, images: str) -> None:
        """Create `_now` from the rows at the places in `_found`."""
        context, relation = self._context, self._existing
        places = context.duck.sql("SELECT n::BIGINT AS n, target FROM _found ORDER BY target")
        copy_to_server(context.connection, _FOUND, places)
        context.connection.execute(f"ANALYZE pg_temp.{_FOUND}")
        with rows_by_place(context.connection), exact_texts(context.connection):
            stream = context.connection.stream(
                f"SELECT u.n, u.target{values} FROM pg_temp.{_FOUND} u "
                f"JOIN {relation.name} t ON {relation.is_at('u.target')}"
            )
            rows = f"SELECT n::UBIGINT AS n, target{images} FROM _stream"
            stream_into(context.duck, f"CREATE OR REPLACE TEMP TABLE _now AS {rows}", stream)
        context.connection.execute(f"DROP TABLE pg_temp.{_FOUND}")

    def load_last_written(self) -> None:
        """Create `_written`."""
        LastWritten(self._context.connection, self._existing).load_into(self._context.duck)

    def write_by(self, mapping: TableMapping, request: WriteRequest) -> None:
        """Check constraints for these records."""
        self._context = replace(self._context, mapping=mapping, request=request)

    def keep_referenced_rows(self) -> None:
        """Remove from `_gone` the rows that other rows reference, even where these would be deleted with them, and
        those that the server does not delete.
        """
        context, relation = self._context, self._existing
        connection = context.connection
        references = references_to(connection, relation)
        if not references and not may_fail(connection, relation, context.request):
            return
        left = copy_to_server(connection, "_tranship_gone", context.duck.sql("SELECT target FROM _gone ORDER BY 1"))
        connection.execute(f"ANALYZE {GONE}")
        for reference in references:
            with rows_by_place(connection):
                rows = try_query(
                    connection,
                    f"SELECT u.target FROM {GONE} u JOIN {relation.name} t ON {relation.is_at('u.target')} "
                    f"WHERE {reference.exists}",
                )
            left -= self._keep([place for (place,) in rows]) if rows else 0
        kept = [place for place, _ in undeletable_rows(connection, relation, context.request, left)]
        if kept:
            self._keep(kept)
        connection.execute(f"DROP TABLE {GONE}")


def _sent(value: MappedField | str) -> str:
    """Return a value of a record as it is sent."""
    if isinstance(value, str):
        return value
    return as_text(value) if value.column.cast_by_server else value_sent(value)


def _is_written_alike(column: Column) -> bool:
    return column.dtype in _WRITTEN_ALIKE and not column.cast_by_server

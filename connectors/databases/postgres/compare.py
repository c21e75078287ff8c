"""A table on the server, as `connectors/databases/diff.py` compares it with the survivors."""

from __future__ import annotations

from typing import Final

from tranship.connectors.databases.deletes import still_referenced, undeletable
from tranship.connectors.databases.diff import PackedColumns, create_survivors_view
from tranship.connectors.databases.postgres.catalog import EARLIEST, LATEST, Relation, references_to
from tranship.connectors.databases.postgres.constraints import PostgresConstraints, try_query
from tranship.connectors.databases.postgres.context import WriteContext
from tranship.connectors.databases.postgres.deletes import GONE, undeletable_rows
from tranship.connectors.databases.postgres.encoding import VERBATIM_FIELDS
from tranship.connectors.databases.postgres.sql import TYPES_BY_DUCKDB_TYPE, created_column, type_sql
from tranship.connectors.databases.postgres.transfer import copy_to_server, rows_by_place, stream_into
from tranship.connectors.databases.postgres.values import as_text, is_array, is_jsonb, is_plain, without_blanks
from tranship.connectors.databases.quoting import contains_any, quoted
from tranship.connectors.databases.table_mapping import (
    DELETED,
    RUN,
    TYPE_OF,
    Column,
    MappedField,
    misfit_column,
    stored_as_column,
)


class PostgresComparedTable:
    """A table on the server: its rows are compared while they are streamed, and only the needed values are kept."""

    row_id = "t.ctid"

    def __init__(self, context: WriteContext) -> None:
        self._context, self._types = context, context.types
        self._constraints: PostgresConstraints | None = None
        self._answered_columns: set[int] = set()
        """Numbers of the columns, among those cast by the server, whose values the server has converted."""
        seen = (*context.mapping.unique, *context.added)
        texts = tuple(
            mapped for mapped in context.written_fields if _can_be_packed(mapped) and mapped.column_name not in seen
        )
        self.packed = (
            PackedColumns(texts, _PACK, _survivor_pack([mapped.value for mapped in texts])) if len(texts) > 1 else None
        )

    def load_survivors(self) -> None:
        """Create `_survivors`."""
        create_survivors_view(self._context.duck, self._context.request)
        for number, mapped in enumerate(self._fields_cast_by_server()):
            self._context.duck.execute(
                f"CREATE OR REPLACE TEMP TABLE _cast_{number} (value VARCHAR, stored VARCHAR)"
            ).fetchall()
            odd = f" WHERE NOT coalesce({is_plain(as_text(mapped))}, true)" if is_jsonb(mapped) else ""
            self._convert_on_server(number, mapped, f"_survivors s{odd}")
        self._see_what_is_stored()

    def _fields_cast_by_server(self) -> list[MappedField]:
        return [mapped for mapped in self._context.written_fields if mapped.column.cast_by_server]

    def _see_what_is_stored(self) -> None:
        """Create `_survivors` again, with the values converted so far."""
        also, joined = "", ""
        for number, mapped in enumerate(self._fields_cast_by_server()):
            source = as_text(mapped)
            plain = f"json({source})::VARCHAR"
            if is_jsonb(mapped) and number not in self._answered_columns:
                stored, cannot = plain, "false"
            else:
                joined += f" LEFT JOIN _cast_{number} c{number} ON c{number}.value = {source}"
                known, stored = f"c{number}.value IS NOT NULL", f"c{number}.stored"
                cannot = f"{known} AND {stored} IS NULL"
                if is_jsonb(mapped):
                    stored = f"CASE WHEN {known} THEN {stored} WHEN {is_plain(source)} THEN {plain} END"
            also += f", {stored} AS {quoted(stored_as_column(mapped.field))}"
            also += (
                f", coalesce({cannot} OR contains({source}, chr(0)), false) AS {quoted(misfit_column(mapped.field))}"
            )
        if also:
            create_survivors_view(self._context.duck, self._context.request, also, joined)

    def _convert_on_server(self, number: int, mapped: MappedField, where: str) -> None:
        """Let the server convert each value to the column's type, null if it does not fit."""
        duck, connection, source = self._context.duck, self._context.connection, as_text(mapped)
        asked = f"CREATE OR REPLACE TEMP TABLE _asked AS SELECT DISTINCT {source} AS value FROM {where}"
        if not duck.execute(asked).fetchall()[0][0]:
            return
        self._answered_columns.add(number)
        odd = contains_any("value", f"\0{self._context.mapping.unwritable}")
        if copy_to_server(connection, "_tranship_values", duck.sql(f"SELECT value FROM _asked WHERE NOT {odd}")):
            kind = self._types.get(mapped.column_name)
            # A cast to varchar(3) truncates a long text, which an INSERT would refuse.
            whole = " AND stored = value" if kind and kind.text else ""
            whole = " AND stored = value::text[]::text" if is_array(mapped) else whole
            connection.execute(
                "CREATE OR REPLACE FUNCTION pg_temp.tranship_stored(value text) RETURNS text LANGUAGE plpgsql AS "
                f"$tranship$ BEGIN RETURN value::{mapped.column.shown}::text; "
                "EXCEPTION WHEN OTHERS THEN RETURN NULL; END $tranship$"
            )
            streamed = connection.stream(
                f"SELECT value, CASE WHEN stored IS NOT NULL{whole} THEN stored END AS stored FROM "
                "(SELECT value, pg_temp.tranship_stored(value) AS stored FROM pg_temp._tranship_values OFFSET 0) v"
            )
            stored = without_blanks("stored") if is_jsonb(mapped) else "stored"
            stream_into(duck, f"INSERT INTO _cast_{number} SELECT value, {stored} FROM _stream", streamed)
            # Committed with the rest, it would outlive a server that dies before the session ends.
            connection.execute("DROP FUNCTION pg_temp.tranship_stored(text)")
        connection.execute("DROP TABLE pg_temp._tranship_values")

    def load_table(self, select: str, joined: str) -> None:
        """Create `_table`."""
        relation = self._existing
        packed = [mapped.column for mapped in self.packed.fields] if self.packed else []
        alone = [column for column in self._needed() if column not in packed]
        pack = f", {_row_pack([f't.{quoted(column.name)}' for column in packed])} AS {quoted(_PACK)}" if packed else ""
        stream = self._context.connection.stream(
            f"SELECT {relation.row_id_sent} AS ctid{self._columns(alone)}{pack} FROM {relation.name} t"
        )
        rows = self._typed(alone, {} if relation.partitions else {"ctid": "('0x' || hex(ctid))::BIGINT"})
        stream_into(
            self._context.duck, f"CREATE OR REPLACE TEMP TABLE _table AS SELECT {select} FROM {rows} t {joined}", stream
        )

    def undecided_rows(self) -> str:
        """Return the relation with the rows that `_plan` has not decided on."""
        connection, relation = self._context.connection, self._existing
        copy_to_server(
            connection,
            "_tranship_rows",
            self._context.duck.sql("SELECT target FROM _plan WHERE action IS NULL ORDER BY 1"),
        )
        connection.execute("ANALYZE pg_temp._tranship_rows")
        with rows_by_place(connection):
            stream = connection.stream(
                f"SELECT u.target AS ctid{self._columns(self._needed())} FROM pg_temp._tranship_rows u "
                f"JOIN {relation.name} t ON {relation.is_at('u.target')}"
            )
            rows = self._typed(self._needed(), {})
            stream_into(self._context.duck, f"CREATE OR REPLACE TEMP TABLE _rows AS SELECT * FROM {rows}", stream)
        connection.execute("DROP TABLE pg_temp._tranship_rows")
        for number, mapped in enumerate(self._fields_cast_by_server()):
            if is_jsonb(mapped):
                # Only the server can decide whether they are equal except for the order of names.
                source = as_text(mapped)
                differs = f"json({source})::VARCHAR IS DISTINCT FROM t.{quoted(mapped.column_name)}"
                self._convert_on_server(
                    number,
                    mapped,
                    f"_plan p JOIN _rows t ON t.ctid = p.target JOIN _survivors s ON s._row = p.row "
                    f"WHERE CASE WHEN {is_plain(source)} THEN {differs} ELSE false END",
                )
        self._see_what_is_stored()
        return "_rows"

    def refuse_violations(self, *, alone: bool) -> int:
        """Refuse in `_plan` the records that would violate a constraint."""
        objections = self._constraints = self._constraints or PostgresConstraints(self._context, self._existing)
        return objections.refuse_violations(alone=alone)

    def keep_undeletable_rows(self) -> list[tuple[int, str]]:
        """Remove from `_gone` the rows that other rows reference, or whose deletion the server refuses."""
        context, relation = self._context, self._existing
        connection, request = context.connection, context.request
        copied = context.duck.sql("SELECT target FROM _gone ORDER BY 1")
        left = copy_to_server(connection, "_tranship_gone", copied)
        connection.execute(f"ANALYZE {GONE}")
        kept = []
        references = references_to(connection, relation) if request.hard_delete else []
        for reference in (reference for reference in references if reference.holds_deletes):
            with rows_by_place(connection):
                rows = try_query(
                    connection,
                    f"SELECT u.target FROM {GONE} u JOIN {relation.name} t "
                    f"ON {relation.is_at('u.target')} WHERE {reference.exists}",
                )
            if rows:
                count = self._keep([place for (place,) in rows])
                kept += [(count, still_referenced(reference.table, count))]
                left -= count
        reasons: dict[str, list[int]] = {}
        for place, reason in undeletable_rows(connection, relation, request, left):
            reasons.setdefault(reason, []).append(place)
        kept += [(self._keep(places), undeletable(len(places), reason)) for reason, places in sorted(reasons.items())]
        connection.execute(f"DROP TABLE {GONE}")
        return kept

    def _keep(self, rows: list[int]) -> int:
        """Remove rows from `_gone`, here and on the server; return their number."""
        places = ", ".join(map(str, rows))
        self._context.connection.execute(f"DELETE FROM {GONE} WHERE target IN ({places})")
        return int(self._context.duck.execute(f"DELETE FROM _gone WHERE target IN ({places})").fetchall()[0][0])

    @property
    def _existing(self) -> Relation:
        assert self._context.relation is not None  # noqa: S101  (a table that does not exist is not compared with)
        return self._context.relation

    def _needed(self) -> list[Column]:
        """Return the columns of the table that the comparison needs."""
        mapping = self._context.mapping
        fields = [
            mapped.column
            for mapped in mapping.fields
            if mapped in self._context.written_fields or mapped.field in ("external_id", "email")
        ]
        unique = [mapped.column for mapped in mapping.fields if mapped.column_name in mapping.unique]
        own = [
            created_column(name)
            for name in ([mapping.key] if mapping.key else []) + ([RUN, DELETED] * mapping.bookkeeping)
        ]
        return list({column.name: column for column in (*own, *fields, *unique)}.values())

    def _columns(self, needed: list[Column]) -> str:
        context = self._context
        unsaid = context.added if context.request.mode == "mirror" else (*context.added, RUN)
        sent = {
            column.name: f"NULL::{_sent_type(column)}" if column.name in unsaid else _sent(column) for column in needed
        }
        return "".join(f", {value} AS {quoted(name)}" for name, value in sent.items())

    def _typed(self, needed: list[Column], typed: dict[str, str]) -> str:
        """Return the streamed rows in the types of the comparison."""
        columns = {column.name: column for column in needed}
        typed = typed | {
            name: f"{quoted(name)}::{column.dtype}"
            for name, column in columns.items()
            if column.dtype in ("UUID", "JSON")
        }
        typed |= {name: without_blanks(quoted(name)) for name, column in columns.items() if column.shown == "jsonb"}
        replaced = ", ".join(f"{value} AS {quoted(name)}" for name, value in typed.items())
        return f"(SELECT * {f'REPLACE ({replaced}) ' if replaced else ''}FROM _stream)"


def _sent_type(column: Column) -> str:
    """Return the type in which a column that does not exist yet is sent."""
    return "text" if column.cast_by_server else type_sql(TYPES_BY_DUCKDB_TYPE[column.dtype])


def _sent(column: Column) -> str:
    """Return a column as it is sent for comparison; values that a frame cannot hold become values no customer has."""
    value = f"t.{quoted(column.name)}"
    if column.dtype.startswith("TIMESTAMP") or column.dtype == "DATE":
        in_range = f"{value} BETWEEN '{EARLIEST}' AND '{LATEST}'"
        return f"CASE WHEN {in_range} THEN {value} WHEN {value} IS NOT NULL THEN '{LATEST}' END"
    if column.dtype == "VARCHAR[]":
        return f"CASE WHEN array_ndims({value}) > 1 THEN ARRAY['several dimensions'] ELSE {value} END"
    return f"{value}::text" if column.cast_by_server or column.dtype in ("UUID", "JSON") else value


_PACK: Final = "tranship texts"
"""Texts joined by a control character, after the number of nulls: the driver's time depends on fields, not on bytes.

A survivor's text has no control characters, so that its pack has one for each gap; a row with the same pack has none
in its texts either. It is empty where the survivor's is null, and all its empty texts are null, or the numbers would
differ: a survivor's text is never empty.
"""


def _can_be_packed(mapped: MappedField) -> bool:
    """Return whether it is a text without control characters; not a field by which customers are found."""
    tidy = mapped.field not in (*VERBATIM_FIELDS, "external_id", "email")
    return tidy and TYPE_OF[mapped.field] == mapped.column.dtype == "VARCHAR" and not mapped.column.cast_by_server


def _survivor_pack(values: list[str]) -> str:
    """Return the pack of a survivor, as SQL of the comparison."""
    nulls = " + ".join(f"({value} IS NULL)::INTEGER" for value in values)
    return _pack(values, f"({nulls})::VARCHAR")


def _row_pack(columns: list[str]) -> str:
    """Return the pack of a row, as SQL of the server."""
    return _pack(columns, f"num_nulls({', '.join(columns)})")


def _pack(texts: list[str], nulls: str) -> str:
    given = ", ".join(f"coalesce({text}, '')" for text in texts)
    return f"concat_ws(chr(31), {nulls}, {given})"

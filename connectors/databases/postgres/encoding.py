"""Characters that the database cannot store."""

from __future__ import annotations

from typing import Final

import duckdb
from msgspec.structs import replace

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.diff import create_survivors_view
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.postgres.transfer import copy_to_server
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import MappedField, TableMapping

VERBATIM_FIELDS: Final = ("phone", "tax_id", "aliases", "provider", "provider_id")
"""Fields whose text may contain any character; Postgres cannot store the character 0."""


def reject_nul(mapping: TableMapping) -> TableMapping:
    """Return the mapping in which texts that contain the character 0 do not fit."""

    def guarded(mapped: MappedField) -> MappedField:
        texts = (
            mapped.field in VERBATIM_FIELDS
            and mapped.column.dtype in ("VARCHAR", "VARCHAR[]")
            and not mapped.column.cast_by_server
        )
        return replace(mapped, column=replace(mapped.column, rejects_nul=True)) if texts else mapped

    return replace(mapping, fields=tuple(map(guarded, mapping.fields)))


def check_encoding(
    connection: Connection, duck: duckdb.DuckDBPyConnection, request: WriteRequest, mapping: TableMapping
) -> tuple[TableMapping, tuple[str, ...]]:
    """Return the mapping with the characters that the database's encoding lacks, and notes about it."""
    encoding = connection.query_value("SELECT current_setting('server_encoding')")
    if encoding == "SQL_ASCII":
        stored = (replace(mapped, column=replace(mapped.column, length_in_bytes=True)) for mapped in mapping.fields)
        note = "the database encoding is SQL_ASCII, which means none: text is stored as UTF-8, and lengths count bytes"
        return replace(mapping, fields=tuple(stored)), (note,)
    if encoding == "UTF8":
        return mapping, ()
    create_survivors_view(duck, request)
    values = [f"s.{quoted(field)}::VARCHAR" for field in request.survivors.columns]
    characters = (
        "SELECT DISTINCT unnest(regexp_extract_all(value, '[^\\x00-\\x7f]')) AS c FROM (SELECT "
        f"unnest([{', '.join(values)}]) AS value FROM _survivors s UNION ALL SELECT {literal(request.source)})"
    )
    # As hexadecimal bytes: the characters themselves could not be sent.
    copy_to_server(connection, "_tranship_characters", duck.sql(f"SELECT hex(encode(c)) AS code FROM ({characters})"))
    connection.execute(
        "CREATE OR REPLACE FUNCTION pg_temp.tranship_lacks(code text) RETURNS boolean LANGUAGE plpgsql AS "
        "$tranship$ BEGIN PERFORM convert_from(decode(code, 'hex'), 'UTF8'); RETURN false; "
        "EXCEPTION WHEN OTHERS THEN RETURN true; END $tranship$"
    )
    lacks = connection.query("SELECT code FROM pg_temp._tranship_characters WHERE pg_temp.tranship_lacks(code)")
    connection.execute("DROP TABLE pg_temp._tranship_characters")
    unwritable = "".join(bytes.fromhex(code).decode() for (code,) in lacks)
    return replace(mapping, encoding=encoding, unwritable=unwritable), ()

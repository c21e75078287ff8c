"""Characters that the database cannot store."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import duckdb

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.diff import see_survivors
from tranship.connectors.databases.postgres.connection import Wire
from tranship.connectors.databases.postgres.transfer import copy_to_server
from tranship.connectors.databases.table_mapping import (
    Stored,
    Target,
    literal,
    quoted,
)

AS_GIVEN: Final = ("phone", "tax_id", "aliases", "provider", "provider_id")
"""Fields whose text may hold any character; Postgres stores none with the number 0."""


def without_nul(target: Target) -> Target:
    """The same, where texts with the character 0 in them do not fit."""

    def guarded(at: Stored) -> Stored:
        texts = at.field in AS_GIVEN and at.at.dtype in ("VARCHAR", "VARCHAR[]") and not at.at.by_server
        return replace(at, at=replace(at.at, no_nul=True)) if texts else at

    return replace(target, stored=tuple(map(guarded, target.stored)))


def fit_encoding(
    wire: Wire, bench: duckdb.DuckDBPyConnection, load: WriteRequest, target: Target
) -> tuple[Target, tuple[str, ...]]:
    """The same with what the encoding of the database cannot hold, and what a person is told about that."""
    encoding = wire.value("SELECT current_setting('server_encoding')")
    if encoding == "SQL_ASCII":
        stored = (replace(at, at=replace(at.at, in_bytes=True)) for at in target.stored)
        note = "the database has the encoding SQL_ASCII, which is none: text is stored as UTF-8, lengths count bytes"
        return replace(target, stored=tuple(stored)), (note,)
    if encoding == "UTF8":
        return target, ()
    see_survivors(bench, load)
    values = [f"s.{quoted(field)}::VARCHAR" for field in load.survivors.columns]
    characters = (
        "SELECT DISTINCT unnest(regexp_extract_all(value, '[^\\x00-\\x7f]')) AS c FROM (SELECT "
        f"unnest([{', '.join(values)}]) AS value FROM _survivors s UNION ALL SELECT {literal(load.source)})"
    )
    # By their bytes: the characters themselves would not get there.
    copy_to_server(wire, "_tranship_characters", bench.sql(f"SELECT hex(encode(c)) AS code FROM ({characters})"))
    wire.run(
        "CREATE OR REPLACE FUNCTION pg_temp.tranship_lacks(code text) RETURNS boolean LANGUAGE plpgsql AS "
        "$tranship$ BEGIN PERFORM convert_from(decode(code, 'hex'), 'UTF8'); RETURN false; "
        "EXCEPTION WHEN OTHERS THEN RETURN true; END $tranship$"
    )
    lacks = wire.rows("SELECT code FROM pg_temp._tranship_characters WHERE pg_temp.tranship_lacks(code)")
    wire.run("DROP TABLE pg_temp._tranship_characters")
    unwritable = "".join(bytes.fromhex(code).decode() for (code,) in lacks)
    return replace(target, encoding=encoding, unwritable=unwritable), ()

"""The before-images of a run into a DuckDB table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import duckdb

from tranship.connectors.contract import BEFORE_IMAGES, Plan, WriteRequest
from tranship.connectors.databases.before_images import (
    customer_after,
    customer_removed,
    image,
    keep_facts,
    updated_columns,
)
from tranship.connectors.databases.duckdb.address import DuckDbAddress
from tranship.connectors.databases.duckdb.catalog import existing_columns
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import DELETED, RUN, TableMapping
from tranship.connectors.databases.written_times import REMOVED_ROW

_IN_PARQUET: Final = re.compile(
    r"(?:VARCHAR|U?(?:TINY|SMALL|BIG)INT|U?INTEGER|FLOAT|DOUBLE|BOOLEAN|DATE|TIMESTAMP(?: WITH TIME ZONE)?|JSON|BLOB|"
    r"UUID|DECIMAL\(\d+,\d+\))(?:\[\])?"
)
"""Types that Parquet keeps as they are. Values of others are kept as text."""


def keep_images(
    connection: duckdb.DuckDBPyConnection,
    address: DuckDbAddress,
    request: WriteRequest,
    plan: Plan,
    mapping: TableMapping,
) -> None:
    """Keep the values that a plan replaces. The rows still have them; `_survivors` must exist."""
    columns, _ = existing_columns(connection, address)
    types = {name: column.dtype for name, column in columns.items()}
    queries = []
    if plan.counts["update"]:
        key, known, mail = customer_after(mapping, request)
        held = "" if mapping.key else "JOIN _table h ON h.target = p.target JOIN _survivors s ON s._row = p.row "
        queries.append(
            f"SELECT p.row, 'update' AS action, {key}::VARCHAR AS key, {known} AS id, {mail} AS mail"
            f"{_images(updated_columns(mapping, plan), types)} FROM _plan p "
            f"JOIN {address.name} t ON t.rowid = p.target {held}WHERE p.action = 'update'"
        )
    if plan.counts["delete"]:
        action, replaced = ("delete", list(types)) if request.hard_delete else ("mark", [RUN, DELETED])
        key, known, mail = customer_removed(mapping)
        held = "" if mapping.key else ", h.id, h.mail"
        joined = "" if mapping.key else " JOIN _table h ON h.target = g.target"
        # Numbers first: sorting whole rows is slow.
        numbered = f"SELECT g.target, ({REMOVED_ROW})::UBIGINT AS row{held} FROM _gone g{joined}"
        queries.append(
            f"SELECT h.row, {literal(action)} AS action, {key}::VARCHAR AS key, {known} AS id, {mail} AS mail"
            f"{_images(replaced, types)} FROM ({numbered}) h JOIN {address.name} t ON t.rowid = h.target"
        )
    if queries:
        file = literal(request.workspace / BEFORE_IMAGES)
        connection.execute(f"COPY ({' UNION ALL BY NAME '.join(queries)}) TO {file} (FORMAT parquet)").fetchall()
    keep_facts(mapping, request, plan, types)


def kept_value(dtype: str, value: str) -> str:
    """Return a value of this type in the form in which Parquet keeps it, as SQL."""
    return value if _IN_PARQUET.fullmatch(dtype) else f"{value}::VARCHAR"


def _images(columns: Sequence[str], types: Mapping[str, str]) -> str:
    """Return the images of columns of the row `t`, as SQL."""
    return "".join(f", {kept_value(types[name], f't.{quoted(name)}')} AS {image(name)}" for name in columns)

"""The times in `_tranship_written`, for tables that set `updated_at` themselves: those that a run writes there, and those
that an undo puts back.

`_written` has what is there before the write: customer and updated_at. `_wrote` is what the run makes of it: row (its
record, or the number that the before-images give to a row that is removed), customer, kept (whether the customer is
there afterwards) and updated_at (its time, null for none), and was_kept and was, the same before the run. A run that can
be taken back keeps `_wrote` in `written.parquet`, next to its before-images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb

from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.quoting import files_literal, literal
from tranship.connectors.databases.table_mapping import TableMapping, customer_key

TIMES: Final = "written.parquet"

_FIRST_REMOVED: Final = 1 << 61
REMOVED_ROW: Final = (
    f"(SELECT greatest({_FIRST_REMOVED}, max(row) + 1) FROM _plan) + row_number() OVER (ORDER BY g.target)"
)
"""The number of a deleted customer, which no record has, as SQL of the comparison (`_gone` as `g`)."""


def keeps_times(mapping: TableMapping, request: WriteRequest) -> bool:
    """Return whether a write changes times in `_tranship_written`."""
    return bool(mapping.written_key and (request.undo or "updated_at" in request.survivors.columns))


def compute_written_times(connection: duckdb.DuckDBPyConnection, mapping: TableMapping, request: WriteRequest) -> None:
    """Create `_wrote` for the customers that the plan writes, before the write, and keep it for an undo."""
    wrote = _put_back() if request.undo else _recorded(mapping, request)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE _wrote AS {wrote}").fetchall()
    if request.keep_images:
        connection.execute(f"COPY _wrote TO {literal(request.workspace / TIMES)} (FORMAT parquet)").fetchall()


def _recorded(mapping: TableMapping, request: WriteRequest) -> str:
    """Return the times of the records, as SQL."""
    known = f"coalesce({mapping.survivor_external_id}, t.id)" if mapping.has_id else "NULL::VARCHAR"
    time = "s.updated_at" if request.overwrite_nulls else "coalesce(s.updated_at, w.updated_at)"
    customer = customer_key(known, "coalesce(s.email, t.mail)")
    return (
        "SELECT any_value(row) AS row, customer, true AS kept, any_value(time) AS updated_at, "
        "bool_or(was_kept) AS was_kept, any_value(was) AS was FROM ("
        f"SELECT k.row, k.customer, {time} AS time, w.customer IS NOT NULL AS was_kept, w.updated_at AS was "
        f"FROM (SELECT p.row, {customer} AS customer "
        "FROM _plan p JOIN _survivors s ON s._row = p.row LEFT JOIN _table t ON t.target = p.target "
        "WHERE p.action IN ('create', 'update')) k JOIN _survivors s ON s._row = k.row "
        "LEFT JOIN _written w ON w.customer = k.customer) WHERE customer IS NOT NULL GROUP BY customer"
    )


def _put_back() -> str:
    """Return the times before the undone run of the customers that an undo writes, as SQL. A time that another run has
    written since stays.
    """
    return (
        "SELECT coalesce(r.row, x.n)::UBIGINT AS row, x.customer, x.was_kept AS kept, x.was AS updated_at, "
        "x.now_kept AS was_kept, x.now AS was FROM _times x LEFT JOIN ("
        f"SELECT r.n, {REMOVED_ROW} AS row FROM _gone g JOIN _removed r ON r.target = g.target) r ON r.n = x.n "
        "WHERE x.changed AND x.as_written AND (r.n IS NOT NULL OR x.n IN ("
        "SELECT row FROM _plan WHERE action IN ('create', 'update')))"
    )


def compare_times(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Create `_times` from the times that the undone run has kept in its directory, and `_written`: n (row), customer,
    was_kept and was, now_kept and now, changed (whether the run has changed the time), and whether it is as_written or
    as_before.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE _times AS SELECT *, kept <> was_kept OR updated_at IS DISTINCT FROM was AS "
        "changed, now_kept = kept AND now IS NOT DISTINCT FROM updated_at AS as_written, "
        "now_kept = was_kept AND now IS NOT DISTINCT FROM was AS as_before FROM ("
        "SELECT f.row AS n, f.customer, f.kept, f.updated_at, f.was_kept, f.was, w.customer IS NOT NULL AS now_kept, "
        f"w.updated_at AS now FROM read_parquet({files_literal([folder / TIMES])}) f "
        "LEFT JOIN _written w ON w.customer = f.customer)"
    ).fetchall()

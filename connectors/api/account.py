"""A provider's account as tables of DuckDB, so that it can be compared like a database table.

`there` has every customer of the account in canonical columns, with the provider's id (`own_id`) and the record as it
was read (`raw`, JSON); `held` those of them that can be written to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow.parquet as pq
from msgspec.structs import replace

from tranship.connectors.api.reconcile import merge_metadata
from tranship.connectors.api.source import ApiPart, ApiSource
from tranship.connectors.api.spec import ProviderSpec
from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.diff import create_survivors_view
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import DELETED, RUN, TYPE_OF
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS

BATCH: Final = 20_000
"""Rows processed together."""


TYPES: Final = {**TYPE_OF, "metadata": "VARCHAR"}
"""Canonical column → its type in these tables."""


def read_account(
    run: duckdb.DuckDBPyConnection, write: WriteRequest, spec: ProviderSpec, source: ApiSource
) -> tuple[str, ...]:
    """Read the account and create `there` and `held`; return notes for the summary.

    `there` has the columns target (the row's number, from 0), own_id, raw, archived, unread (canonical fields whose
    value is not of their type), the canonical columns, known and _known_* (from the crosswalk) and those of the ledger.
    Raises ConnectorError, and what DuckDB raises.
    """
    columns = ", ".join(f"{quoted(name)} {TYPES[name]}" for name in COLUMNS)
    run.execute(
        "CREATE TABLE there (target BIGINT, own_id VARCHAR, raw VARCHAR, archived BOOLEAN, unread VARCHAR[], "
        f"{columns}, known BOOLEAN, _known_id VARCHAR, _known_email VARCHAR, {quoted(RUN)} VARCHAR, "
        f"{quoted(DELETED)} TIMESTAMPTZ)"
    ).fetchall()
    final = "archived" if spec.removal_is_final and spec.archives else "false"
    run.execute(f"CREATE VIEW held AS FROM there WHERE NOT {final}").fetchall()
    broken = 0
    with closing(source):
        for part in source.parts(write.workspace / "destination"):
            broken += _insert(run, part, spec.archived_field)
        notes = [note for layout in source.layouts() for note in layout.notes]
    if broken:
        notes.append(
            f"left {counted(broken, 'customer')} unchanged: invalid under the provider's own schema, so the current "
            "values are unknown"
        )
    return tuple(notes)


def _insert(run: duckdb.DuckDBPyConnection, part: ApiPart, archived_field: str | None) -> int:
    """Insert the customers of a part into `there`; return the number of broken records."""
    decoded = part.decode(raw=True)
    assert decoded.raw is not None  # noqa: S101  (asked for)
    frame = decoded.records.with_columns(own_id="provider_id", raw=decoded.raw)
    first = run.execute("SELECT count(*) FROM there").fetchall()[0][0]
    run.register("read", frame.with_row_index("place").to_arrow())
    values = ", ".join(_typed(name) for name in COLUMNS)
    unread = ", ".join(
        f"CASE WHEN {quoted(name)} IS NOT NULL AND {_typed(name)} IS NULL THEN {literal(name)} END"
        for name in COLUMNS
        if TYPES[name] != "VARCHAR"
    )
    archived = "false"
    if archived_field is not None:
        path = literal(f'$."{archived_field}"')
        archived = f"coalesce(json_extract_string(raw, {path}) IS NOT NULL, false)"
    run.execute(
        f"INSERT INTO there SELECT place + {first}, own_id, raw, "
        f"{archived}, "
        f"list_filter([{unread}], lambda f: f IS NOT NULL), {values}, "
        f"false, {_typed('external_id')}, {_typed('email')}, NULL, NULL FROM read"
    ).fetchall()
    run.unregister("read")
    return decoded.broken.height


def _typed(name: str) -> str:
    """Return the SQL that converts a canonical column from text to its type; null if it cannot be converted."""
    column, dtype = quoted(name), TYPES[name]
    if dtype.endswith("[]"):
        return f"from_json({column}, '[\"VARCHAR\"]')"
    if name == "email":
        return f"lower({column})"
    if dtype == "INTEGER":  # DuckDB would round 30.5
        return f"CASE WHEN regexp_full_match({column}, '-?[0-9]+') THEN TRY_CAST({column} AS INTEGER) END"
    return column if dtype == "VARCHAR" else f"TRY_CAST({column} AS {dtype})"


class HeldCustomers:
    """The table `held`, in the form that `connectors/databases/diff.py` compares. `merged`: see `RequestPlanner`."""

    row_id = "t.target"

    def __init__(self, run: duckdb.DuckDBPyConnection, write: WriteRequest, merged: frozenset[str]) -> None:
        self._run, self._write, self._merged = run, write, merged
        run.execute("CREATE OR REPLACE TEMP TABLE _merged (row UBIGINT, text VARCHAR)").fetchall()
        run.execute("CREATE OR REPLACE TEMP TABLE _all_ids (row UBIGINT, ids VARCHAR[])").fetchall()

    def load_survivors(self) -> None:
        """See `databases.diff.Held`."""
        create_merged_survivors_view(self._run, self._write)

    def load_table(self, select: str, joined: str) -> None:
        """See `databases.diff.Held`."""
        self._run.execute(f"CREATE OR REPLACE TEMP VIEW _table AS SELECT {select} FROM held t {joined}").fetchall()

    def undecided_rows(self) -> str:
        """Merge the source's metadata into the provider's, key by key, and its aliases, so that entries of others are
        kept.

        Returns the table that the undecided rows are compared with.
        """
        query = (
            "SELECT p.row, s.metadata::VARCHAR AS here, t.metadata AS there FROM _plan p "
            "JOIN _survivors s ON s._row = p.row JOIN held t ON t.target = p.target "
            "WHERE p.action IS NULL AND t.metadata IS NOT NULL AND s.metadata::VARCHAR IS DISTINCT FROM t.metadata"
        )
        for batch in batched_rows(self._run, query, self._write.workspace):
            merged = [merge_metadata(here, there) for here, there in batch.select("here", "there").iter_rows()]
            frame = batch.select("row", text=pl.Series(merged, dtype=pl.String))
            self._run.register("merged", frame.to_arrow())
            self._run.execute("INSERT INTO _merged SELECT row, text FROM merged").fetchall()
            self._run.unregister("merged")
        if "aliases" in self._merged:
            self._run.execute(
                "INSERT INTO _all_ids SELECT p.row, CASE WHEN len(list_filter(s.aliases, lambda a: "
                "NOT list_contains(t.aliases, a))) > 0 THEN list_concat(s.aliases, list_filter(t.aliases, lambda a: "
                "NOT list_contains(s.aliases, a))) ELSE t.aliases END FROM _plan p "
                "JOIN _survivors s ON s._row = p.row JOIN held t ON t.target = p.target "
                "WHERE p.action IS NULL AND t.aliases IS NOT NULL AND s.aliases IS DISTINCT FROM t.aliases"
            ).fetchall()
        return "held"

    def refuse_violations(self, *, alone: bool) -> int:  # noqa: ARG002
        """Refuse nothing: the provider does, row by row."""
        return 0

    def keep_undeletable_rows(self) -> list[tuple[int, str]]:
        """Keep nothing: no other records refer to customers."""
        return []


def create_merged_survivors_view(run: duckdb.DuckDBPyConnection, write: WriteRequest) -> None:
    """Create the view of survivors, with their metadata and aliases merged into those of the existing customer."""
    merged_columns = (
        ", coalesce(m.text, s.metadata) AS _as_metadata, false AS _unfit_metadata"
        ", coalesce(a.ids, s.aliases) AS _as_aliases, false AS _unfit_aliases"
    )
    create_survivors_view(
        run, write, merged_columns, " LEFT JOIN _merged m ON m.row = s._row LEFT JOIN _all_ids a ON a.row = s._row"
    )


def batched_survivors(
    run: duckdb.DuckDBPyConnection,
    write: WriteRequest,
    create_view: Callable[[duckdb.DuckDBPyConnection, WriteRequest], None],
) -> Iterator[str]:
    """Yield SQL conditions on `s`, a row of `_survivors`, that select all survivors, a batch each, in order.

    All survivors together may not fit in memory, so `create_view` is called for one file after the other.
    """
    for file in write.survivors.files:
        create_view(run, replace(write, survivors=replace(write.survivors, files=(file,))))
        rows = run.sql("SELECT _row FROM _survivors ORDER BY _row").fetchnumpy()["_row"]
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            yield f"s._row BETWEEN {batch[0]} AND {batch[-1]}"


def batched_rows(run: duckdb.DuckDBPyConnection, query: str, workspace: Path) -> Iterator[pl.DataFrame]:
    """Yield the rows of a query in batches. They are written to disk first, so that the connection remains usable."""
    file = workspace / "batches.parquet"
    run.execute(f"COPY ({query}) TO {literal(file)} (FORMAT parquet, ROW_GROUP_SIZE {BATCH})").fetchall()
    try:
        with pq.ParquetFile(file) as rows:
            for batch in rows.iter_batches(BATCH, use_threads=False):
                yield pl.DataFrame(batch)
    finally:
        file.unlink()

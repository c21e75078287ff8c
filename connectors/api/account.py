"""A provider's account as tables of DuckDB, so that it is compared as a table is.

`there` has every customer of the account in canonical columns, each with its own id and its record as it came; `held`
those of them that can be written to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow.parquet as pq

from tranship.connectors.api.reconcile import merge_metadata
from tranship.connectors.api.source import ApiPart, ApiSource
from tranship.connectors.api.spec import ProviderSpec
from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.diff import create_survivors_view
from tranship.connectors.databases.table_mapping import DELETED, RUN, TYPE_OF, literal, quoted
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS

BATCH: Final = 20_000


TYPES: Final = {**TYPE_OF, "metadata": "VARCHAR"}


def read_account(
    run: duckdb.DuckDBPyConnection, write: WriteRequest, spec: ProviderSpec, source: ApiSource
) -> tuple[str, ...]:
    """Make `there`, and `held`, those of them that can be written to; what is to be told about it."""
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
            broken += _insert(run, part)
        notes = [note for layout in source.layouts() for note in layout.notes]
    if broken:
        notes.append(
            f"left {counted(broken, 'customer')} unchanged: invalid under the provider's own schema, so the current "
            "values are unknown"
        )
    return tuple(notes)


def _insert(run: duckdb.DuckDBPyConnection, part: ApiPart) -> int:
    decoded = part.decode(raw=True)
    assert decoded.raw is not None  # noqa: S101  (asked for)
    frame = decoded.records.with_columns(own_id="provider_id", raw=decoded.raw)
    known = run.execute("SELECT count(*) FROM there").fetchall()[0][0]
    run.register("read", frame.with_row_index("place").to_arrow())
    values = ", ".join(_typed(name) for name in COLUMNS)
    unread = ", ".join(
        f"CASE WHEN {quoted(name)} IS NOT NULL AND {_typed(name)} IS NULL THEN {literal(name)} END"
        for name in COLUMNS
        if TYPES[name] != "VARCHAR"
    )
    run.execute(
        f"INSERT INTO there SELECT place + {known}, own_id, raw, "
        "coalesce(json_extract_string(raw, '$.archived_at') IS NOT NULL, false), "
        f"list_filter([{unread}], lambda f: f IS NOT NULL), {values}, "
        f"false, {_typed('external_id')}, {_typed('email')}, NULL, NULL FROM read"
    ).fetchall()
    run.unregister("read")
    return decoded.broken.height


def _typed(name: str) -> str:
    """A canonical column as text → typed, as SQL; null if it cannot be read."""
    column, dtype = quoted(name), TYPES[name]
    if dtype.endswith("[]"):
        return f"from_json({column}, '[\"VARCHAR\"]')"
    if name == "email":
        return f"lower({column})"
    if dtype == "INTEGER":  # DuckDB would round 30.5
        return f"CASE WHEN regexp_full_match({column}, '-?[0-9]+') THEN TRY_CAST({column} AS INTEGER) END"
    return column if dtype == "VARCHAR" else f"TRY_CAST({column} AS {dtype})"


class HeldCustomers:
    """The account as `connectors/databases/diff.py` sees it: the table `held`."""

    row_id = "t.target"

    def __init__(self, run: duckdb.DuckDBPyConnection, write: WriteRequest, merged: frozenset[str]) -> None:
        self._run, self._write, self._merged = run, write, merged
        run.execute("CREATE OR REPLACE TEMP TABLE _merged (row UBIGINT, text VARCHAR)").fetchall()
        run.execute("CREATE OR REPLACE TEMP TABLE _all_ids (row UBIGINT, ids VARCHAR[])").fetchall()

    def load_survivors(self) -> None:
        """See `databases.diff.Held`."""
        see_merged_survivors(self._run, self._write)

    def load_table(self, select: str, joined: str) -> None:
        """See `databases.diff.Held`."""
        self._run.execute(f"CREATE OR REPLACE TEMP VIEW _table AS SELECT {select} FROM held t {joined}").fetchall()

    def undecided_rows(self) -> str:
        """Metadata of the source is laid over what is there, key by key: what others have put there stays."""
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

    def keep_referenced_rows(self) -> list[tuple[str, int]]:
        """Keep nothing: no other records refer to customers."""
        return []


def see_merged_survivors(run: duckdb.DuckDBPyConnection, write: WriteRequest) -> None:
    """Survivors, with their metadata and aliases laid over those of the customer that is there."""
    also = (
        ", coalesce(m.text, s.metadata) AS _as_metadata, false AS _unfit_metadata"
        ", coalesce(a.ids, s.aliases) AS _as_aliases, false AS _unfit_aliases"
    )
    create_survivors_view(
        run, write, also, " LEFT JOIN _merged m ON m.row = s._row LEFT JOIN _all_ids a ON a.row = s._row"
    )


def batched_survivors(
    run: duckdb.DuckDBPyConnection, write: WriteRequest, see: Callable[[duckdb.DuckDBPyConnection, WriteRequest], None]
) -> Iterator[str]:
    """Conditions on `s`, a row of `_survivors`: under each of them come some, under all of them all, in the order of
    their rows. All together would not fit into memory, and so the view is of one file after the other.
    """
    for file in write.survivors.files:
        see(run, dataclasses.replace(write, survivors=dataclasses.replace(write.survivors, files=(file,))))
        rows = run.sql("SELECT _row FROM _survivors ORDER BY _row").fetchnumpy()["_row"]
        for at in range(0, len(rows), BATCH):
            some = rows[at : at + BATCH]
            yield f"s._row BETWEEN {some[0]} AND {some[-1]}"


def batched_rows(run: duckdb.DuckDBPyConnection, query: str, workspace: Path) -> Iterator[pl.DataFrame]:
    """The rows of a query, while the connection is used for something else: by way of the disk."""
    file = workspace / "batches.parquet"
    run.execute(f"COPY ({query}) TO {literal(file)} (FORMAT parquet, ROW_GROUP_SIZE {BATCH})").fetchall()
    try:
        with pq.ParquetFile(file) as rows:
            for batch in rows.iter_batches(BATCH, use_threads=False):
                yield pl.DataFrame(batch)
    finally:
        file.unlink()


def listed_files(files: Sequence[Path]) -> str:
    """Return paths as the elements of a list in SQL."""
    return ", ".join(map(literal, files))

"""The crosswalk: source id ↔ external id ↔ id at the destination, written by each run and used by later runs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tranship.connectors.api.account import batched_survivors
from tranship.connectors.contract import WriteRequest
from tranship.connectors.databases.diff import create_survivors_view
from tranship.connectors.databases.quoting import files_literal, literal, quoted
from tranship.connectors.databases.table_mapping import RUN
from tranship.connectors.errors import ConfigError
from tranship.schemas import cells

CROSSWALK: Final = pa.schema(
    (name, pa.string())
    for name in (
        *("source_provider", "source_id", "external_id", "email"),
        *("destination_provider", "destination_id", "action", "run", "updated_at"),
    )
)
"""One row for each customer that a run has created, updated, or found unchanged or newer. `updated_at` is the source's
(ISO 8601, null if it has none); files of earlier versions lack that column.

An undo has one for each customer whose state it puts back: `restored`, with the `updated_at` that was last written
before the undone run, or `released` if no run had written the customer before."""
_STATES: Final = "action IN ('create', 'update', 'restored', 'released')"
"""Rows that say whether a customer was written by a run, as SQL."""


def recognise(run: duckdb.DuckDBPyConnection, write: WriteRequest) -> None:
    """Mark the customers in `there` that an earlier run has written (`_run_id`), and those in the given crosswalk, with
    the external id and e-mail of their record in this run (`known`, `_known_id`, `_known_email`).

    Raises ConfigError if the crosswalk cannot be read.
    """
    if _load_history(run, write):
        run.execute(
            f"UPDATE there SET {quoted(RUN)} = 'earlier' WHERE own_id IN (SELECT destination_id FROM history "
            f"WHERE {_STATES} GROUP BY 1 HAVING arg_min(action, age) <> 'released')"
        ).fetchall()
    run.execute(f"CREATE TEMP TABLE _written AS {_last_times('history')}").fetchall()
    if write.provider.crosswalk is not None:
        _load_crosswalk(run, write.provider.crosswalk)
        create_survivors_view(run, write)
        run.execute(
            "CREATE TEMP TABLE by_source AS SELECT c.destination_id, s.external_id, s.email FROM crosswalk c "
            "JOIN _survivors s ON c.source_id = s.provider_id AND c.source_provider = s.provider"
        ).fetchall()
        run.execute(
            "UPDATE there SET known = true, _known_id = k.external_id, _known_email = k.email FROM ("
            "SELECT destination_id, any_value(external_id) AS external_id, any_value(email) AS email FROM ("
            "FROM by_source UNION ALL SELECT c.destination_id, s.external_id, s.email FROM crosswalk c "
            "JOIN _survivors s ON c.external_id = s.external_id "
            "WHERE c.destination_id NOT IN (SELECT destination_id FROM by_source)"
            ") GROUP BY 1 HAVING count(*) = 1) k WHERE k.destination_id = own_id"
        ).fetchall()
        if write.present:
            # A customer with a rejected record still exists, even if the provider has another id or e-mail for it.
            present = f"read_parquet({files_literal(write.present)}) p"
            run.execute(
                f"UPDATE there SET {quoted(RUN)} = NULL WHERE own_id IN ("
                f"SELECT destination_id FROM crosswalk c JOIN {present} ON c.external_id = p.external_id UNION ALL "
                f"SELECT destination_id FROM crosswalk c JOIN {present} ON c.email = p.email)"
            ).fetchall()


def _load_history(run: duckdb.DuckDBPyConnection, write: WriteRequest) -> bool:
    """Create `history`: destination_id, action, run, time (of the source) and age (0 for the last run) of the rows of
    all earlier crosswalks; return whether there are any.
    """
    files = [file for file in write.provider.history if file.exists()]
    if not files:
        run.execute(
            "CREATE TEMP TABLE history (destination_id VARCHAR, action VARCHAR, run VARCHAR, time TIMESTAMPTZ, "
            "age BIGINT)"
        ).fetchall()
        return False
    ages = pl.DataFrame(
        {"file": map(str, files), "timed": ["updated_at" in pq.read_schema(file).names for file in files]}
    )
    run.register("given", ages.with_row_index("age").to_arrow())
    run.execute("CREATE TEMP TABLE runs AS SELECT file, age::BIGINT AS age FROM given").fetchall()
    run.unregister("given")
    time = "TRY_CAST(c.updated_at AS TIMESTAMPTZ)" if ages["timed"].any() else "NULL::TIMESTAMPTZ"
    run.execute(
        f"CREATE TEMP VIEW history AS SELECT c.destination_id, c.action, c.run, {time} AS time, r.age "
        f"FROM read_parquet({files_literal(files)}, filename = true, union_by_name = true) c "
        "JOIN runs r ON r.file = c.filename"
    ).fetchall()
    return True


def _last_times(history: str) -> str:
    """Return for each customer the source's `updated_at` of the record last written to it, or the latest one of a later
    run that found it unchanged, as SQL: customer, updated_at.
    """
    return (
        f"WITH known AS (SELECT * FROM {history} WHERE action IN ('restored', 'released') "
        "OR action IN ('create', 'update', 'unchanged') AND time IS NOT NULL), "
        "last AS (SELECT destination_id, min(age) AS age FROM known WHERE action <> 'unchanged' GROUP BY 1) "
        "SELECT k.destination_id AS customer, max(k.time) AS updated_at FROM known k "
        "LEFT JOIN last l ON l.destination_id = k.destination_id "
        "WHERE l.age IS NULL OR k.age <= l.age GROUP BY 1 HAVING max(k.time) IS NOT NULL"
    )


def _load_crosswalk(run: duckdb.DuckDBPyConnection, file: Path) -> None:
    columns = ("source_provider", "source_id", "external_id", "email", "destination_id")
    if file.suffix == ".parquet":
        select = f"SELECT {', '.join(columns)} FROM read_parquet({files_literal([file])})"
    else:
        bare = (f"regexp_replace({name}, {literal(cells.GUARD)}, '\\1') AS {name}" for name in columns)
        select = f"SELECT {', '.join(bare)} FROM read_csv({files_literal([file])}, all_varchar = true)"
    try:
        run.execute(f"CREATE TEMP VIEW crosswalk AS {select}").fetchall()
        run.execute("FROM crosswalk LIMIT 0").fetchall()
    except duckdb.Error as error:
        raise ConfigError(
            f"--crosswalk {file}: cannot be read, or lacks a column. Give crosswalk.csv or crosswalk.parquet of "
            "an earlier run."
        ) from error


def write_crosswalk(run: duckdb.DuckDBPyConnection, write: WriteRequest, provider: str, outcomes: Path) -> Path:
    """Write `crosswalk.parquet` and `crosswalk.csv` from the outcomes of a run; return the latter."""
    whole = write.workspace / "crosswalk.parquet"
    with pq.ParquetWriter(whole, CROSSWALK) as crosswalk:
        for condition in batched_survivors(run, write, create_survivors_view):
            found = run.sql(
                "SELECT s.provider AS source_provider, s.provider_id AS source_id, s.external_id, s.email, "
                f"{literal(provider)} AS destination_provider, o.provider_id AS destination_id, "
                f"o.action, {literal(write.run_id)} AS run, "
                "strftime(s.updated_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS updated_at "
                f"FROM read_parquet({files_literal([outcomes])}) o JOIN _survivors s ON s._row = o.row "
                "WHERE o.outcome IN ('done', 'unchanged', 'older') AND o.provider_id IS NOT NULL "
                f"AND {condition} ORDER BY o.row"
            )
            crosswalk.write_table(found.to_arrow_table().cast(CROSSWALK))
    file = write.workspace / "crosswalk.csv"
    cells.as_csv(pl.scan_parquet(whole, glob=False)).sink_csv(file)
    return file


def write_undone(
    run: duckdb.DuckDBPyConnection, write: WriteRequest, provider: str, outcomes: Path, names: Path
) -> Path:
    """Write `crosswalk.parquet` and `crosswalk.csv` of an undo: what was known of its customers before the undone run.
    `names` has row, external_id, email and own_id (the customer's id then) of its customers. Return the latter.

    Of a customer that a later run has written as well, nothing is put back.
    """
    assert write.undo is not None  # noqa: S101  (this is an undo)
    undone = literal(write.undo.run_id)
    _load_history(run, write)
    run.execute(
        f"CREATE TEMP VIEW back AS SELECT o.row, n.external_id, n.email, n.own_id, "
        "coalesce(o.provider_id, n.own_id) AS new_id "
        f"FROM read_parquet({files_literal([outcomes])}) o JOIN read_parquet({files_literal([names])}) n "
        "ON n.row = o.row WHERE o.outcome IN ('done', 'unchanged')"
    ).fetchall()
    run.execute(
        "CREATE TEMP TABLE before AS SELECT h.* FROM history h LEFT JOIN (SELECT destination_id, "
        f"min(age) AS age, arg_min(run, age) AS run FROM history WHERE {_STATES} GROUP BY 1) l "
        f"ON l.destination_id = h.destination_id WHERE l.run IS DISTINCT FROM {undone} OR h.age > l.age"
    ).fetchall()
    whole = write.workspace / "crosswalk.parquet"
    found = run.sql(
        "SELECT NULL AS source_provider, NULL AS source_id, b.external_id, b.email, "
        f"{literal(provider)} AS destination_provider, b.new_id AS destination_id, "
        "CASE WHEN coalesce(w.action, 'released') = 'released' THEN 'released' ELSE 'restored' END AS action, "
        f"{literal(write.run_id)} AS run, strftime(t.updated_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS updated_at FROM back b "
        f"LEFT JOIN (SELECT destination_id, arg_min(run, age) AS run FROM history WHERE {_STATES} GROUP BY 1) l "
        "ON l.destination_id = b.own_id "
        f"LEFT JOIN (SELECT destination_id, arg_min(action, age) AS action FROM before WHERE {_STATES} GROUP BY 1) w "
        "ON w.destination_id = b.own_id "
        f"LEFT JOIN ({_last_times('before')}) t ON t.customer = b.own_id "
        f"WHERE l.run = {undone} OR b.new_id <> b.own_id ORDER BY b.row"
    )
    pq.write_table(found.to_arrow_table().cast(CROSSWALK), whole)
    file = write.workspace / "crosswalk.csv"
    cells.as_csv(pl.scan_parquet(whole, glob=False)).sink_csv(file)
    return file

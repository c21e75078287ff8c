"""The crosswalk: source id ↔ external id ↔ id at the destination, written by each run and used by later runs."""

from __future__ import annotations

from collections.abc import Sequence
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
(ISO 8601, null if it has none); files of earlier versions lack that column."""


def recognise(run: duckdb.DuckDBPyConnection, write: WriteRequest) -> None:
    """Mark the customers in `there` that an earlier run has written (`_run_id`), and those in the given crosswalk, with
    the external id and e-mail of their record in this run (`known`, `_known_id`, `_known_email`).

    Raises ConfigError if the crosswalk cannot be read.
    """
    history = [file for file in write.provider.history if file.exists()]
    if history:
        run.execute(
            f"UPDATE there SET {quoted(RUN)} = 'earlier' WHERE own_id IN (SELECT destination_id "
            f"FROM read_parquet({files_literal(history)}, union_by_name = true) WHERE action IN ('create', 'update'))"
        ).fetchall()
    _load_written(run, history)
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


def _load_written(run: duckdb.DuckDBPyConnection, history: Sequence[Path]) -> None:
    """Create `_written`: for each customer the source's `updated_at` of the record last written to it, or the latest
    one of a later run that found it unchanged.
    """
    run.execute("CREATE TEMP TABLE _written (customer VARCHAR, updated_at TIMESTAMPTZ)").fetchall()
    timed = [file for file in history if "updated_at" in pq.read_schema(file).names]
    if not timed:
        return
    run.register("runs", pl.DataFrame({"file": map(str, timed)}).with_row_index("age").to_arrow())
    run.execute(
        "INSERT INTO _written WITH known AS (SELECT destination_id, action, r.age, "
        "TRY_CAST(c.updated_at AS TIMESTAMPTZ) AS time "
        f"FROM read_parquet({files_literal(timed)}, filename = true) c JOIN runs r ON r.file = c.filename "
        "WHERE action IN ('create', 'update', 'unchanged') AND time IS NOT NULL), "
        "last AS (SELECT destination_id, min(age) AS age FROM known WHERE action <> 'unchanged' GROUP BY 1) "
        "SELECT k.destination_id, max(k.time) FROM known k LEFT JOIN last l ON l.destination_id = k.destination_id "
        "WHERE l.age IS NULL OR k.age <= l.age GROUP BY 1"
    ).fetchall()
    run.unregister("runs")


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

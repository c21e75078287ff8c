"""A folder with a state directory and a DuckDB file, or a Postgres database, in which tests run the real pipeline and
inspect the results.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from support.postgres_server import Database
from tranship.pipelines import run as flow
from tranship.pipelines import settings
from tranship.pipelines.report import Report

Record = Mapping[str, str | None]


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    """Return an instance of DuckDB for all files, one after the other: starting one takes longer than most queries."""
    return duckdb.connect(":memory:")


@contextmanager
def attached(file: Path, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection to a DuckDB file that nothing else in this process has open."""
    name = file.stem
    with _engine().cursor() as connection:
        options = "READ_ONLY, TYPE duckdb" if read_only else "TYPE duckdb"
        connection.execute(f"ATTACH '{file}' AS {name} ({options})").fetchall()
        try:
            connection.execute(f"USE {name}").fetchall()
            yield connection
        finally:
            connection.execute("USE memory").fetchall()
            connection.execute(f"DETACH {name}").fetchall()


@dataclass(frozen=True)
class Warehouse:
    """`folder/w.duckdb`, filled by `load`, prepared by `do`, read by `rows`."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "w.duckdb"

    def address(self, table: str = "customers") -> str:
        return f"duckdb:///{self.file}?table={table}"

    def load(self, source: Sequence[Record] | Path | str, *, table: str = "customers", **options: Any) -> Report:
        """Run the pipeline from records (written as CSV), a file or an address, into a table. Conflicts of ids do not
        stop it: among a few records, one exceeds the limit of 1 %.
        """
        if not isinstance(source, Path | str):
            source = write_csv(self.folder / "in.csv", source)
        given = {"source": str(source), "destination": self.address(table), "state_dir": self.folder / "state"}
        given["max_conflicts"] = "100%"
        return flow.run(settings.load({**given, **options}, {}))

    def do(self, *statements: str) -> None:
        """Run SQL in the file."""
        with attached(self.file, read_only=False) as connection:
            for statement in statements:
                connection.execute(statement).fetchall()

    def rows(self, query: str = "SELECT * FROM customers ORDER BY ALL") -> list[dict[str, Any]]:
        """Return the result of a query, as Python values."""
        with attached(self.file, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'").fetchall()
            frame = pl.from_arrow(connection.sql(query).to_arrow_table())
        assert isinstance(frame, pl.DataFrame)
        return frame.to_dicts()

    def column(self, column: str, *, table: str = "customers") -> list[Any]:
        """Return one column, sorted."""
        return [row["value"] for row in self.rows(f"SELECT {column} AS value FROM {table} ORDER BY ALL")]


@dataclass(frozen=True)
class PostgresWarehouse:
    """A database, filled by `load`, prepared by `do`, read by `rows`; the files of its runs are in `folder`."""

    folder: Path
    database: Database

    def address(self, table: str = "customers") -> str:
        return f"{self.database.url}?table={table}"

    def load(self, source: Sequence[Record] | Path | str, *, table: str = "customers", **options: Any) -> Report:
        """Run the pipeline from records (written as CSV), a file or an address, into a table."""
        return Warehouse(self.folder).load(source, **{"destination": self.address(table), **options})

    def do(self, *statements: str) -> None:
        """Run SQL in the database."""
        self.database.do(*statements)

    def rows(self, query: str = "SELECT * FROM customers ORDER BY customer_key") -> list[dict[str, Any]]:
        """Return the result of a query, as Python values."""
        return self.database.rows(query)

    def column(self, column: str, *, table: str = "customers") -> list[Any]:
        """Return one column, sorted, nulls last."""
        return [row["value"] for row in self.rows(f"SELECT {column} AS value FROM {table} ORDER BY 1")]


def write_csv(path: Path, records: Sequence[Record], columns: Sequence[str] = ()) -> Path:
    """Write records as CSV; a null is an empty cell. The columns are those of all records, in order."""
    header = columns or list(dict.fromkeys(name for record in records for name in record)) or ["external_id", "name"]
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([record.get(name) or "" for name in header] for record in records)
    return path


def fates(report: Report) -> dict[str, int]:
    """Return the counts that are not 0, without warnings."""
    counts = vars(report.counts)
    return {name: count for name, count in counts.items() if count and name not in ("read", "warnings")}


def rejects(report: Report) -> list[dict[str, str]]:
    """Return rejects.csv as a spreadsheet shows it."""
    with Path(report.files["rejects"]).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def plan(report: Report) -> list[dict[str, Any]]:
    """Return the plan's rows, in the order of the input."""
    return pl.read_parquet(report.files["plan"]).sort("row").to_dicts()

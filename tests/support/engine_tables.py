"""A table that an engine writes beside the DuckDB table of the ordinary run: the same customers, settings and run ids."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tranship
from support.engines import collected
from tranship.connectors.contract import Plan, WriteRequest
from tranship.connectors.databases.duckdb.table import DuckDbTable
from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.distributed.destinations.contract import Destination, Planned, Request
from tranship.pipelines.distributed.work_tables import WorkTables
from tranship.pipelines.present import PRESENT
from tranship.schemas.customer import INSTANTS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_DATABASE = "one.duckdb"
ADDRESS = f"duckdb:///{_DATABASE}?table=customers"


@dataclass(frozen=True)
class Step:
    """One run: what it asked of the ordinary table, and what that table planned."""

    request: WriteRequest
    plan: Plan


def ordinary_run(records: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Step:
    """Write records to the DuckDB table of the current folder by an ordinary run."""
    seen: list[Step] = []
    planned = DuckDbTable.plan

    def plan(table: DuckDbTable, request: WriteRequest) -> Plan:
        found = planned(table, request)
        seen.append(Step(request, found))
        return found

    records.write_parquet("in.parquet")
    given = {"max_conflicts": "100%", "allow_empty": True, "max_deletes": "100%", "older": "skip"} | options
    with monkeypatch.context() as patched:
        patched.setattr(DuckDbTable, "plan", plan)
        tranship.run("in.parquet", ADDRESS, state_dir="state", **given)
    return seen[-1]


def request_of(step: Step, session: SparkSession, folder: Path) -> Request:
    """Return the request for an engine with the customers of a run; rows are numbered in their order."""
    given = step.request
    customers = given.survivors.scan().sort("_row").collect().drop("_row").with_row_index("_row")
    present = pl.concat([pl.DataFrame(schema=PRESENT), *map(pl.read_parquet, given.present)])
    return Request(
        run_id=given.run_id,
        started=datetime.fromisoformat(given.started_at),
        source=given.source,
        session=session,
        customers=frame(session, customers, stage_rows.RECORD, folder / "customers"),
        count=customers.height,
        columns=given.survivors.columns,
        mode=given.mode,
        tables=WorkTables(session, str(folder / "work")),
        ledger=given.ledger,
        workspace=folder,
        sparse=given.survivors.sparse,
        older=given.older,
        overwrite_nulls=given.overwrite_nulls,
        evolve=given.evolve,
        hard_delete=given.hard_delete,
        present=frame(session, present, PRESENT | {"line": pl.Int64}, folder / "present"),
    )


def frame(session: SparkSession, rows: pl.DataFrame, columns: Mapping[str, Any], folder: Path) -> DataFrame:
    """Return rows as a frame of an engine, by way of a file as tasks of the engine would write it."""
    folder.mkdir(parents=True)
    table = pa.Table.from_batches(stage_rows.to_arrow(rows, columns), stage_rows.arrow_schema(columns))
    pq.write_table(table, folder / "part.parquet")
    return session.read.parquet(str(folder))


def assert_same_plan(step: Step, planned: Planned) -> None:
    """Assert that both tables planned the same, about each customer."""
    plan = step.plan
    assert planned.counts == plan.counts
    assert dict(planned.changed_fields) == dict(plan.changed_fields)
    assert (planned.existing, planned.withheld) == (plan.existing, plan.withheld)
    assert planned.unidentified == plan.unidentified
    rows = step.request.survivors.scan().select("_row").sort("_row").collect()["_row"]
    number = pl.DataFrame({"row": rows}).with_row_index("_row")
    expected = pl.read_parquet(plan.rows).filter(pl.col("action").is_in(["refused", "ambiguous"])).join(number, "row")
    expected = expected.select(pl.col("_row").cast(pl.Int64), "action", "reason").sort("_row")
    assert collected(planned.left_out).sort("_row").rows() == expected.rows()
    reasons = dict(expected.filter(action="refused").group_by("reason").len().iter_rows())
    assert dict(planned.reasons) == reasons
    file = step.request.workspace / "stale.parquet"
    stale = pl.read_parquet(file).rows() if file.exists() else []
    assert sorted(collected(planned.stale).rows()) == sorted(stale)


def ordinary_rows() -> pl.DataFrame:
    """Return the rows of the ordinary table."""
    with duckdb.connect(_DATABASE, read_only=True) as table:
        table.execute("SET TimeZone = 'UTC'")
        return table.sql("FROM customers").pl()


def assert_same_rows(rows: pl.DataFrame) -> None:
    """Assert that a table has the rows of the ordinary one, in all columns. Times of deletion are those of each write."""
    expected = ordinary_rows()
    assert rows.columns == expected.columns
    for theirs, ours in zip(_comparable(expected), _comparable(rows), strict=True):
        assert ours == theirs


def _comparable(table: pl.DataFrame) -> list[Mapping[str, Any]]:
    marked = table.with_columns(pl.col("_deleted_at").is_not_null(), pl.col(INSTANTS).dt.epoch("us"))
    rows = marked.sort("customer_key").to_dicts()
    return [row | {"metadata": row["metadata"] and json.loads(row["metadata"])} for row in rows]


COLUMNS = ("external_id", "email", "name", "city", "invoice_cc_emails", "net_terms", "updated_at", "metadata")


def records(*rows: dict[str, Any], columns: tuple[str, ...] = COLUMNS) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict.fromkeys(columns, pl.String), orient="row")


def dirt(dice: random.Random, number: int) -> pl.DataFrame:
    """Records of few ids and e-mails, so that customers meet, part and exchange their e-mails between runs. Most of what
    they contain is the same in every run.
    """
    choices: dict[str, list[str | None]] = {
        "city": ["Rome", "Oslo", None],
        "invoice_cc_emails": ["q@a.co", "q@a.co;r@a.co", None],
        "net_terms": ["30", "14", None],
        "updated_at": ["2024-01-01", "2024-01-02T03:04:05.123456Z", "2023-03-01", "9999-12-31", None],
        "metadata": ['{"a": 1}', "odd", None],
    }
    rows: list[dict[str, Any]] = []
    for _ in range(number):
        at = dice.randrange(14)
        usual = ["email:m3@a.co", "id:1", "C2"][at] if at < 3 else f"c{at}"
        external_id = dice.choice([None, None, usual, usual, usual, f"c{dice.randrange(14)}"])
        email = dice.choice([f"m{at}@a.co"] * 6 + [f"m{dice.randrange(14)}@a.co", "blocked@a.co", "no address", None])
        row = {name: values[at % 2] if dice.random() < 0.8 else dice.choice(values) for name, values in choices.items()}
        name = dice.choice([f"Ann {at}"] * 9 + ["Bob", None])
        rows.append(row | {"external_id": external_id, "email": email, "name": name})
    return records(*rows)


def sequence(seed: int, runs: int, deletes: Sequence[str]) -> Iterator[tuple[pl.DataFrame, dict[str, Any]]]:
    """Yield the records and the settings of some runs, in all modes."""
    dice = random.Random(seed)
    for number in range(runs):
        identity = ["external_id", "email"] if dice.random() < 0.7 else ["email"]
        columns = [*identity, "name", *dice.sample(COLUMNS[3:], 3 if number else 5)]
        records = dirt(dice, dice.choice([6, 14, 30])).select(columns)
        yield (
            records,
            {
                "mode": dice.choice(["upsert", "upsert", "insert", "update", "mirror", "mirror"])
                if number
                else "upsert",
                "older": dice.choice(["skip", "write", "refuse"]),
                "nulls": dice.choice(["keep", "overwrite"]),
                "deletes": dice.choice(deletes),
                "fill": dice.choice([True, False]),
                "blocked": ["blocked@a.co"],
            },
        )


class Both:
    """A table of an engine and the ordinary one, written by the same runs."""

    table: Destination
    """The table of the engine, as it is opened for the current run."""

    def __init__(
        self,
        open_table: Callable[[], Destination],
        rows: Callable[[], pl.DataFrame],
        session: SparkSession,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Take how to open the table and read it. The ordinary one, and all files, are in the current folder."""
        self._open, self.rows = open_table, rows
        self._session, self._monkeypatch, self._runs = session, monkeypatch, 0

    def request(self, records: pl.DataFrame, **options: Any) -> Request:
        """Open the table, and return the request of a run that the ordinary table has already carried out."""
        self._runs += 1
        self.step = ordinary_run(records, self._monkeypatch, **options)
        self.table = self._open()
        return request_of(self.step, self._session, Path(f"run{self._runs}").absolute())

    def write(self, records: pl.DataFrame, **options: Any) -> Planned:
        """Write records to both tables, which must agree."""
        request = self.request(records, **options)
        planned = self.table.plan(request)
        assert_same_plan(self.step, planned)
        self.table.apply(request, planned)
        self.table.close()
        assert_same_rows(self.rows())
        return planned

    def write_sequence(self, seed: int, runs: int, deletes: Sequence[str] = ("mark", "mark", "remove")) -> None:
        """Write some runs of one seed, in all modes."""
        for records, options in sequence(seed, runs, deletes):
            self.write(records, **options)

"""`--where`: the records that are read."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest

from support.postgres_server import Database
from support.warehouse import PostgresWarehouse, Warehouse, fates
from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines import run, settings
from tranship.pipelines.cli import main as cli
from tranship.pipelines.selection import condition
from tranship.schemas.faults import WARNINGS

ROWS = [
    {"id": "1", "name": "A", "Status": "Lead", "Seats": "3", "is_deleted": "false"},
    {"id": "2", "name": "B", "Status": "active", "Seats": "12", "is_deleted": "TRUE"},
    {"id": "3", "name": "C", "Status": "", "Seats": "", "is_deleted": "0"},
    {"id": "4", "name": "D", "Status": "active", "Seats": "7", "is_deleted": None},
]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("not is_deleted", ["1", "3"]),
        ("is_deleted", ["2"]),
        ("is_deleted is not true", ["1", "3", "4"]),
        ("is_deleted is not false", ["2", "4"]),
        ("(Seats = '12' and is_deleted) is not true", ["1", "3", "4"]),
        ("is_deleted is not true and Status is not null", ["1", "4"]),
        ("not (is_deleted is true)", ["1", "3", "4"]),
        ("is_deleted <> true and not is_deleted <> (false)", ["1", "3"]),
        ("is_deleted = false or name = '= true'", ["1", "3"]),
        ("not (is_deleted =true)", ["1", "3"]),
        ("(is_deleted is distinct from true) and Status is not null", ["1", "4"]),
        ("coalesce(is_deleted, 'no') <> 'TRUE'", ["1", "3", "4"]),
        ("Status <> 'Lead'", ["2", "4"]),
        ("Status is null", ["3"]),
        ("Status in ('Lead', 'x') or not is_deleted and \"name\" > 'B'", ["1", "3"]),
        ("try_cast(Seats as int) > 3", ["2", "4"]),
        ("lower(Status) like 'a%' and length(name) = 1", ["2", "4"]),
        ("coalesce(is_deleted, false) = false", ["1", "3", "4"]),
        ("false = ifnull(is_deleted, 'no')", ["1", "3", "4"]),
        ("not coalesce(is_deleted, false)", ["1", "3", "4"]),
        ("is_deleted = (Seats = '12')", ["1", "2"]),
        ("case when id < '4' then is_deleted else true end = false", ["1", "3"]),
        ("nullif(is_deleted, false) is null", ["1", "3", "4"]),
        ("case when is_deleted then id = '2' else id = '1' end", ["1", "2"]),
    ],
)
def test_records_for_which_it_is_true_are_read(warehouse: Warehouse, where: str, ids: list[str]) -> None:
    report = warehouse.load(ROWS, where=where, ignore="Status")

    assert warehouse.column("external_id") == ids
    assert fates(report) == {"skipped": 4 - len(ids), "created": len(ids)}
    assert report.counts.balance() == 0


def test_a_skipped_record_is_no_reject_and_no_warning(warehouse: Warehouse) -> None:
    report = warehouse.load([*ROWS, {"id": "5", "phone": "call me", "is_deleted": "true"}], where="not is_deleted")
    assert (report.counts.rejected, report.counts.warnings, report.exit_code) == (0, 0, 0)


def test_the_keys_of_skipped_records_are_kept(warehouse: Warehouse) -> None:
    rows = [
        {"id": " 1 ", "email": "A@b.co", "name": "", "gone": "true"},
        {"id": "n/a", "email": "noreply@b.co", "name": "B", "gone": "true"},
        {"id": "x" * 256, "email": "bad", "name": "C", "gone": "true"},
        {"id": "4", "email": None, "name": "D", "gone": "false"},
    ]
    for _ in range(2):  # read, and taken over from the earlier run
        report = warehouse.load(rows, where="not gone")
        keys = pl.read_parquet(Path(report.run_dir) / "present" / "*.parquet")
        assert keys.drop("source").rows() == [
            (2, "1", "a@b.co", False, False),
            (3, None, None, False, False),
            (4, None, None, True, True),
        ]


@pytest.mark.parametrize("column", ["IsDeleted", "Active", "deleted_at"])
def test_the_advice_on_deleted_records_leaves_out_these_only(warehouse: Warehouse, column: str) -> None:
    marks = {"IsDeleted": ["no", "yes"], "Active": ["1", "0"], "deleted_at": [None, "2024-01-01"]}[column]
    rows = [{"id": str(n), "name": "A", column: mark} for n, mark in enumerate([*marks, None], start=1)]
    condition = next(part for part in WARNINGS["record.deleted_flag"].split("'") if part.startswith(column))

    assert warehouse.load(rows).warnings_by_code == {"record.deleted_flag": 1}
    report = warehouse.load(rows, where=condition, table="kept")
    assert (warehouse.column("external_id", table="kept"), report.counts.warnings) == (["1", "3"], 0)


def test_broken_lines_are_rejected_whatever_the_condition(warehouse: Warehouse) -> None:
    path = warehouse.folder / "in.csv"
    path.write_text("id,name\n1,A\n2\n3,C\n")
    assert fates(warehouse.load(path, where="id = '3'")) == {"skipped": 1, "rejected": 1, "created": 1}


def test_all_skipped_is_not_an_empty_source(warehouse: Warehouse) -> None:
    assert fates(warehouse.load(ROWS, where="id = '9'")) == {"skipped": 4}


def test_typed_columns_are_compared_as_what_they_are(warehouse: Warehouse) -> None:
    frame = pl.DataFrame({"id": [1, 2, 3], "name": ["A", "B", "C"], "gone": [True, None, False], "n": [1, 2, 3]})
    frame.write_parquet(warehouse.folder / "in.parquet")
    with duckdb.connect(warehouse.folder / "source.duckdb") as source:
        source.execute(f"CREATE TABLE people AS FROM '{warehouse.folder}/in.parquet'").fetchall()

    for number, address in enumerate(
        (str(warehouse.folder / "in.parquet"), f"duckdb:///{warehouse.folder}/source.duckdb?table=people")
    ):
        warehouse.load(address, where="not gone and n > 1", table=f"t{number}")
        assert warehouse.column("external_id", table=f"t{number}") == ["3"]


def test_postgres_records_are_left_out(tmp_path: Path, postgres_database: Database) -> None:
    warehouse = PostgresWarehouse(tmp_path, postgres_database)
    warehouse.do(
        "CREATE TABLE people (id int, name text, gone boolean)",
        "INSERT INTO people VALUES (1, 'A', true), (2, 'B', false), (3, 'C', null)",
    )
    report = warehouse.load(f"{postgres_database.url}?table=people", where="not gone")
    assert (fates(report), warehouse.column("external_id")) == ({"skipped": 2, "created": 1}, ["2"])


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("not is_deletd", "no column 'is_deletd'. Did you mean 'is_deleted'"),
        ("status = 'x'", "no column 'status'. Did you mean 'Status'"),
        ('Status = "Lead"', "no column 'Lead'. Put text in single quotes"),
        ("Status =", "is not an SQL condition"),
        ("drop table x", "is not an SQL condition"),
        ("1 = 1", "names no column"),
        ("max(Seats) > '3'", "more than one record"),
        ("count(*) > 1", "more than one record"),
        ("row_number() over (order by id) < 3", "more than one record"),
        ("lag(id) over (order by id) = '1'", "more than one record"),
        ("id in (select 1)", "SQL|more than one record"),
        ("id > (select 1)", "more than one record"),
        ("Seats > 3", "cannot be applied to .*cannot compare string with numeric"),
        ("cast(Status as int) > 3", "cannot be applied to"),
        ("Status", "column 'Status' is neither true nor false in .*, line 2"),
        ("is_deleted is distinct from true and Status = 'x'", "IS DISTINCT FROM ends. Put it in brackets"),
        ("coalesce(is_deleted, 'maybe') = false", "'maybe' is neither true nor false"),
        ("is_deleted in (true, false)", "cannot be applied to .*compare a flag with: COLUMN is true"),
        ("lower(Status)", "is a value, not a condition"),
    ],
)
def test_a_bad_condition_is_explained(warehouse: Warehouse, where: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        warehouse.load(ROWS, where=where, ignore="Status")
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    assert "active" not in str(error.value).replace(where, "")


@pytest.mark.parametrize(
    "options", [{"where": "Seats > 3"}, {"where": "lower(name)"}, {"set": {"city": "Seats + 1"}}], ids=str
)
@pytest.mark.parametrize("end", ["csv", "jsonl", "parquet"])
def test_a_clash_of_types_stops_before_a_run_begins(warehouse: Warehouse, options: dict[str, str], end: str) -> None:
    path = warehouse.folder / f"in.{end}"
    frame = pl.DataFrame([{**row, "Seats": row["Seats"] or "x"} for row in ROWS])
    {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[end](path)
    with pytest.raises(ConfigError, match=r"cannot be applied to|is a value") as error:
        warehouse.load(path, ignore="Status", **options)
    assert error.value.report is None


def test_a_file_that_lacks_the_column_is_named() -> None:
    with pytest.raises(ConfigError, match=r"b\.csv has no column 'gone'"):
        condition("not gone", [Layout("a.csv", ("id", "gone")), Layout("b.csv", ("id",))])


@pytest.mark.slow
def test_another_condition_is_another_reading(warehouse: Warehouse) -> None:
    def reused(**options: str) -> bool:
        report = warehouse.load(ROWS, ignore="Status", **options)
        return any("Input unchanged since run" in note for note in report.notes)

    assert not reused(where="id = '1'")
    assert reused(where="id = '1'")
    assert not reused(where="id = '2'")
    assert warehouse.column("external_id") == ["1", "2"]


def test_it_is_accepted_in_every_place(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(warehouse.folder)
    (warehouse.folder / "in.csv").write_text("id,name,gone\n1,A,yes\n2,B,no\n")
    (warehouse.folder / "p.toml").write_text('source = "in.csv"\ndestination = "out.csv"\nwhere = "not gone"\n')

    for arguments, variables in (
        (["run", "in.csv", "a.csv", "--where", "not gone"], {}),
        (["run", "in.csv", "b.csv"], {"TRANSHIP_WHERE": "not gone"}),
        (["run", "p.toml"], {}),
    ):
        with monkeypatch.context() as environment:
            for name, value in variables.items():
                environment.setenv(name, value)
            assert cli.main(arguments) == 0
        assert "skipped 1" in capsys.readouterr().err


def test_inspect_leaves_them_out_too(warehouse: Warehouse) -> None:
    path = warehouse.folder / "in.csv"
    path.write_text("id,name,country,gone\n1,A,Narnia,true\n2,B,DE,false\n")
    found = run.inspect(settings.reading_from_command(str(path), {"where": "not gone"}, {}), 10)
    assert (found.records, found.skipped, found.rejected) == (2, 1, 0)

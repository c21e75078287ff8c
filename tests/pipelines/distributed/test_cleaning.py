"""Cleaning a DataFrame: what is asked of its arguments, and what its results are beside those of one machine."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from support.engines import IS_SPARK, PLACE, collected
from tranship.connectors.errors import ConfigError, GateClosed, TranshipError, Undecided
from tranship.pipelines.arguments import CleanOptions
from tranship.pipelines.distributed.stage_task import StageTask
from tranship.pipelines.invalid import InvalidValues
from tranship.pipelines.judging import Rules
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.normalise.spelling import Spelling
from tranship.spark import clean

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.slow

COLUMNS = "file string, line int, id string, email string, name string, updated_at string"
ROWS: list[tuple[Any, ...]] = [
    ("a.csv", 1, "1", "a@x.co", "A", "2024-01-01"),
    ("a.csv", 2, "1", "a@x.co", "B", "2024-01-01"),
    ("b.csv", 1, None, "a@x.co", "C", None),
    ("b.csv", 2, "2", "b@x.co", None, None),
]


def frame(spark: SparkSession, rows: list[tuple[Any, ...]] = ROWS, columns: str = COLUMNS) -> DataFrame:
    return spark.createDataFrame(rows, columns)


def test_neither_the_package_nor_its_door_needs_spark() -> None:
    code = "import sys, tranship, tranship.spark; print(sorted({'pyspark', 'pandas', 'polars'} & {*sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_the_results_are_frames_and_a_ledger(spark: SparkSession, tmp_path: Path) -> None:
    cleaned = clean(frame(spark), work=tmp_path, place=PLACE)
    [customer] = collected(cleaned.customers).to_dicts()
    assert {name: customer[name] for name in ("customer_key", "name", "_source", "_line")} == {
        **{"customer_key": "1", "name": "B", "_source": "a.csv", "_line": 2}
    }
    assert collected(cleaned.merges).sort(pl.all()).rows() == [
        ("a.csv", 1, "a.csv", 2, "external_id"),
        ("b.csv", 1, "a.csv", 2, "email"),
    ]
    [reject] = collected(cleaned.rejects).rows(named=True)
    assert (reject["id"], reject["_line"], reject["_codes"]) == ("2", 2, "name.missing")
    counts = cleaned.counts
    assert (counts.read, counts.skipped, counts.rejected, counts.merged, counts.customers) == (4, 0, 1, 2, 1)
    assert (counts.by_code, counts.by_rule) == ({"name.missing": 1}, {"external_id": 1, "email": 1})
    assert Path(cleaned.folder).parent == tmp_path


def test_without_a_place_the_order_of_the_rows_decides_nothing(spark: SparkSession, tmp_path: Path) -> None:
    results = []
    for rows in (ROWS, ROWS[::-1]):
        cleaned = clean(frame(spark, rows).drop(*PLACE).repartition(3), work=tmp_path)
        results.append([collected(df).sort(pl.all()).rows() for df in (cleaned.merges, cleaned.rejects)])
        results[-1].append(collected(cleaned.customers).select("customer_key", "name", "_source", "_line").rows())
    assert results[0] == results[1]
    assert re.fullmatch("[0-9a-f]{32}", results[0][2][0][2])


def test_columns_of_any_name_are_told_apart(spark: SparkSession, tmp_path: Path) -> None:
    df = frame(
        spark, [("1", "A", "x", "y", "z", "r")], "id string, name string, n string, m string, o string, p string"
    )
    odd = df.toDF("id", "name", "Note", "note", "a.b `c`", "_row")
    cleaned = clean(odd, work=tmp_path, extra="keep")
    [customer] = collected(cleaned.customers).to_dicts()
    assert customer["metadata"] == '{"Note":"x","note":"y","a.b `c`":"z","_row":"r"}'


def test_the_work_folder_is_what_the_engine_takes_it_for(spark: SparkSession, tmp_path: Path) -> None:
    cleaned = clean(frame(spark), work=tmp_path.as_uri(), place=PLACE)
    assert cleaned.counts.customers == 1
    assert cleaned.folder.startswith(f"file://{tmp_path}/tranship-")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match=r"^work: the engine cannot write there \(.+\)\. Name a folder that all"):
        clean(frame(spark), work=file, place=PLACE)
    for nothing in (None, "", " ", b"x"):
        with pytest.raises(ConfigError, match=r"^work: .+ is not accepted\. Give a folder"):
            clean(frame(spark), work=nothing, place=PLACE)


def test_a_frame_without_columns_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    for empty in (frame(spark).select(), frame(spark).select(*PLACE)):
        with pytest.raises(ConfigError, match="df: has no columns with data"):
            clean(empty, work=tmp_path, place=PLACE if empty.columns else None)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file", 'place: give the names of two columns: place=("file", "line").'),
        (("file", "row"), "place: 'row' is no column of the DataFrame. The columns are: file, line, id,"),
        (("file", "name"), "place: 'name' is of type string. The line of a record is a whole number."),
    ],
)
def test_a_place_is_two_columns(spark: SparkSession, tmp_path: Path, place: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        clean(frame(spark), work=tmp_path, place=place)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("a.csv", 2, "1", "a@x.co", "D", "2024-01-01"), "a.csv, line 2, is the place of more than one record"),
        ((None, 2, "1", "a@x.co", "D", None), "a record has no value in 'file' or 'line'"),
    ],
)
def test_each_record_has_a_place_of_its_own(
    spark: SparkSession, tmp_path: Path, more: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(Undecided, match=message):
        clean(frame(spark, [*ROWS, more]), work=tmp_path, place=PLACE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "latin-1"}, "encoding: is about files, destinations or runs, and a DataFrame has none of these."),
        ({"mode": "mirror"}, "mode: is about files, destinations or runs"),
        ({"source": "x.csv"}, "source: is about files"),
        ({"survivr": "first"}, "survivr: unknown setting. Did you mean survivor?"),
        ({"survivor": "oldest"}, "survivor='oldest': "),
        ({"fields": {"nam": "name"}}, "nam"),
        ({"where": "nmae is null"}, "--where: the DataFrame has no column 'nmae'. Did you mean 'name'?"),
    ],
)
def test_options_are_checked_before_anything_is_read(
    spark: SparkSession, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        clean(frame(spark), work=tmp_path, place=PLACE, **options)
    assert not [*tmp_path.iterdir()]


def test_only_a_dataframe_of_spark_is_cleaned(spark: SparkSession, tmp_path: Path) -> None:
    given: Any = pl.DataFrame({"id": ["1"]})
    with pytest.raises(ConfigError, match=r"df: DataFrame is not accepted\. Give a DataFrame of Spark\."):
        clean(given, work=tmp_path)


def test_strangers_of_one_id_stop_it(spark: SparkSession, tmp_path: Path) -> None:
    rows = [("a.csv", 1, "1", "a@x.co", "A", None), ("a.csv", 2, "1", "b@x.co", "B", None)]
    with pytest.raises(GateClosed, match=r"2 of 2 records share their external_id .*; the first: a\.csv, line 1\."):
        clean(frame(spark, rows), work=tmp_path, place=PLACE)
    assert clean(frame(spark, rows), work=tmp_path, place=PLACE, max_conflicts=2).counts.customers == 1


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            [("a.csv", 1, "1", "a@x.co", "A", "a@x.co"), ("b.csv", 7, "2", "b@x.co", "B", "c@x.co")],
            *("file string, line int, id string, Email string, name string, `E-Mail` string", "b.csv, line 7: "),
        ),
        (
            [("a.csv", 1, "1", "a@x.co", "A", "x"), ("b.csv", 7, None, "b@x.co", "B", "y")],
            *(
                "file string, line int, external_id string, email string, name string, id string",
                'b.csv: "external_id"',
            ),
        ),
    ],
)
def test_values_that_leave_open_which_column_is_meant_stop_it_with_their_place(
    spark: SparkSession, tmp_path: Path, rows: list[tuple[Any, ...]], columns: str, message: str
) -> None:
    with pytest.raises(TranshipError, match=re.escape(message)):
        clean(frame(spark, rows, columns), work=tmp_path, place=PLACE)


def test_a_word_that_no_record_has_is_noted(spark: SparkSession, tmp_path: Path) -> None:
    rows = [("a.csv", 1, "1", "a@x.co", "A", "on hold")]
    columns = "file string, line int, id string, email string, name string, status string"
    words = {"status": {"on hold": "suspended", "gone": "cancelled"}}
    cleaned = clean(frame(spark, rows, columns), work=tmp_path, place=PLACE, values=words)
    assert [note for note in cleaned.notes if "matched no value" in note] == [
        '--value status:"gone" matched no value. Check its spelling in the source.'
    ]
    assert collected(cleaned.customers)["status"].to_list() == ["suspended"]


def test_values_are_corrected_and_counted_as_on_one_machine(spark: SparkSession, tmp_path: Path) -> None:
    file = tmp_path / "corrections.toml"
    file.write_text(
        "[[correction]]\nfield = 'email'\nwhen = 'a@x.co'\nthen = 'a@y.co'\n"
        "[[correction]]\nfield = 'name'\nwhen = 'Z'\nthen = 'Y'\n"
    )
    cleaned = clean(frame(spark), work=tmp_path / "w", place=PLACE, corrections=file)
    assert next(note for note in cleaned.notes if "correct" in note) == "corrections, rule 1: email: 3 values"
    assert [note for note in cleaned.notes if "rule 2 (name): no value matched" in note]
    assert collected(cleaned.customers)["email"].to_list() == ["a@y.co"]


def test_a_cluster_with_another_version_is_told(tmp_path: Path) -> None:
    columns = ColumnMap({"external_id": "id", "name": "name"}, (), {})
    rules = Rules(columns, None, Spelling("UTC", (), frozenset()), InvalidValues())
    given = pl.DataFrame({"id": "1", "name": "A", "_row": 0, "_source": "a", "_line": 1}).to_arrow().to_batches()
    names = ("id", "name")
    [told] = StageTask(names, names, PLACE, rules, "0.0.1")(iter(given))
    [fact] = pl.DataFrame(told).select("code", "value").rows()
    assert fact[0] == "undecided"
    assert re.fullmatch(r"A machine .* has Tranship [\d.]+, and this one 0\.0\.1\. Install one version\.", fact[1])
    [staged] = StageTask(names, names, PLACE, rules, metadata.version("tranship"))(iter(given))
    assert pl.DataFrame(staged).filter(_kind="good")["external_id"].to_list() == ["1"]


DOCS = Path(__file__).resolve().parents[3] / "docs" / "beyond-one-machine.md"


def test_the_page_of_the_documentation_runs(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    using, starting = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    folder = tmp_path / "in" / "customers"
    folder.mkdir(parents=True)
    rows = [("a.csv", line, "7", f"Acme {line}", "2024-01-01") for line in (1, 2)]
    columns = {"file": pl.String, "line": pl.Int64, "id": pl.String, "Company": pl.String, "updated_at": pl.String}
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(folder / "part.parquet")
    exec(using.replace("s3://lake", str(tmp_path)), {"spark": spark})
    assert "read=2, skipped=0, rejected=0, merged=1, customers=1" in capsys.readouterr().out
    assert collected(spark.read.parquet(str(tmp_path / "customers")))["name"].to_list() == ["Acme 2"]
    if IS_SPARK:
        return
    session: dict[str, Any] = {}
    exec(starting, session)
    assert session["spark"].range(3).count() == 3
    session["spark"].stop()
    session["server"].stop()


def test_the_page_names_the_settings() -> None:
    text = DOCS.read_text(encoding="utf-8")
    [named] = re.findall(r"- \*\*Settings\*\* are (.*?)\. A setting", text, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", named)) == set(CleanOptions.__annotations__)

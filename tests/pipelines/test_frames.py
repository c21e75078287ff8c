"""Records that are given in Python are read like files of the same types, and reports distinguish them from files."""

from __future__ import annotations

import datetime
import decimal
import enum
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet
import pytest

import tranship
from tranship.connectors.errors import ConfigError, GateClosed
from tranship.pipelines.cli import main as cli

ROWS: list[dict[str, Any]] = [
    {"id": 7, "email": "ann@acme.com", "name": "Ann", "address": {"city": "Bonn", "zip": "01067"}},
    {"id": 8, "email": "bea@acme.com", "name": None, "address": None},
]
TABLE = pa.Table.from_pylist(ROWS)
READS = [("7", "ann@acme.com", "Ann", "Bonn", "01067")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Stream:
    """An object that only has the interface of Arrow."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return TABLE.__arrow_c_stream__(requested_schema)


def data_set() -> Any:
    pa.parquet.write_table(TABLE, "set.parquet")
    return pa.dataset.dataset("set.parquet")


def loaded(source: Any, **options: Any) -> list[tuple[Any, ...]]:
    tranship.run(source, "out.parquet", overwrite=True, max_rejects=1.0, **options)
    fields = ["external_id", "email", "name", "city", "zip_code"]
    return pl.read_parquet("out.parquet", columns=fields).rows()


KINDS: dict[str, Callable[[], Any]] = {
    "DataFrame": lambda: pl.DataFrame(ROWS),
    "LazyFrame": lambda: pl.LazyFrame(ROWS),
    "Table": lambda: TABLE,
    "RecordBatch": lambda: TABLE.to_batches()[0],
    "RecordBatchReader": TABLE.to_reader,
    "FileSystemDataset": data_set,
    "Stream": Stream,
    "DuckDBPyRelation": lambda: duckdb.connect().from_arrow(TABLE),
    "list": lambda: ROWS,
    "tuple": lambda: tuple(ROWS),
    "generator": lambda: (row for row in ROWS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_records_are_read_from_any_container(kind: str, folder: Path) -> None:
    report = tranship.run(KINDS[kind](), "out.parquet", max_rejects=1)

    assert (report.source, report.counts.read, report.counts.created) == (f"<{kind}>", 2, 1)
    assert report.examples["name.missing"] == f"<{kind}>, line 2"
    assert report.rejects().select("id", "_source", "_line").rows() == [("8", f"<{kind}>", 2)]
    assert pl.read_parquet("out.parquet", columns=["external_id", "city"]).rows() == [("7", "Bonn")]
    assert list((folder / ".tranship" / "frames").iterdir()) == []
    assert loaded(KINDS[kind]()) == READS


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_records_are_inspected_planned_and_verified(kind: str, folder: Path) -> None:
    found = tranship.inspect(KINDS[kind](), rows=1)
    assert (found.source, found.records, found.whole) == (f"<{kind}>", 1, False)
    tranship.plan(KINDS[kind](), "duckdb:///w.duckdb", out="plan", max_rejects=1)
    tranship.apply("plan")
    assert tranship.verify(KINDS[kind](), "duckdb:///w.duckdb").equal
    assert list((folder / ".tranship" / "frames").iterdir()) == []


def test_frames_of_all_types_are_read_as_the_same_parquet_file() -> None:
    frame = pl.DataFrame(
        {
            "id": pl.Series(["7.00", "8.10"]).cast(pl.Decimal(10, 2)),
            "name": pl.Series(["Ann", "Bea"], dtype=pl.Categorical),
            "email": [b"ann@acme.com", b"bea@acme.com"],
            "created_at": [datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.UTC), None],
            "net_terms": pl.Series([30, None], dtype=pl.UInt8),
            "paid": pl.Series([True, None]),
            "took": [datetime.timedelta(seconds=1.5), None],
            "at": [datetime.time(1, 2), None],
            "tags": [["a"], []],
            "nothing": [None, None],
            "metadata": [{"plan": "pro"}, None],
        }
    )
    frame.write_parquet("in.parquet")
    for source, out in (("in.parquet", "a.parquet"), (frame, "b.parquet"), (frame.lazy(), "c.parquet")):
        assert tranship.run(source, out).counts.created == 2
    assert pl.read_parquet("a.parquet").equals(pl.read_parquet("b.parquet"))
    assert pl.read_parquet("a.parquet").equals(pl.read_parquet("c.parquet"))


def test_what_parquet_does_not_have_is_text() -> None:
    big = pl.DataFrame({"id": pl.Series([2**100], dtype=pl.Int128), "name": ["Ann"]})
    assert loaded(big)[0][0] == str(2**100)
    columns = [pa.array([pa.MonthDayNano([1, 2, 3])]), pa.array(["Ann"]), pc.run_end_encode(pa.array(["1"]))]
    assert loaded(pa.table(columns, ["span", "name", "id"]))[0][0] == "1"


def test_frames_may_be_empty_and_have_columns_of_one_name() -> None:
    twice = pa.Table.from_arrays([pa.array(["1"]), pa.array(["x"]), pa.array(["Ann"])], ["id", "note", "note"])
    report = tranship.run(twice, "out.csv", fields={"name": "note_2"})
    assert report.counts.created == 1
    assert any("another column is named 'note'" in note for note in report.notes)
    empty = pl.DataFrame(schema={"id": pl.String, "name": pl.String})
    for source in (empty, empty.lazy(), TABLE.schema.empty_table()):
        assert tranship.run(source, "out.csv", allow_empty=True).counts.read == 0


# Dicts -----------------------------------------------------------------------------------------------------------


class Plan(enum.Enum):
    PRO = "pro"


def test_dicts_may_have_any_keys_and_values() -> None:
    key = uuid.UUID("1a901a90-1a90-1a90-1a90-1a901a900001")
    rows: list[dict[Any, Any]] = [
        {"id": 2**80, "name": "Ann", "first": float("nan")},
        {"id": key, "name": "B\ud800ea"},
        {
            "id": decimal.Decimal("7.00"),
            "name": "Cy",
            "created_at": datetime.date(2024, 1, 2),
            "later": {"a": [Plan.PRO, b"x", {1}], 5: float("inf")},
        },
        {"id": b"x1", "name": "Di", "metadata": {"took": datetime.timedelta(seconds=1.5), (1, 2): None}},
    ]
    report = tranship.run(rows, "out.jsonl", max_rejects=1)
    ids = [row["external_id"] for row in pl.read_ndjson("out.jsonl").to_dicts()]
    assert ids == [str(2**80), "7", "x1"]
    assert report.columns == {"id": "external_id", "name": "name", "created_at": "created_at", "metadata": "metadata"}
    assert set(report.kept) == {"first", "later.a", "later.5"}
    assert report.counts.rejected == 1  # half a character is not text
    third = pl.read_ndjson("out.jsonl")["metadata"].to_list()[1]
    assert third["later.a"] == '["pro", "x", [1]]'


def test_a_generator_is_read_once_and_not_kept_in_memory() -> None:
    alive = most = 0

    class Row(dict[str, str]):
        def __init__(self, *given: Any) -> None:
            nonlocal alive, most
            super().__init__(*given)
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def rows() -> Iterator[Row]:
        for n in range(5_000):
            yield Row({"id": f"c{n}", "name": "A"} | ({"city": "Bonn"} if n == 4_999 else {}))

    assert tranship.run(rows(), "out.parquet").counts.created == 5_000
    assert most < 2_000
    assert pl.read_parquet("out.parquet")["city"].drop_nulls().to_list() == ["Bonn"]


@pytest.mark.parametrize("kind", [LookupError, ConnectionError, TypeError])
def test_errors_of_a_generator_are_passed_on(kind: type[Exception], folder: Path) -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"id": "1", "name": "Ann"}
        raise kind("gone")

    with pytest.raises(kind, match="gone"):
        tranship.run(rows(), "out.csv")
    assert list((folder / ".tranship" / "frames").iterdir()) == []


def test_several_sources_may_be_records_and_files(folder: Path) -> None:
    (folder / "a.csv").write_text("id,name\n3,Cy\n")
    one, two = (pl.DataFrame({"id": [n], "name": ["X"]}) for n in ("1", "2"))
    report = tranship.run([one, "a.csv", two], "out.csv")
    assert report.source == "<DataFrame>, a.csv, <DataFrame 2>"
    assert report.counts.created == 3


# What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"id": [1]}, "source: dict is not a source. Give a path, a URL or a list of them, or in Python a"),
        (3, "source: int is not a source."),
        (b"x.csv", "source: bytes is not a source."),
        ([{"id": 1}, 5], "<list>: record 2 is not a dict (int). Give an iterable of dicts."),
        ((n for n in "ab"), "<generator>: record 1 is not a dict (str)."),
        ([{"id": object()}], "<list>: record 1 cannot be read: a value is of the type object, which has no text."),
        ([{"id": "1", 2: 3, "2": float("nan")}], "<list>: record 1 cannot be read: two of its keys are the same text."),
        (pl.Series([1]), "<Series>: cannot be read as a table"),
        (pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}), "column 'o' contains Python objects."),
        (pl.DataFrame({"a": ["x"]}), "<DataFrame>: no known column name ('a')."),
    ],
)
def test_an_invalid_source_is_refused_in_one_sentence(source: Any, said: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as error:
        tranship.run(source, "out.csv")
    assert said in str(error.value)
    assert not list(folder.rglob("frames/*"))


def test_a_wrong_option_is_found_before_a_generator_is_read() -> None:
    rows = iter([{"id": "1", "name": "Ann"}])
    wrong: Any = {"max_reject": 3}
    with pytest.raises(ConfigError, match="Did you mean max_rejects"):
        tranship.run(rows, "out.csv", **wrong)
    assert tranship.run(rows, "out.csv").counts.created == 1


# Continued -------------------------------------------------------------------------------------------------------


def test_a_run_that_died_while_it_read_is_resumed_by_another_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tranship.connectors.files.whole_file import WholeFile
    from tranship.pipelines import reading

    def die(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_batches", die)
        with pytest.raises(tranship.Interrupted, match="tranship resume"):
            tranship.run((row for row in ROWS), "out.csv")
    [kept] = (folder / ".tranship" / "frames").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert cli.main(["resume", "last"]) == 4
    assert "<generator> → out.csv" in capsys.readouterr().err
    assert not kept.exists()
    with monkeypatch.context() as patch:
        patch.setattr(WholeFile, "apply", die)
        with pytest.raises(tranship.Interrupted):
            tranship.run(TABLE, "other.csv")
    assert list((folder / ".tranship" / "frames").iterdir()) == []
    assert cli.main(["resume", "last"]) == 4


def test_records_that_are_no_longer_kept_are_requested_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tranship.pipelines import reading

    def die(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_batches", die)
        with pytest.raises(tranship.Interrupted):
            tranship.run(TABLE, "out.csv")
    [kept] = (folder / ".tranship" / "frames").iterdir()
    kept.unlink()
    with pytest.raises(ConfigError, match=r"<Table>: the records are no longer kept .* Give them again"):
        tranship.resume("last")


@pytest.mark.slow
def test_runs_and_reports_give_no_command_that_does_not_work(capsys: pytest.CaptureFixture[str]) -> None:
    tranship.run(TABLE, "out.csv", dry_run=True)
    assert cli.main(["report", "last"]) == 0
    assert "to apply this, make the same call in Python without dry_run" in capsys.readouterr().out
    tranship.run(TABLE, "out.csv")
    cli.main(["report", "last"])
    assert "then make the same call in Python again" in capsys.readouterr().out
    tranship.run(TABLE, "duckdb:///w.duckdb?table=t")
    cli.main(["report", "last"])
    assert "run: tranship fix" in capsys.readouterr().out
    assert {run.source for run in tranship.runs()} == {"<Table>"}
    with pytest.raises(GateClosed):
        tranship.run(TABLE, "out.csv", max_rejects=0)


# pandas ----------------------------------------------------------------------------------------------------------


def test_pandas_need_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert loaded(TABLE) == loaded(ROWS) == loaded(pl.DataFrame(ROWS)) == READS


def test_frames_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "id": pandas.array([7, None, 9], dtype="Int64"),
            "name": ["Ann", float("nan"), "Cy"],
            "mixed": [1, "a", None],
            "created_at": pandas.to_datetime(["2024-01-02", None, "2024-01-03"], utc=True),
            "seats": [1.0, float("nan"), 3.0],
            "month": pandas.period_range("2024-01", periods=3, freq="M"),
            "big": pandas.Series([2**80, "x", pandas.NA], dtype=object),
            "plan": pandas.Categorical(["pro", None, "pro"]),
            3: [b"x", None, b"y"],
            ("a", "b"): [True, None, False],
        }
    ).set_index(pandas.Index(["a@x.co", "b@x.co", "c@x.co"], name="email"))
    report = tranship.run(frame, "out.parquet", max_rejects=1)
    assert (report.source, report.counts.created, report.counts.rejected) == ("<DataFrame>", 2, 1)
    assert "<DataFrame>: the index is read as a column: email" in report.notes
    found = pl.read_parquet("out.parquet", columns=["external_id", "email", "name", "created_at"]).rows()
    assert [row[:3] for row in found] == [("7", "a@x.co", "Ann"), ("9", "c@x.co", "Cy")]
    assert found[0][3] == datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)
    metadata = pl.read_parquet("out.parquet")["metadata"].to_list()
    assert metadata[0] == (
        f'{{"mixed":"1","seats":1.0,"month":"2024-01","big":"{2**80}","plan":"pro","3":"x","a.b":true}}'
    )
    rejects = report.rejects()
    assert rejects.select("email", "name", "_line").rows() == [("b@x.co", None, 2)]


def test_frames_of_pandas_with_odd_columns() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["1", "Ann", "x", "y"]], columns=["id", "name", "note", "note"], index=["lost"])
    report = tranship.run(frame, "out.csv")
    assert any("the index has no name and is not read" in note for note in report.notes)
    assert any("another column is named 'note'" in note for note in report.notes)
    with pytest.raises(ConfigError, match="has no text"):
        tranship.run(pandas.DataFrame({"id": ["1"], "name": [object()]}), "out.csv")
    assert tranship.run(pandas.DataFrame({"id": [], "name": []}), "out.csv", allow_empty=True).counts.read == 0


@pytest.mark.parametrize("nothing", [[], (), iter([])], ids=["list", "tuple", "iterator"])
def test_no_records_are_an_empty_source(nothing: Any) -> None:
    with pytest.raises(tranship.GateClosed, match=r"contains no record\. .*--allow-empty"):
        tranship.run(nothing, "duckdb:///to.duckdb?table=t")
    assert tranship.run([], "duckdb:///to.duckdb?table=t", allow_empty=True).counts.read == 0

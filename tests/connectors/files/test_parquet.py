"""Parquet files of others: nested columns unfold, and every type that Arrow has is read."""

from __future__ import annotations

import decimal
import inspect
import io
import json
import os
import random
import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.fuzzing import seeds
from support.warehouse import Warehouse
from tranship.connectors import opening
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import arrow_columns
from tranship.pipelines.normalise.raw_text import as_text


def read(path: Path) -> pl.DataFrame:
    source = opening.open_source(str(path))
    try:
        [layout] = source.layouts()
        found = pl.concat([part.read().records for part in source.parts(path.parent)])
    finally:
        source.close()
    assert tuple(found.columns) == layout.columns
    return found


def written(folder: Path, **columns: pa.Array) -> Path:
    path = folder / "in.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_structs_unfold_at_any_depth(tmp_path: Path) -> None:
    address = pa.array([{"city": "Bonn", "geo": {"lat": 1.5}}, None, {"city": None, "geo": None}])
    found = read(written(tmp_path, id=pa.array(["1", "2", "3"]), address=address))
    assert found.columns == ["id", "address.city", "address.geo.lat"]
    assert found["address.city"].to_list() == ["Bonn", None, None]
    assert found["address.geo.lat"].to_list() == [1.5, None, None]


def test_a_struct_of_metadata_stays_one_column(tmp_path: Path) -> None:
    path = written(tmp_path, id=pa.array(["1"]), metadata=pa.array([{"a": 1, "b": {"c": "x"}}]))
    assert read(path).columns == ["id", "metadata"]


def test_names_that_meet_are_distinguished(tmp_path: Path) -> None:
    path = written(tmp_path, **{"a.b": pa.array([1]), "a": pa.array([{"b": 2}])})
    assert read(path).to_dicts() == [{"a.b": 1, "a.b_2": 2}]


KEY = uuid.UUID("1a901a90-1a90-1a90-1a90-1a901a900001")


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([decimal.Decimal("7.00"), decimal.Decimal("7.10"), None], pa.decimal128(5, 2)), ["7", "7.10", None]),
        (pa.array([decimal.Decimal("0.0000001")], pa.decimal128(20, 7)), ["0.0000001"]),
        (pa.array([decimal.Decimal("9" * 50 + ".00")], pa.decimal256(60, 2)), ["9" * 50]),
        (pa.array([KEY.bytes], pa.binary(16)).cast(pa.uuid()), [str(KEY)]),
        (pa.array([b"abc", b"\xff"]), ["abc", "ff"]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pa.nulls(2), [None, None]),
        (pa.array([1500], pa.duration("ms")), ["PT1.5S"]),
        (pa.array([True, None]).cast(pa.bool8()), ["true", None]),
        (pa.array([["a"], None], pa.list_view(pa.string())), ['["a"]', None]),
        (pa.array([["a", "b"]], pa.list_(pa.string(), 2)), ['["a","b"]']),
        (pa.array([[decimal.Decimal("7.00")]], pa.list_(pa.decimal128(5, 2))), ['["7"]']),
        (pa.array([datetime(2024, 1, 2, tzinfo=UTC)], pa.timestamp("us", "+02:00")), ["2024-01-02T00:00:00Z"]),
        (pa.array([1.5], pa.float16()), ["1.5"]),
    ],
)
def test_a_value_is_read_as_people_write_it(tmp_path: Path, values: pa.Array, texts: list[str | None]) -> None:
    assert as_text(read(written(tmp_path, x=values))["x"]).to_list() == texts


UNITS = ("s", "ms", "us", "ns")
TYPES: list[pa.DataType] = [
    *(pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32()),
    *(pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.decimal32(5, 2), pa.decimal64(12, 2)),
    *(pa.decimal128(38, 2), pa.decimal256(60, 2), pa.decimal128(5, -2), pa.string(), pa.large_string()),
    *(pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(4), pa.date32(), pa.date64()),
    *(pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"), *map(pa.timestamp, UNITS)),
    *(pa.timestamp(unit, zone) for unit in UNITS for zone in ("UTC", "Europe/Berlin", "-03:30", "No/Where")),
    *map(pa.duration, UNITS),
    *(pa.month_day_nano_interval(), pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.int64())),
    *(pa.list_(pa.string()), pa.large_list(pa.int64()), pa.list_(pa.string(), 2), pa.list_view(pa.string())),
    *(pa.large_list_view(pa.binary()), pa.struct([("a", pa.int64())]), pa.struct([]), pa.map_(pa.string(), pa.int64())),
    *(pa.dense_union([pa.field("a", pa.int64())]), pa.sparse_union([pa.field("a", pa.string())])),
    *(pa.run_end_encoded(pa.int32(), pa.string()), pa.uuid(), pa.json_(), pa.bool8()),
    *(pa.opaque(pa.binary(), "x", "y"), pa.fixed_shape_tensor(pa.int32(), [2])),
    pa.variable_shape_tensor(pa.int32(), 1) if hasattr(pa, "variable_shape_tensor") else pa.null(),
]
# Arrow itself cannot make these within others (it ends the process, for a union in a struct), and Parquet has neither.
INNER = [each for each in TYPES if not (pa.types.is_union(each) or pa.types.is_run_end_encoded(each))]
NESTED = [
    *(pa.list_(each) for each in INNER),
    *(pa.map_(pa.string(), each) for each in INNER),
    *(pa.struct([("x", each)]) for each in INNER),
    *(pa.list_(pa.struct([("x", each)])) for each in INNER),
]


def test_all_types_of_arrow_are_tried() -> None:
    there = {each for _, each in inspect.getmembers(pa.lib, inspect.isclass) if issubclass(each, pa.DataType)}
    abstract = {"DataType", "BaseExtensionType", "ExtensionType", "UnknownExtensionType", "UnionType"}
    assert {each.__name__ for each in there} - abstract <= {type(each).__name__ for each in TYPES}
    ids = {getattr(pa.lib, name) for name in dir(pa.lib) if name.startswith("Type_")}
    # Intervals of months or days alone cannot be made from Python, and an extension has the number of its storage.
    assert ids <= {each.id for each in TYPES} | {pa.lib.Type_INTERVAL_MONTHS, pa.lib.Type_INTERVAL_DAY_TIME}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [*TYPES, *NESTED], ids=str)
def test_no_type_of_arrow_is_too_much(tmp_path: Path, dtype: pa.DataType) -> None:
    values: Any = pa.nulls(2, dtype)
    table = pa.table({"id": pa.array(["1", "2"]), "x": values})
    arrays = arrow_columns.unfolded(table.schema, [column.combine_chunks() for column in table.columns])
    for array in arrays:
        assert as_text(pl.Series(array)).dtype == pl.String
    path = tmp_path / "in.parquet"
    try:
        pq.write_table(table, path)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, OSError):
        return  # Parquet has no such type
    assert read(path).height == 2


def test_nested_customers_are_loaded(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        id=pa.array([decimal.Decimal("7.00")], pa.decimal128(9, 2)),
        name=pa.array(["Ann"]),
        metadata=pa.array([[("plan", "pro")]], pa.map_(pa.string(), pa.string())),
        parcel=pa.StructArray.from_arrays(
            [pa.array(["Bonn"]), pa.array([KEY.bytes], pa.binary(16)).cast(pa.uuid())], ["city", "uuid"]
        ),
    )
    warehouse = Warehouse(tmp_path)
    warehouse.load(path, table="people")
    [row] = warehouse.rows("SELECT external_id, metadata FROM people")
    assert row["external_id"] == "7"
    assert json.loads(row["metadata"]) == {"plan": "pro", "parcel.city": "Bonn", "parcel.uuid": str(KEY)}


# Damaged at random -----------------------------------------------------------------------------------------------

EXAMPLES = int(os.environ.get("TRANSHIP_EXAMPLES", "100"))


def made(chance: random.Random) -> bytes:
    columns = {
        "id": [f"tok{number}" for number in range(30)],
        "n": list(range(30)),
        "s": [{"a": "x", "b": number} for number in range(30)],
        "l": [[1, 2]] * 30,
        "kind": pa.array(["a", "b", "c"] * 10).dictionary_encode(),
    }
    out = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        out,
        compression=chance.choice(["snappy", "zstd", "none", "gzip"]),
        row_group_size=chance.choice([7, 100]),
        use_dictionary=chance.random() < 0.5,
        data_page_version=chance.choice(["1.0", "2.0"]),
    )
    return out.getvalue()


def damaged(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.choice((chance.randrange(len(changed)), len(changed) - chance.randrange(1, 600)))
        kind = chance.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at : at + 1] = chance.randbytes(1)
        elif kind == 2:
            del changed[at : at + chance.choice((1, 2, 10, 100))]
        else:
            changed[at:at] = chance.randbytes(chance.choice((1, 4, 50)))
    return bytes(changed)


@pytest.mark.fuzz("Parquet")
def test_a_damaged_file_is_read_whole_or_refused(tmp_path: Path, tried: Counter[str]) -> None:
    """`TRANSHIP_EXAMPLES` is the number of files."""
    path = tmp_path / "in.parquet"
    for number in seeds(EXAMPLES):
        chance = random.Random(number)
        path.write_bytes(damaged(made(chance), chance))
        try:
            found = read(path)
        except ConfigError as error:
            assert str(error).startswith(f"{path}: "), number  # noqa: PT017  (either it is read, or it says why not)
            tried["refused"] += 1
            continue
        tried["read"] += 1
        assert found.height == 30, number
        assert found.rows()
    assert 0 < tried["refused"] < EXAMPLES


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    text = pa.table({"id": pa.array(["1"]), "name": pa.array([b"M\xfcller"]).view(pa.string())})
    path = tmp_path / "in.parquet"
    pq.write_table(text, path)
    with pytest.raises(ConfigError, match="damaged Parquet near row 1"):
        read(path)


def test_a_file_that_has_fewer_rows_than_it_says_is_refused(tmp_path: Path) -> None:
    """Damage of the two seeds that was found with 10,000 files: a row group is missing or shorter."""
    path = tmp_path / "in.parquet"
    for number in (6392, 7147):
        chance = random.Random(number)
        path.write_bytes(damaged(made(chance), chance))
        with pytest.raises(ConfigError, match="damaged Parquet: it should have 30 rows, and has"):
            read(path)

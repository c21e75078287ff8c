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
from tranship.connectors.contract import ArrowPart
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


ROWS = 30


def any_value(chance: random.Random, dtype: pa.DataType) -> object:
    """A value of one of the types of `COLUMN_TYPES`, often at an end of its range."""
    if chance.random() < 0.2:
        return None
    if pa.types.is_decimal(dtype):
        return decimal.Decimal(chance.choice(("0", "7.00", "-0.01", "999.99", "-999.99")))
    if pa.types.is_boolean(dtype):
        return chance.random() < 0.5
    if pa.types.is_floating(dtype):
        return chance.choice((0.0, -0.0, 1.5, 1e300, -1e-300, float("nan"), float("inf"), 12345678901234567.0))
    if pa.types.is_integer(dtype):
        return chance.choice((0, 1, -(2**63), 2**63 - 1, chance.randrange(10**6)))
    if pa.types.is_timestamp(dtype) or pa.types.is_date(dtype):
        return pa.scalar(chance.choice((0, -1, 19_000, -800_000, 2_900_000)), pa.int32()).cast(pa.int64()).as_py()
    if pa.types.is_binary(dtype):
        return chance.choice((b"", b"abc", b"\xff\xfe", bytes(16), chance.randbytes(16)))
    if pa.types.is_list(dtype):
        return [any_value(chance, dtype.value_type) for _ in range(chance.randrange(3))]
    if pa.types.is_struct(dtype):
        return {field.name: any_value(chance, field.type) for field in dtype}
    return chance.choice(("", " ", "x", "M\u00fcller", "\0", "\u202e", "0017", "1e22", '"', "a" * 5000, "\U0001f600"))


COLUMN_TYPES = (
    *(pa.string(), pa.string(), pa.large_string(), pa.int64(), pa.float64(), pa.bool_(), pa.decimal128(5, 2)),
    *(pa.binary(), pa.timestamp("us", "UTC"), pa.timestamp("ns"), pa.date32(), pa.list_(pa.string()), pa.null()),
    *(pa.struct([("a", pa.string()), ("b", pa.int64())]), pa.list_(pa.struct([("c", pa.string())]))),
)
NAMES = ("name", "n", "s", "l", "a.b", "", " ", "Name", "name ", "\0", "M\u00fcller", "x" * 500, "metadata", "s.a")


def any_column(chance: random.Random) -> pa.Array:
    dtype = chance.choice(COLUMN_TYPES)
    if pa.types.is_null(dtype):
        return pa.nulls(ROWS)
    plain = pa.int64() if pa.types.is_timestamp(dtype) else pa.int32() if pa.types.is_date(dtype) else dtype
    values = pa.array([any_value(chance, dtype) for _ in range(ROWS)], plain).cast(dtype)
    return values.dictionary_encode() if pa.types.is_string(dtype) and chance.random() < 0.3 else values


def made(chance: random.Random) -> bytes:
    """A file with a token in each record, and columns of any name, type and value."""
    columns = [pa.array([f"tok{number}" for number in range(ROWS)]), *(any_column(chance) for _ in range(4))]
    names = ["id", *(chance.choice(NAMES) for _ in columns[1:])]
    fields = [
        pa.field(
            name, column.type, metadata={"PARQUET:field_id": f"{chance.randrange(9)}"} if chance.random() < 0.2 else {}
        )
        for name, column in zip(names, columns, strict=True)
    ]
    # What other programs keep beside the table, or what is left of it.
    metadata = chance.choice((None, {"pandas": "{}"}, {"\0": "x" * 1000}))
    out = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata)),
        out,
        compression=chance.choice(["snappy", "zstd", "none", "gzip", "brotli", "lz4"]),
        row_group_size=chance.choice([1, 7, 100]),
        use_dictionary=chance.random() < 0.5,
        data_page_version=chance.choice(["1.0", "2.0"]),
        write_statistics=chance.random() < 0.7,
        write_page_index=chance.random() < 0.3,
        write_page_checksum=chance.random() < 0.3,
        store_schema=chance.random() < 0.5,
        data_page_size=chance.choice([10, None]),
    )
    return out.getvalue()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The file with bytes changed, put in or removed: of values, or of the metadata at its end. A third is whole."""
    changed = bytearray(data)
    size = int.from_bytes(data[-8:-4], "little")
    kind = chance.randrange(6)
    if kind < 2:
        return data
    if kind < 4:  # one bit of the values or of the metadata, which keep their places
        first, last = ((4, len(data) - 8 - size), (len(data) - 8 - size, len(data) - 8))[kind == 3]
        changed[chance.randrange(first, last)] ^= 1 << chance.randrange(8)
        return bytes(changed)
    for _ in range(chance.choice((1, 2, 5))):
        at = chance.choice((chance.randrange(len(changed)), len(changed) - chance.randrange(1, min(600, len(changed)))))
        if kind == 4:
            changed[at] = chance.randrange(256)
        elif chance.random() < 0.5:
            del changed[at : at + chance.choice((1, 2, 10, 100))]
        else:
            changed[at:at] = chance.randbytes(chance.choice((1, 4, 50)))
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.fuzz("Parquet")
def test_any_file_is_read_whole_or_refused(tmp_path: Path, tried: Counter[str]) -> None:
    """`TRANSHIP_EXAMPLES` is the number of files."""
    path = tmp_path / "in.parquet"
    for number in seeds(EXAMPLES):
        chance = random.Random(number)
        whole = made(chance)
        given = damaged(whole, chance)
        path.write_bytes(given)
        try:
            found = read(path)
        except ConfigError as error:
            said = str(error)
            assert said.startswith(f"{path}: "), number
            assert given != whole, (number, said)
            tried["refused"] += 1
            continue
        tried["read whole" if given == whole else "read"] += 1
        assert found.height == ROWS, number
        assert all(as_text(column).dtype == pl.String for column in found.iter_columns()), number
        if given == whole:
            assert found["id"].to_list() == [f"tok{row}" for row in range(ROWS)], number
    assert 0 < tried["refused"] < EXAMPLES


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    text = pa.table({"id": pa.array(["1"]), "name": pa.array([b"M\xfcller"]).view(pa.string())})
    path = tmp_path / "in.parquet"
    pq.write_table(text, path)
    with pytest.raises(ConfigError, match="damaged Parquet near row 1"):
        read(path)


def test_a_file_that_has_fewer_rows_than_it_says_is_refused(tmp_path: Path) -> None:
    """Damage of three seeds that was found with 10,000 files: a row group is missing or shorter."""
    path = tmp_path / "in.parquet"
    for number in (51280, 52987, 56782):
        chance = random.Random(number)
        path.write_bytes(damaged(made(chance), chance))
        with pytest.raises(ConfigError, match="damaged Parquet: it should have 30 rows, and has"):
            read(path)


@pytest.mark.parametrize("others", [{}, {"a": pa.array(["y"])}], ids=["alone", "beside"])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_name_with_a_zero_byte_is_kept(tmp_path: Path, others: dict[str, pa.Array], suffix: str) -> None:
    """Arrow hands names over as C strings, which end there: two columns were `a`, or the values were lost."""
    columns = {"id": pa.array(["1"]), "name": pa.array(["Ann"]), "a\0b": pa.array(["x"]), **others}
    path = written(tmp_path, **columns)
    if suffix == ".csv":
        path = tmp_path / "in.csv"
        path.write_text(f"{','.join(columns)}\n{','.join(column[0].as_py() for column in columns.values())}\n")
    assert read(path).columns == [*columns]
    Warehouse(tmp_path).load(path)
    [row] = Warehouse(tmp_path).rows("SELECT metadata FROM customers")
    assert json.loads(row["metadata"])["a\0b"] == "x"


def test_dates_that_polars_cannot_hold_are_out_of_range(tmp_path: Path) -> None:
    """DuckDB writes `infinity` as the largest number of days or microseconds: polars ended with a panic."""
    most = {"created_at": pa.array([2**31 - 1], pa.int32()).view(pa.date32())}
    most |= {f"at_{unit}": pa.array([2**63 - 1]).view(pa.timestamp(unit)) for unit in ("ms", "us")}
    most["paid"] = pa.array([-(2**63)]).view(pa.timestamp("us", "Europe/Berlin"))
    instants = pa.array([-(2**63), None, 0]).view(pa.timestamp("us"))
    nested = {
        "list": pa.ListArray.from_arrays([0, 3], instants),
        "view": pa.ListViewArray.from_arrays([0], [3], instants),
        "fixed": pa.FixedSizeListArray.from_arrays(instants, 3),
        "lists": pa.ListArray.from_arrays([0, 1], pa.ListArray.from_arrays([0, 3], instants)),
        "struct": pa.ListArray.from_arrays([0, 3], pa.StructArray.from_arrays([instants], ["at"])),
        "map": pa.MapArray.from_arrays([0, 3], ["a", "b", "c"], instants),
    }
    most["gone"] = pa.array([None], pa.date32())
    path = written(tmp_path, id=pa.array(["1"]), name=pa.array(["Ann"]), **most, **nested)
    report = Warehouse(tmp_path).load(path)
    assert report.counts.warnings == 1
    [row] = Warehouse(tmp_path).rows("SELECT created_at, metadata FROM customers")
    assert row["created_at"] is None
    kept = json.loads(row["metadata"])
    assert kept.keys() == {*most, *nested} - {"gone"}
    assert all(kept[name].startswith(("+26214", "-26214")) for name in {*most} - {"gone"})
    assert all("-26214" in str(kept[name]) and "1970" in str(kept[name]) for name in nested)


def test_the_digest_of_a_part_is_that_of_its_rows() -> None:
    first = {"id": pa.array(["1", None, "3"]), "day": pa.array([1, 2, None], pa.int32())}
    others = [
        {**first, "id": pa.array(["1", None, "4"])},
        {**first, "id": pa.array(["1", "", "3"])},
        {**first, "id": pa.array(["1", "3", None])},
        {**first, "day": pa.array([1, 2, None], pa.int64())},
        {**first, "day": pa.array([1, 2, 0], pa.int32())},
        {"key": first["id"], "day": first["day"]},
        {"id": pa.array(["1", None]), "day": pa.array([1, 2], pa.int32())},
    ]

    def digest(columns: dict[str, pa.Array], *, source: str = "a.parquet", row: int = 1) -> str:
        table = pa.RecordBatch.from_arrays([*columns.values()], [*columns])
        return ArrowPart(source, table, row, row + table.num_rows).digest()

    assert digest(first) == digest({name: pa.array(values.to_pylist(), values.type) for name, values in first.items()})
    several = [digest(first), digest(first, row=2), digest(first, source="b.parquet"), *map(digest, others)]
    assert len({*several}) == len(several)

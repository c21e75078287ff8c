"""The rows that the tasks of a stage give back: records, rejects, warnings and facts, in one table.

A task has one result, so a row says by its `_kind` what it is; columns that it does not need are null, which costs next
to nothing in Parquet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pyarrow as pa

from tranship.pipelines import identify
from tranship.schemas.constant import constant
from tranship.schemas.customer import COLUMNS, INSTANT

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

GOOD: Final = "good"
REJECT: Final = "reject"
WARNING: Final = "warning"
FACT: Final = "fact"
PRESENT: Final = "present"
"""The keys of a record that is not staged (`pipelines.present.PRESENT`)."""

READ: Final = "read"
SKIPPED: Final = "skipped"
FILLED: Final = "filled"
MATCHED: Final = "matched"
CORRECTED: Final = "corrected"
UNDECIDED: Final = "undecided"
PART: Final = "part"
FILE: Final = "file"
FAILED: Final = "failed"
FACTS: Final = (READ, SKIPPED, FILLED, MATCHED, CORRECTED, UNDECIDED, PART, FILE, FAILED)
"""Codes of facts: counts of records (`count`); a column that has a value in a file (`rivals.filled`); a word of
`--value` that occurred; a rule of corrections, with the number of values that it has corrected; a message for the user.
Of files, as JSON: the counts of a part (`parts.BatchCounts`), what was found in a whole file, and the name and message
of an error."""

PLACES: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    **{"_row": pl.Int64, "_source": pl.String, "_line": pl.Int64},
}
RECORD: Final[dict[str, pl.DataType | type[pl.DataType]]] = {**PLACES, "_email_blocked": pl.Boolean, **COLUMNS}
"""A staged record."""
REASONS: Final[dict[str, pl.DataType | type[pl.DataType]]] = dict.fromkeys(("_codes", "_reasons", "_text"), pl.String)
"""What a reject has beside its place and its columns."""
FINDING: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    **{"row": pl.Int64, "source": pl.String, "line": pl.Int64, "code": pl.String, "value": pl.String},
}
"""A warning, with the integers that Spark has."""
LOOK: Final = "_look"
"""How an id looks (`identify.look`), where that differs from the id."""


def raw_names(count: int) -> list[str]:
    """Return the names under which the columns of the source are staged: no engine refuses these."""
    return [f"raw_{number}" for number in range(count)]


def columns(raw: int) -> dict[str, pl.DataType | type[pl.DataType]]:
    """Return the columns of the stage of a source with this number of columns."""
    return {
        **{"_kind": pl.String, **RECORD, LOOK: pl.String, **REASONS},
        **{"code": pl.String, "value": pl.String, "count": pl.Int64},
        **{"id_unusable": pl.Boolean, "email_unusable": pl.Boolean},
        **dict.fromkeys(raw_names(raw), pl.String),
    }


def arrow_schema(columns: Mapping[str, Any]) -> pa.Schema:
    """Return columns of polars as Arrow types, those that Spark expects for them."""
    return pa.schema([(name, _ARROW[_kind(dtype)]) for name, dtype in columns.items()])


def spark_schema(columns: Mapping[str, Any]) -> StructType:
    """Return columns of polars as types of Spark."""
    from pyspark.sql import types

    of_kind = {
        **{"text": types.StringType(), "flag": types.BooleanType(), "int": types.IntegerType()},
        **{"long": types.LongType(), "instant": types.TimestampType(), "texts": types.ArrayType(types.StringType())},
    }
    return types.StructType([types.StructField(name, of_kind[_kind(dtype)]) for name, dtype in columns.items()])


_KINDS: Final = {
    **{pl.String(): "text", pl.Boolean(): "flag", pl.Int32(): "int", pl.Int64(): "long"},
    **{INSTANT: "instant", pl.List(pl.String): "texts"},
}
_ARROW: Final = {
    **{"text": pa.string(), "flag": pa.bool_(), "int": pa.int32(), "long": pa.int64()},
    **{"instant": pa.timestamp("us", "UTC"), "texts": pa.list_(pa.string())},
}


def _kind(dtype: pl.DataType | type[pl.DataType]) -> str:
    return _KINDS[dtype() if isinstance(dtype, type) else dtype]


def to_arrow(frame: pl.DataFrame, columns: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
    """Yield a frame with these columns, as the tasks of an engine must return it. Columns that it lacks are null."""
    absent = [pl.lit(None).alias(name) for name in columns if name not in frame.columns]
    frame = frame.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in columns.items())
    yield from frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).cast(arrow_schema(columns)).to_batches()


def to_frame(batch: pa.RecordBatch) -> pl.DataFrame:
    """Return rows that an engine gives to a task. Instants are in UTC, whatever the time zone of the session is."""
    zoned = [pa.types.is_timestamp(field.type) and field.type.tz is not None for field in batch.schema]
    arrays = [
        array.cast(pa.timestamp("us", "UTC")) if is_zoned else array
        for array, is_zoned in zip(batch.columns, zoned, strict=True)
    ]
    return pl.DataFrame(pa.RecordBatch.from_arrays(arrays, batch.schema.names))


def looks(ids: pl.Series) -> pl.Series:
    """Return how ids look, null where that is the id itself."""
    found = identify.look(ids)
    return found.set((found == ids).fill_null(value=True), None).alias(LOOK)


def of_kind(frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Return rows of this kind."""
    return frame.with_columns(constant(kind, frame.height, pl.String).alias("_kind"))


def facts(
    code: str, values: list[Any], *, count: int | None = None, source: str | None = None, row: int | None = None
) -> pl.DataFrame:
    """Return facts, one for each value."""
    return pl.DataFrame({"value": values}, schema={"value": pl.String}).select(
        "value",
        _kind=pl.lit(FACT),
        code=pl.lit(code),
        count=pl.lit(count, pl.Int64),
        _source=pl.lit(source, pl.String),
        _row=pl.lit(row, pl.Int64),
    )

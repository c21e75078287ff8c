"""A DataFrame of Spark as a source: its columns, the places of its rows, and its stage."""

from __future__ import annotations

from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Final

import polars as pl
import pyarrow as pa
from pyspark.sql import functions as fn

from tranship.connectors import suggestions
from tranship.connectors.contract import Layout, notes_on, repeated, unique_names
from tranship.connectors.errors import ConfigError, Undecided
from tranship.connectors.files.arrow_columns import unfolded, unfolded_names
from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.distributed.stage_task import NAME, StageTask
from tranship.pipelines.judging import Rules

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_WHOLE_NUMBERS: Final = ("byte", "short", "integer", "long")


class FrameSource:
    """The records of a DataFrame, without the two columns that say where each came from: `place`."""

    def __init__(self, df: DataFrame, place: tuple[str, str] | None, name: str = NAME, line: int | None = None) -> None:
        """`line` is that of all records, if they have no place. Raises ConfigError if this is no DataFrame of Spark, or
        lacks the columns of the place.
        """
        if not hasattr(df, "mapInArrow"):
            raise ConfigError(f"df: {type(df).__name__} is not accepted. Give a DataFrame of Spark.")
        self._df = df
        self._place = place
        self._name, self._line = name, line
        names = list(df.columns)
        self._at = None if place is None else _positions(df, place)
        self._data = [at for at in range(len(names)) if at not in (self._at or ())]
        if not self._data:
            # Sail reads a path that does not exist as no columns.
            raise ConfigError("df: has no columns with data. Check the path that it is read from.")
        self._given = tuple(names[at] for at in self._data)

    @cached_property
    def _empty(self) -> pa.RecordBatch:
        """No rows, with the types that a task is given."""
        schema = self._numbered().select(*(f"c{at}" for at in self._data)).limit(0).toArrow().schema
        fields = [field.with_name(name) for field, name in zip(schema, self._given, strict=True)]
        return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in fields], schema=pa.schema(fields))

    @cached_property
    def _columns(self) -> dict[str, str]:
        return unique_names(unfolded_names(self._empty.schema))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the source: structs are unfolded, and equal names distinguished."""
        return tuple(self._columns)

    def layout(self) -> Layout:
        """Return the columns and their types."""
        twice = repeated(self._columns)
        none = pa.RecordBatch.from_arrays(unfolded(self._empty.schema, self._empty.columns), list(self._columns))
        return Layout(self._name, self.columns, notes_on(twice), twice, pl.DataFrame(none).schema)

    def staged(self, rules: Rules) -> DataFrame:
        """Return the stage (`stage_rows.columns`), which is computed by the tasks of the engine."""
        numbered = self._numbered()
        data = [f"c{at}" for at in self._data]
        rows = numbered.select(*data, fn.monotonically_increasing_id().alias("_row"), *self._places(data))
        task = StageTask(self._given, self.columns, self._place, rules, metadata.version("tranship"), self._name)
        return rows.mapInArrow(task, stage_rows.spark_schema(stage_rows.columns(len(self.columns))))

    def _numbered(self) -> DataFrame:
        """The same columns by their position: any name may be in a DataFrame, also twice."""
        return self._df.toDF(*(f"c{at}" for at in range(len(self._df.columns))))

    def _places(self, data: list[str]) -> list[Column]:
        if self._at is None:
            digest = fn.md5(fn.to_json(fn.struct(*data)))
            return [digest.alias("_source"), fn.lit(self._line).cast("bigint").alias("_line")]
        source, line = (fn.col(f"c{at}") for at in self._at)
        return [source.cast("string").alias("_source"), line.cast("bigint").alias("_line")]

    def must_be_places(self, *ranked: DataFrame) -> None:
        """Raises Undecided if two records have one place: which of them was read last would be left to chance."""
        if self._place is None:
            return
        for table in ranked:
            for source, line in table.where(fn.col("repeats_place")).select("source", "line").limit(1).collect():
                raise Undecided(
                    f"place: {source}, line {line}, is the place of more than one record. Name columns that say where "
                    "each record came from, or leave place out."
                )


def _positions(df: DataFrame, place: object) -> tuple[int, int]:
    """Return the positions of the two columns of a place. Raises ConfigError."""
    if not isinstance(place, tuple | list) or len(place) != 2 or not all(isinstance(name, str) for name in place):
        raise ConfigError('place: give the names of two columns: place=("file", "line").')
    names = list(df.columns)
    for name in place:
        if names.count(name) != 1:
            found = "occurs twice" if name in names else "is no column"
            advice = suggestions.advice(name, names, "The columns are", repr) if name not in names else "Rename one."
            raise ConfigError(f"place: {name!r} {found} of the DataFrame. {advice}")
    source, line = (names.index(name) for name in place)
    kind = df.schema.fields[line].dataType.typeName()
    if kind not in _WHOLE_NUMBERS:
        raise ConfigError(f"place: {place[1]!r} is of type {kind}. The line of a record is a whole number.")
    return source, line

"""The columns of a table of customers on an engine: those of a table that Tranship creates in a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from tranship.connectors.databases.table_mapping import COMMENTS, DELETED, RUN
from tranship.connectors.errors import ConfigError
from tranship.pipelines.distributed.stage_rows import spark_schema
from tranship.schemas.customer import COLUMNS, INSTANT, KEY

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from tranship.pipelines.distributed.destinations.contract import Request

TABLE: Final = {KEY: pl.String(), **COLUMNS, RUN: pl.String(), DELETED: INSTANT}
"""Column → its type."""
_NEEDED: Final = (KEY, "external_id", "email", RUN, DELETED)
"""The columns without which customers cannot be found, or marked."""


def commented(name: str, value: Column) -> Column:
    """Return the value of a column in the type and with the comment of a created table."""
    metadata = {"comment": COMMENTS[name]} if name in COMMENTS else {}
    return value.cast(spark_schema(TABLE)[name].dataType).alias(name, metadata=metadata)


def check_columns(where: str, table: DataFrame) -> None:
    """Raise ConfigError if a table is none that Tranship has created; columns may be missing, and others be there."""
    found = {field.name: field.dataType for field in table.schema.fields}
    wanted = {field.name: field.dataType for field in spark_schema(TABLE).fields}
    missing = [name for name in _NEEDED if name not in found]
    odd = [
        f"{name} is {found[name].simpleString()}, not {dtype.simpleString()}"
        for name, dtype in wanted.items()
        if name in found and found[name].simpleString() != dtype.simpleString()
    ]
    if missing or odd:
        wrong = f"has no column {' and '.join(missing)}" if missing else f"column {odd[0]}"
        raise ConfigError(
            f"{where}: {wrong}. On an engine, only tables that Tranship has created are written. Name another one."
        )


def stored(request: Request, table: DataFrame) -> tuple[str, ...]:
    """Return the fields of the source that the table stores."""
    return tuple(name for name in COLUMNS if name in request.columns and name in table.columns)


def missing_columns(request: Request, table: DataFrame) -> list[str]:
    """Return the fields of the source for which the table has no column."""
    return [name for name in COLUMNS if name in request.columns and name not in table.columns]

"""The demands of a provider on a record: the checks of its schema, applied before anything is sent."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from tranship.schemas.provider import ProviderSchema, Rule

if TYPE_CHECKING:
    from pandera.api.polars.types import PolarsData
    from pandera.polars import DataFrameSchema

REFUSED: Final = {"position": pl.UInt64, "field": pl.String, "code": pl.String, "demand": pl.String}
"""The reasons for which a provider would refuse records: `position` in the frame, from 0; canonical `field`; `code`,
`<field>.<fault>`; `demand`, a sentence for people. One record may have several."""


@cache
def _demands(schema: ProviderSchema) -> tuple[DataFrameSchema, pl.DataFrame]:
    """Return the checks of the provider columns, and the meaning of each (column, check): field, fault, demand."""
    import pandera.polars as pa

    columns: dict[str, Any] = {}
    meanings: list[tuple[str, str, str, str, str]] = []
    for field in (field for field in schema.fields if field.settable):
        label = field.canonical or f"metadata.{schema.key(field.name)}"
        checks = []
        if field.max_length:
            checks.append(pa.Check.str_length(max_value=field.max_length))
            demand = f"{schema.title} accepts at most {field.max_length} characters"
            meanings.append((field.name, "str_length", label, "too_long", demand))
        if field.choices:
            checks.append(pa.Check.isin(field.choices))
            meanings.append(
                (field.name, "isin", label, "unknown", f"{schema.title} accepts {', '.join(field.choices)}")
            )
        for number, rule in enumerate(schema.rules):
            if rule.holds.meta.root_names()[0] == field.name:
                checks.append(pa.Check(partial(_holds, rule), name=f"rule_{number}"))
                meanings.append((field.name, f"rule_{number}", rule.field, rule.fault, rule.demand))
        meanings.append((field.name, "not_nullable", label, "missing", f"{schema.title} requires it"))
        if checks or field.required:
            columns[field.name] = pa.Column(pl.String, checks, nullable=not field.required)
    names = ("column", "check", "field", "fault", "demand")
    return pa.DataFrameSchema(columns), pl.DataFrame(meanings, schema=dict.fromkeys(names, pl.String), orient="row")


def _holds(rule: Rule, data: PolarsData) -> pl.LazyFrame:
    return data.lazyframe.select(rule.holds.fill_null(value=True))


def refusals(schema: ProviderSchema, columns: pl.DataFrame) -> pl.DataFrame:
    """Check provider columns (see `schemas/provider.py`) and return the violations, in no particular order.

    Columns of `REFUSED`, without repeats; empty if the provider would accept all records.
    """
    from pandera.errors import SchemaErrors

    checks, meanings = _demands(schema)
    try:
        checks.validate(columns, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        if cases["index"].has_nulls():
            # Not a fault of a record: the columns themselves are wrong. That is a bug of ours.
            failed = cases["check"].unique().to_list()
            raise RuntimeError(f"{schema.provider}: provider columns break their schema: {failed}") from error
        found = cases.with_columns(pl.col("check").str.extract(r"^(\w+)")).join(meanings, on=["column", "check"])
        refused: pl.DataFrame = found.select(
            position=pl.col("index").cast(pl.UInt64),
            field="field",
            code=pl.concat_str("field", pl.lit("."), "fault"),
            demand="demand",
        ).unique()
        return refused
    return pl.DataFrame(schema=REFUSED)


def unreadable_metadata(bad: pl.Series) -> pl.DataFrame:
    """Return a refusal (`REFUSED`) for each record whose metadata is not a JSON object (true in `bad`)."""
    return pl.DataFrame({"position": bad.arg_true().cast(pl.UInt64)}).with_columns(
        field=pl.lit("metadata"),
        code=pl.lit("metadata.syntax"),
        demand=pl.lit("metadata is a JSON object of valid text"),
    )

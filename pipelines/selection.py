"""`--where`: a filter on the records of a source, as an SQL condition on its columns."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from msgspec.structs import replace

from tranship.connectors.contract import Batch, Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines import expressions
from tranship.pipelines.expressions import Expression


def condition(text: str, layouts: Sequence[Layout], *, allow_missing: bool = False) -> Expression:
    """Parse a condition on a source with these layouts. With `allow_missing` a column may be missing in some of them.

    Raises ConfigError if it is not SQL, involves more than one record, names a column that a file lacks, or cannot be
    applied to the types of the columns.
    """
    parsed = expressions.parse("--where", text, is_condition=True)
    problems = expressions.problems(parsed, layouts, allow_missing=allow_missing)
    if problems:
        raise ConfigError(problems[0])
    return parsed


def split(batch: Batch, condition: Expression) -> tuple[Batch, Batch]:
    """Return the records for which the condition is true, with the broken lines; and the others.

    Raises Undecided if the condition cannot be applied to the values of its columns.
    """
    records = batch.records
    if records.is_empty():
        return batch, replace(batch, broken=batch.broken.clear())
    true = expressions.evaluate(batch, condition)
    expressions.must_be_condition(true, condition)
    true = true.cast(pl.Boolean).fill_null(value=False)
    left = replace(batch, records=records.filter(~true), lines=batch.lines.filter(~true), broken=batch.broken.clear())
    return replace(batch, records=records.filter(true), lines=batch.lines.filter(true)), left

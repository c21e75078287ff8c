"""`--where`: a filter on the records of a source, as an SQL condition on its columns.

The condition applies to each record by itself. Polars parses the SQL; this module checks the tree, and converts text
used as a truth value (`not is_deleted` on a CSV file).
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import polars as pl

from tranship.connectors.contract import Batch, Layout
from tranship.connectors.errors import ConfigError, Undecided
from tranship.schemas.headers import fold

_FLAG: Final = "\0flag"
"""Suffix of the name of a column that is read as true or false."""
_TRUE: Final = ("true", "t", "yes", "y", "1")
_FALSE: Final = ("false", "f", "no", "n", "0")
_TRUTHS: Final = [{"Literal": {"Scalar": {"Boolean": truth}}} for truth in (True, False)]
_FUNCTIONS_OF_ONE_RECORD: Final = frozenset(
    {
        *("Boolean", "StringExpr", "Sql", "TemporalExpr", "ListExpr", "ArrayExpr", "StructExpr"),
        *("FillNull", "Coalesce", "MaxHorizontal", "MinHorizontal"),
        *("Abs", "Floor", "Ceil", "Sign", "Pow", "Log", "Exp", "Trigonometry", "Bitwise"),
    }
)


@dataclass(frozen=True)
class Condition:
    """A condition as text and as a polars expression. `columns` are the source columns it names, `flags` those of them
    used as true or false; `meaning` is equal for equal conditions.
    """

    text: str
    expression: pl.Expr
    columns: tuple[str, ...]
    flags: tuple[str, ...]
    meaning: str


def condition(text: str, layouts: Sequence[Layout]) -> Condition:
    """Parse a condition on a source with these layouts.

    Raises ConfigError if it is not SQL, involves more than one record, or names a column that a file lacks.
    """
    try:
        tree = json.loads(pl.sql_expr(text).meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
        raise ConfigError(
            f"--where {text!r}: is not an SQL condition ({_first_line(error)}). Put column names with blanks in "
            "double quotes, text in single quotes."
        ) from error
    reader = _Reader(text)
    meaning = json.dumps(reader.node(tree, truth=True))
    if not reader.columns:
        raise ConfigError(f"--where {text!r}: names no column of the source. Compare a column with a value.")
    for layout in layouts:
        for column in reader.columns:
            if layout.columns and column not in layout.columns:
                raise ConfigError(f"--where: {layout.name} has no column {column!r}{_nearest(column, layout.columns)}")
    expression = pl.Expr.deserialize(io.StringIO(meaning), format="json")
    return Condition(text, expression, tuple(reader.columns), tuple(reader.flags), meaning)


class _Reader:
    """Walks the tree of an expression and collects its columns."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.columns: dict[str, None] = {}
        self.flags: dict[str, None] = {}

    def node(self, node: Any, *, truth: bool = False) -> Any:
        """Return the same node, with `_FLAG` added to columns used as a truth value."""
        kind, inner = _kind_of(node)
        if kind == "Literal":
            return node
        if kind == "Column":
            self.columns[inner] = None
            if not truth:
                return node
            self.flags[inner] = None
            return {kind: inner + _FLAG}
        if kind == "Cast":
            return {kind: inner | {"expr": self.node(inner["expr"], truth=inner["dtype"] == {"Literal": "Boolean"})}}
        if kind == "BinaryExpr":
            sides = {side: inner[side] for side in ("left", "right")}
            truth = truth and inner["op"] in ("And", "Or", "Xor")
            truth |= any(side in _TRUTHS for side in sides.values())
            return {kind: inner | {side: self.node(node, truth=truth) for side, node in sides.items()}}
        if kind == "Ternary":
            branches = {name: self.node(inner[name], truth=truth) for name in ("truthy", "falsy")}
            return {kind: {**inner, **branches, "predicate": self.node(inner["predicate"], truth=True)}}
        if kind == "Alias":
            return {kind: [self.node(inner[0], truth=truth), *inner[1:]]}
        if kind == "Function":
            function = inner["function"]
            name = next(iter(function)) if isinstance(function, dict) else function
            over_records = isinstance(function, dict) and isinstance(function[name], dict) and "Any" in function[name]
            if name in _FUNCTIONS_OF_ONE_RECORD and not over_records:
                truth = function == {"Boolean": "Not"}
                return {kind: inner | {"input": [self.node(argument, truth=truth) for argument in inner["input"]]}}
        raise ConfigError(
            f"--where {self._text!r}: involves more than one record, or another table. Use the columns of a single "
            "record."
        )


def _kind_of(node: Any) -> tuple[str, Any]:
    return next(iter(node.items())) if isinstance(node, dict) else (str(node), None)


def split(batch: Batch, condition: Condition) -> tuple[Batch, Batch]:
    """Return the records for which the condition is true, with the broken lines; and the others.

    Raises Undecided if the condition cannot be applied to the values of its columns.
    """
    records = batch.records
    if records.is_empty():
        return batch, dataclasses.replace(batch, broken=batch.broken.clear())
    flags = [_flag(batch, column, condition.text).alias(column + _FLAG) for column in condition.flags]
    try:
        true = records.select(condition.columns).with_columns(flags).select(condition.expression).to_series()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise Undecided(
            f"--where {condition.text!r}: cannot be applied to {batch.source} ({_reason(error)}). Convert text to a "
            "number with try_cast(COLUMN as double), to a date with try_cast(COLUMN as date)."
        ) from error
    if true.dtype != pl.Boolean:
        raise Undecided(f"--where {condition.text!r}: is a value, not a condition. Compare it with a value.")
    true = true.fill_null(value=False)
    if len(true) == 1:
        true = true.new_from_index(0, records.height)
    left = dataclasses.replace(
        batch, records=records.filter(~true), lines=batch.lines.filter(~true), broken=batch.broken.clear()
    )
    return dataclasses.replace(batch, records=records.filter(true), lines=batch.lines.filter(true)), left


def _flag(batch: Batch, column: str, text: str) -> pl.Series:
    values = batch.records[column]
    if values.dtype == pl.Boolean or values.dtype == pl.Null:
        return values.cast(pl.Boolean)
    words = values.cast(pl.String, strict=False).str.strip_chars().str.to_lowercase()
    words = words.set(words == "", None)
    true, known = words.is_in(_TRUE), words.is_in([*_TRUE, *_FALSE])
    odd = (~known).fill_null(value=False).arg_true()
    if len(odd):
        raise Undecided(
            f"--where {text!r}: column {column!r} is neither true nor false in {batch.source}, line "
            f"{batch.lines[odd[0]]}. Compare it with a value: \"{column}\" = '…'"
        )
    return true


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _reason(error: BaseException) -> str:
    # The text after "values:" quotes values of customers.
    return _first_line(error).partition(" values:")[0]


def _nearest(column: str, columns: Sequence[str]) -> str:
    alike = [name for name in columns if fold(name) == fold(column)] or get_close_matches(column, columns, n=1)
    if alike:
        return f"; did you mean {alike[0]!r}?"
    return f". Put text in single quotes; the columns are: {', '.join(columns)}."

"""SQL expressions over the columns of a source, as `--where` and `--set` give them.

An expression applies to each record separately. Polars parses the SQL; this module checks the tree, and converts text
used as a truth value (`not is_deleted` on a CSV file).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from typing import Any, Final

import polars as pl
from msgspec import Struct

from tranship.connectors import suggestions
from tranship.connectors.contract import Batch, Layout
from tranship.connectors.errors import ConfigError, Undecided
from tranship.schemas.flags import NO, YES

_FLAG: Final = "\0flag"
"""Suffix of the name of a column that is read as true or false."""
_BOOLEAN: Final = {"Literal": "Boolean"}
_TRUTHS: Final = [{"Literal": {"Scalar": {"Boolean": truth}}} for truth in (True, False)]
_COMPARED_TRUTHS: Final = [{"Cast": {"expr": truth, "dtype": _BOOLEAN, "options": "Strict"}} for truth in _TRUTHS]
_COMPARED: Final = re.compile(
    r"""(?P<text>'[^']*'|"[^"]*")|(?P<operator>[=<>][\s(]*)(?P<truth>true|false)\b""", re.IGNORECASE
)
"""Quoted text or a name, and a comparison with true or false."""
_READING: Final = re.compile(r"\bread_(?:csv|ipc|json|ndjson|parquet)\b", re.IGNORECASE)
"""Functions with which polars opens a file or a URL as soon as it parses an expression, however they are quoted."""
_JUNCTIONS: Final = ("And", "Or", "Xor")
_COMPARISONS: Final = ("Eq", "NotEq", "Lt", "LtEq", "Gt", "GtEq", "EqValidity", "NotEqValidity")
_CHOICES: Final = ("Coalesce", "FillNull", "MaxHorizontal", "MinHorizontal")
"""Functions whose result is one of their arguments."""
_FUNCTIONS_OF_ONE_RECORD: Final = frozenset(
    {
        *("Boolean", "StringExpr", "Sql", "TemporalExpr", "ListExpr", "ArrayExpr", "StructExpr"),
        *("FillNull", "Coalesce", "MaxHorizontal", "MinHorizontal"),
        *("Abs", "Floor", "Ceil", "Sign", "Pow", "Log", "Exp", "Trigonometry", "Bitwise"),
    }
)


class Expression(Struct, frozen=True):
    """An expression as text and for polars. `option` is where it was given, for messages; `columns` are the source
    columns it names, `flags` those of them used as true or false; `meaning` is equal for equal expressions;
    `is_condition` is whether its result must be a truth value.
    """

    option: str
    text: str
    columns: tuple[str, ...]
    flags: tuple[str, ...]
    meaning: str
    is_condition: bool = False

    def __str__(self) -> str:
        return f"{self.option} {self.text!r}"


def parse(option: str, text: str, *, is_condition: bool) -> Expression:
    """Parse an expression; `is_condition` is whether its result is a truth value.

    Raises ConfigError if it is not SQL, reads a file, involves more than one record, or names no column.
    """
    kind = "condition" if is_condition else "expression"
    if _READING.search(text):
        raise ConfigError(f"{option} {text!r}: reads a file. Use the columns of a single record.")
    try:
        tree = json.loads(pl.sql_expr(_marked(text)).meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
        raise ConfigError(
            f"{option} {text!r}: is not an SQL {kind} ({_first_line(error)}). Put column names with blanks in "
            "double quotes, text in single quotes."
        ) from error
    reader = _Reader(option, text)
    meaning = json.dumps(reader.node(tree, truth=is_condition))
    if not reader.columns:
        advice = "Compare a column with a value." if is_condition else "For a fixed value, use --default."
        raise ConfigError(f"{option} {text!r}: names no column of the source. {advice}")
    return Expression(option, text, tuple(reader.columns), tuple(reader.flags), meaning, is_condition)


def problems(expression: Expression, layouts: Sequence[Layout], *, allow_missing: bool) -> list[str]:
    """Return a sentence for each column of the expression that a file lacks; with `allow_missing`, that all files lack.
    If there is none, return why the expression cannot be applied to the types of the columns, where these are known.
    """
    known = [layout for layout in layouts if layout.columns]
    lacking = _lacking(expression, known, allow_missing=allow_missing)
    return lacking or list(dict.fromkeys(problem for layout in known if (problem := _clash(expression, layout))))[:1]


def _lacking(expression: Expression, known: Sequence[Layout], *, allow_missing: bool) -> list[str]:
    return [
        f"{expression.option}: {layout.name} has no column {column!r}. "
        + suggestions.advice(column, layout.columns, "Put text in single quotes; the columns are", repr)
        for column in expression.columns
        for layout in known
        if column not in layout.columns and not (allow_missing and any(column in other.columns for other in known))
    ]


def _clash(expression: Expression, layout: Layout) -> str:
    """Return why an expression cannot be applied to columns of these types; empty if it can, or they are unknown."""
    if not layout.types:
        return ""
    none = pl.DataFrame(schema=dict(layout.types))
    try:
        result = evaluate(Batch(layout.name, none, pl.Series(dtype=pl.UInt64), pl.DataFrame()), expression)
        if expression.is_condition:
            must_be_condition(result, expression)
    except Undecided as error:
        return str(error)
    return ""


def must_be_condition(result: pl.Series, expression: Expression) -> None:
    """Raises Undecided if the values of an expression are not truth values."""
    if result.dtype not in (pl.Boolean, pl.Null):
        raise Undecided(f"{expression}: is a value, not a condition. Compare it with a value.")


def evaluate(batch: Batch, expression: Expression) -> pl.Series:
    """Return the value of the expression for each record; a column that the batch lacks is null.

    Raises Undecided if it cannot be applied to the values of its columns.
    """
    records = batch.records
    lacking = [pl.lit(None, pl.String).alias(name) for name in expression.columns if name not in records.columns]
    records = records.with_columns(lacking).select(expression.columns)
    flags = [_flag(batch, records[column], expression).alias(column + _FLAG) for column in expression.flags]
    compiled = pl.Expr.deserialize(io.StringIO(expression.meaning), format="json")
    try:
        values = records.with_columns(flags).select(compiled).to_series()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise Undecided(
            f"{expression}: cannot be applied to {batch.source} ({_reason(error)}). Convert text to a number with "
            "try_cast(COLUMN as double), to a date with try_cast(COLUMN as date); compare a flag with: COLUMN is true"
        ) from error
    return values.new_from_index(0, records.height) if len(values) == 1 else values


class _Reader:
    """Walks the tree of an expression and collects its columns."""

    def __init__(self, option: str, text: str) -> None:
        self._option, self._text = option, text
        self.columns: dict[str, None] = {}
        self.flags: dict[str, None] = {}

    def node(self, node: Any, *, truth: bool = False) -> Any:
        """Return the same node, with `_FLAG` added to columns used as a truth value."""
        kind, inner = _kind_of(node)
        if kind == "Literal":
            return self._literal(node) if truth else node
        if kind == "Column":
            self.columns[inner] = None
            if not truth:
                return node
            self.flags[inner] = None
            return {kind: inner + _FLAG}
        if kind == "Cast":
            return {kind: inner | {"expr": self.node(inner["expr"], truth=inner["dtype"] == _BOOLEAN)}}
        if kind == "BinaryExpr":
            inner = self._comparison(inner)
            sides = {side: inner[side] for side in ("left", "right")}
            truth = truth and inner["op"] in _JUNCTIONS
            truth |= any(map(_is_truth, sides.values()))
            return {kind: inner | {side: self.node(node, truth=truth) for side, node in sides.items()}}
        if kind == "Ternary":
            truth |= _is_truth(node)
            branches = {name: self.node(inner[name], truth=truth) for name in ("truthy", "falsy")}
            return {kind: {**inner, **branches, "predicate": self.node(inner["predicate"], truth=True)}}
        if kind == "Alias":
            return {kind: [self.node(inner[0], truth=truth), *inner[1:]]}
        if kind == "Function":
            function = inner["function"]
            name = next(iter(function)) if isinstance(function, dict) else function
            over_records = isinstance(function, dict) and isinstance(function[name], dict) and "Any" in function[name]
            if name in _FUNCTIONS_OF_ONE_RECORD and not over_records:
                truth = function == {"Boolean": "Not"} or (name in _CHOICES and (truth or _is_truth(node)))
                return {kind: inner | {"input": [self.node(argument, truth=truth) for argument in inner["input"]]}}
        raise ConfigError(
            f"{self._option} {self._text!r}: involves more than one record, or another table. Use the columns of a "
            "single record."
        )

    def _literal(self, node: Any) -> Any:
        """Return a literal that is used as a truth value: text such as 'no' is false."""
        word = node["Literal"].get("Scalar", {}).get("String") if isinstance(node["Literal"], dict) else None
        if word is None:
            return node
        if word.strip().lower() not in {*YES, *NO}:
            raise ConfigError(
                f"{self._option} {self._text!r}: {word!r} is neither true nor false. Compare text with text, or a flag "
                "with true: COLUMN is true"
            )
        return _TRUTHS[0] if word.strip().lower() in YES else _TRUTHS[1]

    def _comparison(self, inner: Any) -> Any:
        """Return a binary expression with the meaning that it has in SQL."""
        right = inner["right"]
        kind, operation = _kind_of(right)
        if inner["op"] in ("EqValidity", "NotEqValidity") and kind == "BinaryExpr" and operation["op"] in _JUNCTIONS:
            # The parser reads everything after the operator as its operand, unlike SQL.
            raise ConfigError(
                f"{self._option} {self._text!r}: it is unclear where the comparison IS DISTINCT FROM ends. Put it in "
                "brackets: (COLUMN is distinct from VALUE) and …"
            )
        if inner["op"] == "Eq" and right in _TRUTHS:
            return inner | {"op": "EqValidity"}
        if right in _COMPARED_TRUTHS:
            return inner | {"right": right["Cast"]["expr"]}
        return inner


def _is_truth(node: Any) -> bool:
    """Return whether a part of an expression is a truth value on its own, so that the value it is compared with is one,
    too."""
    kind, inner = _kind_of(node)
    if kind == "Literal":
        return node in _TRUTHS
    if kind == "Cast":
        return bool(inner["dtype"] == _BOOLEAN)
    if kind == "BinaryExpr":
        return inner["op"] in (*_JUNCTIONS, *_COMPARISONS)
    if kind == "Ternary":
        return _is_truth(inner["truthy"]) or _is_truth(inner["falsy"])
    if kind == "Alias":
        return _is_truth(inner[0])
    if kind != "Function":
        return False
    function = inner["function"]
    if isinstance(function, dict):
        return "Boolean" in function
    return function in _CHOICES and any(map(_is_truth, inner["input"]))


def _marked(text: str) -> str:
    """Return an expression with a cast around each `true` and `false` that is compared with an operator such as `=`.

    Polars makes the same tree of `COLUMN <> true`, which is null for a blank value, and `COLUMN is not true`, which is
    true for one.
    """

    def mark(found: re.Match[str]) -> str:
        return found["text"] or f"{found['operator']}cast({found['truth']} as boolean)"

    return _COMPARED.sub(mark, text)


def _kind_of(node: Any) -> tuple[str, Any]:
    return next(iter(node.items())) if isinstance(node, dict) else (str(node), None)


def _flag(batch: Batch, values: pl.Series, expression: Expression) -> pl.Series:
    if values.dtype == pl.Boolean or values.dtype == pl.Null:
        return values.cast(pl.Boolean)
    words = values.cast(pl.String, strict=False).str.strip_chars().str.to_lowercase()
    words = words.set(words == "", None)
    true, known = words.is_in(list(YES)), words.is_in([*YES, *NO])
    odd = (~known).fill_null(value=False).arg_true()
    if len(odd):
        raise Undecided(
            f"{expression}: column {values.name!r} is neither true nor false in {batch.source}, line "
            f"{batch.lines[odd[0]]}. Compare it with a value: \"{values.name}\" = '…'"
        )
    return true


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _reason(error: BaseException) -> str:
    # The text after "values:" quotes values of customers.
    return _first_line(error).partition(" values:")[0]

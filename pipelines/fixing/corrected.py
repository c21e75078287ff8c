"""A file of rejects as it comes back from a spreadsheet: which rows are to be loaded or dropped, and which are refused
because they are no longer what was given out.

Only the values of listed rows may have changed. What a spreadsheet does to values by itself is taken back
(`spreadsheet.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import polars as pl
from msgspec import Struct, field

from tranship.connectors import suggestions
from tranship.connectors.errors import ConfigError
from tranship.pipelines import endpoints
from tranship.pipelines.command_lines import about_runs
from tranship.pipelines.fixing import spreadsheet
from tranship.pipelines.fixing.columns import (
    ACTION,
    ACTIONS,
    ADDED,
    CODES_SHEET,
    DROP,
    FATE,
    FIXABLE,
    LOAD,
    NUMBER,
    OPEN,
    RECORD,
)
from tranship.pipelines.fixing.fates import LOADED
from tranship.pipelines.fixing.fates import OPEN as IS_OPEN
from tranship.pipelines.normalise.raw_text import as_text
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.settings_model import Reading
from tranship.schemas.faults import sentence

_RECORD: Final = r"^\s*([0-9]{8}T[0-9]{6}-[0-9a-f]{6})#([0-9]{1,9})\s*$"
_RUN: Final = "_run"
_REASON: Final = "_reason"
_WAS: Final = "\0was "
"""The beginning of the names of columns as they were given out."""

ADDED_ROW: Final = f"the row was added: it has no {RECORD}. Add customers at the source"
ALTERED: Final = f"its {RECORD} was changed. Write the rejects out again"
OTHER_RUN: Final = "it belongs to another run"
TWICE: Final = f"its {RECORD} occurs in several rows. Keep one of them"
MOVED: Final = "its _source or _line was changed. Only the values of the record may be changed"
UNKNOWN_ACTION: Final = f"its {ACTION} is none of: {', '.join(ACTIONS)}"
SETTLED: Final = "it was loaded or dropped before, with other values. Correct it at the source"
COMPUTED: Final = "a field of it is computed by --set. Correct it at the source"
TWO_WAYS: Final = (
    "both _text and values were changed. Correct the text, or fill in the columns and leave _text as it was"
)


class Corrected(Struct, frozen=True):
    """The rows of a file. `load` and `drop` have `_line` (the row of the file), NUMBER, the columns of the source and
    `_text`; `parse` are those of `load` whose `_text` is to be read again. `refused` has `_line` and `reason`, in the
    order of the file. `loaded` has NUMBER and the values of `load` and of rows that were loaded before. `remade`
    counts, by column, the cells that a spreadsheet had changed by itself.
    """

    load: pl.DataFrame
    drop: pl.DataFrame
    parse: pl.DataFrame
    refused: pl.DataFrame
    loaded: pl.DataFrame
    left_open: int = 0
    settled: int = 0
    remade: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read(file: Path, run: RunDirectory, standing: pl.DataFrame, own: Sequence[str]) -> Corrected:
    """Return the rows of a file for the rejects of a run in their present state (`fates.standing`); `own` are the
    columns of its source. Raises ConfigError if the file cannot be read, is none of `tranship fix`, or is that of
    another run.
    """
    rows, broken, notes = _rows(file, own)
    blank = pl.all_horizontal(pl.col(RECORD, ACTION, *own).is_null())
    rows = rows.filter(~blank).with_columns(
        pl.col(RECORD).str.extract(_RECORD, 1).alias(_RUN),
        pl.col(RECORD).str.extract(_RECORD, 2).cast(pl.UInt32, strict=False).alias(NUMBER),
        pl.col(ACTION).str.strip_chars().str.to_lowercase().fill_null(""),
    )
    _must_be_of(file, run, rows)
    rows = rows.join(_given_out(standing, own), on=NUMBER, how="left", maintain_order="left")
    rows, remade = _with_originals(rows, own)
    rows = rows.with_columns(_refusal(run.run_id).alias(_REASON))
    rows = rows.with_columns(
        pl.when(pl.col(_REASON).is_null() & pl.col(NUMBER).is_duplicated())
        .then(pl.lit(TWICE))
        .otherwise(_REASON)
        .alias(_REASON)
    )
    good = rows.filter(pl.col(_REASON).is_null())
    has_text = pl.col(f"{_WAS}_text").is_not_null()
    # The columns of a broken line are blank until it is read.
    text_only = has_text & pl.all_horizontal(pl.col(name).is_null() for name in own)
    new_values = pl.any_horizontal(_differs(name) for name in own) & ~text_only
    new_text = has_text & _differs("_text") & pl.col("_text").is_not_null()
    is_changed = new_values | new_text
    is_open = pl.col(FATE) == IS_OPEN
    loads = is_open & ((pl.col(ACTION) == LOAD) | ((pl.col(ACTION) == "") & is_changed))
    good = good.with_columns(
        pl.when(loads & ~pl.col(FIXABLE))
        .then(pl.lit(COMPUTED))
        .when(loads & new_text & new_values)
        .then(pl.lit(TWO_WAYS))
        .when(~is_open & is_changed & (pl.col(ACTION) != OPEN))
        .then(pl.lit(SETTLED))
        .alias(_REASON)
    )
    refused = pl.concat([rows.select("_line", reason=_REASON), good.select("_line", reason=_REASON), broken])
    good = good.filter(pl.col(_REASON).is_null())
    values = ["_line", NUMBER, *own, "_text"]
    load = good.filter(loads)
    return Corrected(
        load=load.select(values),
        drop=good.filter(is_open & (pl.col(ACTION) == DROP)).select(values),
        parse=load.filter(text_only | (new_text & ~new_values)).select("_line", "_source", "_text"),
        refused=refused.filter(pl.col("reason").is_not_null()).sort("_line"),
        loaded=good.filter(loads | (~is_open & (pl.col(FATE) == LOADED))).select(NUMBER, *own),
        left_open=good.filter(is_open & ~loads & (pl.col(ACTION) != DROP)).height,
        settled=good.filter(~is_open).height,
        remade=remade,
        notes=notes,
    )


def _rows(file: Path, own: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame, tuple[str, ...]]:
    """Return the rows with the columns that were given out, as text, the lines that are no rows, with the reason, and
    notes.
    """
    reading = Reading.model_validate({"source": str(file), "header": True})
    with closing(endpoints.open_source(reading)) as source, TemporaryDirectory(prefix="tranship-") as keep:
        layouts = source.layouts()
        columns = list(dict.fromkeys(column for layout in layouts for column in layout.columns))
        by_name = {" ".join(column.split()): column for column in columns}
        needed = [*own, *ADDED]
        if RECORD not in by_name:
            raise ConfigError(
                f"{file}: has no column {RECORD}, so it is no file of tranship fix. Write one: tranship fix RUN --out "
                "rejects.xlsx"
            )
        missing = [name for name in needed if " ".join(name.split()) not in by_name]
        known = {" ".join(name.split()) for name in needed}
        added = [column for name, column in by_name.items() if name not in known]
        if missing:
            near = suggestions.similar(missing[0], added)
            renamed = f" It may be {near[0]!r} now." if near else ""
            listed = ", ".join(map(repr, missing))
            raise ConfigError(
                f"{file}: lacks {listed}. A column was renamed or removed.{renamed} Restore the names of the header."
            )
        batches = [part.read() for part in source.parts(Path(keep))]
    wanted = {name: by_name[" ".join(name.split())] for name in needed}
    frames = [
        pl.DataFrame(
            [
                batch.lines.cast(pl.UInt64).alias("_line_of_file"),
                *(as_text(batch.records[column]).cast(pl.String).alias(name) for name, column in wanted.items()),
            ]
        )
        for batch in batches
    ]
    nothing = pl.DataFrame(schema={"_line_of_file": pl.UInt64, **dict.fromkeys(needed, pl.String)})
    rows = pl.concat([nothing, *frames]).rename({"_line": "_place"}).rename({"_line_of_file": "_line"})
    lost = (
        pl.concat([batch.broken for batch in batches])
        if batches
        else pl.DataFrame(schema={"line": pl.UInt64, "code": pl.String})
    )
    sentences = {code: f"the row cannot be read: {sentence(code)}" for code in lost["code"].unique()}
    reason = pl.col("code").replace_strict(sentences, return_dtype=pl.String) if sentences else pl.col("code")
    broken = lost.select(_line="line", reason=reason)
    own_sheet = f"the hidden sheet {CODES_SHEET!r}"
    notes = [f"{file.name}: {note}" for layout in layouts for note in layout.notes if not note.endswith(own_sheet)]
    notes += [f"the column {column!r} was added, and is not used" for column in added]
    return rows, broken, tuple(notes)


def _must_be_of(file: Path, run: RunDirectory, rows: pl.DataFrame) -> None:
    runs = rows[_RUN].drop_nulls().unique().sort()
    if len(runs) and run.run_id not in runs:
        raise ConfigError(
            f"{file}: contains rejects of run {runs[0]}, not of {run.run_id}. Use: "
            + about_runs(run.path.parent.parent, "fix", runs[0], "--from", str(file))
        )


def _given_out(standing: pl.DataFrame, own: Sequence[str]) -> pl.DataFrame:
    values = [pl.col(name).alias(f"{_WAS}{name}") for name in (*own, "_text", "_source")]
    return standing.select(NUMBER, FATE, FIXABLE, *values, pl.col("_line").cast(pl.String).alias(f"{_WAS}_place"))


def _with_originals(rows: pl.DataFrame, own: Sequence[str]) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the rows in which values that a spreadsheet has changed are as they were, and the number of these."""
    remade: dict[str, int] = {}
    columns: list[pl.Expr] = []
    for name in (*own, "_text", "_source"):
        original, given = pl.col(f"{_WAS}{name}"), pl.col(name)
        same, made = spreadsheet.is_same(original, given), spreadsheet.is_remade(original, given)
        if count := rows.select((made & ~same).sum()).item():
            remade[name] = count
        columns.append(pl.when(same | made).then(original).otherwise(given).alias(name))
    return rows.with_columns(columns), remade


def _differs(name: str) -> pl.Expr:
    return ~pl.col(name).eq_missing(pl.col(f"{_WAS}{name}"))


def _refusal(run_id: str) -> pl.Expr:
    """Return why a row is not taken; null if it is."""
    place = pl.col("_place").str.strip_chars().str.replace(r"\.0+$", "")
    return (
        pl.when(pl.col(RECORD).is_null())
        .then(pl.lit(ADDED_ROW))
        .when(pl.col(_RUN).is_null())
        .then(pl.lit(ALTERED))
        .when(pl.col(_RUN) != run_id)
        .then(pl.lit(OTHER_RUN))
        .when(pl.col(FATE).is_null())
        .then(pl.lit(ALTERED))
        .when(~place.eq_missing(pl.col(f"{_WAS}_place")) | _differs("_source"))
        .then(pl.lit(MOVED))
        .when(~pl.col(ACTION).is_in(["", *ACTIONS, "open"]))
        .then(pl.lit(UNKNOWN_ACTION))
    )

"""Samples of a run's records for its pages, read from its directory: rejects, warnings and merges.

They are looked for in a bounded part of each file: a kind that is rare in a large run may have none. Files that are
missing have no samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec import Struct

from tranship.pipelines.masks import Masks
from tranship.pipelines.matching import OURS
from tranship.pipelines.pages.customers import OF_EACH, shown_fields, staged
from tranship.schemas.secret_columns import secrets

_ROWS: Final = 100_000
"""Rows of rejects and warnings in which samples are looked for."""
_CANDIDATES: Final = 10_000
_KEYS: Final = ("external_id", "email")


class Reject(Struct, frozen=True):
    """A rejected record: its place, its filled columns with those at fault first, or the text of its line."""

    place: str
    columns: tuple[tuple[str, str | None], ...]
    at_fault: frozenset[str]
    text: str | None


class Warned(Struct, frozen=True):
    """A record with a warning: its place, and the value that the warning is about, if any."""

    place: str
    value: str | None


class Merge(Struct, frozen=True):
    """Two records that were found to be one customer, with the fields that either has."""

    survivor_place: str
    loser_place: str
    survivor: Mapping[str, str | None]
    loser: Mapping[str, str | None]


def rejects(
    folder: Path, masks: Masks, codes: Sequence[str], columns: Mapping[str, str | list[str]]
) -> dict[str, list[Reject]]:
    """Return samples of the rejects with each of these codes; `columns` is column → the fields made of it."""
    file = folder / "rejects.parquet"
    if not file.exists():
        return {}
    rows = pl.scan_parquet(file, glob=False).head(_ROWS)
    groups = rows.select(_at=pl.int_range(pl.len()), codes="_codes").group_by("codes").agg(pl.col("_at").head(OF_EACH))
    places: dict[str, list[tuple[bool, int]]] = {code: [] for code in codes}
    for found, ats in groups.collect().iter_rows():
        for code in set(found.split()) & places.keys():
            # Records with this reason alone are the clearest.
            places[code] += [(found != code, at) for at in ats]
    chosen = {code: [at for _, at in sorted(found)[:OF_EACH]] for code, found in places.items()}
    wanted = sorted({at for found in chosen.values() for at in found})
    if not wanted:
        return {}
    last = wanted[-1] + 1
    taken = rows.head(last).collect()[wanted]
    records = dict(zip(wanted, taken.iter_rows(named=True), strict=True))
    return {
        code: [_reject(records[at], code, columns, masks) for at in found] for code, found in chosen.items() if found
    }


def _reject(record: Mapping[str, Any], code: str, columns: Mapping[str, str | list[str]], masks: Masks) -> Reject:
    field = code.partition(".")[0]
    fields = set(_KEYS if field == "identity" else (field,))
    given = [name for name in record if name not in OURS]
    own = [name for name in given if name not in secrets(given)]
    at_fault = [name for name in own if fields & set(_fields(columns.get(name, ())))]
    filled = [name for name in own if record[name] not in (None, "") and name not in at_fault]
    return Reject(
        _place(record["_source"], record["_line"]),
        tuple(masks.row({name: record[name] for name in (*at_fault, *filled)}, columns).items()),
        frozenset(at_fault),
        masks.line(record["_text"]),
    )


def _fields(given: str | Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else [*given]


def warnings(folder: Path, _masks: Masks) -> dict[str, list[Warned]]:
    """Return samples of the warnings, by code. Their file is masked already."""
    file = folder / "warnings.parquet"
    if not file.exists():
        return {}
    found = pl.scan_parquet(file, glob=False).head(_ROWS).group_by("code", maintain_order=True)
    rows = found.agg(pl.col("source", "line", "value").head(OF_EACH)).collect()
    return {
        code: [Warned(_place(source, line), value) for source, line, value in zip(*each, strict=True)]
        for code, *each in rows.iter_rows()
    }


def merges(folder: Path, masks: Masks) -> dict[str, list[Merge]]:
    """Return one merge of each rule."""
    file, files = folder / "merges.parquet", staged(folder)
    if not file.exists() or not files:
        return {}
    found = pl.scan_parquet(file, glob=False).head(_CANDIDATES).group_by("rule", maintain_order=True)
    # Of some merges, a record is in a file that is not read.
    candidates = found.head(50).collect()
    sides = [candidates.select(_source=f"{side}_source", _line=f"{side}_line") for side in ("loser", "survivor")]
    wanted = pl.concat(sides).unique()
    records = (
        pl.scan_parquet(files, glob=False)
        .filter(pl.col("_line").is_in(wanted["_line"].implode()))
        .join(wanted.lazy(), on=["_source", "_line"], how="semi")
        .collect()
    )
    by_place = {(record["_source"], record["_line"]): record for record in records.iter_rows(named=True)}
    chosen: dict[str, list[Merge]] = {}
    for merge in candidates.iter_rows(named=True):
        places = [(merge[f"{side}_source"], merge[f"{side}_line"]) for side in ("survivor", "loser")]
        if merge["rule"] not in chosen and all(place in by_place for place in places):
            survivor, loser = (masks.record(shown_fields(by_place[place])) for place in places)
            chosen[merge["rule"]] = [Merge(_place(*places[0]), _place(*places[1]), survivor, loser)]
    return chosen


def _place(source: str, line: int) -> str:
    return f"{source}, line {line:,}"

"""Samples of a run's records for its pages, read from its directory: a few of each kind, from bounded parts of files.

A kind that is rare in a large run may therefore have none. Files that are missing have no samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec import Struct

from tranship.connectors import durable
from tranship.connectors.contract import BEFORE_IMAGES, FOUND, GONE, IMAGE_FACTS
from tranship.connectors.errors import Damaged
from tranship.pipelines.matching import OURS
from tranship.pipelines.stage_files import PATCHED
from tranship.schemas.customer import COLUMNS, INSTANTS
from tranship.schemas.secret_columns import is_secret

OF_EACH: Final = 3
"""Samples of each kind."""
_ROWS: Final = 100_000
"""Rows of rejects and warnings in which samples are looked for."""
_FILES: Final = 3
"""Files of the stage in which records are looked for."""
_CANDIDATES: Final = 10_000
_KEYS: Final = ("external_id", "email")
_INSTANT: Final = "%Y-%m-%d %H:%M:%S"


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


class Change(Struct, frozen=True):
    """A changed field of one customer. Null is an empty value."""

    customer: str
    before: str | None
    after: str | None


class Planned(Struct, frozen=True):
    """A customer of a plan: the action (create, update, refused, delete), all its fields as they would be, those that
    the destination has, and the names of those that change.
    """

    action: str
    after: Mapping[str, str | None]
    before: Mapping[str, str | None]
    changed: tuple[str, ...]
    reason: str | None


_PLANNED: Final = {"update": 4, "create": 3, "refused": 2}
_DELETES: Final = 1


def rejects(folder: Path, codes: Sequence[str], columns: Mapping[str, str | list[str]]) -> dict[str, list[Reject]]:
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
    return {code: [_reject(records[at], code, columns) for at in found] for code, found in chosen.items() if found}


def _reject(record: Mapping[str, Any], code: str, columns: Mapping[str, str | list[str]]) -> Reject:
    field = code.partition(".")[0]
    fields = set(_KEYS if field == "identity" else (field,))
    own = [name for name in record if name not in OURS and not is_secret(name)]
    at_fault = [name for name in own if fields & set(_fields(columns.get(name, ())))]
    filled = [name for name in own if record[name] not in (None, "") and name not in at_fault]
    return Reject(
        _place(record["_source"], record["_line"]),
        tuple((name, record[name]) for name in (*at_fault, *filled)),
        frozenset(at_fault),
        record["_text"],
    )


def _fields(given: str | Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else [*given]


def warnings(folder: Path) -> dict[str, list[Warned]]:
    """Return samples of the warnings, by code."""
    file = folder / "warnings.parquet"
    if not file.exists():
        return {}
    found = pl.scan_parquet(file, glob=False).head(_ROWS).group_by("code", maintain_order=True)
    rows = found.agg(pl.col("source", "line", "value").head(OF_EACH)).collect()
    return {
        code: [Warned(_place(source, line), value) for source, line, value in zip(*each, strict=True)]
        for code, *each in rows.iter_rows()
    }


def merges(folder: Path) -> dict[str, list[Merge]]:
    """Return one merge of each rule."""
    file, files = folder / "merges.parquet", _staged(folder)
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
            survivor, loser = (shown_fields(by_place[place]) for place in places)
            chosen[merge["rule"]] = [Merge(_place(*places[0]), _place(*places[1]), survivor, loser)]
    return chosen


def changes(folder: Path) -> dict[str, list[Change]]:
    """Return samples of changed fields, before and after the run."""
    plan, files = folder / "plan.parquet", _staged(folder)
    if not plan.exists() or not files:
        return {}
    rows = pl.scan_parquet(plan, glob=False).filter(pl.col("action") == "update", pl.col("row") < PATCHED)
    picked = (
        rows.select("row", "changed")
        .bottom_k(_CANDIDATES, by="row")
        .explode("changed")
        .group_by("changed", maintain_order=True)
        .agg(pl.col("row").sort().head(OF_EACH))
        .collect()
    )
    wanted = pl.Series(sorted({row for rows in picked["row"] for row in rows}), dtype=pl.UInt64)
    after = records(folder, wanted)
    before = _before(folder, wanted)
    chosen: dict[str, list[Change]] = {}
    for field, numbers in picked.iter_rows():
        for row in numbers:
            if row in after and field in before.get(row, {}):
                change = Change(name_of(after[row]), before[row][field], after[row].get(field))
                chosen.setdefault(field, []).append(change)
    return chosen


def records(folder: Path, rows: pl.Series) -> dict[int, dict[str, str | None]]:
    """Return the customers with these row numbers, as far as they are in the first files of the stage."""
    files = _staged(folder)
    if not files or rows.is_empty():
        return {}
    found = pl.scan_parquet(files, glob=False).filter(pl.col("_row").is_in(rows.implode())).collect()
    return {record["_row"]: shown_fields(record) for record in found.iter_rows(named=True)}


def refused(folder: Path, *, by_plan: bool = False) -> dict[str, list[str]]:
    """Return the names of some of the records that were refused, by reason; with `by_plan`, of the plan alone."""
    outcomes, plan = folder / "outcomes.parquet", folder / "plan.parquet"
    if outcomes.exists() and not by_plan:
        rows = pl.scan_parquet(outcomes, glob=False).filter(pl.col("outcome") == "refused")
    elif plan.exists():
        rows = pl.scan_parquet(plan, glob=False).filter(pl.col("action") == "refused")
    else:
        return {}
    found = rows.head(_CANDIDATES).group_by("reason", maintain_order=True).agg(pl.col("row").head(OF_EACH)).collect()
    customers = records(folder, found["row"].explode().drop_nulls())
    return {
        reason: [name_of(customers[row]) for row in numbers if row in customers]
        for reason, numbers in found.iter_rows()
        if reason is not None
    }


def crosswalk(folder: Path) -> list[tuple[str, ...]]:
    """Return the ids of some customers: at the source, external, and at the destination."""
    file = folder / "crosswalk.parquet"
    if not file.exists():
        return []
    ids = pl.scan_parquet(file, glob=False).select("source_id", "external_id", "destination_id").head(OF_EACH)
    return [tuple(one or "" for one in row) for row in ids.collect().iter_rows()]


def planned(folder: Path) -> list[Planned]:
    """Return about ten customers of a plan, of all kinds of actions: those that change most fields, and the first."""
    plan, files = folder / "plan.parquet", _staged(folder)
    if not plan.exists() or not files:
        return []
    rows = (
        pl.scan_parquet(plan, glob=False)
        .filter(pl.col("action").is_in([*_PLANNED]), pl.col("row") < PATCHED)
        .bottom_k(_CANDIDATES, by="row")
        .sort(pl.col("changed").list.len().fill_null(0), "row", descending=[True, False])
        .group_by("action", maintain_order=True)
        .head(max(_PLANNED.values()))
        .collect()
    )
    after = records(folder, rows["row"])
    before = _before(folder, rows["row"])
    chosen = []
    for action, most in _PLANNED.items():
        of_action = rows.filter(pl.col("action") == action).head(most)
        chosen += [
            Planned(action, after[row], before.get(row, {}), tuple(changed or ()), reason)
            for row, reason, changed in of_action.select("row", "reason", "changed").iter_rows()
            if row in after
        ]
    gone = folder / GONE
    if gone.exists():
        found = pl.scan_parquet(gone, glob=False).head(_DELETES).collect()
        chosen += [Planned("delete", {}, customer, (), None) for customer in found.iter_rows(named=True)]
    return chosen


def _before(folder: Path, rows: pl.Series) -> dict[int, dict[str, str | None]]:
    """Return the values that customers had at the destination, by row and field."""
    if (found := folder / FOUND).exists():
        before = pl.scan_parquet(found, glob=False).filter(pl.col("row").is_in(rows.implode())).collect()
        return {record["row"]: _text_fields(record) for record in before.iter_rows(named=True)}
    images = folder / BEFORE_IMAGES
    if not images.exists():
        return {}
    try:
        stored = durable.read_json(folder / IMAGE_FACTS)["stored"]
    except (FileNotFoundError, Damaged, KeyError):
        return {}
    kept = pl.scan_parquet(images, glob=False).filter(pl.col("row").is_in(rows.implode()))
    names = set(kept.collect_schema().names())
    columns = {field: f"={column}" for field, column in stored.items() if f"={column}" in names}
    found_rows = kept.select("row", **{field: pl.col(column) for field, column in columns.items()}).collect()
    return {record["row"]: _shown(record) for record in found_rows.iter_rows(named=True)}


def _text_fields(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the fields of a record that are text already; instants in the form of the others."""
    fields = shown_fields(record)
    return {name: value and value.removesuffix("+00") if name in INSTANTS else value for name, value in fields.items()}


def shown_fields(record: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the canonical fields of a record as text."""
    return _shown({name: record[name] for name in COLUMNS if name in record})


def _shown(record: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: _text(value) for name, value in record.items()}


def _text(value: Any) -> str | None:
    if value is None or value == []:
        return None
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, bytes):  # JSON of DuckDB
        return value.decode(errors="backslashreplace")
    return value.strftime(_INSTANT) if hasattr(value, "strftime") else str(value)


def name_of(customer: Mapping[str, str | None]) -> str:
    """Return by what people know a customer: its name and id."""
    parts = [customer.get("name"), customer.get("external_id") or customer.get("email")]
    return ", ".join(part for part in parts if part) or "?"


def _place(source: str, line: int) -> str:
    return f"{source}, line {line:,}"


def _staged(folder: Path) -> list[Path]:
    return sorted((folder / "stage").glob("*.parquet"))[:_FILES]

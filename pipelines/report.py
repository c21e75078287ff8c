"""The report of a run as one frozen value: counts, reasons, timings, files. Rendered as JSON; its page is made by
`pipelines/pages/`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from tranship.pipelines import notebook
from tranship.schemas.counted import counted
from tranship.schemas.faults import RULES
from tranship.schemas.schema_version import SCHEMA_VERSION

if TYPE_CHECKING:
    import polars as pl

LEFT_OUT: Final = "invalid values, left empty and kept in metadata"
"""The title of the warnings about invalid values that were left empty."""

Status = Literal["done", "done_with_rejects", "partly_done", "stopped", "failed"]
"""partly_done: --limit records were written to a provider, and more are left."""


OLDER, MOVED = "older", "changed since the plan"
"""Reasons why a record is stale."""


@dataclass(frozen=True)
class Counts:
    """The ledger: every record and every broken line has one fate. `deleted`, `withheld` and `warnings` are not part of
    the balance.
    """

    read: int = 0
    """Records and broken lines that were read."""
    skipped: int = 0
    """Left out by a filter."""
    rejected: int = 0
    """Returned unchanged in the rejects file, with every reason."""
    merged: int = 0
    """Found to be a customer of another record."""
    created: int = 0
    """Customers that are new at the destination."""
    updated: int = 0
    """Customers of the destination that were changed."""
    unchanged: int = 0
    """Customers that the destination has already, with the same values."""
    refused: int = 0
    """Not accepted by the destination."""
    deleted: int = 0
    """Customers of the destination that were marked as deleted, or removed."""
    withheld: int = 0
    """Deletes that mirror did not carry out."""
    stale: int = 0
    """Older than the rows of the destination, or changed at the provider after the plan."""
    unknown: int = 0
    """Sent, outcome unknown."""
    left: int = 0
    """Not yet processed."""
    warnings: int = 0
    """Warnings about records that were loaded."""

    def balance(self) -> int:
        """Return records read minus known fates; 0 if none was lost or doubled."""
        fates = (self.skipped, self.rejected, self.merged, self.created, self.updated, self.unchanged, self.refused)
        return self.read - sum(fates) - self.stale - self.unknown - self.left


@dataclass(frozen=True)
class Fixes:
    """What has become of the rejects of a run, and of the records that its table refused, since `tranship fix`.
    Of these `records`, so many were `loaded` or `dropped` on purpose, and so many are `open`.

    `left_out` were corrected, and a filter left them out or the destination has something newer; `failed` were sent to
    a provider without success, for `tranship retry` of the run in `runs`, those that loaded corrections.
    """

    records: int = 0
    loaded: int = 0
    dropped: int = 0
    left_out: int = 0
    failed: int = 0
    open: int = 0
    open_by_code: Mapping[str, int] = field(default_factory=dict)
    runs: tuple[str, ...] = ()

    def balance(self) -> int:
        """Return records minus known fates; 0 if none was lost or doubled."""
        return self.records - self.loaded - self.dropped - self.left_out - self.failed - self.open

    def __str__(self) -> str:
        fates = {
            **{"loaded": self.loaded, "dropped on purpose": self.dropped, "left out": self.left_out},
            **{"failed at the provider": self.failed, "open": self.open},
        }
        parts = [f"{count:,} {name}" for name, count in fates.items() if count]
        return f"{self.records:,} rejected or refused → {', '.join(parts)}"


@dataclass(frozen=True)
class Report:
    """A run's report, as `--json` prints it and `report.json` keeps it."""

    run_id: str
    """The id of the run, which begins with the time of its start."""
    status: Status
    """`partly_done`: records up to `--limit` were written, and more are left. `stopped`: by a limit, before the first
    write."""
    exit_code: int
    """The exit code of the command."""
    dry_run: bool
    """Whether the run stopped after the plan."""
    source: str
    """The sources, without secrets."""
    destination: str
    """The destination, without secrets."""
    run_dir: str
    """The folder of the run."""
    counts: Counts = Counts()
    """The ledger."""
    rejects_by_code: Mapping[str, int] = field(default_factory=dict)
    """Code → rejected records that have it."""
    warnings_by_code: Mapping[str, int] = field(default_factory=dict)
    """Code → warnings."""
    refused_by_reason: Mapping[str, int] = field(default_factory=dict)
    """Reason of the destination → refused records."""
    stale_by_reason: Mapping[str, int] = field(default_factory=dict)
    """`older` or `changed since the plan` → records."""
    unidentified: tuple[str, ...] = ()
    """The first records for which deletes were withheld, as file and line."""
    merges_by_rule: Mapping[str, int] = field(default_factory=lambda: {"external_id": 0, "email": 0})
    """What two records had in common → records merged."""
    changed_fields: Mapping[str, int] = field(default_factory=dict)
    """Field → customers in which it was changed."""
    corrected: Mapping[str, int] = field(default_factory=dict)
    """Rule of `--corrections` → values that it has corrected."""
    recognised: str | None = None
    """The name of the export profile that was used, null if there was none."""
    columns: Mapping[str, str | list[str]] = field(default_factory=dict)
    """Column of the source → its field, or its fields."""
    built: Mapping[str, str] = field(default_factory=dict)
    """Field → its rule, of fields made of several columns."""
    kept: tuple[str, ...] = ()
    """Columns that are kept in metadata."""
    left_out: tuple[str, ...] = ()
    """Columns that are not loaded."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """Code → the place of its first record."""
    notes: tuple[str, ...] = ()
    """What the run has assumed or found, as sentences."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Step → its duration, and `total`."""
    peak_memory_bytes: int = 0
    """The most memory that the process has used."""
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    """Step → the most memory that the process had used by the end of it."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Name → path of the files of the run."""
    plan_digest: str | None = None
    """The digest of a plan in a separate folder, for `tranship apply --expect`."""
    fixes: Fixes | None = None
    """What has become of the rejects; null before `tranship fix`."""
    error: str | None = None
    """Why the run did not finish, as a sentence; null if it did."""

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}, indent=1, ensure_ascii=False)

    def rejects(self) -> pl.DataFrame:
        """Return the rejected records: the columns of the source as they were, then `_source`, `_line` (of a frame,
        the row number from 1), `_codes`, `_reasons` and `_text`. Without rejects, there are no rows and no columns.

        Raises FileNotFoundError if the run was removed.
        """
        from tranship.pipelines import rejects_file

        return rejects_file.read(self.files.get("rejects_parquet"))

    def __repr__(self) -> str:
        counts = dataclasses.asdict(self.counts)
        read = counts.pop("read")
        ledger = ", ".join([f"{read:,} read", *(f"{count:,} {name}" for name, count in counts.items() if count)])
        dry = ", dry run" if self.dry_run else ""
        return f"<Report {self.run_id}: {self.status}{dry}; {ledger}; {self.source} → {self.destination}>"

    def _repr_html_(self) -> str:
        counts = dataclasses.asdict(self.counts)
        rows = [(name, count) for name, count in counts.items() if count or name in ("read", "rejected", "created")]
        reasons = {**self.rejects_by_code, **self.refused_by_reason}
        below = [f"{count:,} × {reason}" for reason, count in reasons.items()]
        title = f"{self.source} → {self.destination}: {status_text(self)}"
        return notebook.table(title, (), rows, [*below, *([self.error] if self.error else [])])

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Return the report that `to_json` wrote. Raises ValueError if it is not one."""
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Report:
        """Return the report with these values, as parsed from JSON. Raises ValueError if it is not one."""
        return msgspec.convert(values, cls)


def status_text(report: Report) -> str:
    """Return how the run ended, in words: `done, with rejects and 3 warnings`."""
    status = report.status.replace("done_with_rejects", "done, with rejects").replace("_", " ")
    warnings = report.counts.warnings
    if not warnings or not status.startswith("done"):
        return status
    return f"{status}{' and' if 'with' in status else ', with'} {counted(warnings, 'warning')}"


def split_warnings(report: Report) -> tuple[dict[str, int], dict[str, int]]:
    """Return the counts of warnings about values that were left out, and of all others, by code."""
    left_out = {code: count for code, count in report.warnings_by_code.items() if code in RULES}
    return left_out, {code: count for code, count in report.warnings_by_code.items() if code not in RULES}


def mapping(report: Report, most: int | None = None) -> str:
    """Return how the columns of the source were used; of many columns or fields, only the first `most` are named."""

    def named(names: Sequence[str]) -> str:
        more = len(names) - most if most else 0
        return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")

    total = len({*report.columns, *report.kept, *report.left_out})
    parts = [f"recognised: {report.recognised}"] if report.recognised else []
    parts.append(f"mapped {len(report.columns):,} of {counted(total, 'column')}")
    if report.built:
        parts.append("built: " + named([f"{field} from {rule}" for field, rule in report.built.items()]))
    for title, columns in (("kept in metadata", report.kept), ("left out", report.left_out)):
        if columns:
            parts.append(f"{title}: {named([f'{chr(34)}{column}{chr(34)}' for column in columns])}")
    return "; ".join(parts)


def withheld(report: Report) -> str:
    """Return the reason why mirror has not deleted all customers missing from the source."""
    count, places = report.counts.withheld, "; ".join(report.unidentified)
    deletes = counted(count, "delete")
    these, them = ("this customer", "it") if count == 1 else ("these customers", "them")
    if not places:
        return (
            f"{deletes}, because rows of other tables refer to {these}, or the database does not allow {them} to be "
            f"deleted (see the notes). Remove those rows and run again, or mark {these} with --deletes mark."
        )
    return (
        f"{deletes}, because a record that could not be identified may be "
        f"{these if count == 1 else f'one of {these}'} ({places}). Correct it, then run again."
    )

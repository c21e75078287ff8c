"""What people read at the end of a command: a report, an inspection, lists; as plain lines for any terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tranship.pipelines.inspection import Finding, Inspection
from tranship.pipelines.report import Report, withheld
from tranship.pipelines.verify import Verification
from tranship.schemas.compatibility import Passage
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS, Customer
from tranship.schemas.faults import RULES, sentence

_ALWAYS = ("read", "rejected", "merged", "created", "updated", "unchanged")
_CELL = 44


def of_report(report: Report, *, reasons: int | None = None, notes: bool = True, width: int | None = None) -> str:
    """Counts, the most frequent reasons with an example each, warnings, notes, and where the files lie.

    `reasons` is how many of them are listed, null for all. Lines of tables are cut at `width`.
    """
    took = f"{report.seconds.get('total', 0):,.1f} s"
    status = report.status.replace("done_with_rejects", "done, with rejects")
    lines = [
        f"{report.source} → {report.destination}",
        f"{status} in {took}, exit code {report.exit_code}, run {report.run_id}",
        *(["nothing was written; this is what would be done"] if report.dry_run or report.status == "stopped" else []),
        *([f"withheld: {withheld(report)}"] if report.counts.withheld else []),
        "",
        *_ledger(report),
    ]
    for title, counted in (
        ("rejected, by reason", report.rejects_by_code),
        ("refused by the destination", report.refused_by_reason),
        ("warnings", report.warnings_by_code),
    ):
        lines += _counted(title, counted, report.examples, reasons, width)
    if notes and report.notes:
        lines += ["", *(f"note: {note}" for note in report.notes)]
    return "\n".join([*lines, "", *_places(report)])


def _ledger(report: Report) -> list[str]:
    beside = {
        "merged": ", ".join(f"{count:,} by {rule}" for rule, count in report.merges_by_rule.items() if count),
        "updated": ", ".join(f"{name} {count:,}" for name, count in _top(report.changed_fields, 6)),
        "stale": ", ".join(f"{count:,} {reason}" for reason, count in report.stale_by_reason.items()),
    }
    counts = vars(report.counts)
    rows = [(name, f"{count:,}", beside.get(name, "")) for name, count in counts.items() if count or name in _ALWAYS]
    return table(rows, (1,))


def _counted(
    title: str, counted: Mapping[str, int], examples: Mapping[str, str], limit: int | None, width: int | None
) -> list[str]:
    if not any(counted.values()):
        return []
    top = _top(counted, limit)
    rows = [(code, f"{count:,}", examples.get(code, ""), _says(code)) for code, count in top]
    more = len(counted) - len(top)
    return ["", title, *table(rows, (1,), width), *([f"  and {more} more"] if more else [])]


def _top(counted: Mapping[str, int], limit: int | None) -> list[tuple[str, int]]:
    present = [(name, count) for name, count in counted.items() if count]
    return sorted(present, key=lambda row: (-row[1], row[0]))[:limit]


def _says(code: str) -> str:
    return sentence(code) if re.fullmatch(r"[a-z_0-9]+\.[a-z_]+", code) else ""


def _places(report: Report) -> list[str]:
    named = {
        **{"rejects": "rejected lines, with reasons", "stale": "older than the destination, with both times"},
        **{"changes": "what would change, field by field"},
        **{"failed": "failed, with reasons", "unprocessed": "not begun", "crosswalk": "who is who", "page": "report"},
    }
    return [f"{named[name]}: {report.files[name]}" for name in named if name in report.files]


def of_inspection(found: Inspection, width: int | None = None) -> str:
    """Columns with fill, values and what they become, then what would be rejected. Table lines end at `width`."""
    which = "all" if found.whole else "the first"
    title = f"{found.source}: {which} {found.records:,} records" + (
        f" of {len(found.files)} files" if len(found.files) > 1 else ""
    )
    rows = [("column", "type", "filled", "distinct", "becomes", "samples")] + [
        (
            column.name,
            column.type,
            f"{column.filled:.0%}",
            f"{column.distinct:,}",
            (column.field if isinstance(column.field, str) else ", ".join(column.field or ()))
            or {"metadata": "metadata", "undecided": "?"}.get(column.becomes, "-"),
            " | ".join(cell(sample, 24) for sample in column.samples),
        )
        for column in found.columns
    ]
    lines = [title, *(f"note: {note}" for note in found.notes), "", *table(rows, (2, 3), width)]
    if found.problem is not None:
        lines += ["", "A run would stop here:", found.problem]
    else:
        lines += ["", *_expected(found, width)]
    return "\n".join(lines)


def _expected(found: Inspection, width: int | None) -> list[str]:
    of_these = "Of these" if found.whole else f"Of the first {found.records:,}"
    lines = [f"{of_these}, {found.rejected:,} would be rejected, not counting what only the whole input can tell."]
    for title, findings in (("rejected, by reason", found.rejects), ("warnings", found.warnings)):
        if findings:
            lines += ["", title, *table([_row(finding) for finding in findings], (1,), width)]
    return lines


def _row(finding: Finding) -> tuple[str, ...]:
    value = f'"{cell(finding.value)}"' if finding.value else ""
    return finding.code, f"{finding.count:,}", finding.example, value, finding.says


def of_runs(runs: Iterable[Mapping[str, Any]]) -> str:
    """The list of runs; each has run_id, started_at, status, source, destination and counts (null if unknown)."""
    rows: list[tuple[str, ...]] = [("run", "began", "status", "read", "rejected", "source", "destination")]
    for run in runs:
        counts = [f"{run['counts'][name]:,}" if run["counts"] else "" for name in ("read", "rejected")]
        began = f"{datetime.fromisoformat(run['started_at']).astimezone():%Y-%m-%d %H:%M}"
        rows.append((run["run_id"], began, run["status"], *counts, run["source"], run["destination"]))
    return "\n".join(table(rows, (3, 4)))


@dataclass(frozen=True)
class Field:
    """One canonical field: its type, what it is, and the rules whose breaking rejects a record, `code: rule`."""

    name: str
    type: str
    description: str
    rules: tuple[str, ...]


def fields() -> list[Field]:
    """The canonical fields in order."""
    described = Customer.to_schema().columns
    special = dict.fromkeys(INSTANTS, "instant") | dict.fromkeys(LISTS, "list of text")
    return [
        Field(
            name,
            special.get(name, "integer" if dtype.is_integer() else "text"),
            described[name].description or "",
            tuple(f"{code}: {rule}" for code, rule in RULES.items() if code.startswith(f"{name}.")),
        )
        for name, dtype in COLUMNS.items()
    ]


def of_fields(listed: Iterable[Field]) -> str:
    """A line a field, and one more for each further rule."""
    rows = [("field", "type", "", "rejected as")]
    for field in listed:
        rows.append((field.name, field.type, field.description, next(iter(field.rules), "")))
        rows += [("", "", "", rule) for rule in field.rules[1:]]
    return "\n".join(table(rows))


def of_verification(found: Verification, width: int | None = None) -> str:
    """What a second look has found."""
    lines = [
        f"{found.source} → {found.destination}",
        "all is equal" if found.equal else "not all is equal",
        "",
        *table([(name.replace("_", " "), f"{count:,}") for name, count in found.counts.items()], right=(1,)),
    ]
    lines += _counted("different, by field", found.different_fields, {}, None, width)
    lines += _counted("refused by the destination", found.refused_by_reason, {}, None, width)
    lines += ["", *(f"note: {note}" for note in found.notes)] if found.notes else []
    lines += ["", *(f"{name}: {path}" for name, path in found.files.items())] if found.files else []
    return "\n".join(lines)


def of_passage(here: str, there: str, passage: Passage) -> list[str]:
    """What happens to customers of a provider that are written to another one and come back."""
    sections = (
        (f"lost on the way {here} → {there} → {here}", passage.lost),
        (f"kept at {there}, but not in a place of its own", passage.kept),
        (f"demanded by {there}; a record that does not keep to it is refused", passage.demanded),
    )
    lines: list[str] = []
    for title, losses in sections:
        rows = [(loss.field, loss.why) for loss in losses] or [("nothing", "")]
        lines += [*([""] if lines else []), title, *table(rows)]
    return lines


def table(rows: Iterable[Sequence[str]], right: tuple[int, ...] = (), width: int | None = None) -> list[str]:
    """Lines with aligned columns, those in `right` to the right, cut at `width` if it is given."""
    cells = [[cell(value, None) for value in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  " + "  ".join(_padded(value, widths[i], i in right) for i, value in enumerate(row)).rstrip() for row in cells
    ]
    return lines if width is None else [_fitting(line, width) for line in lines]


def cell(value: str, longest: int | None = _CELL) -> str:
    """A value on one line without control characters, which could steer the terminal."""
    plain = re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", value)
    return plain if longest is None or len(plain) <= longest else plain[: longest - 1] + "…"


def _padded(value: str, width: int, right: bool) -> str:
    blank = " " * (width - _width(value))
    return blank + value if right else value + blank


def _width(text: str) -> int:
    """Columns on a terminal: East Asian wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fitting(line: str, width: int) -> str:
    if _width(line) <= width:
        return line
    while _width(line) >= width:
        line = line[:-1]
    return line + "…"

"""Reports, inspections and lists as plain lines of text, for any terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tranship.pipelines.field_rules import quoted
from tranship.pipelines.report import LEFT_OUT, Report, mapping, split_warnings, status_text, withheld
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS, INSTANTS, LISTS, MODEL
from tranship.schemas.faults import RULES, sentence
from tranship.schemas.visible import visible

if TYPE_CHECKING:
    from tranship.pipelines.inspection import Finding, Inspection
    from tranship.pipelines.verify import Verification
    from tranship.schemas.compatibility import Passage

_ALWAYS = ("read", "rejected", "merged", "created", "updated", "unchanged")
_CELL = 44


def of_report(report: Report, *, reasons: int | None = None, notes: bool = True, width: int | None = None) -> str:
    """Return counts, the most frequent reasons with an example each, warnings, notes, and the paths of files.

    `reasons` limits how many reasons, and columns of a kind, are listed, null for no limit. Lines of tables are cut at
    `width`.
    """
    duration = f"{report.seconds.get('total', 0):,.1f} s"
    left_out, other_warnings = split_warnings(report)
    lines = [
        f"{report.source} → {report.destination}",
        f"{status_text(report)} in {duration}, exit code {report.exit_code}, run {report.run_id}",
        *(
            ["nothing was written; the counts show what would be done"]
            if report.dry_run or report.status == "stopped"
            else []
        ),
        *([f"withheld: {withheld(report)}"] if report.counts.withheld else []),
        "",
        *_ledger(report),
        *(["", f"fixed: {report.fixes}"] if report.fixes else []),
        *(["", cell(mapping(report, reasons), None)] if report.columns else []),
    ]
    for title, by_code in (
        ("rejected, by reason", report.rejects_by_code),
        ("refused by the destination", report.refused_by_reason),
        (LEFT_OUT, left_out),
        ("warnings", other_warnings),
        ("values corrected by --corrections", report.corrected),
    ):
        lines += _by_frequency(title, by_code, report.examples, reasons, width)
    if notes and report.notes:
        lines += ["", *(f"note: {note}" for note in report.notes)]
    return _text([*lines, "", *_files(report)])


def _ledger(report: Report) -> list[str]:
    details = {
        "merged": ", ".join(f"{count:,} by {rule}" for rule, count in report.merges_by_rule.items() if count),
        "updated": ", ".join(f"{name} {count:,}" for name, count in _top(report.changed_fields, 6)),
        "stale": ", ".join(f"{count:,} {reason}" for reason, count in report.stale_by_reason.items()),
    }
    counts = vars(report.counts)
    rows = [(name, f"{count:,}", details.get(name, "")) for name, count in counts.items() if count or name in _ALWAYS]
    return table(rows, (1,))


def _by_frequency(
    title: str, by_code: Mapping[str, int], examples: Mapping[str, str], limit: int | None, width: int | None
) -> list[str]:
    if not any(by_code.values()):
        return []
    top = _top(by_code, limit)
    rows = [(code, f"{count:,}", examples.get(code, ""), _message(code)) for code, count in top]
    more = len(by_code) - len(top)
    return ["", title, *table(rows, (1,), width), *([f"  and {more} more"] if more else [])]


def _top(counts: Mapping[str, int], limit: int | None) -> list[tuple[str, int]]:
    present = [(name, count) for name, count in counts.items() if count]
    return sorted(present, key=lambda row: (-row[1], row[0]))[:limit]


def _message(code: str) -> str:
    return sentence(code) if re.fullmatch(r"[a-z_0-9]+\.[a-z_]+", code) else ""


def _files(report: Report) -> list[str]:
    named = {
        **({"warnings": "warnings, record by record"} if report.counts.warnings else {}),
        **{"rejects": "rejected lines, with reasons"},
        **{"stale": "older than the destination, with both times"},
        **{"left": "not taken back, with reasons"},
        **{"changes": "what would change, customer by customer", "plan_page": "plan, to review and to sign"},
        **{"migration_page": "migration, with what is left and its proof"},
        **{
            "failed": "failed, with reasons",
            "unprocessed": "not processed",
            "crosswalk": "map of ids",
            "page": "report",
        },
    }
    return [f"{named[name]}: {report.files[name]}" for name in named if name in report.files]


def of_inspection(found: Inspection, width: int | None = None) -> str:
    """Return the columns with their fill, values and mapping, then the expected rejects. Table lines are cut at
    `width`.
    """
    which = "the first " if not found.whole else "all " if found.records > 1 else ""
    title = f"{found.source}: {which}{counted(found.records, 'record')}" + (
        f" of {counted(len(found.files), 'file')}" if len(found.files) > 1 else ""
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
    recognised = [f"recognised: {found.recognised}"] if found.recognised else []
    lines = [title, *recognised, *(f"note: {note}" for note in found.notes), "", *table(rows, (2, 3), width)]
    # A column's line shows its fields; a rule about several columns is shown as a whole.
    built = [(name, rule) for name, rule in found.rules.items() if rule not in _plain_rules(found)]
    if built:
        lines += ["", "built from columns", *table(built, (), width)]
    if found.problem is not None:
        lines += ["", "A run would stop here:", *found.problem.split("\n")]
    else:
        lines += ["", *_expected(found, width)]
    return _text(lines)


def _plain_rules(found: Inspection) -> set[str]:
    """Return the rules that are a single column."""
    return {quoted(column.name) for column in found.columns}


def _expected(found: Inspection, width: int | None) -> list[str]:
    records = counted(found.records, "record")
    these = "of" if found.records == 1 else "of these" if found.whole else "of the first"
    lines = [f"{found.rejected:,} {these} {records} would be rejected. Duplicates are checked during a full run."]
    for title, findings in (
        ("rejected, by reason", found.rejects),
        (LEFT_OUT, [finding for finding in found.warnings if finding.code in RULES]),
        ("warnings", [finding for finding in found.warnings if finding.code not in RULES]),
    ):
        if findings:
            lines += ["", title, *table([_row(finding) for finding in findings], (1,), width)]
    if listed := [*found.rejects, *found.warnings]:
        lines += ["", explanation_of(listed[0].code)]
    return lines


def explanation_of(code: str) -> str:
    """Return the line that names the command which explains a code."""
    return f"what a code means: tranship explain {code}"


def _row(finding: Finding) -> tuple[str, ...]:
    value = f'"{cell(finding.value)}"' if finding.value else ""
    return finding.code, f"{finding.count:,}", finding.example, value, finding.says


def of_changes(changes: Iterable[Mapping[str, Any]], *, width: int | None, is_first: bool) -> str:
    """Return a line for each changed field; each change has customer_key, action, field, before, after and reason. The
    first part of a list has a header.
    """
    names = ("action", "customer_key", "field", "before", "after", "reason")
    rows: list[tuple[str, ...]] = [("action", "customer", "field", "before", "after", "reason")] * is_first
    rows += [tuple(cell(change[name] or "") for name in names) for change in changes]
    return _text(table(rows, (), width))


class Field(Struct, frozen=True):
    """A canonical field: its type, its description, and its rules in the form `code: rule`."""

    name: str
    type: str
    description: str
    rules: tuple[str, ...]


def fields() -> list[Field]:
    """Return the canonical fields in order."""
    special = dict.fromkeys(INSTANTS, "instant") | dict.fromkeys(LISTS, "list of text")
    return [
        Field(
            name,
            special.get(name, "integer" if dtype.is_integer() else "text"),
            MODEL[name].description or "",
            tuple(f"{code}: {rule}" for code, rule in RULES.items() if code.startswith(f"{name}.")),
        )
        for name, dtype in COLUMNS.items()
    ]


def of_fields(listed: Iterable[Field]) -> str:
    """Return one line per field, and another one for each additional rule."""
    rows = [("field", "type", "", "rejected as")]
    for field in listed:
        rows.append((field.name, field.type, field.description, next(iter(field.rules), "")))
        rows += [("", "", "", rule) for rule in field.rules[1:]]
    return "\n".join(table(rows))


def of_verification(found: Verification, width: int | None = None) -> str:
    """Return the result of a verification."""
    lines = [
        f"{found.source} → {found.destination}",
        "no differences" if found.equal else "differences found",
        "",
        *table([(name.replace("_", " "), f"{count:,}") for name, count in found.counts.items()], right=(1,)),
    ]
    if found.history:
        lines += ["", "history"]
        lines += table([(f"  {name}", f"{count:,}") for name, count in found.history.items()], right=(1,))
    lines += _by_frequency("different, by field", found.different_fields, {}, None, width)
    lines += _by_frequency("refused by the destination", found.refused_by_reason, {}, None, width)
    lines += ["", *(f"note: {note}" for note in found.notes)] if found.notes else []
    lines += ["", *(f"{name}: {path}" for name, path in found.files.items())] if found.files else []
    return _text(lines)


def of_passage(here: str, there: str, passage: Passage) -> list[str]:
    """Return what happens to customers of a provider that are written to another one and read back."""
    sections = (
        (f"lost on the way {here} → {there} → {here}", passage.lost),
        (f"kept at {there} (no native field)", passage.kept),
        (f"required by {there}; records that violate it are refused", passage.demanded),
    )
    lines: list[str] = []
    for title, losses in sections:
        rows = [(loss.field, loss.why) for loss in losses] or [("nothing", "")]
        lines += [*([""] if lines else []), title, *table(rows)]
    return lines


def table(rows: Iterable[Sequence[str]], right: tuple[int, ...] = (), width: int | None = None) -> list[str]:
    """Return lines with aligned columns; those in `right` are aligned to the right. Lines are cut at `width`, if
    given.
    """
    cells = [[cell(value, None) for value in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  " + "  ".join(_padded(value, widths[i], i in right) for i, value in enumerate(row)).rstrip() for row in cells
    ]
    return lines if width is None else [_fitting(line, width) for line in lines]


def cell(value: str, longest: int | None = _CELL) -> str:
    """Return a value on one line, with characters spelled out that could control the terminal or would be invisible."""
    plain = visible(re.sub(r"\s+", " ", value) if re.search(r"[\t-\r\x85\u2028\u2029]", value) else value)
    return plain if longest is None or len(plain) <= longest else plain[: longest - 1] + "…"


def _text(lines: Iterable[str]) -> str:
    return "\n".join(map(visible, lines))


def _padded(value: str, width: int, right: bool) -> str:
    blank = " " * (width - _width(value))
    return blank + value if right else value + blank


def _width(text: str) -> int:
    """Return the number of terminal columns: East Asian wide characters take two, combining characters none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fitting(line: str, width: int) -> str:
    if _width(line) <= width:
        return line
    while _width(line) >= width:
        line = line[:-1]
    return line + "…"

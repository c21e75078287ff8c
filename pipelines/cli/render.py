"""Reports, inspections and lists as plain lines of text, for any terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tranship.pipelines.cli.layout import cell, labelled, table, wrapped
from tranship.pipelines.cli.terminal import PLAIN, Look
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


def of_report(report: Report, *, reasons: int | None = None, notes: bool = True, look: Look = PLAIN) -> str:
    """Return counts, the most frequent reasons with an example each, warnings, notes, and the paths of files.

    `reasons` limits how many reasons, and columns of a kind, are listed, null for no limit.
    """
    left_out, other_warnings = split_warnings(report)
    lines = [*_head(report, look), *wrapped(_counts(report), look.width, "    ", "  ")]
    if report.fixes:
        lines += wrapped(f"fixed: {report.fixes}", look.width, "    ", "  ")
    if _is_notable(report):
        lines += wrapped(cell(mapping(report, reasons), None), look.width, "    ", "  ")
    tables: list[str] = []
    for title, by_code in (
        ("rejected, by reason", report.rejects_by_code),
        ("refused by the destination", report.refused_by_reason),
        (LEFT_OUT, left_out),
        ("warnings", other_warnings),
        ("values corrected by --corrections", report.corrected),
    ):
        tables += _by_frequency(title, by_code, report.examples, reasons, look)
    if notes and report.notes:
        tables += ["", *(line for note in report.notes for line in of_note(note, look))]
    return "\n".join([*lines, *([*tables, ""] if tables else []), *_files(report, look)])


def _head(report: Report, look: Look) -> list[str]:
    """Return the ends, how the run ended, and what that means for the destination."""
    mark = {"done": look.good, "stopped": look.bad, "failed": look.bad}.get(report.status, look.doubtful)
    if report.counts.warnings:
        mark = look.doubtful if report.status == "done" else mark
    status = status_text(report)
    duration = f"{report.seconds.get('total', 0):,.1f} s"
    lines = wrapped(visible(f"{report.source} → {report.destination}"), look.width, "  ", "")
    end = f"{status} in {duration}, exit code {report.exit_code}, run {report.run_id}"
    first, *more = wrapped(end, look.width, "  ", "")
    lines += [first.replace(status, mark(status), 1), *more]
    if report.dry_run or report.status == "stopped":
        lines += wrapped("nothing was written; the counts show what would be done", look.width)
    if report.counts.withheld:
        lines += wrapped(visible(f"withheld: {withheld(report)}"), look.width, "  ", "")
    return lines


def _counts(report: Report) -> str:
    """Return what was read, and each fate of a record that occurred."""
    details = {
        "merged": ", ".join(f"{count:,} by {rule}" for rule, count in report.merges_by_rule.items() if count),
        "updated": ", ".join(f"{name} {count:,}" for name, count in _top(report.changed_fields, 6)),
        "stale": ", ".join(f"{count:,} {reason}" for reason, count in report.stale_by_reason.items()),
    }
    # Those of the other lines; they are no fates of records.
    said = {"withheld"} | ({"warnings"} if report.status.startswith("done") else set())
    counts = {name: count for name, count in vars(report.counts).items() if name not in said}
    present = [(name, count) for name, count in counts.items() if count or name == "read"]
    more = {name: f" ({text})" for name, text in details.items() if text}
    return visible(" · ".join(f"{name} {count:,}{more.get(name, '')}" for name, count in present))


def _is_notable(report: Report) -> bool:
    """Return whether columns were used otherwise than each as its field."""
    return bool(report.recognised or report.built or report.kept or report.left_out)


def _titled(title: str, look: Look) -> list[str]:
    return [look.title(line) for line in wrapped(title, look.width)]


def of_note(note: str, look: Look) -> list[str]:
    """Return a note in lines."""
    return wrapped(visible(f"note: {note}"), look.width, "  ", "")


def _by_frequency(
    title: str, by_code: Mapping[str, int], examples: Mapping[str, str], limit: int | None, look: Look
) -> list[str]:
    if not any(by_code.values()):
        return []
    top = _top(by_code, limit)
    rows = [(code, f"{count:,}", examples.get(code, ""), _message(code)) for code, count in top]
    more = len(by_code) - len(top)
    return ["", *_titled(title, look), *table(rows, (1,), look.width), *([f"  and {more} more"] if more else [])]


def _top(counts: Mapping[str, int], limit: int | None) -> list[tuple[str, int]]:
    present = [(name, count) for name, count in counts.items() if count]
    return sorted(present, key=lambda row: (-row[1], row[0]))[:limit]


def _message(code: str) -> str:
    return sentence(code) if re.fullmatch(r"[a-z_0-9]+\.[a-z_]+", code) else ""


def _files(report: Report, look: Look) -> list[str]:
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
    found = {title: report.files[name] for name, title in named.items() if name in report.files}
    return [line for title, path in found.items() for line in of_file(title, path, look)]


def of_file(title: str, path: str, look: Look) -> list[str]:
    """Return the title and the path of a file."""
    return labelled(title, visible(path), look.width, look.path(path))


def of_inspection(found: Inspection, look: Look = PLAIN) -> str:
    """Return the columns with their fill, values and mapping, then the expected rejects."""
    which = "the first " if not found.whole else "all " if found.records > 1 else ""
    title = f"{found.source}: {which}{counted(found.records, 'record')}" + (
        f" of {counted(len(found.files), 'file')}" if len(found.files) > 1 else ""
    )
    rows = [
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
    lines = [*wrapped(visible(title), look.width, "  ", "")]
    lines += [visible(f"recognised: {found.recognised}")] if found.recognised else []
    lines += [line for note in found.notes for line in of_note(note, look)]
    header = ("column", "type", "filled", "distinct", "becomes", "samples")
    lines += ["", *table(rows, (2, 3), look.width, header)]
    # A column's line shows its fields; a rule about several columns is shown as a whole.
    built = [(name, rule) for name, rule in found.rules.items() if rule not in _plain_rules(found)]
    if built:
        lines += ["", look.title("built from columns"), *table(built, (), look.width)]
    if found.problem is not None:
        problem = [part for line in found.problem.split("\n") for part in wrapped(visible(line), look.width, "  ", "")]
        lines += ["", look.bad("A run would stop here:"), *problem]
    else:
        lines += ["", *_expected(found, look)]
    return "\n".join(lines)


def _plain_rules(found: Inspection) -> set[str]:
    """Return the rules that are a single column."""
    return {quoted(column.name) for column in found.columns}


def _expected(found: Inspection, look: Look) -> list[str]:
    records = counted(found.records, "record")
    these = "of" if found.records == 1 else "of these" if found.whole else "of the first"
    expected = f"{found.rejected:,} {these} {records} would be rejected. Duplicates are checked during a full run."
    lines = wrapped(expected, look.width)
    for title, findings in (
        ("rejected, by reason", found.rejects),
        (LEFT_OUT, [finding for finding in found.warnings if finding.code in RULES]),
        ("warnings", [finding for finding in found.warnings if finding.code not in RULES]),
    ):
        if findings:
            lines += ["", *_titled(title, look), *table([_row(finding) for finding in findings], (1,), look.width)]
    if listed := [*found.rejects, *found.warnings]:
        lines += ["", *explanation_of(listed[0].code, look.width)]
    return lines


def explanation_of(code: str, width: int | None) -> list[str]:
    """Return the lines that name the command which explains a code."""
    return labelled("what a code means", f"tranship explain {code}", width)


def _row(finding: Finding) -> tuple[str, ...]:
    value = f'"{cell(finding.value)}"' if finding.value else ""
    return finding.code, f"{finding.count:,}", finding.example, value, finding.says


def of_changes(changes: Iterable[Mapping[str, Any]], *, width: int | None, is_first: bool) -> str:
    """Return a line for each changed field; each change has customer_key, action, field, before, after and reason. The
    first part of a list has a header.
    """
    names = ("customer_key", "action", "field", "before", "after", "reason")
    header = ("customer", "action", "field", "before", "after", "reason")
    rows = [tuple(cell(change[name] or "") for name in names) for change in changes]
    return "\n".join(table(rows, (), width, header, shows_header=is_first))


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


def of_fields(listed: Iterable[Field], width: int | None = None) -> str:
    """Return one line per field, and another one for each additional rule."""
    rows: list[tuple[str, ...]] = []
    for field in listed:
        rows.append((field.name, field.type, field.description, next(iter(field.rules), "")))
        rows += [("", "", "", rule) for rule in field.rules[1:]]
    return "\n".join(table(rows, (), width, ("field", "type", "", "rejected as")))


def of_verification(found: Verification, look: Look = PLAIN) -> str:
    """Return the result of a verification."""
    lines = [
        *wrapped(visible(f"{found.source} → {found.destination}"), look.width, "  ", ""),
        _conclusion(found, look),
        "",
        *table([(name.replace("_", " "), f"{count:,}") for name, count in found.counts.items()], right=(1,)),
    ]
    if found.history:
        lines += ["", look.title("history")]
        lines += table([(f"  {name}", f"{count:,}") for name, count in found.history.items()], right=(1,))
    lines += _by_frequency("different, by field", found.different_fields, {}, None, look)
    lines += _by_frequency("refused by the destination", found.refused_by_reason, {}, None, look)
    lines += ["", *(line for note in found.notes for line in of_note(note, look))] if found.notes else []
    lines += (
        ["", *(line for name, path in found.files.items() for line in of_file(name, path, look))] if found.files else []
    )
    return "\n".join(lines)


def _conclusion(found: Verification, look: Look) -> str:
    refused = found.counts.get("refused", 0)
    if found.equal:
        return look.good("no differences")
    if not found.differs:
        return look.doubtful(f"no differences, but the destination refuses {counted(refused, 'customer')}")
    return look.bad("differences found")


def of_passage(here: str, there: str, passage: Passage, look: Look = PLAIN) -> list[str]:
    """Return what happens to customers of a provider that are written to another one and read back."""
    sections = (
        (f"lost on the way {here} → {there} → {here}", passage.lost),
        (f"kept at {there} (no native field)", passage.kept),
        (f"required by {there}; records that violate it are refused", passage.demanded),
    )
    lines: list[str] = []
    for title, losses in sections:
        rows = [(loss.field, loss.why) for loss in losses] or [("nothing", "")]
        lines += [*([""] if lines else []), *_titled(visible(title), look), *table(rows, (), look.width)]
    return lines

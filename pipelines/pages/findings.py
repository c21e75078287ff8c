"""The part of a page about single records: rejects, refusals, warnings, merges and changes, each kind with samples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tranship.pipelines.pages.customers import Change
from tranship.pipelines.pages.markup import (
    NOTHING,
    Html,
    cut,
    facts,
    joined,
    link,
    section,
    sentences,
    table,
    tag,
)
from tranship.pipelines.pages.samples import Merge, Reject, Warned
from tranship.pipelines.report import Report, split_warnings
from tranship.schemas.counted import counted
from tranship.schemas.faults import sentence

MOST_KINDS: Final = 40
"""Reasons with samples; of further ones, only the counts are shown."""
_COLUMNS: Final = 8
"""Columns of a rejected record that are shown."""
_LINE: Final = 200
_WHO: Final = ("external_id", "email", "name", "updated_at")
_CODE: Final = re.compile(r"[a-z_0-9]+\.[a-z_]+")


def by_frequency(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the names that occur, the most frequent first."""
    return sorted(((name, count) for name, count in counts.items() if count), key=lambda row: (-row[1], row[0]))


def rejected(report: Report, samples: Mapping[str, Sequence[Reject]]) -> Html:
    """Return the rejects by reason, with samples in which the values at fault are marked."""
    files = [
        joined([label, ": ", linked(report, name)])
        for name, label in (("rejects", "All rejected lines, with reasons"),)
        if name in report.files
    ]
    reasons = _reasons(report.rejects_by_code, report, {code: map(_reject, found) for code, found in samples.items()})
    title = f"Rejected: {counted(report.counts.rejected, 'record')}"
    several = tag("small", "A record with several faults is counted under each.")
    is_more = sum(report.rejects_by_code.values()) > report.counts.rejected
    return section(
        title, *([tag("p", joined(files, " · "))] if files else []), reasons, several if is_more else NOTHING,
        anchor="rejected",
    ) if reasons else NOTHING  # fmt: skip


def _reasons(counts: Mapping[str, int], report: Report, samples: Mapping[str, Iterable[Html]]) -> Html:
    parts = []
    ordered = by_frequency(counts)
    for code, count in ordered[:MOST_KINDS]:
        said = sentence(code) if _CODE.fullmatch(code) else ""
        first = report.examples.get(code)
        shown = [*samples.get(code, ())]
        place = [tag("p", tag("small", f"first: {first}"))] if first and not shown else []
        title = tag("h3", f"{count:,} × ", tag("code", code))
        parts.append(tag("div", title, *([tag("p", sentences(said))] if said else []), *shown, *place, class_="reason"))
    further = table(
        ("reason", "records", "first"),
        ([tag("code", code), f"{count:,}", report.examples.get(code, "")] for code, count in ordered[MOST_KINDS:]),
        (1,),
    )
    return joined([*parts, further])


def _reject(found: Reject) -> Html:
    place = tag("small", found.place)
    if found.text is not None:
        return tag("div", place, tag("div", tag("mark", cut(found.text, _LINE), class_="value")), class_="sample")
    pairs = [
        tag("span", tag("small", f"{cut(name, 40)} "), _value(value, marked=name in found.at_fault), class_="pair")
        for name, value in found.columns[:_COLUMNS]
    ]
    more = len(found.columns) - _COLUMNS
    rest = [tag("small", f"and {counted(more, 'more column')}")] if more > 0 else []
    return tag("div", place, tag("div", joined([*pairs, *rest], " ")), class_="sample")


def _value(value: str | None, *, marked: bool = False) -> Html:
    shown = "(empty)" if value in (None, "") else cut(value) if value.strip() else "(blank)"
    return tag("mark" if marked else "span", shown, class_="value")


def refused(counts: Mapping[str, int], names: Mapping[str, Sequence[str]], title: str) -> Html:
    """Return the records that the destination does not accept, by reason, with the names of some."""
    rows = []
    for reason, count in by_frequency(counts):
        # The reasons of a provider are counted by their first word.
        of_reason = next((found for given, found in names.items() if given == reason or given.startswith(reason)), ())
        rows.append([tag("span", reason), f"{count:,}", tag("span", "; ".join(cut(name) for name in of_reason))])
    return section(title, table(("reason", "records", "such as"), rows, (1,)), anchor="refused")


def warned(report: Report, samples: Mapping[str, Sequence[Warned]]) -> Html:
    """Return the warnings by code, those about values that were left out first."""
    shown = {code: _all_warned(found) for code, found in samples.items()}
    parts = []
    for title, counts in zip(
        ("Invalid values, left empty and kept in metadata", "Loaded, but should be reviewed"),
        split_warnings(report),
        strict=True,
    ):
        reasons = _reasons(counts, report, shown)
        parts += [tag("p", title, class_="soft"), reasons] if reasons else []
    return section(f"Warnings: {report.counts.warnings:,}", *parts, anchor="warnings") if parts else NOTHING


def _all_warned(found: Sequence[Warned]) -> list[Html]:
    with_value = [
        tag("div", tag("small", one.place), " ", tag("mark", cut(one.value), class_="value"), class_="sample")
        for one in found
        if one.value
    ]
    places = [one.place for one in found if not one.value]
    return [*with_value, *([tag("p", tag("small", f"such as {'; '.join(places)}"))] if places else [])]


def fixed(report: Report) -> Html:
    """Return what has become of the rejects since they were corrected."""
    if report.fixes is None:
        return NOTHING
    found = report.fixes
    fates = (
        (found.loaded, "corrected and loaded"),
        (found.dropped, "dropped on purpose"),
        (found.left_out, "corrected, and left out by a filter, or older than the destination"),
        (found.failed, "sent to the provider without success: retry the run below"),
        (found.open, "open"),
    )
    rows = facts((f"{count:,}", meaning) for count, meaning in fates if count)
    by_code = table(
        ("open, by reason", "records"), ((tag("code", code), f"{n:,}") for code, n in found.open_by_code.items()), (1,)
    )
    runs = tag("p", tag("small", f"loaded by {', '.join(found.runs)}"))
    return section(f"Corrected since: {counted(found.records, 'reject')}", rows, by_code, runs, anchor="fixed")


def corrected(counts: Mapping[str, int]) -> Html:
    """Return the number of values that each rule of `--corrections` has corrected."""
    rows = [(rule, f"{count:,}") for rule, count in by_frequency(counts)]
    return section("Values corrected by --corrections", table(("rule", "values"), rows, (1,)), anchor="corrected")


def merged(report: Report, samples: Mapping[str, Sequence[Merge]], survivor: str) -> Html:
    """Return the merges by rule, with one of each: both records, and why one of them was used."""
    parts = []
    for rule, count in by_frequency(report.merges_by_rule):
        parts.append(tag("h3", f"{count:,} by {rule}"))
        for merge in samples.get(rule, ()):
            places = tag("p", tag("small", f"used: {merge.survivor_place}; merged into it: {merge.loser_place}"))
            rows = table(("field", "used", "merged"), _differing(merge))
            parts += [tag("p", _why(merge, survivor)), places, rows, *_alone(merge)]
    return section(f"Merged: {counted(report.counts.merged, 'record')}", *parts, anchor="merged")


def _differing(merge: Merge) -> list[tuple[Html, Html, Html]]:
    """Return a row for each field that identifies the customer, or has two values."""
    rows = []
    for name, used in merge.survivor.items():
        other = merge.loser.get(name)
        if (used and other and used != other) or (name in _WHO and (used or other)):
            rows.append((tag("code", name), _value(used), _value(other)))
    return rows


def _alone(merge: Merge) -> list[Html]:
    """Return sentences on the fields that only one of the records has."""
    pairs = [(name, used, merge.loser.get(name)) for name, used in merge.survivor.items() if name not in _WHO]
    only = {
        "used": [name for name, used, other in pairs if used and not other],
        "merged": [name for name, used, other in pairs if other and not used],
    }
    return [
        tag("p", tag("small", f"only in the {side} record: {', '.join(names)}"))
        for side, names in only.items()
        if names
    ]


def _why(merge: Merge, survivor: str) -> str:
    if survivor != "newest":
        return f"The record read {survivor} was used (--survivor {survivor})."
    used, other = merge.survivor.get("updated_at"), merge.loser.get("updated_at")
    if used and other and used != other:
        return f"The newer record was used: updated_at {used} is later than {other}."
    if used and not other:
        return f"The record with an updated_at ({used}) was used; the other has none."
    return "Both have the same updated_at, or none: the record read last was used."


def changed(counts: Mapping[str, int], samples: Mapping[str, Sequence[Change]]) -> Html:
    """Return the changed fields, with values before and after."""
    rows = []
    for field, count in by_frequency(counts):
        shown = samples.get(field, ())
        rows.append([tag("code", field), f"{count:,}", tag("div", *(_change(change) for change in shown))])
    return section("Changed fields", table(("field", "customers", "such as"), rows, (1,)), anchor="changed")


def _change(change: Change) -> Html:
    return tag(
        "div",
        tag("small", f"{cut(change.customer)}: "),
        before_and_after(change.before, change.after),
        class_="sample",
    )


def before_and_after(before: str | None, after: str | None) -> Html:
    """Return two values, the former one crossed out. An empty one is shown as such."""
    return tag("span", tag("del", _value(before)), " → ", tag("ins", _value(after)))


def lost(losses: Mapping[str, str]) -> Html:
    """Return the fields that the destination does not keep, or keeps elsewhere."""
    rows = [(tag("code", field), fate) for field, fate in losses.items()]
    return section("What is lost or kept elsewhere", table(("field", "at the destination"), rows), anchor="losses")


def listed_files(report: Report, labels: Mapping[str, str]) -> Html:
    """Return links to the files of the run, name → label."""
    return facts((label, linked(report, name)) for name, label in labels.items() if name in report.files)


def linked(report: Report, name: str, label: str | None = None) -> Html:
    """Return a link to a file in the directory of the run, or the path of one that is elsewhere."""
    file = Path(report.files[name])
    if not file.is_relative_to(report.run_dir):
        return tag("code", report.files[name])
    place = file.relative_to(report.run_dir).as_posix()
    return link(place, label or place)

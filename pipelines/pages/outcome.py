"""The first part of a page: how the run ended, what to do next, and what happened to the records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tranship.pipelines.exit_codes import EXIT_CODES
from tranship.pipelines.next_steps import NextStep
from tranship.pipelines.pages import charts, frame
from tranship.pipelines.pages.markup import NOTHING, Html, command, facts, joined, link, listed, section, tag
from tranship.pipelines.report import OLDER, Report, status_text, withheld
from tranship.schemas.counted import counted

FATES: Final = (
    *("created", "updated", "unchanged", "merged", "skipped", "stale", "rejected", "refused", "unknown", "left"),
)
"""In the order of the page. They add up to the records read."""
MEANINGS: Final = {
    "created": "new at the destination",
    "updated": "changed at the destination",
    "unchanged": "equal at the destination",
    "merged": "another record of the same customer was used",
    "skipped": "left out by a filter",
    "stale": "not written, because the destination has something newer",
    "rejected": "broke a rule; not loaded",
    "refused": "not accepted by the destination",
    "unknown": "sent, outcome unknown",
    "left": "not processed yet",
    "deleted": "customers deleted at the destination, or marked as deleted",
    "withheld": "deletes that were not carried out",
    "warnings": "loaded, but should be reviewed",
}


def conclusion(report: Report, started: str) -> Html:
    """Return how the run ended in one sentence, with the meaning of its exit code."""
    kind, sentence = _sentence(report)
    meaning = EXIT_CODES.get(report.exit_code, "")
    error = [report.error] if report.error and report.error not in sentence else []
    took = f"Started {started} UTC, took {_duration(report.seconds.get('total', 0))}. Run {report.run_id}."
    return frame.verdict(kind, sentence, *error, f"Exit code {report.exit_code}: {meaning}.", took)


def _duration(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds < 120 else f"{seconds / 60:,.1f} min"


def _sentence(report: Report) -> tuple[str, str]:
    counts, status = report.counts, report.status
    changes = f"{counts.created:,} created, {counts.updated:,} updated" + (
        f", {counts.deleted:,} deleted" if counts.deleted else ""
    )
    if status == "failed":
        return "bad", f"Failed. {report.error or ''}".rstrip()
    if status == "stopped":
        return "bad", f"Stopped by a limit before the first write. {report.error or ''}".rstrip()
    if report.dry_run:
        return ("warn" if counts.rejected or counts.refused else "good"), (
            f"Nothing was written: this is what would be done. Of {counted(counts.read, 'record')}: {changes}, "
            f"{counts.unchanged:,} unchanged, {counts.rejected:,} rejected, {counts.refused:,} refused."
        )
    if status == "partly_done":
        return "warn", f"Partly done: {changes}; {counted(counts.left, 'record')} left to process."
    lost = {name: getattr(counts, name) for name in ("rejected", "refused", "unknown")}
    missing = ", ".join(f"{count:,} {name}" for name, count in lost.items() if count)
    done = status_text(report)
    sentence = f"{done[0].upper()}{done[1:]}: {changes}, {counts.unchanged:,} unchanged"
    sentence += f"; {missing} of {counted(counts.read, 'record')}." if missing else "."
    return ("good" if report.exit_code == 0 and not counts.warnings else "warn"), sentence


def to_do(steps: Iterable[NextStep], report: Report) -> Html:
    """Return what to do next, with the commands to copy."""
    entries = []
    if report.counts.withheld:
        entries.append(tag("p", f"Withheld: {withheld(report)}"))
    for step in steps:
        purpose = f"{step.purpose[0].upper()}{step.purpose[1:]}"
        if step.file is not None:
            entries.append(tag("p", "The file to edit: ", link(Path(step.file).name, Path(step.file).name), "."))
        entries.append(tag("p", f"{purpose}:" if step.command else f"{purpose}."))
        entries += [command(step.command)] if step.command else []
    return section("What to do next", *entries, anchor="next")


def ways(report: Report) -> Html:
    """Return the fate of every record, as a picture and as a sum, and the counts that are not part of it."""
    counts = dataclasses.asdict(report.counts)
    fates = {name: counts[name] for name in FATES}
    others = [name for name in ("deleted", "withheld", "warnings") if counts[name]]
    meanings = facts((f"{counts[name]:,} {name}", _meaning(name, report)) for name in (*fates, *others) if counts[name])
    return section(
        "Every record, and what happened to it", *picture(report.counts.read, fates), meanings, anchor="records"
    )


def picture(read: int, fates: Mapping[str, int]) -> list[Html]:
    """Return the fates of the records that were read, which add up, as a picture and as a sum."""
    total = " + ".join(f"{count:,} {name}" for name, count in fates.items() if count)
    return [charts.flow(read, fates), tag("p", f"{read:,} read = {total}", class_="balance") if total else NOTHING]


def _meaning(name: str, report: Report) -> str:
    details = {
        "merged": [f"{count:,} by {rule}" for rule, count in report.merges_by_rule.items() if count],
        "stale": [
            f"{count:,} {'older than the destination' if why == OLDER else why}"
            for why, count in report.stale_by_reason.items()
        ],
    }.get(name, [])
    return MEANINGS[name] + (f" ({', '.join(details)})" if details else "")


def notes(report: Report) -> Html:
    """Return the notes of the run."""
    return section("Notes", listed(report.notes), anchor="notes") if report.notes else NOTHING


def heading(title: str, report: Report) -> Html:
    """Return the head of a page: its title, and the two ends of the run."""
    return joined([tag("h1", title), tag("p", f"{report.source} → {report.destination}", class_="soft")])

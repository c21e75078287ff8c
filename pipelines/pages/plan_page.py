"""plan.html: what a saved plan would do, to review and to sign; after it was applied, also how far."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from tranship.connectors.contract import Effort
from tranship.pipelines.masks import Masks
from tranship.pipelines.pages import customers, findings, frame, operation, outcome, traffic
from tranship.pipelines.pages.customers import Planned
from tranship.pipelines.pages.markup import (
    NOTHING,
    Html,
    command,
    cut,
    facts,
    joined,
    link,
    section,
    table,
    tag,
)
from tranship.pipelines.pages.run_report import Reader, started
from tranship.pipelines.pages.traffic import Interval, Traffic, duration
from tranship.pipelines.plan_digest import SHOWN
from tranship.pipelines.report import Report
from tranship.pipelines.run_directory import APPLY_STEP, PLAN_STEP, RunDirectory
from tranship.schemas.counted import counted

_CONTENTS: Final = {
    "next": "Next",
    "records": "Records",
    "refused": "Refused",
    "losses": "Lost or kept elsewhere",
    "changed": "Changed fields",
    "samples": "Customers",
    "effort": "Calls and time",
    "limits": "Limits",
    "notes": "Notes",
    "signature": "Signature",
    "settings": "Settings",
    "files": "Files",
}
_FILES: Final = {
    "page": "the report: rejects, warnings, merges, columns",
    "changes": "every change, with new values",
    "rejects": "rejected lines, with reasons",
    "stale": "older than the destination",
    "plan": "planned action for each record",
}
_ACTIONS: Final = {"update": "Update", "create": "Create", "refused": "Refuse", "delete": "Delete"}


def plan_page(report: Report, directory: RunDirectory) -> str:
    """Return the page of a plan in its own folder."""
    folder, manifest, reader = directory.path, directory.manifest, Reader()
    planned = directory.done(PLAN_STEP) or {}
    counts: dict[str, int] = planned.get("counts", {})
    values = manifest["settings"].get("report_samples", "on") == "on"
    sent = traffic.read(folder, report.run_id)
    effort = Effort(**planned["effort"]) if planned.get("effort") else None
    losses: dict[str, str] = planned.get("losses", {})
    nobody: list[Planned] = []
    masks = Masks.of(manifest["settings"].get("mask") or {})
    nothing: dict[str, Any] = {}
    shown = reader.read("the customers", nobody, customers.planned, folder, masks) if values else nobody
    names = (
        reader.read("the refusals", nothing, _refusals, folder, masks) if values and counts.get("refused") else nothing
    )
    changes = (
        reader.read("the changes", nothing, customers.changes, folder, masks)
        if values and counts.get("update")
        else nothing
    )
    body = [
        outcome.heading(f"Plan {report.run_id}", report),
        _verdict(report, directory, counts),
        _to_do(report, directory, is_provider=effort is not None),
        section("Every record, and what is planned for it", *_ways(report, counts), anchor="records"),
        findings.refused(
            masks.reasons(_refused_by_plan(reader, folder, counts)), names, "Refused: these customers will be missing"
        ),
        findings.lost(losses),
        findings.changed(planned.get("changed_fields", {}), changes),
        _customers(shown, losses),
        _effort(effort, counts, sent, report),
        _limits(report, manifest["settings"], counts, planned.get("existing", 0)),
        outcome.notes(report),
        _signature(report),
        operation.settings(manifest),
        section("Files", findings.listed_files(report, _FILES), anchor="files"),
        tag("footer", reader.note()),
    ]
    return frame.page(f"Plan {report.run_id}: {report.source}", *body, contents=_CONTENTS)


def _refusals(folder: Path, masks: Masks) -> dict[str, list[str]]:
    return customers.refused(folder, masks, by_plan=True)


def _verdict(report: Report, directory: RunDirectory, counts: Mapping[str, int]) -> Html:
    will = (
        f"{counts.get('create', 0):,} to create, {counts.get('update', 0):,} to update, "
        f"{counts.get('delete', 0):,} to delete; {counts.get('unchanged', 0):,} stay as they are"
    )
    out = {"rejected": report.counts.rejected, "refused": counts.get("refused", 0)}
    missing = ", ".join(f"{count:,} {name}" for name, count in out.items() if count)
    sentence = f"{will}{f'; {missing}' if missing else ''}."
    made = f"Made {started(directory.manifest)} UTC. Run {report.run_id}."
    if report.status in ("failed", "stopped"):
        return frame.verdict("bad", f"This plan cannot be applied: {report.error}", sentence, made)
    if directory.done(APPLY_STEP) is not None:
        return frame.verdict("good", "This plan has been applied.", f"It was: {sentence}", made)
    if directory.has_begun_to_write:
        left = counted(report.counts.left, "record")
        return frame.verdict("warn", f"This plan has been applied in part: {left} left.", f"It was: {sentence}", made)
    kind = "warn" if missing or counts.get("delete") else "good"
    return frame.verdict(kind, sentence, "Nothing has been written yet.", made)


def _to_do(report: Report, directory: RunDirectory, *, is_provider: bool) -> Html:
    if not report.plan_digest or directory.done(APPLY_STEP) is not None or report.status in ("failed", "stopped"):
        return NOTHING
    expected = f"{directory.command('apply')} --expect {report.plan_digest[:SHOWN]}"
    first = [tag("p", "Apply the first ten, and look at them at the destination:"), command(f"{expected} --limit 10")]
    begun = directory.has_begun_to_write
    return section(
        "What to do next",
        tag("p", "The digest of this plan. If anything in it changes, it is another one, and the command refuses it:"),
        tag("p", tag("code", report.plan_digest, class_="digest")),
        *(first if is_provider and not begun else []),
        tag("p", "Continue it:" if begun else "Apply it:"),
        command(expected),
        anchor="next",
    )


def _ways(report: Report, counts: Mapping[str, int]) -> list[Html]:
    ambiguous = counts.get("ambiguous", 0)
    fates = {
        **{"created": counts.get("create", 0), "updated": counts.get("update", 0)},
        **{"unchanged": counts.get("unchanged", 0), "merged": report.counts.merged, "skipped": report.counts.skipped},
        **{"stale": counts.get("stale", 0), "rejected": report.counts.rejected, "refused": counts.get("refused", 0)},
    }
    if report.counts.read != sum(fates.values()) + (0 if report.counts.rejected else ambiguous):
        return []
    deletes = counts.get("delete", 0)
    gone = f"{counted(deletes, 'customer')} that the source no longer has would be deleted."
    more = tag("p", "Rejects, warnings, merges and columns are in ", link("report.html", "the report"), ".")
    return [*outcome.picture(report.counts.read, fates), *([tag("p", gone)] if deletes else []), more]


def _refused_by_plan(reader: Reader, folder: Path, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the reasons of the plan, most frequent first; those of an apply are on the page of the run."""
    if not counts.get("refused"):
        return {}
    plan = pl.scan_parquet(folder / "plan.parquet", glob=False).filter(pl.col("action") == "refused")
    counted_reasons = plan.group_by("reason").len()
    return reader.read("the refusals", {}, lambda: dict(counted_reasons.collect().iter_rows()))


def _customers(shown: list[Planned], losses: Mapping[str, str]) -> Html:
    parts = []
    for one in shown:
        title = f"{_ACTIONS[one.action]}: {cut(customers.name_of(one.after or one.before))}"
        parts.append(tag("div", tag("h3", title), _fields(one, losses), class_="reason"))
    return section("Some customers, field by field", *parts, anchor="samples")


def _fields(one: Planned, losses: Mapping[str, str]) -> Html:
    if one.action == "delete":
        return tag("p", "Known as ", ", ".join(f"{name} {value}" for name, value in one.before.items() if value), ".")
    rows = []
    for name, value in one.after.items():
        former = one.before.get(name)
        if name in one.changed:
            rows.append((tag("code", name), findings.before_and_after(former, value)))
        elif value:
            fate = [tag("small", f" {losses[name]}")] if name in losses else []
            rows.append((tag("code", name), tag("span", tag("span", cut(value), class_="value"), *fate)))
    reason = [tag("p", f"Reason: {one.reason}")] if one.reason else []
    heads = ("field", "before → after" if one.action == "update" else "value")
    return joined([*reason, table(heads, rows)])


def _effort(effort: Effort | None, counts: Mapping[str, int], sent: Traffic, report: Report) -> Html:
    if effort is None or not effort.writes:
        return NOTHING
    rows = sum(counts.get(action, 0) for action in ("create", "update", "delete"))
    left = traffic.remaining(effort, rows, sent)
    pace = f"{effort.per_second:,.3g} calls/s" if effort.per_second else "none is declared"
    known = [
        ("calls needed", f"{effort.writes + effort.reads:,}: {effort.writes:,} that write, {effort.reads:,} look-ups"),
        ("limit", pace),
    ]
    if sent.rows:
        calls = counted(sent.requests, "call")
        known.append(("so far", f"{sent.rows:,} of {counted(rows, 'customer')}, {calls}, {duration(sent.seconds)}"))
    if left is not None:
        known.append(("time for the rest" if sent.rows else "time", _interval(left)))
    elif not sent.rows:
        known.append(("time", "unknown until some are written: apply the first ten"))
    return section("Calls and time", facts(known), anchor="effort") if report.plan_digest else NOTHING


def _interval(left: Interval) -> str:
    least, most = duration(left.least), duration(left.most)
    return f"about {least} ({left.reason})" if least == most else f"{least} to {most} ({left.reason})"


def _limits(report: Report, settings: Mapping[str, Any], counts: Mapping[str, int], existing: int) -> Html:
    """Return the limits that stop a run before its first write, and what they are compared with."""
    records = report.counts.read - report.counts.skipped
    conflicts = report.warnings_by_code.get("external_id.conflict", 0)
    rows = [
        (f"--{name}", str(settings.get(name.replace("-", "_")) or "no limit"), f"{count:,}", f"{of:,} {noun}")
        for name, count, of, noun in (
            ("max-rejects", report.counts.rejected, records, "records"),
            ("max-warnings", report.counts.warnings, records, "records"),
            ("max-conflicts", conflicts, records, "records"),
            ("max-changes", counts.get("update", 0), existing, "customers there"),
            ("max-deletes", counts.get("delete", 0), existing, "customers there"),
        )
    ]
    return section("Limits", table(("limit", "set to", "in this plan", "of"), rows, (2,)), anchor="limits")


def _signature(report: Report) -> Html:
    if not report.plan_digest:
        return NOTHING
    lines = [tag("p", name, tag("span", "\u00a0"), class_="rule") for name in ("Name", "Date", "Signature")]
    said = tag("p", "I have reviewed the plan with the digest ", tag("code", report.plan_digest), ".")
    return section("Signature", tag("div", said, *lines, class_="sign"), anchor="signature")

"""migration.html: what a run to a provider has done, what is left, and the proof by reading everything back."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from tranship.connectors import durable
from tranship.connectors.errors import Damaged
from tranship.pipelines import next_steps
from tranship.pipelines.encryption.marks import encrypted_later, encrypted_name
from tranship.pipelines.masks import Masks
from tranship.pipelines.next_steps import NextStep
from tranship.pipelines.pages import charts, customers, findings, frame, operation, outcome, traffic
from tranship.pipelines.pages.charts import Point
from tranship.pipelines.pages.markup import (
    NOTHING,
    Html,
    command,
    facts,
    link,
    section,
    table,
    tag,
)
from tranship.pipelines.pages.run_report import Reader, started
from tranship.pipelines.pages.traffic import Traffic, duration
from tranship.pipelines.report import Report
from tranship.pipelines.run_directory import PLAN_STEP, RunDirectory
from tranship.pipelines.verify import VERIFICATION
from tranship.schemas.counted import counted

_CONTENTS: Final = {
    "proof": "Proof",
    "next": "Next",
    "records": "Records",
    "left": "What is left",
    "refused": "Refused",
    "ids": "Ids",
    "losses": "Lost or kept elsewhere",
    "traffic": "Requests",
    "notes": "Notes",
    "settings": "Settings",
    "files": "Files",
}
_FILES: Final = {
    "page": "the report: rejects, warnings, merges, columns",
    "plan_page": "the plan that was applied",
    "successful": "customers that were written",
    "failed": "customers that failed, with reasons",
    "unprocessed": "customers that are not processed yet",
    "crosswalk": "map of ids",
    "rejects": "rejected lines, with reasons",
}


_SERIES: Final = (("customers", 1, "good"), ("repeated requests", 3, "warn"), ("answers with 429", 4, "bad"))
"""Name, place in a point of `traffic.Process`, and colour."""


class Proof(Struct, frozen=True):
    """The result of the last `tranship verify` of a run (`pipelines.verify.VERIFICATION`)."""

    run_id: str
    verified_at: datetime
    counts: dict[str, int]
    different_fields: dict[str, int] = {}
    refused_by_reason: dict[str, int] = {}
    all_equal: bool = False

    @property
    def differences(self) -> int:
        """The customers that differ, or are on one side only; those that the destination refuses do not count."""
        return sum(self.counts.get(name, 0) for name in ("different", "only_in_source", "only_at_destination"))


def migration_page(report: Report, directory: RunDirectory) -> str:
    """Return the page of a run to a provider that has begun to write."""
    folder, manifest, reader = directory.path, directory.manifest, Reader()
    values = manifest["settings"].get("report_samples", "on") == "on"
    sent = traffic.read(folder, report.run_id)
    proof = _proof_of(folder, report.run_id)
    nothing: dict[str, Any] = {}
    masks = Masks.of(manifest["settings"].get("mask") or {})
    names = reader.read("the refusals", nothing, customers.refused, folder, masks) if values else nothing
    planned = directory.done(PLAN_STEP) or {}
    body = [
        outcome.heading(f"Migration {report.run_id}", report),
        _verdict(report, proof, sent, started(manifest)),
        _proof(proof, sent, directory),
        outcome.to_do(_steps(report, directory, proof), report),
        outcome.ways(report),
        _left(report, directory),
        findings.refused(report.refused_by_reason, names, "Refused: these customers are missing"),
        _ids(report, folder, masks, reader, values=values),
        findings.lost(planned.get("losses", {})),
        _traffic(sent),
        outcome.notes(report),
        operation.settings(manifest),
        section("Files", findings.listed_files(report, _FILES), anchor="files"),
        tag("footer", reader.note()),
    ]
    return frame.page(f"Migration {report.run_id}: {report.source}", *body, contents=_CONTENTS)


def _proof_of(folder: Path, run_id: str) -> Proof | None:
    try:
        found = msgspec.convert(durable.read_json(folder / VERIFICATION), Proof)
    except (FileNotFoundError, Damaged, msgspec.ValidationError):
        return None
    return found if found.run_id == run_id else None


def _is_outdated(proof: Proof, sent: Traffic) -> bool:
    """Whether something was written after the proof."""
    return any(datetime.fromisoformat(process.began) > proof.verified_at for process in sent.processes)


def _verdict(report: Report, proof: Proof | None, sent: Traffic, began: str) -> Html:
    counts = report.counts
    written = f"{counts.created:,} created, {counts.updated:,} updated, {counts.unchanged:,} were there already"
    written += f", {counts.deleted:,} deleted" if counts.deleted else ""
    lost = {name: getattr(counts, name) for name in ("refused", "stale", "unknown", "left", "rejected")}
    missing = ", ".join(f"{count:,} {name}" for name, count in lost.items() if count)
    sentence = f"{written}{f'; {missing}' if missing else ''}."
    when = f"Started {began} UTC, took {duration(sent.seconds)} to write. Run {report.run_id}."
    if report.status == "failed":
        return frame.verdict("bad", f"Broken off. {report.error or ''}".strip(), sentence, when)
    kind = "good" if proof and proof.differences == 0 and not missing else "warn"
    return frame.verdict(kind, sentence, _proven(proof, sent), when)


def _proven(proof: Proof | None, sent: Traffic) -> str:
    if proof is None:
        return "Not verified yet."
    if _is_outdated(proof, sent):
        return "Verified before the last customers were written: verify again."
    equal = f"{counted(proof.counts.get('equal', 0), 'customer')} equal"
    return f"Verified by reading everything back: {equal}, {proof.differences:,} different or missing."


def _proof(proof: Proof | None, sent: Traffic, directory: RunDirectory) -> Html:
    """Return what the last comparison of all customers with the destination has found."""
    if proof is None:
        return section(
            "Proof",
            tag(
                "p", "Nothing has been verified yet. Both sides are compared, customer by customer and field by field:"
            ),
            command(directory.command("verify")),
            anchor="proof",
        )
    when = f"Verified {proof.verified_at:%Y-%m-%d %H:%M:%S} UTC: both sides were read and compared field by field."
    result = "There are differences." if proof.differences else "There are no differences."
    if not proof.differences and (refused := proof.counts.get("refused")):
        result = f"There are no differences, but the destination refuses {counted(refused, 'customer')}."
    differences = directory.path / "differences.csv"
    name = Path(encrypted_later(directory, str(differences))).name
    is_there = encrypted_name(differences).exists()
    listed = [tag("p", link(name, "Differences and refusals, one by one"))] if is_there else []
    outdated = [
        tag("p", tag("strong", "Something was written after that: verify again.")),
        command(directory.command("verify")),
    ]
    return section(
        "Proof",
        tag("p", tag("strong", result), f" {when}"),
        *(outdated if _is_outdated(proof, sent) else []),
        table(
            ("customers", "number"),
            ((name.replace("_", " "), f"{count:,}") for name, count in proof.counts.items()),
            (1,),
        ),
        table(
            ("field that differs", "customers"),
            ((tag("code", name), f"{count:,}") for name, count in findings.by_frequency(proof.different_fields)),
            (1,),
        ),
        *listed,
        anchor="proof",
    )


def _steps(report: Report, directory: RunDirectory, proof: Proof | None) -> list[NextStep]:
    verify = NextStep("verify by reading everything back", directory.command("verify"))
    done = report.status in ("done", "done_with_rejects")
    return [*next_steps.of(report, directory), *([verify] if done and proof is None else [])]


def _left(report: Report, directory: RunDirectory) -> Html:
    """Return the customers that are not at the destination as they should be, with what can be done about them."""
    counts = report.counts
    again, resume = directory.command("retry"), directory.go_on
    rows = [
        (name, f"{count:,}", advice)
        for name, count, advice in (
            ("not processed yet", counts.left, tag("code", resume)),
            ("outcome unknown", counts.unknown, tag("code", again)),
            ("changed there meanwhile", report.stale_by_reason.get("changed since the plan", 0), tag("code", again)),
            ("refused", counts.refused, f"correct them at the source, or retry: {again}"),
            ("rejected", counts.rejected, "correct them at the source"),
        )
        if count
    ]
    everything = tag("p", "Nothing: every customer of the source is at the destination.")
    return section("What is left", table(("", "records", "what to do"), rows, (1,)) or everything, anchor="left")


def _ids(report: Report, folder: Path, masks: Masks, reader: Reader, *, values: bool) -> Html:
    """Return the map from old to new ids, with a few of them."""
    if "crosswalk" not in report.files:
        return NOTHING
    nothing: list[tuple[str, ...]] = []
    rows = reader.read("the map of ids", nothing, customers.crosswalk, folder, masks) if values else nothing
    return section(
        "Old and new ids",
        tag(
            "p",
            findings.linked(report, "crosswalk"),
            " has the id at the source, the external id and the id at the destination.",
        ),
        table(("source id", "external id", "destination id"), rows),
        anchor="ids",
    )


def _traffic(sent: Traffic) -> Html:
    """Return the requests, and the cost of repeated and of throttled ones, over time."""
    if not sent.requests:
        return NOTHING
    known = facts(
        (
            ("requests", f"{sent.requests:,}, for {counted(sent.rows, 'customer')}"),
            ("repeated", f"{sent.repeated:,} ({_share(sent.repeated, sent.requests)} of all)"),
            ("answers with 429", f"{sent.throttled:,}, which cost {duration(sent.waited)} of waiting"),
            ("time", f"{duration(sent.seconds)}, {_share_of_time(sent)} of it waiting after a 429"),
        )
    )
    pictures = [part for number in range(len(sent.processes)) for part in _over_time(sent, number)]
    return section("Requests over time", known, *pictures, anchor="traffic")


def _over_time(sent: Traffic, number: int) -> list[Html]:
    process = sent.processes[number]
    total = process.points[-1][0] if process.points else 0
    if not total:
        return []
    began = f"{datetime.fromisoformat(process.began):%Y-%m-%d %H:%M:%S} UTC, {duration(total)}"
    cards = []
    for name, at, class_ in (
        ("customers", 1, "good"),
        ("repeated requests", 3, "warn"),
        ("answers with 429", 4, "bad"),
    ):
        values = sent.per_column(number, at)
        step = total / len(values)
        points = [
            Point(value, f"{duration(place * step)}: {value:,.0f} in {duration(step)}", class_)
            for place, value in enumerate(values)
        ]
        label = f"{name} over time, {sum(values):,.0f} in {duration(total)}"
        said = f"{sum(values):,.0f}"
        drawn = charts.columns(points, label)
        cards.append(tag("div", tag("small", name), tag("strong", said), drawn, class_="card"))
    title = f"Process {number + 1}: {began}" if len(sent.processes) > 1 else began
    return [tag("p", tag("small", title)), tag("div", *cards, class_="cards")]


def _share(count: int, whole: int) -> str:
    return f"{count / whole * 100:.1f} %"


def _share_of_time(sent: Traffic) -> str:
    return f"{min(sent.waited / sent.seconds, 1) * 100:.0f} %" if sent.seconds else "0 %"

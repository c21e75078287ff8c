"""The report of a run: assembled from the results of its steps, and written to its directory."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from pathlib import Path

from msgspec import Struct

from tranship.connectors import durable
from tranship.connectors.addresses import redacted
from tranship.connectors.contract import Outcomes, Plan
from tranship.connectors.errors import ConfigError, ConnectorError, TranshipError
from tranship.pipelines import report
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.masks import Masks
from tranship.pipelines.matching import OURS
from tranship.pipelines.observer import Observer
from tranship.pipelines.plan_digest import digest_of
from tranship.pipelines.report import Counts, Report, Status
from tranship.pipelines.run_context import RunContext, peak_memory
from tranship.pipelines.run_directory import PLAN_STEP, RunDirectory
from tranship.pipelines.step_result import StepResult
from tranship.pipelines.verify import refused_by_reason

log = logging.getLogger("tranship")


class Ending(Struct, frozen=True):
    """A run at its end. `started` is by `time.perf_counter`; `status` is null if no error ended the run."""

    started: float
    total: StepResult
    plan: Plan | None
    outcomes: Outcomes | None
    columns: ColumnMap
    raw_columns: list[str]
    written: bool = False
    """The write is complete, even if its report could not be written."""
    status: Status | None = None
    error: TranshipError | None = None


def write_report(run: RunContext, ending: Ending) -> Report:
    """Write report.json and report.html, and the status to the manifest."""
    settings, directory, total, plan = run.settings, run.directory, ending.total, ending.plan
    masks, by_column = Masks.of(settings.mask), ending.columns.by_column
    findings = run.findings.collect(ending.raw_columns, masks, by_column) if ending.status != "failed" else {}
    counts = _counts(ending)
    status = ending.status or _status(run, ending, counts)
    exit_code = ending.error.exit_code if ending.error else 4 if status == "done_with_rejects" else 0
    changed = _changed_since(ending.outcomes)
    files = {
        **total.files,
        **findings,
        **({"plan": plan.rows} if plan else {}),
        **(ending.outcomes.files if ending.outcomes else {}),
        **{"report": directory.path / "report.json", "page": directory.path / "report.html"},
        **({"plan_page": directory.path / "plan.html"} if directory.stands_alone and plan else {}),
        **({"migration_page": directory.path / "migration.html"} if _is_migration(directory, plan) else {}),
    }
    loaded = {*ending.columns.by_column, *ending.columns.extra, *OURS}
    made = Report(
        run_id=directory.run_id,
        status=status,
        exit_code=exit_code,
        dry_run=settings.dry_run,
        source=settings.source_name,
        destination=redacted(settings.destination),
        run_dir=str(directory.path),
        counts=counts,
        rejects_by_code=dict(Counter(total.by_code).most_common()),
        warnings_by_code=dict(Counter(total.warnings).most_common()),
        refused_by_reason=masks.reasons(ending.outcomes.reasons if ending.outcomes else refused_by_reason(plan)),
        stale_by_reason={
            name: count for name, count in ((report.OLDER, counts.stale - changed), (report.MOVED, changed)) if count
        },
        unidentified=plan.unidentified if plan else (),
        merges_by_rule=total.merges,
        changed_fields=dict(plan.changed_fields) if plan else {},
        corrected=dict(total.corrected),
        recognised=ending.columns.profile,
        columns=ending.columns.by_column,
        built={name: str(rule) for name, rule in ending.columns.built.items()},
        kept=ending.columns.extra,
        left_out=tuple(column for column in ending.raw_columns if column not in loaded),
        examples={code: f"{source}, line {line}" for code, (source, line) in total.first.items()},
        notes=total.notes,
        seconds={"total": round(time.perf_counter() - ending.started, 3), **run.seconds},
        peak_memory_bytes=peak_memory(),
        memory_bytes=dict(run.memory),
        files={name: str(path) for name, path in files.items()},
        plan_digest=digest_of(directory) if directory.stands_alone and directory.done(PLAN_STEP) is not None else None,
        error=str(ending.error) if ending.error else None,
    )
    try:
        _join(run)
        _save(made, run)
    except (OSError, ConnectorError):
        if status != "failed":
            raise
        # The disk may be what failed: the error is still reported, and the run remains unfinished.
    log.info("run ends", extra={"run_id": made.run_id, "status": status, "counts": dataclasses.asdict(counts)})
    return made


def _is_migration(directory: RunDirectory, plan: Plan | None) -> bool:
    """Whether something was written to a provider."""
    return directory.has_begun_to_write and plan is not None and plan.effort is not None


def _join(run: RunContext) -> None:
    """Write the report of the run whose rejects this one has loaded, or has taken back, once more, with their fates.

    This is done before the run has ended: if it dies here, it is done again.
    """
    fix = run.directory
    while "undoes" in fix.manifest and (folder := Path(fix.manifest["undoes"]["folder"])).is_dir():
        fix = RunDirectory.at(folder)
    if "fixes" not in fix.manifest:
        return
    from tranship.pipelines.fixing import fates
    from tranship.pipelines.run_list import report_of

    try:
        first = fates.fixed_by(fix)
    except ConfigError:  # it was removed, and its report with it
        return
    made = report_of(first)
    if made is not None:
        write_again(dataclasses.replace(made, fixes=fates.summary(first, run.settings.state_dir)), run.observer)


def write_again(made: Report, observer: Observer) -> None:
    """Write report.json and the pages of a run that has ended once more, with another report."""
    directory = RunDirectory.at(Path(made.run_dir))
    _write(made, directory, observer)
    directory.secure()
    directory.keep()


def write_verified(directory: RunDirectory, observer: Observer) -> None:
    """Write the page of a migration once more, after it was verified."""
    from tranship.pipelines.pages.written import write_migration_page
    from tranship.pipelines.run_list import report_of

    made = report_of(directory)
    if made is not None:
        write_migration_page(made, directory, observer)
        directory.secure()
    directory.keep()


def _write(made: Report, directory: RunDirectory, observer: Observer) -> None:
    # Most processes of a command write no report.
    from tranship.pipelines.pages.written import write_pages

    durable.write_json(directory.path / "report.json", dataclasses.asdict(made), indent=1)
    write_pages(made, directory, observer)


def _save(made: Report, run: RunContext) -> None:
    directory = run.directory
    before = directory.manifest["status"]
    directory.manifest["status"] = made.status
    try:
        _write(made, directory, run.observer)
        directory.save()
    except (OSError, ConnectorError):
        directory.manifest["status"] = before
        raise
    directory.secure()


def _status(run: RunContext, ending: Ending, counts: Counts) -> Status:
    """The status of a run that no error broke off."""
    if counts.balance():
        raise RuntimeError(f"the ledger does not balance by {counts.balance()}: {counts}")
    if counts.left:
        return "partly_done"
    failed = counts.refused + _changed_since(ending.outcomes) + counts.unknown + counts.withheld
    failed += ending.plan.partly if ending.plan else 0
    failed += ending.outcomes.counts.get("kept", 0) if ending.outcomes else 0
    covered = run.settings.max_rejects is not None and not failed
    return "done_with_rejects" if (counts.rejected or failed) and not covered else "done"


def _changed_since(outcomes: Outcomes | None) -> int:
    """Return the records that were not written because their customer was changed at the provider after the plan."""
    counts = outcomes.counts if outcomes else {}
    return counts.get("moved", counts.get("stale", 0))


def _counts(ending: Ending) -> Counts:
    total, plan = ending.total, ending.plan
    fates = Counter(ending.outcomes.counts if ending.outcomes else plan.counts if plan else {})
    failed = ending.status == "failed"
    if failed and ending.outcomes is None and not ending.written:
        # These were planned, and rolled back or never begun.
        fates -= Counter({effect: fates[effect] for effect in ("create", "update", "delete")})
    counts = Counts(
        read=total.read,
        skipped=total.skipped,
        rejected=total.rejected + fates["ambiguous"],
        merged=sum(total.merges.values()),
        created=fates["create"],
        updated=fates["update"],
        unchanged=fates["unchanged"],
        refused=fates["refused"],
        deleted=fates["delete"],
        withheld=plan.withheld if plan else 0,
        stale=fates["stale"],
        unknown=fates["unknown"],
        left=fates["left"],
        warnings=sum(total.warnings.values()),
    )
    return dataclasses.replace(counts, left=counts.left + counts.balance()) if failed else counts

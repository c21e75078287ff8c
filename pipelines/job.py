"""The run of one command: begun, or continued from its last finished step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError, Damaged
from tranship.pipelines import mapping, partial_read, profiles, same_ids, selection
from tranship.pipelines import resume as resuming
from tranship.pipelines.command_lines import about_runs
from tranship.pipelines.endpoints import open_destination
from tranship.pipelines.ends import Ends, OpenDestination, open_ends
from tranship.pipelines.expressions import Expression
from tranship.pipelines.fixing.fates import is_fix
from tranship.pipelines.flow import Flow, Input
from tranship.pipelines.observer import Observer
from tranship.pipelines.ownership import owned
from tranship.pipelines.reading import rules_of
from tranship.pipelines.report import Report
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import STAGE_STEP, RunDirectory, start_after
from tranship.pipelines.settings_model import Reading, Settings
from tranship.pipelines.undo_steps import is_undo


class Job(Struct, frozen=True):
    """One command with its settings. With `out` the run is in that folder, and no earlier run is continued."""

    settings: Settings
    observer: Observer
    now: datetime | None = None
    out: Path | None = None
    open_destination: OpenDestination = open_destination


def carry_out(job: Job) -> Report:
    """Do a run, holding the lock of the destination. Neither end is read before this process has it."""
    if job.out is not None:
        return _begin(job, continuing=False)
    try:
        return _begin(job, continuing=True)
    except Damaged as error:
        job.observer.note(_anew(error))
    return _begin(job, continuing=False)


def continue_run(job: Job, directory: RunDirectory) -> Report:
    """Continue a run that died or was interrupted, or do it again if it left nothing to continue from."""
    settings = job.settings
    with owned(settings, job.observer, directory, resuming.check_left_to_resume), directory.interruptible():
        staged = directory.done(STAGE_STEP) is not None
        if not staged and is_undo(directory):
            raise ConfigError(
                f"{directory.run_id}: an undo that has not begun. Undo the run again: "
                + about_runs(settings.state_dir, "undo", directory.manifest["undoes"]["run_id"])
            )
        if is_fix(directory) and (not staged or directory.manifest.get("abandoned")):
            raise ConfigError(
                f"{directory.run_id}: loads corrected rejects, and has written none. Load the file again: "
                + about_runs(settings.state_dir, "fix", directory.manifest["fixes"]["run_id"], "--from", "FILE")
            )
        if not staged and len(settings.sources) > 1 and "-" in settings.sources:
            raise ConfigError(
                f"{directory.run_id}: its sources were not read to the end, and one of them is standard input, which "
                "is gone. Run the command again, with its input."
            )
        if not staged and any("://" in source and "***" in source for source in settings.sources):
            raise ConfigError(
                f"{directory.run_id}: its sources were not read to the end, and the secrets in their addresses are not "
                "kept. Run the command again, with the same addresses; the downloaded parts are used again."
            )
        if not staged and not directory.keeps_pages():
            # It died before its stage was complete, so there is nothing to continue from: it starts again, on an
            # engine in the same directory, whose tables would never be removed otherwise.
            directory.let_go()
            return carry_out(job)
        try:
            return _continue(job, directory)
        except Damaged as error:
            if is_undo(directory) or is_fix(directory):
                # The source that its settings name has no customers to begin again with.
                at_source = "Correct the rejects at the source, and run it again."
                again = "Undo the run again." if is_undo(directory) else at_source
                raise Damaged(f"{error} {again}") from error
            job.observer.note(_anew(error))
        return _begin(job, continuing=False)


def _anew(error: Damaged) -> str:
    return f"{error} That run is left unchanged, and everything is read again."


def _begin(job: Job, *, continuing: bool) -> Report:
    """Do all steps, in a new run directory or, `continuing`, in one of the same work."""
    settings, observer = job.settings, job.observer
    now = job.now or datetime.now(UTC)
    with closing(open_ends(settings, observer, job.open_destination, now=now)) as ends:
        source = ends.source
        layouts = source.layouts()
        applied = profiles.apply(layouts, settings)
        columns = applied.columns(layouts)
        same_ids.check(settings, layouts, columns)
        where = _where(applied.reading, layouts)
        start = start_after(settings.state_dir, now)
        part = partial_read.begin(applied.reading, columns, layouts, where, source, ends.before, start)
        work = resuming.work_id(applied.reading, source.fingerprint(), part, columns)
        directory = resuming.continued_run(settings, work) if continuing else None
        is_new = directory is None
        directory = directory or RunDirectory.new(
            settings.state_dir,
            {
                "settings": resuming.public_settings(settings),
                "work": work,
                "reading": resuming.reading_id(applied.reading, columns, where, part),
                "source": source.fingerprint(),
                "columns": columns.by_column,
                **part.facts(),
            },
            start,
            job.out,
        )
        notes = [f"{layout.name}: {note}" for layout in layouts for note in layout.notes]
        if is_new and start != now:
            notes.append(
                f"the clock is behind the last run, so the start of this run is set to {start:%Y-%m-%d %H:%M:%S} UTC"
            )
        given = Input(columns, _raw_columns(layouts), (*notes, *columns.notes, *part.notes))
        with directory.interruptible():
            if is_new:
                directory.create()
            run = RunContext(applied.reading, directory, observer)
            rules = rules_of(applied.reading, columns, where, part.cut)
            return Flow(run, given, ends.steps(run, columns, given.raw_columns, rules)).execute()


def _continue(job: Job, directory: RunDirectory) -> Report:
    """Continue a run that this process owns, including one that had not read its source to the end."""
    columns = resuming.columns_of(directory)
    if columns is None:
        return _read_on(job, directory)
    with closing(open_ends(job.settings, job.observer, reads=False)) as ends:
        directory.check()
        directory.take_over()
        return continue_staged(job.settings, directory, job.observer, columns, ends)


def _read_on(job: Job, directory: RunDirectory) -> Report:
    """Continue a read from a provider; downloaded pages are not requested again."""
    settings, observer = job.settings, job.observer
    with closing(open_ends(settings, observer)) as ends:
        source = ends.source
        layouts = source.layouts()
        applied = profiles.apply(layouts, settings)
        columns = applied.columns(layouts)
        if directory.manifest["source"] != source.fingerprint():
            raise ConfigError(
                f"{directory.run_id}: read from a different account than {settings.source_name} is now. "
                "Restore the environment variables, or start a new run."
            )
        where = _where(applied.reading, layouts)
        part = partial_read.begin(applied.reading, columns, layouts, where, source, ends.before, datetime.now(UTC))
        directory.manifest["reading"] = resuming.reading_id(applied.reading, columns, where, part)
        directory.manifest.update(part.facts())
        directory.begin_stage_again()
        given = Input(columns, _raw_columns(layouts), (*columns.notes, *part.notes))
        run = RunContext(applied.reading, directory, observer)
        rules = rules_of(applied.reading, columns, where, part.cut)
        return Flow(run, given, ends.steps(run, columns, given.raw_columns, rules)).execute()


def continue_staged(
    settings: Settings, directory: RunDirectory, observer: Observer, columns: mapping.ColumnMap, ends: Ends
) -> Report:
    """Continue a run whose stage is complete."""
    run = RunContext(settings, directory, observer)
    given = Input(columns, resuming.raw_columns_of(directory))
    return Flow(run, given, ends.steps(run, columns, given.raw_columns)).execute()


def _raw_columns(layouts: Sequence[Layout]) -> list[str]:
    return list(dict.fromkeys(column for layout in layouts for column in layout.columns))


def _where(settings: Reading, layouts: Sequence[Layout]) -> Expression | None:
    missing = settings.allow_missing
    return selection.condition(settings.where, layouts, allow_missing=missing) if settings.where else None

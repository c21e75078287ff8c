"""Give out the rejects of a run as a file, and load what comes back, through the settings of that run and as a run of
its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec.structs import replace

from tranship.connectors.addresses import redacted
from tranship.connectors.errors import ConfigError
from tranship.pipelines import corrections, endpoints, field_rules, increment, local_state, profiles, selection
from tranship.pipelines import resume as resuming
from tranship.pipelines.earlier_columns import without_columns
from tranship.pipelines.encryption import session
from tranship.pipelines.endpoints import open_destination
from tranship.pipelines.fixing import always as always_rules
from tranship.pipelines.fixing import broken_lines, corrected, fates, given_out, rejects
from tranship.pipelines.fixing.always import Rules
from tranship.pipelines.fixing.columns import ACTION, ADDED, DROP, FATE, LOAD, NUMBER
from tranship.pipelines.fixing.corrected import Corrected
from tranship.pipelines.fixing.records import CorrectedRecords
from tranship.pipelines.fixing.result import Fix, RefusedRow
from tranship.pipelines.flow import Flow, Input
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.observer import Observer, Quiet
from tranship.pipelines.one_machine import OneMachine
from tranship.pipelines.ownership import owned
from tranship.pipelines.reading import check_values, rules_of
from tranship.pipelines.report import Report
from tranship.pipelines.retention import removed
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import APPLY_STEP, STAGE_STEP, RunDirectory, start_after
from tranship.pipelines.setting_values import limit
from tranship.pipelines.settings import load as load_settings
from tranship.pipelines.settings_model import Settings

CORRECTIONS: Final = "corrections.toml"
"""The file to which rules are added where the run has none."""


def write(state_dir: Path, run_id: str, out: Path | None, identity: Path | None = None) -> Fix:
    """Write the open rejects of a run to a new file; without `out`, to a workbook in the working directory. If the
    files of the run are encrypted, `identity` has the key.

    Raises ConfigError if the run cannot be fixed, or nothing is open.
    """
    return session.with_records(lambda: _write(state_dir, run_id, out), state_dir, [run_id], identity)


def _write(state_dir: Path, run_id: str, out: Path | None) -> Fix:
    run, columns = _run(state_dir, run_id)
    own = _own(run)
    standing = fates.standing(run, state_dir)
    found = fates.of(standing, fates.completed(run, state_dir))
    if not found.records:
        raise ConfigError(f"{run.run_id}: has no rejects. There is nothing to correct.")
    if not found.open:
        raise ConfigError(f"{run.run_id}: has no open rejects ({found}). There is nothing to correct.")
    file = out or Path(f"rejects-{run.run_id}.xlsx")
    written, note = given_out.write(file, run.run_id, standing, own, columns)
    return Fix(run.run_id, found, file=str(file), rows=written, notes=(note,) if note else ())


def load(
    state_dir: Path,
    run_id: str,
    file: Path,
    observer: Observer | None = None,
    *,
    always: Sequence[str] = (),
    rules: Path | None = None,
    why: str | None = None,
    identity: Path | None = None,
    **options: Any,
) -> Fix:
    """Load the corrected rows of a file into the destination of the run, and drop those that are to be dropped. Changes
    in the columns `always` become rules in the file `rules`, by default that of the run. `options` are settings:
    dry_run, and those of `run.apply`.

    Raises ConfigError if the run cannot be fixed or the file is not one of its rejects, and what `run.run` raises.
    """

    def work() -> Fix:
        return _load_file(state_dir, run_id, file, observer or Quiet(), always, rules, why, options)

    return session.with_records(work, state_dir, [run_id], identity)


def _load_file(
    state_dir: Path,
    run_id: str,
    file: Path,
    observer: Observer,
    always: Sequence[str],
    rules: Path | None,
    why: str | None,
    options: Mapping[str, Any],
) -> Fix:
    run, _ = _run(state_dir, run_id)
    own = _own(run)
    always_rules.must_be_columns(always, own)
    settings = _settings(run, state_dir, file, options)
    check_values(settings)
    words = _command(run, file, always, rules, why) if always else []
    rules = rules or settings.corrections or Path(CORRECTIONS)
    if always and rules.exists():
        corrections.read(rules)
    report = None
    for begun in fates.rounds(run, state_dir):
        if not settings.dry_run and _is_unfinished(begun):
            observer.note(f"continuing run {begun.run_id}, which had begun to load corrections")
            report = _continue(begun, state_dir, observer, options)
    with owned(settings, observer):
        standing = fates.standing(run, state_dir)
        given = corrected.read(file, run, standing, own)
        given = _with_parsed(run, given, own)
        if given.load.height + given.drop.height:
            report = _load(run, settings, given, own, observer, words)
    standing = fates.standing(run, state_dir)
    added = Rules()
    if always and not settings.dry_run:
        added = _add_rules(run, rules, given, standing, always, why or f"corrected after run {run.run_id}")
    return Fix(
        run.run_id,
        fates.of(standing, fates.completed(run, state_dir)),
        file=str(file),
        report=report,
        dropped=given.drop.height,
        left_open=given.left_open,
        settled=given.settled,
        refused=tuple(RefusedRow(line, reason) for line, reason in given.refused.select("_line", "reason").iter_rows()),
        remade=given.remade,
        rules=added.added,
        notes=(*given.notes, *added.notes),
    )


def _run(state_dir: Path, run_id: str) -> tuple[RunDirectory, ColumnMap]:
    """Return the run whose rejects are meant, also by the id of a run that has loaded corrections of them; and its map.

    Raises ConfigError if its rejects cannot be loaded.
    """
    local_state.must_be_here(state_dir, "the correction of rejects")
    run = resuming.find_run(state_dir, run_id)
    if fates.is_fix(run):
        run = fates.fixed_by(run)
    settings = run.manifest["settings"]
    if settings.get("engine"):
        raise ConfigError(
            f"{run.run_id}: ran on the engine {settings['engine']}. Correct its rejects at the source, then run "
            "it again."
        )
    if "undoes" in run.manifest:
        raise ConfigError(f"{run.run_id}: takes back a run. There is nothing to correct.")
    if settings.get("dry_run") and run.done(APPLY_STEP) is None:
        raise ConfigError(
            f"{run.run_id}: is a dry run or a plan that was not applied. Run it first, then correct its rejects."
        )
    run.must_be_free()
    removed.must_be_complete(run, "be corrected", " Correct the rejects at the source, and run it again.")
    columns = resuming.columns_of(run)
    if columns is None or not run.has_ended_well:
        raise ConfigError(f"{run.run_id}: has not ended, or was stopped. Continue it or run it again: {run.go_on}")
    loaded = resuming.settings_of(run)
    if not endpoints.keeps_state(loaded):
        raise ConfigError(
            f"{run.run_id}: has written the file {redacted(loaded.destination)} as a whole, to which no record can be "
            "added. Correct the rejects at the source, and run it again."
        )
    return run, columns


def _own(run: RunDirectory) -> list[str]:
    own = rejects.own_columns(run)
    taken = [name for name in own if name in ADDED]
    if taken:
        raise ConfigError(
            f"{run.run_id}: its source has a column {taken[0]}, whose name is needed. Correct the source."
        )
    return own


def _settings(run: RunDirectory, state_dir: Path, file: Path, options: Mapping[str, Any]) -> Settings:
    given = without_columns(run.manifest["settings"])
    if given.get("timezone") == Settings.model_fields["timezone"].default:
        given.pop("timezone")
    changes: dict[str, Any] = {"source": str(file), "state_dir": state_dir, "limit": None, "allow_empty": True}
    changes["dry_run"] = False
    changes |= increment.NONE
    if given.get("mode") == "mirror":
        # Customers that are not among the corrected records are not gone.
        changes |= {"mode": "upsert", "max_deletes": None}
    for name in ("encoding", "delimiter", "quote", "header", "skip_lines", "header_line", "sheet"):
        given.pop(name, None)
    # Shares are of the records of the run: one of twelve that is rejected again is not 8 % of its source.
    read = int((run.done(STAGE_STEP) or {}).get("read", 0))
    for name in ("max_rejects", "max_warnings", "max_conflicts"):
        if str(given.get(name) or "").endswith("%"):
            changes[name] = str(int(limit(given[name], read)))
    return load_settings(given | changes | dict(options), {})


def _with_parsed(run: RunDirectory, given: Corrected, own: Sequence[str]) -> Corrected:
    """Return the rows with the values of broken lines that were corrected."""
    if given.parse.is_empty():
        return given
    records, failed = broken_lines.parsed(run, given.parse, own)
    whole = given.load.join(given.parse.select("_line"), on="_line", how="anti")
    read = records.join(given.load.select("_line", NUMBER, "_text"), on="_line", how="inner")
    return replace(
        given,
        load=pl.concat([whole, read.select(whole.columns)]).sort("_line"),
        refused=pl.concat([given.refused, failed]).sort("_line"),
    )


def _command(run: RunDirectory, file: Path, always: Sequence[str], rules: Path | None, why: str | None) -> list[str]:
    """Return the words of the command that loads this file and adds rules."""
    options = [word for name in always for word in ("--always", name)]
    options += ["--corrections", str(rules)] if rules else []
    options += ["--why", why] if why else []
    return ["fix", str(run.path) if run.stands_alone else run.run_id, "--from", str(file), *options]


def _load(
    run: RunDirectory,
    settings: Settings,
    given: Corrected,
    own: Sequence[str],
    observer: Observer,
    again: Sequence[str],
) -> Report:
    """Do the run that loads the rows; its directory has those that are dropped, too. If it breaks off, the command
    `again` does what is left, if given.
    """
    name = Path(settings.source_name).name
    records = CorrectedRecords(name, given.load, own)
    layouts = records.layouts()
    # What the values of all records have decided, those of a few cannot decide again.
    earlier = resuming.columns_of(run)
    applied = profiles.apply(layouts, _with_id_of(earlier, settings))
    columns = replace(applied.columns(layouts), rivals={}, others={})
    if earlier is not None:
        columns = _without_keys_of_others(columns, earlier)
    where = applied.reading.where
    condition = selection.condition(where, layouts, allow_missing=True) if where else None
    with closing(open_destination(settings, observer)) as destination:
        facts = {
            "settings": resuming.public_settings(settings),
            **{"work": "", "reading": f"fix {secrets.token_hex(8)}", "source": records.fingerprint()},
            "columns": columns.by_column,
            "fixes": {"run_id": run.run_id, "folder": str(run.path), **({"again": [*again]} if again else {})},
        }
        _abandon(run, settings.state_dir)
        directory = RunDirectory.new(settings.state_dir, facts, start_after(settings.state_dir, datetime.now(UTC)))
        with directory.interruptible():
            directory.create()
            rows = [
                given.load.with_columns(pl.lit(LOAD).alias(ACTION)),
                given.drop.with_columns(pl.lit(DROP).alias(ACTION)),
            ]
            pl.concat(rows).write_parquet(directory.path / fates.RECORDS)
            (directory.path / fates.RECORDS).chmod(0o600)
            context = RunContext(settings=applied.reading, directory=directory, observer=observer)
            rules = rules_of(applied.reading, columns, condition)
            steps = OneMachine(context, destination, columns, [*own], records, rules)
            return Flow(context, Input(columns, [*own], columns.notes), steps).execute()


def _with_id_of(earlier: ColumnMap | None, settings: Settings) -> Settings:
    """Return the settings with the column of ids that an earlier run has used."""
    column = earlier.fields.get("external_id") if earlier else None
    if column is None or "external_id" in {*settings.fields, *settings.set}:
        return settings
    return settings.model_copy(update={"fields": {**settings.fields, "external_id": field_rules.quoted(column)}})


def _without_keys_of_others(columns: ColumnMap, earlier: ColumnMap) -> ColumnMap:
    """Return the map without the columns that an earlier run has kept in metadata."""
    left = [
        name
        for name, column in columns.fields.items()
        if column in earlier.extra and not {*earlier.columns_of(name)}.intersection([column])
    ]
    fields = {name: column for name, column in columns.fields.items() if name not in left}
    extra = dict.fromkeys((*columns.extra, *(columns.fields[name] for name in left)))
    return replace(columns, fields=fields, extra=tuple(extra))


def _is_unfinished(begun: RunDirectory) -> bool:
    """Return whether a run has begun to write, and has not completed the write or its report."""
    return begun.has_begun_to_write and not begun.has_ended_well


def _abandon(run: RunDirectory, state_dir: Path) -> None:
    """Let no earlier run that has written nothing be continued: its rows are open, and may be among those of a new
    one.
    """
    for other in fates.rounds(run, state_dir):
        if other.done(APPLY_STEP) is None and not other.has_begun_to_write and not other.manifest.get("abandoned"):
            other.manifest |= {"abandoned": True, "status": "failed"}
            other.save()


def _continue(begun: RunDirectory, state_dir: Path, observer: Observer, options: Mapping[str, Any]) -> Report:
    """Complete a run that died while it wrote."""
    locks = {name: value for name, value in options.items() if name in ("overlap", "lock_timeout", "locks", "memory")}
    settings = resuming.settings_of(begun, state_dir=state_dir, **locks)
    columns = resuming.columns_of(begun)
    assert columns is not None  # noqa: S101  (it has begun to write)
    with (
        owned(settings, observer, begun),
        begun.interruptible(),
        closing(open_destination(settings, observer)) as there,
    ):
        begun.check()
        begun.take_over()
        context = RunContext(settings, begun, observer)
        raw = resuming.raw_columns_of(begun)
        return Flow(context, Input(columns, raw), OneMachine(context, there, columns, raw)).execute()


def _add_rules(
    run: RunDirectory, file: Path, given: Corrected, standing: pl.DataFrame, names: Sequence[str], why: str
) -> Rules:
    loaded = standing.filter(pl.col(FATE) == fates.LOADED)[NUMBER]
    changed = given.loaded.filter(pl.col(NUMBER).is_in(loaded.implode()))
    return always_rules.add(file, names, changed, rejects.of_run(run), why)

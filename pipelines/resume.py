"""Find the run that may be continued, and the settings, columns and identity of its work."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from tranship.connectors import mirrored
from tranship.connectors.addresses import is_in_python, redacted
from tranship.connectors.errors import ConfigError, Damaged, TranshipError
from tranship.pipelines import endpoints, expressions
from tranship.pipelines.earlier_columns import without_columns
from tranship.pipelines.encryption.marks import is_encrypted
from tranship.pipelines.expressions import Expression
from tranship.pipelines.field_rules import FieldRule
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.operation_settings import HIDDEN, OPERATION
from tranship.pipelines.partial_read import PartialRead
from tranship.pipelines.run_directory import APPLY_STEP, PLAN_STEP, STAGE_STEP, RunDirectory, all_runs
from tranship.pipelines.settings import load
from tranship.pipelines.settings_model import Settings

_METADATA: Final = re.compile(r"(polars|pyarrow|duckdb|pandera|idna|tzdata)-[^-]+(?:-[^-]+)?\.(?:dist|egg)-info")
"""The metadata folder of a library that affects how values are read; its name contains the version."""
_STILL_FRESH = timedelta(hours=1)
"""How long the same command reuses records read from a provider; `resume` does so at any time."""


def public_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings without secrets, as the manifest keeps them."""
    public = settings.model_dump(mode="json")
    sources = [source if is_in_python(source) else redacted(source) for source in settings.sources]
    return public | {
        "work": settings.work and redacted(settings.work),
        "source": sources if len(sources) > 1 else sources[0],
        "destination": redacted(settings.destination),
        "lineage": settings.kept_lineage,
        "on_failure": None,  # it may have the address of a webhook, and is never run again from the manifest
    }


def work_id(settings: Settings, prints: list[dict[str, Any]], part: PartialRead, columns: ColumnMap) -> str:
    """Return a digest of settings and input, equal for the same work; empty for an input that cannot be recognised.
    `prints` are the fingerprint of the source, `part` is what is read of it; of `columns`, the corrections count, which
    are in a file.
    """
    if any(print["size"] is None for print in prints) and not endpoints.continues(settings):
        return ""
    given = settings.model_dump(
        mode="json",
        exclude={
            *("state_dir", "workers", "memory", "lock_timeout", "statement_timeout", "overlap", "locks", "overwrite"),
            *("remote", "work", *OPERATION),
        },
    )
    # Records that are given again in Python are in another file, and have the same fingerprint.
    given["source"] = [redacted(source) if is_in_python(source) else source for source in settings.sources]
    read = [part.meaning(), part.facts(), *columns.corrections.meaning]
    meaning = mirrored.outward(json.dumps([given, prints, read], sort_keys=True))
    return hashlib.sha256(meaning.encode()).hexdigest()


def reading_id(settings: Settings, columns: ColumnMap, where: Expression | None, part: PartialRead) -> str:
    """Return a digest of all that decides how records are read, except the records themselves."""
    given = settings.model_dump(
        mode="json", include={"timezone", "date_format", "blocked", "on_invalid", "strict", "report_samples"}
    )
    mapped = [
        *(list(part.items()) for part in (columns.fields, columns.defaults, columns.rivals, columns.others)),
        [
            [
                *(field, rule.alternatives, rule.addresses, rule.expression and rule.expression.meaning),
                *([rule.before_company] if rule.before_company else []),
            ]
            for field, rule in columns.built.items()
        ],
        [[field, list(words.items())] for field, words in columns.words.items()],
        columns.extra,
        sorted(columns.may_differ),
        sorted(columns.unlike.items()),
        *columns.corrections.meaning,
    ]
    condition = where.meaning if where else None
    return hashlib.sha256(
        json.dumps([_program(), _libraries(tuple(sys.path)), given, mapped, condition, part.meaning()]).encode()
    ).hexdigest()


@cache
def _program() -> list[tuple[str, int, int]]:
    """Return name, size and modification time of each file of the program that this process runs."""
    root = Path(__file__).parent.parent
    found = []
    for package in ("connectors", "pipelines", "schemas"):
        for folder, _, names in os.walk(root / package):
            files = [name for name in names if name.endswith((".py", ".csv"))]
            stats = [(name, os.stat(os.path.join(folder, name))) for name in files]  # noqa: PTH116, PTH118  (in bulk)
            found += [(folder, name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return [(name, size, time) for _, name, size, time in sorted(found)]


@cache
def _libraries(path: tuple[str, ...]) -> list[str]:
    """Return the versions of the libraries that decide how values are read, from the names of their folders of
    metadata on the path: reading these would take a tenth of the time of a small run.
    """
    found: dict[str, str] = {}
    for folder in map(Path, path):
        names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208  (in bulk)
        for name in names:
            if match := _METADATA.fullmatch(name):
                found.setdefault(match[1], name)
    return sorted(found.values())


def continued_run(settings: Settings, work: str) -> RunDirectory | None:
    """Return an earlier run of the same work whose process died after its stage was complete. From a provider, whose
    customers change, only a recent run is continued, and also one that had only begun to read.
    """
    for directory in all_runs(settings.state_dir) if work and settings.locks else ():
        if directory.manifest.get("work") == work:
            try:
                directory.own()
            except TranshipError:
                return None
            if not directory.has_lock or not _can_be_continued(settings, directory):
                directory.let_go()
                return None
            if is_encrypted(directory):
                directory.let_go()
                if not directory.has_begun_to_write:
                    return None
                raise ConfigError(
                    f"{directory.run_id}: did the same, was stopped while it wrote, and its records are encrypted. "
                    f"Continue it with the key: {directory.go_on}"
                )
            if directory.done(STAGE_STEP) is None:
                directory.begin_stage_again()
            try:
                directory.check()
            except Damaged:
                directory.let_go()
                raise
            directory.take_over()
            return directory
    return None


def _can_be_continued(settings: Settings, directory: RunDirectory) -> bool:
    """Whether a run of the same work, which this process owns, died where it can be continued."""
    staged = directory.done(STAGE_STEP) is not None
    died = directory.manifest["status"] == "running"
    if endpoints.continues(settings):
        ended = died or directory.manifest["status"] in ("failed", "interrupted")
        if not ended or not directory.was_alive_within(_STILL_FRESH) or not (staged or directory.keeps_pages()):
            return False
    elif not died or not (staged or settings.engine):
        return False
    return True


def find_run(state_dir: Path, run_id: str) -> RunDirectory:
    """Return a run by its id, `last`, or the folder of a plan."""
    folder = Path(run_id)
    if run_id and (folder / "manifest.json").exists():
        return RunDirectory.at(folder)
    run = RunDirectory.open(state_dir, run_id)
    mirrored.bring(run.path)
    return run


def settings_of(directory: RunDirectory, **changes: Any) -> Settings:
    """Return the settings of an earlier run, with these changes. Raises ConfigError."""
    given = without_columns(directory.manifest["settings"])
    if given.get("timezone") == Settings.model_fields["timezone"].default:
        # The manifest has all settings, but not whether this one was given, in which case it overrides a profile's.
        given.pop("timezone")
    if str(given.get("lineage")).endswith(HIDDEN):
        given["lineage"] = None
    settings = load(given | changes, {})
    for source in settings.sources:  # those of a retry are files of another run
        mirrored.bring(Path(source))
    return settings


def columns_of(directory: RunDirectory) -> ColumnMap | None:
    """Return the column map of an earlier run, null if its stage is not complete. Raises Damaged."""
    facts = directory.done(STAGE_STEP)
    if facts is None:
        return None
    if "mapped" not in facts:
        raise Damaged(f"{directory.path}: was created by an earlier version of Tranship and cannot be continued.")
    built = {
        field: FieldRule(expression=expressions.parse(f"--set {field}", rule, is_condition=False))
        if isinstance(rule, str)
        else FieldRule(tuple(map(tuple, rule)))
        for field, rule in facts.get("built", {}).items()
    }
    return ColumnMap(facts["mapped"], tuple(facts["extra"]), facts["defaults"], built, profile=facts.get("profile"))


def raw_columns_of(directory: RunDirectory) -> list[str]:
    """Return the columns of the source of an earlier run, in its own order."""
    return list(directory.manifest.get("wire", []))


def check_left_to_resume(directory: RunDirectory) -> None:
    """Raises ConfigError if the run is finished."""
    if (directory.path / "report.json").exists() and directory.has_ended_well:
        raise ConfigError(
            f"{directory.run_id}: this run is finished; nothing is left to do. See: {directory.command('report')}"
        )


def check_left_to_apply(directory: RunDirectory) -> None:
    """Raises ConfigError if there is no complete plan, or it has been carried out."""
    folder = directory.path
    if directory.done(STAGE_STEP) is None or directory.done(PLAN_STEP) is None:
        raise ConfigError(f"{folder}: the plan is incomplete. Make it again: tranship plan")
    if directory.done(APPLY_STEP) is not None and directory.has_ended_well:
        raise ConfigError(f"{folder}: the plan has been applied; nothing is left to do. See {folder / 'report.html'}")


def check_left_to_retry(directory: RunDirectory) -> None:
    """Raises ConfigError if no record failed or was left out."""
    again = directory.path / "again"
    if not again.is_dir() or not any(again.iterdir()):
        raise ConfigError(f"{directory.run_id}: nothing failed and nothing was left out. There is nothing to retry.")

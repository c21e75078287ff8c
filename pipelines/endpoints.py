"""The two ends of a run: its source and its destination, opened with the options of its settings."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tranship.connectors import apart, declared_options, lookup, mirrored, opening, provider_services, suggestions
from tranship.connectors.address_secrets import WEB
from tranship.connectors.addresses import STANDARD_OUTPUT, local_path, redacted, scheme_of
from tranship.connectors.contract import Destination, FileMark, HasColumns, KeepsHistory, Source, Waiting
from tranship.connectors.errors import ConfigError, TranshipError
from tranship.pipelines.compared_file import ComparedFile
from tranship.pipelines.observer import Observer, WriteProgress
from tranship.pipelines.setting_values import per_second, seconds
from tranship.pipelines.settings_model import Reading, Settings

if TYPE_CHECKING:
    from tranship.connectors.opening import NewFiles as NewFiles

log = logging.getLogger("tranship")

_OF_FILES = ("encoding", "delimiter", "quote", "header", "skip_lines", "header_line", "sheet")
"""Settings that are options of file formats."""
_ANY_FILE = "rejects.csv"
"""A file of a run, as a later run would find it."""


def write_journal_without(journal: Path, copy: Path, run_id: str, rows: Collection[int]) -> int:
    """Write a copy of the journal of a run to a provider without the entries of these rows; return their number."""
    return provider_services.write_journal_without(journal, copy, run_id, rows)


def check_options(reading: Reading) -> None:
    """Raise ConfigError for an option that no connector of the sources or of the destination declares."""
    if not reading.options:
        return
    addresses = [*reading.sources, *([reading.destination] if isinstance(reading, Settings) else [])]
    addresses = [address for address in addresses if not is_of_engine(address)]
    known = {name for address in addresses for name in declared_options.names_of(address)} - set(Settings.model_fields)
    for name in reading.options:
        if name in Settings.model_fields:
            raise ConfigError(f"option {name}: is a setting, not an option of a connector. Set {name} instead.")
        if name not in known:
            advice = suggestions.advice(name, sorted(known), "The options are") if known else "Remove it."
            kinds = " or ".join(dict.fromkeys(lookup.connector_of(address).shown for address in addresses))
            raise ConfigError(f"option {name}: is not an option of {kinds}. {advice}")


def check_ends(settings: Settings, out: Path | None) -> None:
    """Raises ConfigError if the destination cannot be written as the settings say, or is one of the sources."""
    apart.must_be_apart(settings.sources, settings.destination)
    opening.must_take(settings.destination, settings.mode, for_good=settings.remove_for_good)
    _check_columns(settings)
    _check_raw(settings)
    _check_place(settings, out)


def check_log(settings: Settings, log: str | None) -> None:
    """Raise ConfigError if the log of a command would be written to the destination, or be read as a source."""
    if log not in (None, STANDARD_OUTPUT) and not is_of_engine(settings.destination):
        sources = [source for source in settings.sources if not is_of_engine(source)]
        apart.must_be_unused(Path(str(log)), sources, settings.destination, f"--log {log}")


def check_own_folders(settings: Settings, out: Path | None) -> None:
    """Raise ConfigError if a source contains the files of runs, or the plan to be saved."""
    sources = [source for source in settings.sources if not is_of_engine(source)]
    for option, folder in (("state-dir", settings.state_dir), ("out", out)):
        if folder:
            apart.must_not_hold(sources, folder, f"--{option} {folder}")
    if place := mirrored.of(settings.state_dir):
        _check_bucket(settings, sources, place.address)


def _check_bucket(settings: Settings, sources: Sequence[str], place: str) -> None:
    """Raise ConfigError for a run that cannot have its state directory in this place of a bucket."""
    if settings.engine:
        raise ConfigError(
            f"--state-dir {place}: a run on an engine keeps tables of its steps in the state directory, which is in a "
            f"bucket here. Leave --engine {settings.engine} out, or name a folder with --state-dir."
        )
    for source in sources:
        if apart.why_not_apart(source, f"{place}/runs/any/{_ANY_FILE}"):
            raise ConfigError(
                f"--state-dir {place}: is within what is read ({redacted(source)}), so that later runs would read the "
                "files of this one. Nothing was read or written. Name another folder of the bucket."
            )
    if settings.destination.startswith(f"{place}/"):
        raise ConfigError(
            f"{redacted(settings.destination)}: is within {place}, where runs keep their files. Write it elsewhere."
        )


def _check_columns(settings: Settings) -> None:
    """Raise ConfigError if columns are named, and the destination is not a table."""
    connector = lookup.connector_of(settings.destination)
    if settings.columns and not connector.abilities.maps_columns:
        named = " ".join(f"--column {field}={column}" for field, column in settings.columns.items())
        raise ConfigError(
            f"{named}: {redacted(settings.destination)} is not a table of DuckDB or Postgres, whose columns can be "
            "named. For a column of the source, write --map FIELD=COLUMN."
        )


def check_history(settings: Settings) -> None:
    """Raise ConfigError if a history is asked for, which the destination or the engine does not keep."""
    if not settings.history:
        return
    if settings.engine:
        raise ConfigError(
            f"--history: a run on an engine keeps no history. Leave --engine {settings.engine} out, or --history."
        )
    if not lookup.connector_of(settings.destination).abilities.keeps_history:
        raise ConfigError(
            f"--history: {redacted(settings.destination)} is not a table of DuckDB or Postgres, beside which a history "
            "is kept. Name one (duckdb:///warehouse.duckdb?table=customers), or leave --history out."
        )


def _check_raw(settings: Settings) -> None:
    """Raise ConfigError if `--raw` is given and the destination is not CSV."""
    kind = lookup.kind_of(settings.destination)
    if settings.raw and (kind != "csv" or settings.format == "jsonl"):
        raise ConfigError(
            f"--raw: applies only to CSV files, and {redacted(settings.destination)} is not one. Leave it out."
        )


def _check_place(settings: Settings, out: Path | None) -> None:
    """Raises ConfigError for a file to be written among the files of runs."""
    if keeps_state(settings) or not _is_path(settings.destination):
        return
    place = local_path(settings.destination).resolve()
    for folder in (settings.state_dir / "runs", settings.state_dir / "written", *([out] if out else [])):
        if folder.resolve() in place.parents:
            raise ConfigError(
                f"{settings.destination}: is within {folder}, where runs keep their files. Write elsewhere."
            )


is_records = opening.is_records
spool = opening.spool


def source_options(reading: Reading) -> dict[str, Any]:
    """Return the options with which sources are opened."""
    return reading.options | {name: getattr(reading, name) for name in _OF_FILES}


def choose_files(settings: Settings, known: Sequence[FileMark], now: datetime) -> NewFiles:
    """Return what chooses the files of a run, by those that were read before."""
    if not _has_files(settings.sources[0]):
        raise ConfigError(f"--new-files: {redacted(settings.sources[0])} has no files. Use --since last.")
    settle = timedelta(seconds=seconds(settings.settle))
    return opening.new_files([] if settings.full else known, settle, now)


def _has_files(source: str) -> bool:
    return bool(lookup.connector_of(source).suffixes) and scheme_of(source) not in WEB


def open_source(reading: Reading, waiting: Waiting | None = None, new: NewFiles | None = None) -> Source:
    """Open all sources as one; of files, only those that `new` chooses. Raises ConfigError or ConnectorError."""
    return opening.open_sources(
        reading.sources,
        source_options(reading),
        include_archived=reading.include_archived,
        waiting=waiting,
        downloads=reading.state_dir / "downloads" if isinstance(reading, Settings) else None,
        new=new,
    )


def open_destination(settings: Settings, observer: Observer) -> Destination:
    """Open the destination to be written, with the columns that the settings name and its history.

    Raises ConfigError or ConnectorError.
    """
    destination = opening.open_destination(settings.destination, destination_options(settings, observer))
    try:
        if settings.columns and isinstance(destination, HasColumns):
            destination.check_columns(settings.columns)
        if settings.history and isinstance(destination, KeepsHistory):
            destination.check_history()
    except TranshipError:
        destination.close()
        raise
    return destination


def destination_options(settings: Settings, observer: Observer) -> dict[str, Any]:
    """Return the options with which a destination is opened."""
    return {
        **settings.options,
        **{"raw": settings.raw, "create": settings.create == "auto", "overwrite": settings.overwrite},
        **{"written": settings.state_dir / "written", "format": settings.format},
        **{"memory": settings.memory, "pace": per_second(settings.pace) if settings.pace else None},
        **{name: seconds(getattr(settings, name)) for name in ("lock_timeout", "statement_timeout")},
        "waiting": waiting_of(settings, observer),
        "observer": WriteProgress(observer),
    }


def options_of_destination(settings: Settings) -> dict[str, str]:
    """Return those of the given options that the connector of the destination declares."""
    own = declared_options.names_of(settings.destination)
    return {name: settings.options[name] for name in own if name in settings.options}


def changes_at(settings: Settings, run_id: str, workspace: Path, customer: str | None) -> Iterator[pl.DataFrame]:
    """Yield what a run has changed at its destination (`contract.CHANGES`). Raises ConfigError or ConnectorError."""
    return opening.changes(settings.destination, run_id, workspace, customer)


def erasure_plan(destination: str, emails: Collection[str], ids: Collection[str], own_ids: Collection[str]) -> str:
    """Return what a person has to do to delete a customer at a destination. Raises ConfigError or ConnectorError."""
    return opening.erasure_plan(destination, emails, ids, own_ids)


def provider_of(destination: str) -> str | None:
    """Return the name of the provider, null if the destination is none."""
    connector = lookup.connector_of(destination)
    return connector.name if connector.provider else None


def records_changes(settings: Settings) -> bool:
    """Return whether the destination is a table, which keeps the changes of runs."""
    return lookup.connector_of(settings.destination).changes is not None


def undoes(settings: Settings) -> bool:
    """Return whether a run into the destination can be taken back."""
    return lookup.connector_of(settings.destination).abilities.undoes


def open_compared(settings: Settings, observer: Observer) -> Destination:
    """Open the destination to be compared with, which is not written. Raises ConfigError or ConnectorError."""
    return open_destination(settings, observer) if keeps_state(settings) else ComparedFile(settings)


def waiting_of(settings: Settings, observer: Observer) -> Waiting:
    """Return how long to wait for another process; the wait is logged and reported to the observer."""

    def say(text: str) -> None:
        log.info(text)
        observer.note(text)

    return Waiting(seconds(settings.lock_timeout), say)


def continues(reading: Reading) -> bool:
    """Return whether a read that died can be continued, for every source: true for providers."""
    if isinstance(reading, Settings) and reading.engine:
        return False
    return all(lookup.connector_of(source).abilities.continues for source in reading.sources)


def keeps_state(settings: Settings) -> bool:
    """Return whether a second run finds what the first one wrote, unlike in a file, which is written whole."""
    return lookup.connector_of(settings.destination).abilities.keeps_state


def destination_identity(settings: Settings) -> str:
    """Return what is the same for all spellings of the destination."""
    if is_of_engine(settings.destination):
        return settings.destination
    return lookup.identity(settings.destination)


def source_identity(settings: Settings) -> str:
    """Return what distinguishes the source from all others, without secrets."""
    source = settings.sources[0]
    place = lookup.identity(source)
    return place if _is_path(source) else redacted(f"{place} {source}")


def is_of_engine(address: str) -> bool:
    """Return whether only an engine reads and writes such tables."""
    return scheme_of(address) in lookup.ENGINE_SCHEMES


def _is_path(destination: str) -> bool:
    """Whether the file is on this machine and has a name."""
    return destination != STANDARD_OUTPUT and "://" not in destination

"""The two ends of a run on an engine, its session, and the folder of its tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from tranship.connectors import apart, lookup, task_files
from tranship.connectors.addresses import local_path, redacted, scheme_of
from tranship.connectors.errors import ConfigError, TranshipError
from tranship.connectors.files.data_folder import data_folder
from tranship.pipelines import endpoints
from tranship.pipelines.distributed import engine
from tranship.pipelines.distributed.destinations.contract import Destination
from tranship.pipelines.distributed.destinations.dataset import ParquetDataset
from tranship.pipelines.distributed.destinations.opening import open_table
from tranship.pipelines.distributed.engine import Engine
from tranship.pipelines.distributed.engine_steps import EngineSteps
from tranship.pipelines.distributed.sources import EngineSource, FileSource, TableSource
from tranship.pipelines.distributed.work_tables import WorkTables
from tranship.pipelines.judging import Rules
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.observer import Observer
from tranship.pipelines.run_context import RunContext
from tranship.pipelines.run_directory import RunDirectory
from tranship.pipelines.settings_model import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_WORK: Final = "work"
_FOLDERS: Final = ("", "s3", "s3a", "gs", "az")
"""Schemes of folders."""
_KEPT: Final = ("running", "failed", "interrupted")
"""Statuses of runs that can be continued."""


class EngineEnds:
    """`pipelines.ends.Ends` of a run on an engine."""

    before = None

    def __init__(
        self,
        settings: Settings,
        observer: Observer,
        engine: Engine,
        destination: Destination,
        source: EngineSource | None,
    ) -> None:
        self._settings, self._observer = settings, observer
        self._engine, self._destination, self._source = engine, destination, source
        self._used: tuple[RunDirectory, str] | None = None

    @property
    def source(self) -> EngineSource:
        """What is read."""
        assert self._source is not None  # noqa: S101  (it was opened to be read)
        return self._source

    def steps(
        self, run: RunContext, columns: ColumnMap, raw_columns: list[str], rules: Rules | None = None
    ) -> EngineSteps:
        """Return the steps of this run."""
        manifest = run.directory.manifest
        folder = manifest.setdefault("work_folder", self._work_folder(run.directory))
        self._used = run.directory, folder
        tables = WorkTables(self._engine.session, folder, manifest.setdefault("tables", {}), run.directory.save)
        return EngineSteps(run, tables, self._destination, columns, raw_columns, self._source, rules)

    def close(self) -> None:
        """Close both ends and the session. The tables of a run that is not to be continued are removed."""
        with ExitStack() as stack:
            stack.callback(self._engine.close)
            stack.callback(self._destination.close)
            if self._source is not None:
                stack.callback(self._source.close)
            if self._used is not None and self._used[0].manifest["status"] not in _KEPT:
                self._remove(self._used[1])

    def _remove(self, folder: str) -> None:
        try:
            data_folder(folder).remove()
        except TranshipError as error:
            self._observer.note(f"The tables between the steps were not removed. {error}")

    def _work_folder(self, directory: RunDirectory) -> str:
        given = self._settings.work
        if given is not None:
            path = given if "://" in given else str(local_path(given).resolve())
            return f"{path.rstrip('/')}/tranship-{directory.run_id}"
        return str((directory.path / _WORK).resolve())


def check(settings: Settings) -> None:
    """Raises ConfigError for sources and destinations that a run on an engine does not have."""
    if any(scheme_of(source) in lookup.ENGINE_SCHEMES for source in settings.sources):
        _check_table(settings)
        return
    for source in settings.sources:
        if scheme_of(source) in ("http", "https") or source == "-" or not lookup.connector_of(source).suffixes:
            raise ConfigError(
                f"{redacted(source)}: an engine reads CSV, JSON and Parquet files. Leave --engine out, or save the "
                "records as files that all machines reach."
            )
    _must_be_destination(settings)
    if folder := _folder(settings.destination):
        # A file that the run would write stands for all.
        apart.must_be_apart(settings.sources, f"{folder}/run=ID/part.parquet")


def _folder(address: str) -> str:
    """Return the folder of a dataset or table in files, as an address of files; empty for a table of a database."""
    scheme = scheme_of(address)
    folder = address.partition("://")[2] if scheme in lookup.ENGINE_SCHEMES else address if scheme in _FOLDERS else ""
    return re.sub("^s3a://", "s3://", folder.rstrip("/"))


def _check_table(settings: Settings) -> None:
    if len(settings.sources) > 1:
        raise ConfigError(f"{settings.source_name}: a table is read alone. Run the command for each source.")
    if _folder(settings.sources[0]) == _folder(settings.destination):
        raise ConfigError(f"{settings.source_name}: is also the destination. Name another one.")
    if settings.mode == "mirror":
        raise ConfigError(f"{settings.source_name}: --mode mirror needs files as source. Use --mode upsert.")
    _must_be_destination(settings)


def _must_be_destination(settings: Settings) -> None:
    address = settings.destination
    if address == "-" or address.lower().endswith((".csv", ".tsv", ".jsonl", ".xlsx", ".gz", ".zst")):
        raise ConfigError(
            f"{redacted(address)}: an engine writes folders of Parquet files, and tables. Name a folder, delta://PATH "
            "or postgresql://…"
        )


def open_ends(settings: Settings, observer: Observer, *, reads: bool = True) -> EngineEnds:
    """Open the session and both ends; only the destination if the stage of the run is complete. Raises ConfigError or
    ConnectorError.
    """
    check(settings)
    with ExitStack() as stack:
        started = engine.start(settings)
        stack.callback(started.close)
        if settings.work is None and not started.is_here:
            raise ConfigError(
                "--work: name a folder that all machines of the engine reach, such as --work s3://BUCKET/tmp. Without "
                "it, they would use the run directory on this machine."
            )
        destination = _open_destination(settings, started.session, observer)
        stack.callback(destination.close)
        source = _open_source(settings, started.session) if reads else None
        stack.pop_all()
        return EngineEnds(settings, observer, started, destination, source)


def _open_source(settings: Settings, session: SparkSession) -> EngineSource:
    if scheme_of(settings.sources[0]) in lookup.ENGINE_SCHEMES:
        with engine.failures():
            return TableSource(session, settings.sources[0])
    opened = endpoints.open_source(settings)
    try:
        files = task_files.of_source(opened)
        _must_be_apart([file.address for file in files], settings)
        return FileSource(opened, files, endpoints.source_options(settings))
    except TranshipError:
        opened.close()
        raise


def _must_be_apart(addresses: Sequence[str], settings: Settings) -> None:
    """Raises ConfigError if one of the files was written by an earlier run of this command."""
    folder = _folder(settings.destination)
    if not folder:
        return
    below = f"{folder}/" if scheme_of(folder) else f"{local_path(folder).resolve()}/"
    for address in addresses:
        place = address if scheme_of(address) else str(local_path(address).resolve())
        if place.startswith(below):
            raise ConfigError(
                f"{redacted(address)}: lies in the destination, and would be read as a source. Name another folder."
            )


def _open_destination(settings: Settings, session: SparkSession, observer: Observer) -> Destination:
    if scheme_of(settings.destination) in _FOLDERS:
        return ParquetDataset(settings.destination, overwrite=settings.overwrite)
    return open_table(settings.destination, session, endpoints.destination_options(settings, observer))

"""The two ends of a run on an engine, its session, and the folder of its tables."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from tranship.connectors import lookup, task_files
from tranship.connectors.addresses import local_path, scheme_of
from tranship.connectors.errors import ConfigError, TranshipError
from tranship.connectors.files.data_folder import data_folder
from tranship.pipelines import endpoints
from tranship.pipelines.distributed import engine, engine_checks
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
from tranship.pipelines.run_directory import STAGE_STEP, RunDirectory
from tranship.pipelines.settings_model import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_WORK: Final = "work"
_ENDED: Final = ("failed", "interrupted")
"""Statuses of runs that can be continued if their stage is complete; otherwise another run reads everything again."""


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
            if self._used is not None and not _is_to_be_continued(self._used[0]):
                self._remove(self._used[1])

    def _remove(self, folder: str) -> None:
        try:
            data_folder(folder).remove()
        except TranshipError as error:
            self._observer.note(f"The tables between the steps were not removed. {error}")

    def _work_folder(self, directory: RunDirectory) -> str:
        given = self._settings.work
        if given is not None:
            return f"{engine_checks.absolute(given).rstrip('/')}/tranship-{directory.run_id}"
        return str((directory.path / _WORK).resolve())


def _is_to_be_continued(directory: RunDirectory) -> bool:
    status = directory.manifest["status"]
    return status == "running" or (status in _ENDED and directory.done(STAGE_STEP) is not None)


def open_ends(settings: Settings, observer: Observer, *, reads: bool = True) -> EngineEnds:
    """Open the session and both ends; only the destination if the stage of the run is complete. Raises ConfigError or
    ConnectorError.
    """
    engine_checks.check(settings)
    with ExitStack() as stack:
        started = engine.start(settings)
        stack.callback(started.close)
        if settings.work is None and not started.is_here:
            raise ConfigError(
                "--work: name a folder that all machines of the engine reach, such as --work s3://BUCKET/tmp. Without "
                "it, they would use the run directory on this machine."
            )
        if started.is_here:
            _make_work_folder(settings.work)
        destination = _open_destination(settings, started.session, observer)
        stack.callback(destination.close)
        source = _open_source(settings, started.session) if reads else None
        stack.pop_all()
        return EngineEnds(settings, observer, started, destination, source)


def _make_work_folder(work: str | None) -> None:
    """Raises ConfigError for a folder of this machine that cannot be created: the engine would fail in its own words,
    and a run that is resumed would name the same folder.
    """
    if work is None or scheme_of(work):
        return
    try:
        local_path(work).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"--work {work}: cannot be created ({reason}). Name another folder.") from error


def _open_source(settings: Settings, session: SparkSession) -> EngineSource:
    if scheme_of(settings.sources[0]) in lookup.ENGINE_SCHEMES:
        with engine.failures():
            return TableSource(session, settings.sources[0])
    opened = endpoints.open_source(settings)
    try:
        files = task_files.of_source(opened)
        engine_checks.must_be_apart([file.address for file in files], settings)
        return FileSource(opened, files, endpoints.source_options(settings))
    except TranshipError:
        opened.close()
        raise


def _open_destination(settings: Settings, session: SparkSession, observer: Observer) -> Destination:
    if scheme_of(settings.destination) in engine_checks.FOLDERS:
        create = settings.create == "auto"
        return ParquetDataset(settings.destination, overwrite=settings.overwrite, create=create)
    return open_table(settings.destination, session, endpoints.destination_options(settings, observer))

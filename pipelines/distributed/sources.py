"""The sources of a run on an engine: files, each read whole by a task, or a table that the engine reads."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, Protocol

from pyspark.errors import PySparkException

from tranship.connectors.addresses import redacted, scheme_of
from tranship.connectors.contract import Layout, Source
from tranship.connectors.errors import ConfigError
from tranship.connectors.task_files import TaskFile
from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.distributed.destinations.lake_table import must_be_known, path_of
from tranship.pipelines.distributed.file_task import FileTask
from tranship.pipelines.distributed.frame_source import FrameSource
from tranship.pipelines.judging import Rules

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_MOST_TASKS: Final = 4096
_LARGE: Final = 500_000_000
"""Bytes of a file above which it is worth splitting: one task takes about a minute for as many."""
_LINE: Final = 0
"""The line of all records of a table, in files and reports, which have a line for each record."""


class EngineSource(Protocol):
    """A source, as far as it is known before anything is read, and its stage."""

    @property
    def size(self) -> int | None:
        """The amount to read, null if it is unknown."""
        ...

    @property
    def files(self) -> int:
        """The number of files; 0 for a table."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how it is read."""
        ...

    def layouts(self) -> list[Layout]:
        """Return the columns of each file."""
        ...

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return what identifies the input."""
        ...

    def close(self) -> None:
        """Close it."""
        ...

    def staged(self, session: SparkSession, columns: tuple[str, ...], rules: Rules, *, with_present: bool) -> DataFrame:
        """Return the stage (`stage_rows.columns`), which is computed by the tasks of the engine; `columns` are those of
        the source, `with_present` is whether the keys of records that are not staged are wanted.
        """
        ...


class FileSource:
    """The files of one or several addresses. Their columns are read here, their records by the tasks."""

    def __init__(self, opened: Source, files: list[TaskFile], options: Mapping[str, Any]) -> None:
        self._opened, self._files, self._options = opened, files, options

    @property
    def files(self) -> int:
        """The number of files."""
        return len(self._files)

    @property
    def size(self) -> int | None:
        """The size of all files."""
        return self._opened.size

    @property
    def notes(self) -> tuple[str, ...]:
        """Name a large file that has most of the bytes: the other tasks wait for the one that reads it."""
        largest = max(self._files, key=lambda file: file.size)
        share = largest.size / max(1, sum(file.size for file in self._files))
        if largest.size < _LARGE or share <= 0.5:
            return ()
        return (f"{largest.name}: has {share:.0%} of the bytes, and one task reads it. Several files are quicker.",)

    def layouts(self) -> list[Layout]:
        """Return the columns of each file."""
        return self._opened.layouts()

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return what identifies each file."""
        return self._opened.fingerprint()

    def close(self) -> None:
        """Close the files."""
        self._opened.close()

    def staged(self, session: SparkSession, columns: tuple[str, ...], rules: Rules, *, with_present: bool) -> DataFrame:
        """Return the stage; `columns` are those of all files."""
        task = FileTask(tuple(self._files), columns, self._options, rules, with_present, metadata.version("tranship"))
        spread = numbers(session, len(self._files))
        return spread.mapInArrow(task, stage_rows.spark_schema(stage_rows.columns(len(columns))))


def numbers(session: SparkSession, files: int) -> DataFrame:
    """Return the numbers of files, as evenly in the partitions of a table as they can be: with `repartition`, Apache
    Spark would give several files to some tasks, and none to others.
    """
    return session.range(0, files, 1, min(files, _MOST_TASKS))


class TableSource:
    """A table of Delta or Iceberg. Its records have no order: the digest of the row stands for their place."""

    files = 0
    size = None
    notes = ()

    def __init__(self, session: SparkSession, address: str) -> None:
        """Raises ConfigError if the engine does not read it."""
        self._shown = redacted(address)
        scheme = scheme_of(address)
        must_be_known(address, session)
        try:
            self._frame = FrameSource(session.read.format(scheme).load(path_of(address)), None, self._shown, _LINE)
            self._layout = self._frame.layout()
        except PySparkException as error:
            raise ConfigError(f"{self._shown}: is no table that the engine can read. Check its path.") from error

    def layouts(self) -> list[Layout]:
        """Return the columns of the table."""
        return [self._layout]

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return its name: another run of the same command may find other records."""
        return [{"name": self._shown, "size": None}]

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def staged(
        self,
        session: SparkSession,  # noqa: ARG002  (the table has one)
        columns: tuple[str, ...],  # noqa: ARG002  (these are those of the table)
        rules: Rules,
        *,
        with_present: bool,  # noqa: ARG002  (mirror is refused)
    ) -> DataFrame:
        """Return the stage."""
        return self._frame.staged(rules)

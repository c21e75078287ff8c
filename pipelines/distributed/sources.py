"""The source of a run on an engine: files, each read whole by a task."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from tranship.connectors.contract import Layout, Source
from tranship.connectors.task_files import TaskFile
from tranship.pipelines.distributed import stage_rows
from tranship.pipelines.distributed.file_task import FileTask
from tranship.pipelines.judging import Rules

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_MOST_TASKS: Final = 4096


class FileSource:
    """The files of one or several addresses. Their columns are read here, their records by the tasks."""

    def __init__(self, opened: Source, files: list[TaskFile], options: Mapping[str, Any]) -> None:
        self._opened, self.files, self._options = opened, files, options

    @property
    def size(self) -> int | None:
        """The size of all files."""
        return self._opened.size

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
        """Return the stage (`stage_rows.columns`), which is computed by the tasks of the engine; `columns` are those of
        all files.
        """
        files = [(at, json.dumps(dataclasses.asdict(file))) for at, file in enumerate(self.files)]
        numbered = session.createDataFrame(files, "at bigint, file string")
        task = FileTask(columns, self._options, rules, with_present, metadata.version("tranship"))
        spread = numbered.repartition(min(len(files), _MOST_TASKS))
        return spread.mapInArrow(task, stage_rows.spark_schema(stage_rows.columns(len(columns))))

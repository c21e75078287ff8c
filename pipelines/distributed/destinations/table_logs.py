"""The logs of tables of Delta and Iceberg, as any engine can read them: the files of metadata in the table's folder.

`DESCRIBE HISTORY` and tables of metadata would show the same, but not every engine has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from msgspec import Struct
from pyspark.errors import PySparkException
from pyspark.sql import functions as fn

from tranship.connectors.databases.table_mapping import RUN

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class TableLog(Protocol):
    """The log of the table in a folder. Each write makes a version, whose number is one higher."""

    format: ClassVar[str]
    """The format as engines name it."""
    names: ClassVar[str]
    """The names in the folder of such a table, as a pattern."""

    def __init__(self, session: SparkSession, path: str) -> None:
        """Take the folder of the table, which may not exist yet."""
        ...

    def version(self) -> int | None:
        """Return the version of the table, null if there is none."""
        ...

    def read_options(self, version: int) -> Mapping[str, str]:
        """Return the options with which an engine reads a version."""
        ...

    def has_run(self, run_id: str) -> bool:
        """Return whether this run has written to the table."""
        ...

    def counts(self, version: int, run_id: str) -> Mapping[str, Any] | None:
        """Return the counts of rows of a version, as Delta names them, as far as they are known; null if it was not
        this run that wrote it.
        """
        ...


class DeltaLog(Struct, frozen=True):
    """The log of a Delta table, which keeps the predicates of each write: they name the run."""

    format: ClassVar[str] = "delta"
    names: ClassVar[str] = r"_delta_log|part-.*"

    session: SparkSession
    path: str

    def version(self) -> int | None:
        """Return the version of the table, null if there is none."""
        found = _numbers(self.session, f"{self.path}/_delta_log/*.json", r"(\d{20})\.json$")
        return max(found, default=None)

    def read_options(self, version: int) -> Mapping[str, str]:
        """Return the options with which an engine reads a version."""
        return {"versionAsOf": str(version)}

    def has_run(self, run_id: str) -> bool:
        """Return whether a version was written by this run."""
        return bool(_rows(lambda: self._commits("*", run_id).limit(1)))

    def counts(self, version: int, run_id: str) -> Mapping[str, Any] | None:
        """Return the counts of rows of a version; null if it was not this run that wrote it."""
        for (line,) in _rows(lambda: self._commits(f"{version:020}", run_id)):
            found: Mapping[str, Any] = json.loads(line)["commitInfo"].get("operationMetrics", {})
            return found
        return None

    def _commits(self, version: str, run_id: str) -> DataFrame:
        lines = self.session.read.text(f"{self.path}/_delta_log/{version}.json")
        return lines.where(fn.col("value").startswith('{"commitInfo"') & fn.col("value").contains(run_id))


class IcebergLog(Struct, frozen=True):
    """The metadata of an Iceberg table. They do not name the run: its rows do. So rows are marked, never removed."""

    format: ClassVar[str] = "iceberg"
    names: ClassVar[str] = "metadata|data"

    session: SparkSession
    path: str

    def version(self) -> int | None:
        """Return the number of the newest metadata, null if there are none."""
        return max(_numbers(self.session, f"{self.path}/metadata/*.metadata.json", _METADATA), default=None)

    def read_options(self, version: int) -> Mapping[str, str]:
        """Return the options with which an engine reads a version."""
        for path, content in _rows(lambda: _files(self.session, f"{self.path}/metadata/*.metadata.json", "content")):
            found = re.search(_METADATA, path)
            if found and int(found[1]) == version:
                snapshot = json.loads(bytes(content)).get("current-snapshot-id")
                return {} if snapshot in (None, -1) else {"snapshot-id": str(snapshot)}
        return {}

    def has_run(self, run_id: str) -> bool:
        """Return whether a row names this run."""
        if self.version() is None:
            return False
        table = self.session.read.format(self.format).load(self.path)
        return bool(table.where(fn.col(RUN) == run_id).limit(1).count())

    def counts(self, version: int, run_id: str) -> Mapping[str, Any] | None:  # noqa: ARG002  (no version names its run)
        """Return no counts; null if there is a version after this one."""
        return {} if self.version() == version else None


_METADATA = r"/v?0*(\d+)(?:-[0-9a-f-]+)?\.metadata\.json$"


def _numbers(session: SparkSession, files: str, name: str) -> list[int]:
    paths = _rows(lambda: _files(session, files))
    return [int(found[1]) for (path,) in paths if (found := re.search(name, path))]


def _files(session: SparkSession, files: str, *columns: str) -> DataFrame:
    return session.read.format("binaryFile").load(files).select("path", *columns)


def _rows(read: Callable[[], DataFrame]) -> list[Any]:
    """Return the rows of files. Without files there are no rows: an engine would fail, at once or when it reads."""
    try:
        rows: list[Any] = read().collect()
    except PySparkException as error:
        if "PATH_NOT_FOUND" in str(error):
            return []
        raise
    return rows

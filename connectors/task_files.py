"""The files of a run as plain values, which a task on another machine opens by itself, with the same connectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.addresses import scheme_of
from tranship.connectors.chain import Chain
from tranship.connectors.contract import Source
from tranship.connectors.errors import ConfigError
from tranship.connectors.files import locating
from tranship.connectors.files.inputs import columns_of_folders
from tranship.connectors.files.partitions import Partitioned
from tranship.connectors.files.storage import File
from tranship.connectors.lookup import named
from tranship.connectors.opening import open_group

_KINDS: Final = ("csv", "json", "parquet")


class TaskFile(Struct, frozen=True):
    """A file: the name of its connector, its name for people, its address, and what identifies its contents."""

    kind: str
    name: str
    address: str
    size: int
    changed: str | None
    called: str
    partitions: Mapping[str, str | None]

    def open(self, options: Mapping[str, Any]) -> Source:
        """Open it, on any machine that reaches it. Raises ConfigError, also if it is not the file that it was."""
        found = [file for file in locating.located(self.address, lambda _: True) if file.address == self.address]
        if len(found) != 1:
            raise ConfigError(f"{self.name}: was not found by a task. Rename it: its name is read as a pattern.")
        file = replace(found[0], name=self.name, called=self.called, partitions=self.partitions, remarks=())
        if (file.size, file.changed) != (self.size, self.changed):
            raise ConfigError(
                f"{self.name}: has changed since the run began. Nothing was written; repeat the command when the file "
                "is complete."
            )
        source = open_group(named(self.kind), [file], options)
        folders = columns_of_folders([file])
        return Partitioned(source, folders) if folders else source


def of_source(source: Source) -> list[TaskFile]:
    """Return the files of an opened source, in the order of its layouts. Raises ConfigError for those that tasks cannot
    open.
    """
    return [_task_file(kind, file) for kind, file in source.files] if isinstance(source, Chain) else []


def _task_file(kind: str, file: File) -> TaskFile:
    if kind not in _KINDS:
        raise ConfigError(
            f"{file.name}: {named(kind).shown} is read on one machine only. Leave --engine out, or convert the file to "
            "CSV or Parquet."
        )
    if file.size is None or not file.address or file.container is not None:
        raise ConfigError(
            f"{file.name}: cannot be opened by several machines. Unpack or save it as a file, or leave --engine out."
        )
    # A task has another working directory.
    address = file.address if scheme_of(file.address) else str(Path(file.address).absolute())
    return TaskFile(kind, file.name, address, file.size, file.changed, file.called, dict(file.partitions))

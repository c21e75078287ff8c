"""Frames on disk, in partitions: what does not fit in memory at once is read partition by partition."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

_PACKED = pa.ipc.IpcWriteOptions(compression="lz4")


class Spill:
    """Partitions of frames with one schema, in a folder of their own. A partition is a file of Arrow streams."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True)

    def add(self, frame: pl.DataFrame, partition: pl.Series) -> None:
        """Append the rows of a frame to their partitions; `partition` has the number of each row's."""
        parts = frame.with_columns(partition.alias("_partition")).partition_by(
            "_partition", as_dict=True, include_key=False
        )
        for (number,), part in parts.items():
            table = part.to_arrow()
            with (
                (self._folder / str(number)).open("ab") as out,
                pa.ipc.new_stream(out, table.schema, options=_PACKED) as stream,
            ):
                stream.write_table(table)

    def take(self, number: int) -> pl.DataFrame | None:
        """Return the rows of a partition, in the order of adding, and remove its file; null if there are none."""
        file = self._folder / str(number)
        if not file.exists():
            return None
        frames = []
        with file.open("rb") as opened:
            while opened.peek(1):
                frames.append(pl.DataFrame(pa.ipc.open_stream(opened).read_all()))
        file.unlink()
        return pl.concat(frames)

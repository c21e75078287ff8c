"""The number of rows of a plan that may have been begun, in a file beside the journal.

A journal can be lost: removed, emptied, damaged, replaced by an earlier copy or by that of another run. This file shows
which rows may have been sent without an entry in it.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from tranship.connectors import durable, mirrored


class JournalReach:
    """The file `journal.reached`: a line with the number of rows whenever it grows, with a checksum that includes the
    run id. A last line `closed` has the number of entries of a journal that was closed properly.
    """

    def __init__(self, file: Path, run_id: str) -> None:
        self._run_id = run_id
        self.rows: int | None = 0
        """Rows of the plan that may have been begun; None if unknown."""
        self.closed: int | None = None
        """Entries of the journal if it was closed properly and not opened since; None otherwise."""
        self.is_new = not file.exists()
        if file.is_dir():
            durable.move_aside(file)
        lines = [] if self.is_new or not file.exists() else file.read_bytes().splitlines(keepends=True)
        if not lines and not self.is_new:
            self.rows = None
        for line in lines:
            kind, count = self._read(line)
            if self.rows is None or count is None:
                self.rows, self.closed = None, None
            elif kind == b"rows":
                self.rows, self.closed = max(self.rows, count), None
            else:
                self.closed = count
        self._path = file
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def begin(self, rows: int) -> None:
        """Record that the journal is open and this number of rows may have been begun. On disk on return. Raises
        OSError."""
        self.rows = max(rows, self.rows or 0)
        self._append(b"rows", self.rows)
        # Another machine, which does not have the journal of this one, must know what may have been sent.
        mirrored.publish(self._path)

    def extend(self, rows: int) -> None:
        """Record that this number of rows may have been begun, if that is more than before. Raises OSError."""
        if self.rows is None or rows > self.rows:
            self.begin(rows)

    def close(self, entries: int | None) -> None:
        """Record that the journal is complete, with this number of entries (None: it is not), and close the file."""
        if entries is not None:
            self._append(b"closed", entries)
        os.close(self._file)

    def _append(self, kind: bytes, count: int) -> None:
        os.write(self._file, b"%b %d %08x\n" % (kind, count, self._check(kind, count)))
        os.fsync(self._file)

    def _read(self, line: bytes) -> tuple[bytes, int | None]:
        kind, _, rest = line.partition(b" ")
        count, _, check = rest.partition(b" ")
        if not count.isdigit() or kind not in (b"rows", b"closed"):
            return kind, None
        return kind, int(count) if check == b"%08x\n" % self._check(kind, int(count)) else None

    def _check(self, kind: bytes, count: int) -> int:
        return zlib.crc32(b"%b %b %d" % (self._run_id.encode(), kind, count))

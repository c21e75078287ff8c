from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tranship.connectors.errors import ConfigError, LocalFailure
from tranship.connectors.local_failures import local_failure, local_failures

FRAME = pl.DataFrame({"a": list(range(1000))})


def _python(full: Path) -> None:
    with full.open("wb", buffering=0) as out:
        out.write(b"x")


def _polars(full: Path) -> None:
    FRAME.write_parquet(full)


def _polars_sink(full: Path) -> None:
    FRAME.lazy().sink_csv(full)


def _arrow(full: Path) -> None:
    pq.write_table(FRAME.to_arrow(), str(full))


def _duckdb(full: Path) -> None:
    # The message contains this name because `COPY` would rename its own file to it.
    raise duckdb.IOException(f'IO Error: Could not write file "{full}": No space left on device')


def _sqlite(_: Path) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA max_page_count = 2")
    connection.execute("CREATE TABLE a (b)")
    connection.execute("INSERT INTO a VALUES (zeroblob(100000))")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full")
@pytest.mark.parametrize("work", [_python, _polars, _polars_sink, _arrow, _duckdb, _sqlite])
def test_a_full_disk_is_recognised_in_the_exceptions_of_each_library(
    work: Callable[[Path], None], tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")  # a library that removes what it could not write removes only the link
    with pytest.raises(LocalFailure, match=r"No space left on device\)\. Free some space"), local_failures("here"):
        work(full)


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EMFILE])
def test_the_file_is_named_with_what_to_do(code: int) -> None:
    failure = local_failure(OSError(code, os.strerror(code), "a/b"), "here")
    assert str(failure).startswith(f"a/b: cannot be read or written ({os.strerror(code)}). ")
    assert isinstance(failure, ConfigError)


class PanicException(BaseException):
    """As polars raises it."""


PanicException.__module__ = "pyo3_runtime"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        duckdb.OutOfMemoryException("Out of Memory Error: Failed to allocate block of 262144 bytes (bad allocation)"),
        pa.ArrowMemoryError("malloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        PanicException("memory allocation of 4194304 bytes failed"),
        pl.exceptions.ComputeError("Cannot allocate memory (os error 12)"),
        ImportError("a.so: failed to map segment from shared object"),
    ],
)
def test_too_little_memory(error: BaseException) -> None:
    assert "Memory ran out." in str(local_failure(error, "here"))
    assert "use less: --memory 300MB" in str(local_failure(error, "here"))


def test_a_database_that_reached_its_own_limit_is_allowed_more() -> None:
    limits = {"memory_limit": "20MB", "temp_directory": ""}
    with duckdb.connect(config=limits) as database, pytest.raises(LocalFailure) as caught, local_failures("here"):
        database.execute("CREATE TABLE a AS SELECT repeat('x', 100) || range FROM range(1000000)")
    assert str(caught.value) == "here: DuckDB needs more memory than it may use. Allow it more: --memory 2GB."


def test_without_a_folder_for_temporary_files_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/dev/null/a"])
    with pytest.raises(LocalFailure, match="Set TMPDIR"), local_failures("here"):
        tempfile.gettempdir()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        PanicException('failed to spawn thread: Os { code: 11, message: "Resource temporarily unavailable" }'),
    ],
)
def test_too_many_threads(error: BaseException) -> None:
    assert "No more threads can be started. Allow" in str(local_failure(error, "here"))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("No space left on device"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        KeyboardInterrupt(),
        RuntimeError("of ours"),
        ImportError("no module"),
        PanicException("called `Option::unwrap()` on a `None` value"),
    ],
)
def test_other_errors_are_not_the_machines(error: BaseException) -> None:
    assert local_failure(error, "here") is None
    with pytest.raises(type(error)), local_failures("here"):
        raise error

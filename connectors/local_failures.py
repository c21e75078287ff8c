"""Failures of this machine as one error: a full disk, a permission that was lost, too little memory.

Each library reports them in its own way: Python as OSError, polars as ComputeError with `(os error 28)`, DuckDB as
`IO Error: Could not write file`, SQLite as `database or disk is full`. They are translated here and nowhere else.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from tranship.connectors.errors import LocalFailure, TranshipError

_SPACE: Final = "Free some space there"
_REMEDIES: Final[Mapping[int, str]] = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: f"{_SPACE}, or ask for a larger quota",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
    errno.EIO: "Check the disk, or use another one",
    errno.EROFS: "Make the file system writable",
    errno.EACCES: "Check the access rights",
    errno.EPERM: "Check the access rights",
    errno.ENOENT: "It was removed while the command was working",
    errno.ENOTDIR: "Another file is in the place of a folder",
    errno.ENAMETOOLONG: "Use a shorter name",
    errno.ELOOP: "Remove the link that refers to itself",
    errno.EMFILE: "Raise the limit on open files (ulimit -n)",
    errno.ENFILE: "End other programs that keep many files open",
    errno.ESTALE: "Check the network file system",
    errno.ETXTBSY: "End the program that uses the file",
}
"""The remedy for an error of the operating system; other errors are not failures of the machine."""

_OF_SQLITE: Final[Mapping[str, int]] = {
    "database or disk is full": errno.ENOSPC,
    "disk I/O error": errno.EIO,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": errno.EACCES,
}
_LIBRARIES: Final = (
    "duckdb",
    "_duckdb",
    "polars",
    "pyarrow",
    "sqlite3",
    "xlsxwriter",
    "fastexcel",
    "pyo3_runtime",
    "pyrage",
)
_MEMORY_TEXTS: Final = (
    *("Cannot allocate memory", "out of memory", "Out of Memory", "memory allocation of", "bad_alloc"),
    *("failed to map segment from shared object", "cannot allocate memory in static TLS block"),
)
_THREAD_TEXTS: Final = ("can't start new thread", "failed to spawn thread", "Resource temporarily unavailable")
"""Of Python, Rust and C++. Threads need memory for their stacks; a limit on processes also counts them."""
_NO_TEMPORARY_FOLDER: Final = "No usable temporary directory"
"""In the words of Python's tempfile, where neither TMPDIR nor the usual folders can be written."""
_OWN_LIMIT: Final = re.compile(r"/[\d.]+ \w+ used\)")
"""In the words of DuckDB where it has reached the limit of `--memory`, not one of the system."""


class NativeAbortError(Exception):
    """A native library aborted or blocked the process. `trace` shows where each thread was."""

    def __init__(self, printed: str, trace: str) -> None:
        """Take what was printed, which may quote records, and the trace, which names files and lines of code."""
        super().__init__(printed)
        self.trace = trace


def local_failure(error: BaseException, place: object) -> LocalFailure | None:
    """Return an exception of any library as the failure of this machine that it reports, null if it reports another
    problem. `place` is named if the exception names no file and is about one.
    """
    if isinstance(error, LocalFailure):
        return error
    if isinstance(error, TranshipError) or not _is_of_a_library(error):
        return None
    if isinstance(error, FileNotFoundError) and _NO_TEMPORARY_FOLDER in str(error):
        return LocalFailure(
            "No folder for temporary files can be written. Set TMPDIR to one that can, with free space."
        )
    if isinstance(error, MemoryError) or any(text in str(error) for text in _MEMORY_TEXTS):
        return _out_of_memory(error, place)
    if not isinstance(error, OSError) and any(text in str(error) for text in _THREAD_TEXTS):
        return LocalFailure(
            "No more threads can be started. Allow this process more memory (ulimit -v), or more processes (ulimit -u, "
            "or the limit of the container)."
        )
    code = _code(error)
    if code == errno.ENOMEM:
        return _out_of_memory(error, place)
    if code is None or code not in _REMEDIES:
        return None
    return LocalFailure(
        f"{_file_in(error) or place}: cannot be read or written ({os.strerror(code)}). {_REMEDIES[code]}."
    )


def unwritable(error: OSError, place: object) -> LocalFailure:
    """Return the error for a file or folder that cannot be created or written."""
    reason = error.strerror or str(error)
    return LocalFailure(f"{place}: cannot be written ({reason}). {_REMEDIES.get(error.errno or 0, _SPACE)}.")


@contextmanager
def local_failures(place: object) -> Iterator[None]:
    """Raise LocalFailure in place of an exception in the block that reports one."""
    try:
        yield
    except TranshipError:
        raise
    except BaseException as error:
        failure = local_failure(error, place)
        if failure is None:
            raise
        raise failure from error


def _is_of_a_library(error: BaseException) -> bool:
    if isinstance(error, RuntimeError | ImportError):  # Python's own words about threads, and about libraries to load
        return any(text in str(error) for text in (*_MEMORY_TEXTS, *_THREAD_TEXTS))
    return (
        isinstance(error, OSError | MemoryError | NativeAbortError)
        or type(error).__module__.partition(".")[0] in _LIBRARIES
    )


def _code(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    named = re.search(r"\(os error (\d+)\)|\bcode: (\d+), kind: ", text)
    if named:
        return int(named[1] or named[2])
    of_sqlite = (code for words, code in _OF_SQLITE.items() if words in text)
    return next(of_sqlite, None) or next((code for code in _REMEDIES if os.strerror(code) in text), None)


def _file_in(error: BaseException) -> str | None:
    """Return the file that an exception names."""
    if isinstance(error, OSError) and error.filename is not None:
        return os.fsdecode(error.filename)
    named = re.search(r'(?:file|directory|path) "([^"\n]+)"', str(error))
    return named[1] if named else None


def _out_of_memory(error: BaseException, place: object) -> LocalFailure:
    if _OWN_LIMIT.search(str(error)):
        return LocalFailure(f"{place}: DuckDB needs more memory than it may use. Allow it more: --memory 2GB.")
    return LocalFailure(
        "Memory ran out. Allow this process more (ulimit -v, or the limit of the container), end other programs, or "
        "let DuckDB use less: --memory 300MB."
    )

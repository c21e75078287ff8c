"""Opening a DuckDB file, which one process at a time may have open."""

from __future__ import annotations

import re
import time
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Final

import duckdb
from msgspec.structs import replace

from tranship.connectors.contract import Waiting
from tranship.connectors.databases.duckdb.address import DuckDbAddress
from tranship.connectors.databases.duckdb.error_messages import first_line
from tranship.connectors.databases.quoting import literal
from tranship.connectors.durable import replacing_nothing
from tranship.connectors.errors import Busy, ConfigError
from tranship.connectors.local_failures import local_failure

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {"autoinstall_known_extensions": False}
"""Otherwise a file of another database, such as SQLite's, would make DuckDB download and run an extension."""
_PAUSE: Final = 0.1
"""Seconds between attempts to open a database that another process has locked."""
_LOCK: Final = Lock()


@cache
def _instance() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:")


def in_memory() -> duckdb.DuckDBPyConnection:
    """Return a connection to the process's own database in memory, to be closed after use. Starting an instance of
    DuckDB takes about 20 ms, a further connection to one takes none. Keep to temporary tables and views, and change no
    settings: everything else is shared with the other connections.
    """
    with _LOCK:
        return _instance().cursor()


def connect(
    address: DuckDbAddress, *, read_only: bool, waiting: Waiting | None = None
) -> tuple[duckdb.DuckDBPyConnection, DuckDbAddress]:
    """Open a database, waiting for another process that has it open; return it and the address with its name.

    Raises ConfigError, or Busy if the file stays locked for longer than `waiting` allows.
    """
    # An absolute path: names such as `md:x` would open something else.
    file = address.path.resolve()
    started, reported = time.monotonic(), False
    while True:
        try:
            connection = _open(file, read_only=read_only)
            break
        except duckdb.Error as error:
            holder = _holder(error)
            if holder is None:
                raise local_failure(error, address.path) or ConfigError(
                    f"{address.path}: cannot be opened as a DuckDB database ({first_line(error)})."
                ) from error
            waited = time.monotonic() - started
            if waiting is None or (waiting.seconds and waited >= waiting.seconds):
                for_so_long = f", which did not end within {waiting.seconds:g} s" if waiting else ""
                raise Busy(
                    f"{address.path}: is locked by {holder}{for_so_long}. DuckDB allows one process at a time: wait "
                    "for it or stop it, then run the same command, or increase --lock-timeout."
                ) from error
            if not reported:
                waiting.say(f"{address.path}: is locked by {holder}; waiting for it to end")
                reported = True
        time.sleep(_PAUSE)
    connection.execute("SET TimeZone = 'UTC'").fetchall()
    database = connection.execute("SELECT current_database()").fetchall()[0][0]
    return connection, replace(address, database=database)


def _open(file: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    if not read_only and not file.exists():
        _create_file(file)
    try:
        return duckdb.connect(file, read_only=read_only, config=_CONFIG)
    except duckdb.ConnectionException:
        # The file is also the source or destination of this run: one process has one instance of it.
        return duckdb.connect(file, config=_CONFIG)


def _create_file(file: Path) -> None:
    """Create an empty database file atomically. DuckDB checks for a file before it creates one, so that the second of
    two processes could overwrite the file of the first. DuckDB creates the file itself if hard links are not possible,
    or if the write-ahead log of a missing database exists, which DuckDB then removes.
    """
    if file.with_name(f"{file.name}.wal").exists():
        return
    with replacing_nothing(file) as temporary, _LOCK:
        _instance().execute(f"ATTACH {literal(temporary)} AS created (TYPE duckdb)").fetchall()
        _instance().execute("DETACH created").fetchall()


def remove_database(file: Path) -> None:
    """Remove a database file and its write-ahead log, the log first: a log without its database would block a new
    database."""
    file.with_name(f"{file.name}.wal").unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def _holder(error: duckdb.Error) -> str | None:
    """Return the process that has locked a database, for messages; null if the error is a different one."""
    if "Could not set lock on file" not in str(error):
        return None
    named = re.search(r"held in (.+?) \(PID (\d+)\)", str(error))
    return f"process {named[2]} ({Path(named[1]).name})" if named else "another process"

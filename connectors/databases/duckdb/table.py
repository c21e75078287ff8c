"""A DuckDB table as a destination: `duckdb:///warehouse.duckdb?table=customers`.

A table created here (`connectors/databases/table_mapping.py` has its columns) has no primary key: on a big table,
DuckDB's index doubles the time and the memory of a load. The comparison keeps keys unique.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import duckdb
from msgspec.structs import replace

from tranship.connectors.addresses import redacted
from tranship.connectors.contract import FileMark, Plan, Survivors, Waiting, Watermark, WriteRequest
from tranship.connectors.databases.as_of import cannot_be_written
from tranship.connectors.databases.before_images import must_still_fit, read_facts
from tranship.connectors.databases.chosen_columns import check_chosen, check_nothing_chosen
from tranship.connectors.databases.diff import Classifier, create_survivors_view, plan_new_table
from tranship.connectors.databases.duckdb.address import parse_address
from tranship.connectors.databases.duckdb.catalog import (
    column_defaults,
    describe_missing,
    existing_columns,
    map_existing_table,
    table_exists,
    type_of,
)
from tranship.connectors.databases.duckdb.compare import DuckDbComparedTable
from tranship.connectors.databases.duckdb.connection import connect, in_memory, remove_database
from tranship.connectors.databases.duckdb.error_messages import first_line, message_of
from tranship.connectors.databases.duckdb.history import DuckDbHistory, history_columns, history_exists
from tranship.connectors.databases.duckdb.last_written import LastWritten
from tranship.connectors.databases.duckdb.undo import DuckDbUndoneTable
from tranship.connectors.databases.duckdb.watermarks import Watermarks
from tranship.connectors.databases.duckdb.write import DuckDbWriter
from tranship.connectors.databases.history import HistoryWriter
from tranship.connectors.databases.history_table import history_of, not_kept
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.quoting import files_literal, literal, quoted
from tranship.connectors.databases.table_mapping import (
    BOOKKEEPING,
    TYPE_OF,
    TableMapping,
    check_mirror_bookkeeping,
    missing_columns,
)
from tranship.connectors.databases.undo_plan import UndoPlanner
from tranship.connectors.databases.undone_table import RestoredField
from tranship.connectors.errors import ConfigError, ConnectorError, Interfered, Refused, TranshipError
from tranship.connectors.existing import hint, not_created, similar_files, will_be_created
from tranship.connectors.local_failures import local_failure


class DuckDbTable:
    """One table as a destination; plan and apply share one transaction."""

    def __init__(self, spec: str, *, memory: str, create: bool = True, waiting: Waiting | None = None) -> None:
        self._address = parse_address(spec)
        if self._address.query:
            raise ConfigError(f"{redacted(spec)}: a query can be read, not written; name a table.")
        if self._address.as_of:
            raise cannot_be_written(spec)
        if not self._address.path.parent.is_dir():
            folder = self._address.path.parent
            raise ConfigError(f"{redacted(spec)}: the folder {folder} does not exist. Create it, or name another one.")
        self._memory, self._waiting = memory, waiting
        self._open: duckdb.DuckDBPyConnection | None = None
        self._mapping: TableMapping | None = None
        self._survivors: Survivors | None = None
        """The records of an undo, once it is planned."""
        self._history: HistoryWriter | None = None
        self._created: Path | None = None
        """The file, while it is one of ours without content."""
        if not self._address.path.exists():
            if not create:
                raise not_created(*self._missing_file())
        elif not table_exists(self._connection(), self._address, self._address.table) and not create:
            raise not_created(*self._missing(self._connection()))

    def check_columns(self, columns: Mapping[str, str]) -> None:
        """Raise ConfigError if one of the columns (field → column) cannot be written."""
        if self._open is None and not self._address.path.exists():
            check_nothing_chosen(self._missing_file()[0], columns)
            return
        connection, address = connect(self._address, read_only=True, waiting=self._waiting)
        with closing(connection):
            if not table_exists(connection, address, address.table):
                check_nothing_chosen(describe_missing(connection, address)[0], columns)
            check_chosen(address.title, *existing_columns(connection, address), columns, BOOKKEEPING)

    def check_history(self) -> None:
        """Raise ConfigError if the table cannot have a history."""
        if self._open is None and not self._address.path.exists():
            return
        connection, address = connect(self._address, read_only=True, waiting=self._waiting)
        with closing(connection):
            history_exists(connection, address)

    def state_of_history(self) -> Mapping[str, int]:
        """Return the counts of versions and faults."""
        return self._history.state() if self._history else {}

    def plan(self, request: WriteRequest) -> Plan:
        """Compare the survivors with the table; the transaction stays open for `apply`."""
        rows = request.workspace / "plan.parquet"
        self._mapping = self._history = None
        if request.undo and not self._address.path.exists():
            raise ConfigError(f"{self._missing_file()[0]} does not exist any more: nothing can be taken back in it.")
        if self._open is None and not self._address.path.exists():
            # There is no file, and none is created before the write.
            check_nothing_chosen(self._missing_file()[0], request.columns)
            with in_memory() as nowhere:
                create_survivors_view(nowhere, request)
                return plan_new_table(nowhere, request, rows, notes=(will_be_created(*self._missing_file()),))
        connection = self._connection()
        try:
            self._configure(connection, request)
            connection.execute("BEGIN").fetchall()
            if request.undo:
                return self._plan_undo(connection, request)
            if not table_exists(connection, self._address, self._address.table):
                check_nothing_chosen(self._missing(connection)[0], request.columns)
                create_survivors_view(connection, request)
                return plan_new_table(connection, request, rows, notes=(will_be_created(*self._missing(connection)),))
            notes: list[str] = []
            if request.evolve:
                notes += self._evolve(connection, request)
            self._mapping = mapping = map_existing_table(connection, self._address, request.columns)
            check_mirror_bookkeeping(self._address.title, mapping, request)
            last_written = LastWritten(connection, self._address)
            if last_written.is_needed(mapping):
                self._mapping = mapping = replace(mapping, written_key=mapping.row_key)
                last_written.load()
            plan = Classifier(
                connection, DuckDbComparedTable(connection, self._address, request, mapping), mapping, request
            ).plan(rows, (*notes, *mapping.notes(request)))
            return self._foreseen(connection, request, mapping, plan)
        except duckdb.Error as error:
            raise self._failure("the comparison failed", error) from error

    def _plan_undo(self, connection: duckdb.DuckDBPyConnection, request: WriteRequest) -> Plan:
        assert request.undo is not None  # noqa: S101  (the caller has looked)
        address = self._address
        if not table_exists(connection, address, address.table):
            raise ConfigError(f"{address.title} does not exist any more: nothing can be taken back in it.")
        columns, _ = existing_columns(connection, address)
        chosen = {field: column for field, column in request.columns.items() if column in columns}
        mapping = map_existing_table(connection, address, chosen)
        facts = read_facts(request.undo.folder, request.undo.run_id)
        notes = must_still_fit(address.title, facts, {name: column.dtype for name, column in columns.items()})
        fields = {name: RestoredField(name, column) for name, column in columns.items()}
        table = DuckDbUndoneTable(connection, address, request, mapping, columns)
        defaults = list(column_defaults(connection, address))
        taken_back = UndoPlanner(connection, table, mapping, fields, defaults, request, facts).plan(notes)
        self._mapping, self._survivors = taken_back.mapping, taken_back.survivors
        return self._foreseen(connection, request, mapping, taken_back.plan)

    def _foreseen(
        self, connection: duckdb.DuckDBPyConnection, request: WriteRequest, mapping: TableMapping, plan: Plan
    ) -> Plan:
        """Return the plan with notes on what the history adds."""
        if request.keep_history:
            store = DuckDbHistory(connection, self._address, request, mapping)
            self._history = HistoryWriter(store, mapping, request)
            foreseen = self._history.foresee(plan)
        else:
            foreseen = not_kept(history_of(self._address.table), plan, history_columns(connection, self._address))
        return replace(plan, notes=(*plan.notes, *foreseen))

    def apply(self, request: WriteRequest, plan: Plan) -> None:
        """Insert, update, delete and write the ledger row; commit. If anything fails, the table is unchanged."""
        if self._survivors is not None:
            request = replace(request, survivors=self._survivors)
        if self._open is None:
            self._created = None if self._address.path.exists() else self._address.path.resolve()
            connection = self._connection()
            self._configure(connection, request)
            connection.execute("BEGIN").fetchall()
            if table_exists(connection, self._address, self._address.table):
                connection.execute("ROLLBACK").fetchall()
                raise Interfered(f"{self._address.title}: another process has created it since the comparison.")
        connection = self._connection()
        try:
            DuckDbWriter(connection, self._address, request, plan).write(self._mapping, self._history)
            self._created = None
        except duckdb.ConstraintException as error:
            raise Refused(
                f"{self._address.title}: refused the load; nothing was written ({_without_values(error)}). "
                "Change the constraint or correct the records."
            ) from None
        except duckdb.Error as error:
            raise self._failure("writing failed and was rolled back", error) from error

    def _failure(self, what: str, error: duckdb.Error) -> TranshipError:
        failure = local_failure(error, self._address.path)
        return failure or ConnectorError(f"{self._address.title}: {what} ({message_of(error)}).")

    def applied(self, run_id: str) -> bool:
        """Return whether the ledger has this run."""
        if self._open is None:
            return False
        connection = self._connection()
        if not table_exists(connection, self._address, LEDGER):
            return False
        try:
            found = connection.execute(f"SELECT 1 FROM {self._address.ledger} WHERE run_id = ?", [run_id])
            return bool(found.fetchall())
        except duckdb.Error as error:
            raise self._failure(f"{LEDGER} cannot be read", error) from error

    def watermarks(self) -> list[Watermark]:
        """Return the watermarks of the sources that are read into this table."""
        with self._state() as state:
            return state.read() if state else []

    def files_read(self, reading: str) -> list[FileMark]:
        """Return the files of a source that were read into this table."""
        with self._state() as state:
            return state.files_read(reading) if state else []

    def forget_files(self, source: str | None) -> int:
        """Forget the files of a source, or of all; return how many there were."""
        return Watermarks(self._connection(), self._address).forget_files(source) if self._address.path.exists() else 0

    @contextmanager
    def _state(self) -> Iterator[Watermarks | None]:
        """Yield how far sources were read, without locking the file; null if there is none."""
        if self._open is not None:
            yield Watermarks(self._open, self._address)
        elif self._address.path.exists():
            connection, address = connect(self._address, read_only=True, waiting=self._waiting)
            with closing(connection):
                yield Watermarks(connection, address)
        else:
            yield None

    def replace_watermark(self, old: Watermark | None, new: Watermark | None) -> None:
        """Replace one, in a transaction of its own."""
        connection = self._connection()
        connection.execute("BEGIN").fetchall()
        Watermarks(connection, self._address).replace(old, new)
        connection.execute("COMMIT").fetchall()

    def close(self) -> None:
        """Roll back uncommitted changes and close the file. A file created for a write that failed is removed."""
        if self._created is not None:
            # Before it is closed: until then no other process can open it.
            remove_database(self._created)
            self._created = None
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connection(self) -> duckdb.DuckDBPyConnection:
        if self._open is None:
            self._open, self._address = connect(self._address, read_only=False, waiting=self._waiting)
            # Not as a setting of `connect`, which fails if the same file is open as a source with other settings.
            self._open.execute(f"SET memory_limit = {literal(self._memory)}").fetchall()
        return self._open

    def _configure(self, connection: duckdb.DuckDBPyConnection, request: WriteRequest) -> None:
        connection.execute("SET preserve_insertion_order = false").fetchall()
        connection.execute(f"SET temp_directory = {literal(request.workspace / 'spill')}").fetchall()

    def _missing_file(self) -> tuple[str, str]:
        """Return what would be created, and a hint at similar names."""
        path = self._address.path
        return f"database file {path}", hint("file", similar_files(path))

    def _missing(self, connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
        """Return the missing table or schema of an existing file, and a hint at similar names."""
        return describe_missing(connection, self._address)

    def _evolve(self, connection: duckdb.DuckDBPyConnection, request: WriteRequest) -> list[str]:
        """Add the columns that the table lacks; return notes about them."""
        columns, computed = existing_columns(connection, self._address)
        missing = missing_columns(list(columns), computed, request)
        for name in missing:
            connection.execute(f"ALTER TABLE {self._address.name} ADD COLUMN {quoted(name)} {type_of(name)}").fetchall()
        return [f"column {name} is added" for name in missing]


def table_of_records(files: Sequence[Path], fields: Sequence[str], database: Path, memory: str) -> DuckDbTable:
    """Create a table of canonical records (Parquet files with these fields) in a new database."""
    columns = ", ".join(f"{quoted(name)} {TYPE_OF[name]}" for name in fields)
    with duckdb.connect(database) as connection:
        connection.execute(f"SET memory_limit = {literal(memory)}").fetchall()
        connection.execute(f"SET temp_directory = {literal(database.parent / 'spill')}").fetchall()
        connection.execute(f"CREATE TABLE held ({columns})").fetchall()
        if files:
            given = ", ".join(map(quoted, fields))
            connection.execute(f"INSERT INTO held SELECT {given} FROM read_parquet({files_literal(files)})").fetchall()
    return DuckDbTable(f"duckdb:///{quote(str(database.resolve()))}?table=held", memory=memory)


def _without_values(error: Exception) -> str:
    """Return a constraint's message without customer data."""
    return re.sub(r'"[^"]*@[^"]*"|duplicate key "[^"]*"', "a repeated value", first_line(error))

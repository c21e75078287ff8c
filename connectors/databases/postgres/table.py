"""A Postgres table as a destination: `postgresql://user@host:5432/db?table=billing.customers`.

Needs SELECT, INSERT and UPDATE on the table (DELETE for `--deletes remove`), TEMPORARY on the database, and CREATE on
the schema if the table, the ledger or the table of changes does not exist yet; INSERT on the latter two.

One transaction on one connection: lock, read the table, compare (in `connectors/databases/diff.py`), write the
differences, write the ledger, commit. Other writers of the table wait meanwhile; readers see the old table until the
commit. In a table created here (`connectors/databases/table_mapping.py` has its columns), the key is the primary key.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

import duckdb
from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.addresses import redacted
from tranship.connectors.contract import FileMark, Plan, Watermark, WriteObserver, WriteRequest
from tranship.connectors.databases.as_of import cannot_be_written
from tranship.connectors.databases.before_images import must_still_fit, read_facts
from tranship.connectors.databases.changes import is_recorded
from tranship.connectors.databases.chosen_columns import check_chosen, check_nothing_chosen
from tranship.connectors.databases.diff import Classifier, plan_new_table
from tranship.connectors.databases.history import HistoryWriter
from tranship.connectors.databases.history_table import history_of, not_kept
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.postgres.address import parse_address
from tranship.connectors.databases.postgres.before_images import shown_types
from tranship.connectors.databases.postgres.catalog import (
    Relation,
    column_types,
    describe_missing,
    find_relation,
    qualified_name,
    unique_columns,
)
from tranship.connectors.databases.postgres.changes import check_rights
from tranship.connectors.databases.postgres.compare import PostgresComparedTable
from tranship.connectors.databases.postgres.connect import connect
from tranship.connectors.databases.postgres.connection import Connection
from tranship.connectors.databases.postgres.context import WriteContext
from tranship.connectors.databases.postgres.encoding import check_encoding, reject_nul
from tranship.connectors.databases.postgres.history import PostgresHistory, check_history, history_columns
from tranship.connectors.databases.postgres.last_written import LastWritten
from tranship.connectors.databases.postgres.sql import created_column
from tranship.connectors.databases.postgres.undo import PostgresUndoneTable
from tranship.connectors.databases.postgres.watermarks import Watermarks
from tranship.connectors.databases.postgres.write import Writer
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import (
    BOOKKEEPING,
    DELETED,
    RUN,
    TableMapping,
    check_mirror_bookkeeping,
    map_table,
    missing_columns,
)
from tranship.connectors.databases.undo_plan import UndoPlanner
from tranship.connectors.databases.undone_table import RestoredField
from tranship.connectors.errors import (
    Busy,
    ConfigError,
    Interfered,
    Refused,
    Unreachable,
)
from tranship.connectors.existing import not_created, will_be_created
from tranship.connectors.local_failures import local_failure
from tranship.schemas.customer import COLUMNS, KEY


class Timeouts(Struct, frozen=True):
    """Maximum waiting time for locks and for a single statement; 0 is no limit."""

    lock_seconds: float
    statement_seconds: float


class PostgresTable:
    """One table as a destination; plan and apply share one transaction."""

    def __init__(
        self,
        spec: str,
        *,
        observer: WriteObserver,
        memory: str,
        lock_timeout: float,
        statement_timeout: float,
        create: bool = True,
    ) -> None:
        self._address = parse_address(spec)
        if self._address.query:
            raise ConfigError(f"{redacted(spec)}: a query can be read, not written; name a table.")
        if self._address.as_of:
            raise cannot_be_written(spec)
        self._memory, self._timeouts = memory, Timeouts(lock_timeout, statement_timeout)
        self._observer = observer
        self._open: Connection | None = connect(self._address)
        self._duck: duckdb.DuckDBPyConnection | None = None
        self._context: WriteContext | None = None
        self._history: HistoryWriter | None = None
        self._begun = False
        if not create and not find_relation(self._open, self._address, self._address.table):
            error = not_created(*describe_missing(self._open, self._address))
            self.close()
            raise error

    def check_columns(self, columns: Mapping[str, str]) -> None:
        """Raise ConfigError if one of the columns (field → column) cannot be written."""
        connection = self._connected()
        relation = find_relation(connection, self._address, self._address.table)
        if relation is None:
            check_nothing_chosen(describe_missing(connection, self._address)[0], columns)
            return
        types = column_types(connection, relation)
        computed = [name for name, kind in types.items() if kind.computed]
        check_chosen(self._where, [name for name in types if name not in computed], computed, columns, BOOKKEEPING)

    def check_history(self) -> None:
        """Raise ConfigError if the table cannot have a history."""
        check_history(self._connected(), self._address, self._where)

    def state_of_history(self) -> Mapping[str, int]:
        """Return the counts of versions and faults."""
        return self._history.state() if self._history else {}

    def plan(self, request: WriteRequest) -> Plan:
        """Lock the table and compare the survivors with it; the transaction stays open for `apply`."""
        self._start_again()
        self._history = None
        connection = self._begin(quiet=False)
        self._duck = duck = duckdb.connect(config={"memory_limit": self._memory})
        for setting in ("TimeZone = 'UTC'", "preserve_insertion_order = false"):
            duck.execute(f"SET {setting}").fetchall()
        duck.execute(f"SET temp_directory = {literal(request.workspace / 'spill')}").fetchall()
        rows = request.workspace / "plan.parquet"
        try:
            relation = self._lock(connection, request)
            if request.undo:
                return self._plan_undo(connection, duck, request, relation)
            if relation is None:
                check_nothing_chosen(describe_missing(connection, self._address)[0], request.columns)
                mapping, notes = check_encoding(connection, duck, request, _created_table_mapping())
                self._context = WriteContext(connection, duck, request, None, mapping, (), {})
                held = PostgresComparedTable(self._context)
                held.load_survivors()
                notes = (will_be_created(*describe_missing(connection, self._address)), *notes)
                return plan_new_table(duck, request, rows, mapping, notes)
            types = column_types(connection, relation)
            fillable = {name: kind for name, kind in types.items() if not kind.computed}
            computed = [name for name, kind in types.items() if kind.computed]
            added = tuple(missing_columns(list(fillable), computed, request)) if request.evolve else ()
            columns = {name: kind.compared_column() for name, kind in fillable.items()} | {
                name: created_column(name) for name in added
            }
            unique = unique_columns(connection, relation)
            mapping = reject_nul(map_table(self._where, columns, unique, computed, request.columns))
            check_mirror_bookkeeping(self._where, mapping, request)
            mapping, notes = check_encoding(connection, duck, request, mapping)
            notes = (*(f"column {name} is added" for name in added), *mapping.notes(request), *notes)
            written = LastWritten(connection, relation)
            if written.is_needed(mapping):
                mapping = replace(mapping, written_key=mapping.row_key)
                written.load_into(duck)
                notes = (*notes, *written.notes())
            self._context = WriteContext(connection, duck, request, relation, mapping, added, types)
            held = PostgresComparedTable(self._context)
            plan = Classifier(duck, held, mapping, request, held.packed).plan(rows, notes)
            return self._foreseen(self._context, relation, plan)
        except duckdb.Error as error:
            failure = local_failure(error, request.workspace)
            raise failure or connection.stream_error(f"{self._where}: the comparison failed", error) from error

    def _plan_undo(
        self,
        connection: Connection,
        duck: duckdb.DuckDBPyConnection,
        request: WriteRequest,
        relation: Relation | None,
    ) -> Plan:
        assert request.undo is not None  # noqa: S101  (the caller has looked)
        if relation is None:
            raise ConfigError(f"{self._where} does not exist any more: nothing can be taken back in it.")
        types = column_types(connection, relation)
        fillable = {name: kind for name, kind in types.items() if not kind.computed}
        columns = {name: kind.compared_column() for name, kind in fillable.items()}
        computed = [name for name in types if name not in fillable]
        chosen = {field: column for field, column in request.columns.items() if column in columns}
        mapping = map_table(self._where, columns, unique_columns(connection, relation), computed, chosen)
        facts = read_facts(request.undo.folder, request.undo.run_id)
        notes = must_still_fit(self._where, facts, shown_types(types))
        context = WriteContext(connection, duck, request, relation, mapping, (), types)
        table = PostgresUndoneTable(context, columns)
        fields = {name: RestoredField(name, column) for name, column in columns.items()}
        defaults = [name for name, kind in fillable.items() if kind.default]
        taken_back = UndoPlanner(duck, table, mapping, fields, defaults, request, facts).plan(notes)
        self._context = replace(
            context, mapping=taken_back.mapping, request=replace(request, survivors=taken_back.survivors)
        )
        return self._foreseen(context, relation, taken_back.plan)

    def _foreseen(self, context: WriteContext, relation: Relation, plan: Plan) -> Plan:
        """Return the plan with notes on what the history adds. Raises Refused for a lack of rights."""
        connection, request = context.connection, context.request
        if is_recorded(request, plan):
            check_rights(connection, self._address.shown, relation.schema)
        if request.keep_history:
            store = PostgresHistory(context, relation, self._where)
            store.check_rights()
            self._history = HistoryWriter(store, context.mapping, request)
            foreseen = self._history.foresee(plan)
        else:
            found = history_columns(connection, relation.schema, relation.table)
            foreseen = not_kept(history_of(relation.table), plan, found)
        return replace(plan, notes=(*plan.notes, *foreseen))

    def apply(self, request: WriteRequest, plan: Plan) -> None:
        """Write the plan and the ledger row; commit. If anything fails, the table is unchanged."""
        assert self._context is not None  # noqa: S101  (the plan is made)
        try:
            if request.undo:
                request = replace(request, survivors=self._context.request.survivors)
            context = replace(self._context, request=request)
            Writer(context, plan, self._address, self._where, self._observer).write(self._history)
        except (duckdb.Error, OSError) as error:
            doing = f"{self._where}: writing failed and was rolled back"
            failure = local_failure(error, request.workspace)
            raise failure or self._connected().stream_error(doing, error) from error

    def applied(self, run_id: str) -> bool:
        """Return whether the ledger has this run, after waiting for its transaction to end."""
        self._start_again()
        connection = self._begin(quiet=True)
        found = find_relation(connection, self._address, LEDGER)
        there = found and connection.query(f"SELECT 1 FROM {found.name} WHERE run_id = {literal(run_id)}")
        connection.execute("ROLLBACK")
        return bool(there)

    def watermarks(self) -> list[Watermark]:
        """Return the watermarks of the sources that are read into this table."""
        return self._state(self._connected()).read()

    def files_read(self, reading: str) -> list[FileMark]:
        """Return the files of a source that were read into this table."""
        return self._state(self._connected()).files_read(reading)

    def forget_files(self, source: str | None) -> int:
        """Forget the files of a source, or of all; return how many there were."""
        self._start_again()
        connection = self._begin(quiet=False)
        count = self._state(connection).forget_files(source)
        connection.execute("COMMIT")
        return count

    def replace_watermark(self, old: Watermark | None, new: Watermark | None) -> None:
        """Replace one, in a transaction of its own."""
        self._start_again()
        connection = self._begin(quiet=False)
        self._state(connection).replace(old, new)
        connection.execute("COMMIT")

    def _state(self, connection: Connection) -> Watermarks:
        """Return how far sources were read, in the schema of the table or the one in which it would be created."""
        relation = find_relation(connection, self._address, self._address.table)
        schema = relation.schema if relation else self._address.schema
        schema = schema or str(connection.query_value("SELECT current_schema()::text"))
        return Watermarks(connection, schema, self._address.table)

    def close(self) -> None:
        """Roll back uncommitted changes and close the connection."""
        if self._duck is not None:
            self._duck.close()
            self._duck = None
        if self._open is not None:
            self._open.close()
            self._open = None

    # Locks ----------------------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"table {qualified_name(self._address)}"

    def _connected(self) -> Connection:
        if self._open is None:
            try:
                self._open = connect(self._address)
            except Unreachable as error:
                # It was reachable when the run began.
                raise Interfered(str(error)) from error
        return self._open

    def _start_again(self) -> None:
        """Discard the state of an earlier plan and its connection, which may be broken."""
        if self._begun:
            self.close()
            self._context, self._begun = None, False

    def _begin(self, *, quiet: bool) -> Connection:
        """Begin the transaction once no other run writes to this table."""
        connection = self._connected()
        self._begun = True
        connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE")
        for name, value in self._settings(connection):
            connection.execute(f"SET LOCAL {name} = {literal(value)}")
        name = (
            f"{self._address.schema or connection.query_value('SELECT current_schema()::text')}.{self._address.table}"
        )
        self._wait_for_turn(connection, name, quiet=quiet)
        return connection

    def _settings(self, connection: Connection) -> Iterator[tuple[str, str]]:
        yield "lock_timeout", f"{round(self._timeouts.lock_seconds * 1000)}ms"
        yield "statement_timeout", f"{round(self._timeouts.statement_seconds * 1000)}ms"
        # For sorting a million keys for an index and joining as many rows; memory that is not needed is not used.
        yield "maintenance_work_mem", "256MB"
        yield "work_mem", "64MB"
        yield "jit", "off"
        if connection.query_value("SELECT current_setting('server_version_num')::int") >= _TRANSACTION_TIMEOUT_SINCE:
            yield "transaction_timeout", "0"

    def _wait_for_turn(self, connection: Connection, name: str, *, quiet: bool) -> None:
        lock = f"hashtextextended({literal(f'tranship:{name}')}, 0)"
        if connection.query_value(f"SELECT pg_try_advisory_xact_lock({lock})"):
            return
        if not quiet:
            self._observer.note(f"{self._where}: another run is writing; waiting for it to end")
        try:
            connection.query(f"SELECT pg_advisory_xact_lock({lock}) IS NULL")
        except Busy as error:
            raise Busy(
                f"{self._address.shown}: {self._where}: another run is still writing after "
                f"{self._timeouts.lock_seconds:g} s. Wait for it or stop it, or increase --lock-timeout."
            ) from error

    def _lock(self, connection: Connection, request: WriteRequest) -> Relation | None:
        """Return the table, locked against other writers; null if there is none."""
        relation = find_relation(connection, self._address, self._address.table)
        if relation is None:
            return None
        if relation.kind not in ("r", "p"):
            kind = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}.get(relation.kind, "no table")
            raise ConfigError(f"{self._where}: is {kind}; it can be read, not written. Name the underlying table.")
        self._check_rights(connection, relation, request)
        deadline = time.monotonic() + (self._timeouts.lock_seconds or float("inf"))
        reported = False
        while not self._locked(connection, relation, min(_SLICE_SECONDS, max(deadline - time.monotonic(), 0.01))):
            if time.monotonic() > deadline:
                raise Busy(
                    f"{self._address.shown}: {self._where}: another transaction has been writing to it for "
                    f"{self._timeouts.lock_seconds:g} s (see pg_locks). Wait for it or stop it, or "
                    "increase --lock-timeout."
                )
            if not reported:
                self._observer.note(f"{self._where}: another transaction is writing to it; waiting for it to end")
                reported = True
            # Waiting for a lock blocks all later writers: let them through from time to time.
            time.sleep(_PAUSE_SECONDS)
        return find_relation(connection, self._address, self._address.table)

    def _locked(self, connection: Connection, relation: Relation, seconds: float) -> bool:
        connection.execute("SAVEPOINT turn")
        connection.execute(f"SET LOCAL lock_timeout = {literal(f'{round(seconds * 1000)}ms')}")
        try:
            connection.execute(f"LOCK TABLE {relation.name} IN SHARE ROW EXCLUSIVE MODE")
        except Busy:
            connection.execute("ROLLBACK TO SAVEPOINT turn")
            return False
        connection.execute("RELEASE SAVEPOINT turn")
        connection.execute(f"SET LOCAL lock_timeout = {literal(f'{round(self._timeouts.lock_seconds * 1000)}ms')}")
        return True

    def _check_rights(self, connection: Connection, relation: Relation, request: WriteRequest) -> None:
        needed = ["SELECT"]
        needed += ["INSERT"] if request.mode != "update" else []
        # Postgres requires UPDATE for a lock against other writers.
        needed += ["UPDATE"]
        lacking_rights = [
            right
            for right in needed
            if not connection.query_value(f"SELECT has_any_column_privilege({relation.oid}::oid, {literal(right)})")
        ]
        if request.undo or (request.mode == "mirror" and request.hard_delete):
            may = connection.query_value(f"SELECT has_table_privilege({relation.oid}::oid, 'DELETE')")
            lacking_rights += [] if may else ["DELETE"]
        if lacking_rights:
            user = connection.query_value("SELECT current_user::text")
            raise Refused(
                f"{self._address.shown}: {self._where}: user {user} lacks {' and '.join(lacking_rights)}. Ask its "
                f"owner to run: GRANT {', '.join(lacking_rights)} ON {relation.name} TO {quoted(user)}."
            )
        if not connection.query_value("SELECT has_database_privilege(current_database(), 'TEMPORARY')"):
            raise Refused(
                f"{self._address.shown}: this user may not create temporary tables. Ask the owner of the database "
                "to GRANT TEMPORARY on it."
            )


_TRANSACTION_TIMEOUT_SINCE: Final = 170_000

_SLICE_SECONDS: Final = 2.0

_PAUSE_SECONDS: Final = 0.5


def _created_table_mapping() -> TableMapping:
    return reject_nul(map_table("", {name: created_column(name) for name in (KEY, *COLUMNS, RUN, DELETED)}, ()))

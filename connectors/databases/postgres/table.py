"""A Postgres table as source and destination: `postgresql://user@host:5432/db?table=billing.customers`.

As a source also a view, or what `?query=SELECT …` gives. Needs SELECT for the one; for the other SELECT, INSERT and
UPDATE on the table (DELETE for `--deletes remove`), TEMPORARY on the database, and CREATE on the schema where table or
ledger do not exist yet.

One transaction on one connection: take the turn, read what is there, compare (in `connectors/databases/diff.py`),
write what differs, write the ledger, commit. Other writers of the table wait meanwhile, readers see the old table until
the commit. A table made here (`connectors/databases/table_mapping.py` says what is in it) has its key as primary key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import duckdb

from tranship.connectors.contract import Plan, WriteRequest
from tranship.connectors.databases.diff import Classifier, plan_fresh
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.postgres.address import parse
from tranship.connectors.databases.postgres.catalog import (
    Relation,
    column_types,
    find_relation,
    missing,
    spelled,
    unique_columns,
)
from tranship.connectors.databases.postgres.compare import Held
from tranship.connectors.databases.postgres.connect import connect
from tranship.connectors.databases.postgres.connection import Wire
from tranship.connectors.databases.postgres.context import Work
from tranship.connectors.databases.postgres.encoding import fit_encoding, without_nul
from tranship.connectors.databases.postgres.last_written import LastWritten
from tranship.connectors.databases.postgres.sql import own_column
from tranship.connectors.databases.postgres.write import Writer
from tranship.connectors.databases.table_mapping import (
    DELETED,
    RUN,
    Target,
    lacking,
    literal,
    mirror_needs_bookkeeping,
    quoted,
    understood,
)
from tranship.connectors.errors import (
    Busy,
    ConfigError,
    Interfered,
    Refused,
    Unreachable,
    shown,
)
from tranship.connectors.existing import not_created, will_be_created
from tranship.schemas.customer import COLUMNS, KEY


@dataclass(frozen=True)
class Patience:
    """How long is waited: for locks, and for a single statement; 0 is for ever."""

    lock_seconds: float
    statement_seconds: float


class PostgresTable:
    """One table as a destination; plan and apply share one transaction."""

    def __init__(self, spec: str, *, memory: str, patience: Patience, create: bool = True) -> None:
        self._address = parse(spec)
        if self._address.query:
            raise ConfigError(f"{shown(spec)}: a query can be read, not written; name a table.")
        self._memory, self._patience = memory, patience
        self._open: Wire | None = connect(self._address)
        self._bench: duckdb.DuckDBPyConnection | None = None
        self._work: Work | None = None
        self._begun = False
        if not create and not find_relation(self._open, self._address, self._address.table):
            error = not_created(*missing(self._open, self._address))
            self.close()
            raise error

    def plan(self, load: WriteRequest) -> Plan:
        """Take the turn and compare the survivors with the table; the transaction stays open for `apply`."""
        self._start_anew()
        wire = self._begin(load.say)
        self._bench = bench = duckdb.connect(config={"memory_limit": self._memory})
        for setting in ("TimeZone = 'UTC'", "preserve_insertion_order = false"):
            bench.execute(f"SET {setting}").fetchall()
        bench.execute(f"SET temp_directory = {literal(load.workspace / 'spill')}").fetchall()
        rows = load.workspace / "plan.parquet"
        try:
            relation = self._lock(wire, load)
            if relation is None:
                target, notes = fit_encoding(wire, bench, load, _own_target())
                self._work = Work(wire, bench, load, None, target, (), {})
                held = Held(self._work)
                held.see_survivors()
                notes = (will_be_created(*missing(wire, self._address)), *notes)
                return plan_fresh(bench, load, rows, target, notes)
            types = column_types(wire, relation)
            fillable = {name: kind for name, kind in types.items() if not kind.given}
            computed = [name for name, kind in types.items() if kind.given]
            added = tuple(lacking(list(fillable), computed, load)) if load.evolve else ()
            columns = {name: kind.column() for name, kind in fillable.items()} | {
                name: own_column(name) for name in added
            }
            target = without_nul(understood(self._where, columns, unique_columns(wire, relation), computed))
            mirror_needs_bookkeeping(self._where, target, load)
            target, notes = fit_encoding(wire, bench, load, target)
            notes = (*(f"column {name} is added" for name in added), *target.not_stored(load), *notes)
            written = LastWritten(wire, relation)
            if written.is_needed(target):
                target = replace(target, written=target.row_key)
                written.see(bench)
                notes = (*notes, *written.notes())
            self._work = Work(wire, bench, load, relation, target, added, types)
            held = Held(self._work)
            return Classifier(bench, held, target, load, held.packed).plan(rows, notes)
        except duckdb.Error as error:
            raise wire.broken(f"{self._where}: comparing with it failed", error) from error

    def apply(self, load: WriteRequest, plan: Plan) -> None:
        """Write what the plan says and the ledger row; commit. Whatever fails, the table is as before."""
        assert self._work is not None  # noqa: S101  (the plan is made)
        try:
            Writer(replace(self._work, load=load), plan, self._address, self._where).write()
        except (duckdb.Error, OSError) as error:
            raise self._connected().broken(f"{self._where}: writing failed and was undone", error) from error

    def applied(self, run_id: str) -> bool:
        """Whether the ledger has this run. Waits for its transaction to end, should that still be going on."""
        self._start_anew()
        wire = self._begin(None)
        found = find_relation(wire, self._address, LEDGER)
        there = found and wire.rows(f"SELECT 1 FROM {found.name} WHERE run_id = {literal(run_id)}")
        wire.run("ROLLBACK")
        return bool(there)

    def close(self) -> None:
        """Undo what was not committed and hang up."""
        if self._bench is not None:
            self._bench.close()
            self._bench = None
        if self._open is not None:
            self._open.close()
            self._open = None

    # Taking the turn ----------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"table {spelled(self._address)}"

    def _connected(self) -> Wire:
        if self._open is None:
            try:
                self._open = connect(self._address)
            except Unreachable as error:
                # It was there when the run began.
                raise Interfered(str(error)) from error
        return self._open

    def _start_anew(self) -> None:
        """Forget what an earlier plan left, and its connection, which may be broken."""
        if self._begun:
            self.close()
            self._work, self._begun = None, False

    def _begin(self, say: Callable[[str], None] | None) -> Wire:
        """Begin the transaction when no other run is at this table."""
        wire = self._connected()
        self._begun = True
        wire.run("BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE")
        for name, value in self._settings(wire):
            wire.run(f"SET LOCAL {name} = {literal(value)}")
        name = f"{self._address.schema or wire.value('SELECT current_schema()::text')}.{self._address.table}"
        self._wait_for_turn(wire, name, say)
        return wire

    def _settings(self, wire: Wire) -> Iterator[tuple[str, str]]:
        yield "lock_timeout", f"{round(self._patience.lock_seconds * 1000)}ms"
        yield "statement_timeout", f"{round(self._patience.statement_seconds * 1000)}ms"
        # Sorting a million keys for an index and joining as many places; what is not needed is not taken.
        yield "maintenance_work_mem", "256MB"
        yield "work_mem", "64MB"
        yield "jit", "off"
        if wire.value("SELECT current_setting('server_version_num')::int") >= _TRANSACTION_TIMEOUT_SINCE:
            yield "transaction_timeout", "0"

    def _wait_for_turn(self, wire: Wire, name: str, say: Callable[[str], None] | None) -> None:
        lock = f"hashtextextended({literal(f'tranship:{name}')}, 0)"
        if wire.value(f"SELECT pg_try_advisory_xact_lock({lock})"):
            return
        if say:
            say(f"{self._where}: another run is writing; waiting for it to end")
        try:
            wire.rows(f"SELECT pg_advisory_xact_lock({lock}) IS NULL")
        except Busy as error:
            raise Busy(
                f"{self._address.shown}: {self._where}: another run is still writing after "
                f"{self._patience.lock_seconds:g} s. Wait for it or end it, or allow more with --lock-timeout."
            ) from error

    def _lock(self, wire: Wire, load: WriteRequest) -> Relation | None:
        """The table, which nobody else writes from now on; null if there is none."""
        relation = find_relation(wire, self._address, self._address.table)
        if relation is None:
            return None
        if relation.kind not in ("r", "p"):
            kind = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}.get(relation.kind, "no table")
            raise ConfigError(f"{self._where}: is {kind}; it can be read, not written. Name the table behind it.")
        self._check_rights(wire, relation, load)
        deadline = time.monotonic() + (self._patience.lock_seconds or float("inf"))
        told = False
        while not self._locked(wire, relation, min(_SLICE_SECONDS, max(deadline - time.monotonic(), 0.01))):
            if time.monotonic() > deadline:
                raise Busy(
                    f"{self._address.shown}: {self._where}: another transaction has been writing to it for "
                    f"{self._patience.lock_seconds:g} s (pg_locks says which). Wait for it or end it, or "
                    "allow more with --lock-timeout."
                )
            if not told:
                load.say(f"{self._where}: another transaction is writing to it; waiting for it to end")
                told = True
            # Who waits for a lock makes all later writers wait: let them through from time to time.
            time.sleep(_PAUSE_SECONDS)
        return find_relation(wire, self._address, self._address.table)

    def _locked(self, wire: Wire, relation: Relation, seconds: float) -> bool:
        wire.run("SAVEPOINT turn")
        wire.run(f"SET LOCAL lock_timeout = {literal(f'{round(seconds * 1000)}ms')}")
        try:
            wire.run(f"LOCK TABLE {relation.name} IN SHARE ROW EXCLUSIVE MODE")
        except Busy:
            wire.run("ROLLBACK TO SAVEPOINT turn")
            return False
        wire.run("RELEASE SAVEPOINT turn")
        wire.run(f"SET LOCAL lock_timeout = {literal(f'{round(self._patience.lock_seconds * 1000)}ms')}")
        return True

    def _check_rights(self, wire: Wire, relation: Relation, load: WriteRequest) -> None:
        needed = ["SELECT"]
        needed += ["INSERT"] if load.mode != "update" else []
        # Without the right to update, Postgres lets nobody keep other writers out.
        needed += ["UPDATE"]
        lacking_rights = [
            right
            for right in needed
            if not wire.value(f"SELECT has_any_column_privilege({relation.oid}::oid, {literal(right)})")
        ]
        if load.mode == "mirror" and load.hard_delete:
            may = wire.value(f"SELECT has_table_privilege({relation.oid}::oid, 'DELETE')")
            lacking_rights += [] if may else ["DELETE"]
        if lacking_rights:
            user = wire.value("SELECT current_user::text")
            raise Refused(
                f"{self._address.shown}: {self._where}: user {user} lacks {' and '.join(lacking_rights)}. Let its "
                f"owner GRANT {', '.join(lacking_rights)} ON {relation.name} TO {quoted(user)}."
            )
        if not wire.value("SELECT has_database_privilege(current_database(), 'TEMPORARY')"):
            raise Refused(
                f"{self._address.shown}: temporary tables are not allowed to this user. Let the owner of the database "
                "GRANT TEMPORARY on it."
            )


_TRANSACTION_TIMEOUT_SINCE: Final = 170_000

_SLICE_SECONDS: Final = 2.0

_PAUSE_SECONDS: Final = 0.5


def _own_target() -> Target:
    return without_nul(understood("", {name: own_column(name) for name in (KEY, *COLUMNS, RUN, DELETED)}, ()))

"""The write of a plan to a DuckDB table: one statement for each kind of change, and the ledger row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import duckdb

from tranship.connectors.contract import Plan, WriteRequest
from tranship.connectors.databases.before_images import is_updated, remove_images
from tranship.connectors.databases.changes import Assignment, is_recorded
from tranship.connectors.databases.diff import create_survivors_view
from tranship.connectors.databases.duckdb.address import DuckDbAddress
from tranship.connectors.databases.duckdb.before_images import keep_images
from tranship.connectors.databases.duckdb.catalog import (
    column_defaults,
    map_existing_table,
    references_to,
    replaced_with,
    type_of,
)
from tranship.connectors.databases.duckdb.changes import ChangeLog
from tranship.connectors.databases.duckdb.history import DuckDbHistory
from tranship.connectors.databases.duckdb.last_written import LastWritten
from tranship.connectors.databases.duckdb.watermarks import Watermarks
from tranship.connectors.databases.history import HistoryWriter
from tranship.connectors.databases.ledger import LATER_COUNTS, LEDGER_COUNTS, ledger_row
from tranship.connectors.databases.quoting import literal, quoted
from tranship.connectors.databases.table_mapping import (
    BOOKKEEPING,
    COMMENTS,
    DELETED,
    RUN,
    MappedField,
    TableMapping,
    new_key,
)
from tranship.connectors.databases.written_times import keeps_times
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS, KEY


class DuckDbWriter:
    """Carries out a plan in the transaction in which it was made."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, address: DuckDbAddress, request: WriteRequest, plan: Plan
    ) -> None:
        self._connection, self._address, self._request, self._plan = connection, address, request, plan
        self._changes: ChangeLog | None = None

    def write(self, mapping: TableMapping | None, history: HistoryWriter | None) -> None:
        """Write everything and COMMIT; without a mapping, create the table. `history` has foreseen the plan."""
        if mapping is None:
            self._create()
        written = mapping or map_existing_table(self._connection, self._address, {})
        create_survivors_view(self._connection, self._request)
        if self._request.keep_images:
            remove_images(self._request.workspace)
        if mapping and keeps_times(mapping, self._request):
            LastWritten(self._connection, self._address).write(self._request, mapping)
        if self._request.keep_images:
            keep_images(self._connection, self._address, self._request, self._plan, written)
        if mapping is None:
            self._insert(written, everything=True)
        if is_recorded(self._request, self._plan):
            self._changes = ChangeLog(self._connection, self._address, self._request)
        if mapping is None:
            if self._changes:
                self._changes.record_new_table()
            if self._request.keep_history:
                store = DuckDbHistory(self._connection, self._address, self._request, written)
                HistoryWriter(store, written, self._request).begin()
        else:
            if history:
                history.prepare(self._plan)
            self._update(mapping)
            self._delete(mapping)
            everything = self._plan.counts["create"] == self._request.survivors.count
            self._insert(mapping, everything=everything)
            if history:
                history.record(self._plan)
        self._write_ledger()
        if self._request.watermark:
            Watermarks(self._connection, self._address).advance(self._request.watermark)
        if self._request.files:
            Watermarks(self._connection, self._address).keep_files(self._request.files, self._request.run_id)
        self._connection.execute("COMMIT").fetchall()

    def _create(self) -> None:
        columns = ", ".join(f"{quoted(name)} {type_of(name)}" for name in (*COLUMNS, RUN, DELETED))
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._address.place}").fetchall()
        self._connection.execute(
            f"CREATE TABLE {self._address.name} ({quoted(KEY)} VARCHAR NOT NULL, {columns})"
        ).fetchall()
        for name, text in COMMENTS.items():
            on = f"{self._address.name}.{quoted(name)}"
            self._connection.execute(f"COMMENT ON COLUMN {on} IS {literal(text)}").fetchall()

    def _insert(self, mapping: TableMapping, *, everything: bool) -> None:
        if not self._plan.counts["create"]:
            return
        written = [mapped for mapped in mapping.fields if mapped.field in self._request.survivors.columns]
        defaults = (
            column_defaults(self._connection, self._address)
            if any(mapped.column.null_becomes_default for mapped in written)
            else {}
        )
        given = {
            mapped.column_name: f"coalesce({mapped.value}, {defaults[mapped.column_name]})"
            if mapped.column.null_becomes_default
            else mapped.value
            for mapped in written
        }
        if mapping.key:
            given.setdefault(mapping.key, new_key("s"))
        if mapping.bookkeeping:
            given[RUN] = literal(self._request.run_id)
        chosen = "" if everything else " JOIN _plan p ON p.row = s._row AND p.action = 'create'"
        if self._changes:
            self._changes.record_creates(mapping, self._plan, chosen)
        done = self._connection.execute(
            f"INSERT INTO {self._address.name} ({', '.join(map(quoted, given))}) "
            f"SELECT {', '.join(given.values())} FROM _survivors s{chosen}"
        ).fetchall()
        _as_planned("create", done[0][0], self._plan)

    def _update(self, mapping: TableMapping) -> None:
        if not self._plan.counts["update"]:
            return
        changed = [mapped for mapped in mapping.fields if is_updated(mapped, self._plan)]
        # A referenced row cannot be replaced: columns that would replace it are set only where they change.
        heavy = (
            replaced_with(self._connection, self._address) if references_to(self._connection, self._address) else set()
        )
        apart = [mapped for mapped in changed if mapped.column_name in heavy]
        sets = {mapped.column_name: _updated_value(mapped, self._request) for mapped in changed if mapped not in apart}
        if mapping.bookkeeping:
            sets |= {RUN: literal(self._request.run_id), DELETED: "NULL"}
        elif not sets:
            # Nothing else changes, but the rows must be counted.
            still = next(mapped.column_name for mapped in mapping.fields if mapped.column_name not in heavy)
            sets = {still: f"t.{quoted(still)}"}
        if self._changes:
            self._changes.record_updates(mapping, [*self._assignments(sets, apart)])
        done = self._set(sets, "true")
        _as_planned("update", done, self._plan)
        for mapped in apart:
            self._set(
                {mapped.column_name: _updated_value(mapped, self._request)},
                f"list_contains(p.changed, {literal(mapped.field)})",
            )

    def _assignments(self, sets: Mapping[str, str], apart: Sequence[MappedField]) -> Iterator[Assignment]:
        """Yield what `_update` does with the columns of customers."""
        for name, value in sets.items():
            if name not in BOOKKEEPING or name in self._plan.changed_fields:
                yield Assignment(name, value)
        for mapped in apart:
            value, kept = _updated_value(mapped, self._request), f"t.{quoted(mapped.column_name)}"
            changes = f"list_contains(p.changed, {literal(mapped.field)})"
            yield Assignment(mapped.column_name, f"CASE WHEN {changes} THEN {value} ELSE {kept} END")

    def _set(self, sets: Mapping[str, str], where: str) -> int:
        done = self._connection.execute(
            f"UPDATE {self._address.name} t SET {', '.join(f'{quoted(c)} = {v}' for c, v in sets.items())} "
            "FROM _plan p JOIN _survivors s ON s._row = p.row "
            f"WHERE p.action = 'update' AND t.rowid = p.target AND {where}"
        ).fetchall()
        return int(done[0][0])

    def _delete(self, mapping: TableMapping) -> None:
        if not self._plan.counts["delete"]:
            return
        if self._changes:
            self._changes.record_deletes(mapping)
        gone = "WHERE t.rowid IN (SELECT target FROM _gone)"
        if self._request.hard_delete:
            done = self._connection.execute(f"DELETE FROM {self._address.name} t {gone}").fetchall()
        else:
            done = self._connection.execute(
                f"UPDATE {self._address.name} t SET {quoted(DELETED)} = now(), "
                f"{quoted(RUN)} = {literal(self._request.run_id)} {gone}"
            ).fetchall()
        _as_planned("delete", done[0][0], self._plan)

    def _write_ledger(self) -> None:
        counts = ", ".join(f"{name} BIGINT NOT NULL" for name in (*LEDGER_COUNTS, *LATER_COUNTS))
        self._connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._address.ledger} (run_id VARCHAR PRIMARY KEY, "
            "table_name VARCHAR NOT NULL, source VARCHAR NOT NULL, mode VARCHAR NOT NULL, "
            "started_at TIMESTAMP WITH TIME ZONE NOT NULL, finished_at TIMESTAMP WITH TIME ZONE NOT NULL, "
            f"{counts})"
        ).fetchall()
        known = {name for name, *_ in self._connection.execute(f"DESCRIBE {self._address.ledger}").fetchall()}
        for name in LATER_COUNTS:
            if name not in known:
                self._connection.execute(
                    f"ALTER TABLE {self._address.ledger} ADD COLUMN {name} BIGINT DEFAULT 0"
                ).fetchall()
        row = ledger_row(self._request, self._plan, self._address.table)
        self._connection.execute(
            f"INSERT INTO {self._address.ledger} ({', '.join(row)}, finished_at) "
            f"VALUES ({', '.join('?' for _ in row)}, now())",
            list(row.values()),
        ).fetchall()


def _updated_value(mapped: MappedField, request: WriteRequest) -> str:
    """Return the new value of a column, as SQL."""
    return mapped.value if mapped.erasable(request) else f"coalesce({mapped.value}, t.{quoted(mapped.column_name)})"


def _as_planned(action: str, done: int, plan: Plan) -> None:
    if done != plan.counts[action]:
        raise RuntimeError(f"{action}: {counted(done, 'row')} written, {plan.counts[action]:,} planned")

"""The plan that takes back what a run did to a table, for every database: a three-way comparison in DuckDB SQL.

Of each customer, `_old` has the values before the run, `_new` those that it wrote and `_now` those of today; all three
have the columns of the table as `=<name>`. A column that the run has changed is restored if it is as the run left it,
and left alone if it is neither that nor as it was before. Columns that the run has not changed keep their values. A row
that the run created is removed if it is as the run left it and nothing refers to it; one that it removed returns unless
its key is taken.

The outcome is what the ordinary write expects: `_plan`, `_gone`, `_differs` and the records, `_survivors`, with the
values of all columns as `_as_<name>`. A record is a row of `_undone`, and its number is `n` there and `_row` here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import duckdb
import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors.contract import LEFT_ALONE, REVIEW, Plan, Survivors, WriteRequest, key_spellings
from tranship.connectors.databases.before_images import BEFORE, RESTORED, ImageFacts, image
from tranship.connectors.databases.comparison import Comparison, unique_column
from tranship.connectors.databases.diff import ACTIONS, create_survivors_view
from tranship.connectors.databases.quoting import files_literal, literal, quoted
from tranship.connectors.databases.refusals import refuse_violations
from tranship.connectors.databases.table_mapping import (
    BOOKKEEPING,
    DELETED,
    RUN,
    MappedField,
    TableMapping,
    customer_key,
    lookup_key,
    new_key,
    stored_as_column,
)
from tranship.connectors.databases.undone_table import RestoredField, RestoredTable, UndoneTable
from tranship.connectors.databases.written_times import TIMES, compare_times
from tranship.schemas.counted import counted

CHANGED_SINCE: Final = "changed_since"
HAS_DEPENDENTS: Final = "has_dependents"
GONE: Final = "gone"


class TakenBack(Struct, frozen=True):
    """The plan, and the records with which it is carried out."""

    plan: Plan
    survivors: Survivors
    mapping: RestoredTable


class UndoPlanner:
    """Compares in the tables of one connection. `mapping` is that of the table, whose writable columns are `columns`;
    `defaults` are those that have a default.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: UndoneTable,
        mapping: TableMapping,
        columns: Mapping[str, MappedField],
        defaults: Sequence[str],
        request: WriteRequest,
        facts: ImageFacts,
    ) -> None:
        assert request.undo is not None  # noqa: S101  (this is an undo)
        self._connection, self._table, self._mapping, self._request = connection, table, mapping, request
        self._facts, self._undone, self._defaults = facts, request.undo, defaults
        self._columns = columns
        """Column → as a field of its own name."""
        self._has_times = TIMES in facts.files
        """The run has changed times in `_tranship_written`."""
        self._updated = [name for name in facts.updated if name in columns and name not in facts.own_times]

    def plan(self, notes: tuple[str, ...]) -> TakenBack:
        """Decide on every customer of the run, and write the plan, the records and the lists for people."""
        if self._has_times:
            self._table.load_last_written()
            compare_times(self._connection, self._undone.folder)
        self._load_undone()
        self._load_table()
        self._match()
        self._load_values()
        self._decide()
        restored = self._restored_table()
        request = replace(self._request, survivors=self._write_records())
        create_survivors_view(self._connection, request)
        self._table.write_by(restored, request)
        self._keep_dependents()
        refuse_violations(Comparison(self._connection, self._table, restored, request))
        self._list()
        return TakenBack(self._finish(notes), request.survivors, restored)

    def _execute(self, sql: str) -> int:
        found = self._connection.execute(sql).fetchall()
        return int(found[0][0]) if found else 0

    def _load_undone(self) -> None:
        """Create `_undone`: n, row, action, key, id, mail, of the customers of the run."""
        undone, mapping = self._undone, self._mapping
        run = replace(self._request, survivors=undone.survivors)
        create_survivors_view(self._connection, run)
        known = mapping.survivor_external_id if mapping.has_id and not undone.is_undo else "s.external_id"
        key, known = (new_key("s"), "NULL::VARCHAR") if mapping.key else ("NULL::VARCHAR", known)
        mail = "NULL::VARCHAR" if mapping.key else "s.email"
        plan = f"read_parquet({files_literal([undone.folder / 'plan.parquet'])})"
        before = undone.folder / BEFORE
        changed = (
            f"SELECT row AS n, row, action, key, id, mail FROM read_parquet({files_literal([before])})"
            if BEFORE in self._facts.files
            else "SELECT NULL::UBIGINT AS n, NULL::UBIGINT AS row, '' AS action, '' AS key, '' AS id, '' AS mail "
            "WHERE false"
        )
        self._execute(
            "CREATE OR REPLACE TEMP TABLE _undone AS "
            f"SELECT *, coalesce(key, {customer_key('id', 'mail')}) AS customer FROM ({changed} UNION ALL "
            f"SELECT p.row, p.row, 'create', {key}, {known}, {mail} FROM {plan} p JOIN _survivors s ON s._row = p.row "
            f"WHERE p.action = 'create') WHERE {self._chosen()}"
        )

    def _chosen(self) -> str:
        """Return the condition for the customers that are taken back."""
        actions = [*self._undone.actions, *(["mark"] if "delete" in self._undone.actions else [])]
        chosen = f"action IN ({', '.join(map(literal, actions))})"
        if self._undone.keys is None:
            return chosen
        spellings = pl.DataFrame({"name": [name for key in self._undone.keys for name in key_spellings(key)]})
        self._connection.register("_keys", spellings.to_arrow())
        self._execute("CREATE OR REPLACE TEMP TABLE _chosen_keys AS SELECT DISTINCT name FROM _keys")
        self._connection.unregister("_keys")
        return f"{chosen} AND customer IN (SELECT name FROM _chosen_keys)"

    def _load_table(self) -> None:
        mapping = self._mapping
        unique = {*mapping.unique, *([mapping.key] if mapping.key else [])}
        must_differ = "".join(f", t.{quoted(name)} AS {quoted(unique_column(name))}" for name in sorted(unique))
        self._table.load_table(
            f"{self._table.row_id} AS target, {mapping.row_external_id} AS id, {mapping.row_email} AS mail, "
            f"{lookup_key(mapping.row_external_id, mapping.row_email)} AS known{must_differ}",
            "",
        )

    def _match(self) -> None:
        """Create `_found`: the rows of the customers as they are now, n and target; and `_several`: n."""
        key = self._mapping.key
        same = f"h.{quoted(unique_column(key))} = u.key" if key else f"h.known = {lookup_key('u.id', 'u.mail')}"
        self._execute(
            "CREATE OR REPLACE TEMP TABLE _found AS "
            f"SELECT u.n, min(h.target) AS target, count(*) AS rows FROM _undone u JOIN _table h ON {same} GROUP BY u.n"
        )
        self._execute("CREATE OR REPLACE TEMP TABLE _several AS SELECT n FROM _found WHERE rows > 1")
        self._execute("DELETE FROM _found WHERE rows > 1")

    def _load_values(self) -> None:
        """Create `_old`, `_new` and `_now`."""
        facts = self._facts
        if BEFORE in facts.files:
            file = f"read_parquet({files_literal([self._undone.folder / BEFORE])})"
            kept = {name for name, *_ in self._connection.execute(f"DESCRIBE FROM {file}").fetchall()}
        else:
            file, kept = "(SELECT 0 AS row WHERE false)", set()
        typed = {
            name: f"CAST({image(name)} AS {self._table.image_type(name)})" if f"={name}" in kept else "NULL"
            for name in self._columns
        }
        values = "".join(f", {value} AS {image(name)}" for name, value in typed.items())
        self._execute(f"CREATE OR REPLACE TEMP VIEW _old AS SELECT row AS n{values} FROM {file}")
        self._table.load_written(self._written())
        self._table.load_current()

    def _written(self) -> dict[str, MappedField | str]:
        """Return column → what the run wrote into it."""
        if self._undone.is_undo:
            return {name: f"s.{quoted(stored_as_column(name))}" for name in self._columns}
        stored = {
            column: replace(self._columns[column], field=field)
            for field, column in self._facts.stored.items()
            if column in self._columns
        }
        written: dict[str, MappedField | str] = {
            name: MappedField(mapped.field, mapped.column) for name, mapped in stored.items()
        }
        if self._mapping.key:
            written[self._mapping.key] = new_key("s")
        return written

    # Deciding

    def _after(self, name: str) -> str:
        """Return the value that the run wrote into a column of an existing row, as SQL (`o`, `w`)."""
        if self._undone.is_undo:
            return f"w.{image(name)}"
        if name == RUN:
            return literal(self._facts.run_id)
        if name == DELETED:
            return "NULL"
        return f"w.{image(name)}" if name in self._facts.erased else f"coalesce(w.{image(name)}, o.{image(name)})"

    def _decide(self) -> None:
        """Create `_decided`: n, action (of the run), target, restored (the columns to restore) and since (those that
        are left alone); and from it `_plan`, `_removed` (n, target), `_gone` and `_differs`.
        """
        parts = [self._updates(), self._marks(), self._creates(), self._deletes()]
        self._execute(f"CREATE OR REPLACE TEMP TABLE _decided AS {' UNION ALL '.join(parts)}")
        changed = f"list_filter(restored, lambda c: c NOT IN ({', '.join(map(literal, BOOKKEEPING))}))"
        fate = (
            "CASE WHEN n IN (SELECT n FROM _several) THEN 'refused' "
            f"WHEN action = 'create' THEN CASE WHEN target IS NULL THEN 'unchanged' WHEN len(since) > 0 THEN 'refused' "
            "ELSE 'remove' END "
            "WHEN action = 'delete' THEN CASE WHEN target IS NULL THEN 'create' WHEN len(since) > 0 THEN 'refused' "
            "ELSE 'unchanged' END "
            "WHEN target IS NULL THEN 'refused' "
            f"WHEN len(list_filter(restored, lambda c: c <> {literal(RUN)})) > 0 THEN 'update' "
            "WHEN len(since) > 0 THEN 'refused' ELSE 'unchanged' END"
        )
        reason = (
            "CASE WHEN n IN (SELECT n FROM _several) THEN 'matches_several' WHEN target IS NULL THEN 'gone' "
            f"WHEN action = 'delete' THEN 'taken: ' || {literal(self._mapping.key or 'external_id')} "
            f"ELSE {literal(CHANGED_SINCE)} || ': ' || array_to_string(since, ', ') END"
        )
        self._execute(
            "CREATE OR REPLACE TEMP TABLE _plan AS SELECT n AS row, target, fate AS action, "
            f"CASE WHEN fate = 'refused' THEN {reason} END AS reason, "
            f"CASE WHEN fate = 'update' THEN {changed} END AS changed FROM (SELECT *, {fate} AS fate FROM _decided)"
        )
        self._execute(
            "CREATE OR REPLACE TEMP TABLE _removed AS SELECT row AS n, target FROM _plan WHERE action = 'remove'"
        )
        self._execute("DELETE FROM _plan WHERE action = 'remove'")
        self._execute("CREATE OR REPLACE TEMP TABLE _gone AS SELECT target FROM _removed")
        self._execute(
            "CREATE OR REPLACE TEMP TABLE _differs AS SELECT row, changed, false AS older, "
            "NULL::TIMESTAMPTZ AS held_time FROM _plan WHERE action = 'update'"
        )

    def _updates(self) -> str:
        conditions = []
        for name in self._updated:
            old, new, now = f"o.{image(name)}", self._after(name), f"t.{image(name)}"
            changed = f"{old} IS DISTINCT FROM {new}"
            conditions.append(
                (
                    name,
                    f"{changed} AND {now} IS NOT DISTINCT FROM {new}",
                    f"{changed} AND {now} IS DISTINCT FROM {new} AND {now} IS DISTINCT FROM {old}",
                )
            )
        times = ""
        if self._has_times:
            # The table sets the column itself, which proves nothing: the time that was last written counts.
            times = "LEFT JOIN _times x ON x.n = u.n "
            conditions += [
                (name, "x.changed AND x.as_written", "x.changed AND NOT x.as_written AND NOT x.as_before")
                for name in self._facts.own_times
                if name in self._columns and name in self._facts.updated
            ]
        restored = [(name, restore) for name, restore, _ in conditions]
        since = [(name, left) for name, _, left in conditions if name != RUN]
        return (
            f"SELECT u.n, u.action, f.target, {_named(restored)} AS restored, {_named(since)} AS since "
            "FROM _undone u JOIN _old o ON o.n = u.n LEFT JOIN _written_values w ON w.row = u.row "
            f"LEFT JOIN _found f ON f.n = u.n LEFT JOIN _now t ON t.n = u.n {times}WHERE u.action = 'update'"
        )

    def _marks(self) -> str:
        """A row that is marked as deleted, at any time, is as the run left it unless another run has written it."""
        deleted, run = f"t.{image(DELETED)}", f"t.{image(RUN)}"
        if DELETED not in self._columns:
            return "SELECT n, action, NULL::BIGINT, NULL::VARCHAR[], NULL::VARCHAR[] FROM _undone WHERE false"
        ours = f"{run} IS NOT DISTINCT FROM {literal(self._facts.run_id)}"
        restored = [(DELETED, f"{deleted} IS NOT NULL AND {ours}"), (RUN, ours)]
        since = [(DELETED, f"{deleted} IS NOT NULL AND NOT {ours}")]
        return (
            f"SELECT u.n, u.action, f.target, {_named(restored)}, {_named(since)} FROM _undone u "
            "LEFT JOIN _found f ON f.n = u.n LEFT JOIN _now t ON t.n = u.n WHERE u.action = 'mark'"
        )

    def _creates(self) -> str:
        written, differs = self._written(), []
        for name in self._columns:
            new, now = f"w.{image(name)}", f"t.{image(name)}"
            if name in (self._facts.own_times if self._undone.is_undo else (RUN, *self._facts.own_times)):
                continue
            if name not in written:
                # A default may be any value. What has none was null.
                if name not in self._defaults:
                    differs.append((name, f"{now} IS NOT NULL"))
            elif self._columns[name].column.null_becomes_default:
                differs.append((name, f"{new} IS NOT NULL AND {now} IS DISTINCT FROM {new}"))
            else:
                differs.append((name, f"{now} IS DISTINCT FROM {new}"))
        return (
            f"SELECT u.n, u.action, f.target, NULL, {_named(differs)} FROM _undone u "
            "JOIN _written_values w ON w.row = u.row "
            "LEFT JOIN _found f ON f.n = u.n LEFT JOIN _now t ON t.n = u.n WHERE u.action = 'create'"
        )

    def _deletes(self) -> str:
        differs = [(name, f"t.{image(name)} IS DISTINCT FROM o.{image(name)}") for name in self._columns if name != RUN]
        return (
            f"SELECT u.n, u.action, f.target, NULL, {_named(differs)} FROM _undone u JOIN _old o ON o.n = u.n "
            "LEFT JOIN _found f ON f.n = u.n LEFT JOIN _now t ON t.n = u.n WHERE u.action = 'delete'"
        )

    # Writing

    def _restored_table(self) -> RestoredTable:
        fields = tuple(RestoredField(name, self._table.restored_column(name)) for name in self._columns)
        unique = tuple(name for name in self._mapping.unique if name in self._columns)
        written_key = self._mapping.row_key if self._has_times else None
        return RestoredTable(
            fields, self._mapping.key, bookkeeping=False, required=(), unique=unique, written_key=written_key
        )

    def _write_records(self) -> Survivors:
        """Write the records: rows to change as they will be, and rows that return."""
        restored = {
            name: f"CASE WHEN p.action = 'create' OR list_contains(d.restored, {literal(name)}) THEN o.{image(name)} "
            f"ELSE t.{image(name)} END"
            for name in self._columns
        }
        rows = ", ".join(f"{value} AS {quoted(name)}" for name, value in restored.items())
        known, mail = self._mapping.row_external_id, self._mapping.row_email
        if self._mapping.key:
            known, mail = _of_key(f"t.{quoted(self._mapping.key)}")
        kept = {name: self._table.kept_value(name, f"t.{quoted(name)}") for name in self._columns}
        values = "".join(f", {value} AS {quoted(stored_as_column(name))}" for name, value in kept.items())
        file = self._request.workspace / RESTORED
        count = self._execute(
            f"COPY (SELECT n AS _row, {literal('')} AS _source, 0::UBIGINT AS _line, false AS _email_blocked, "
            "NULL::TIMESTAMPTZ AS updated_at, "
            f"{known} AS external_id, {mail} AS email{values} FROM (SELECT p.row AS n, {rows} FROM _plan p "
            "JOIN _decided d ON d.n = p.row LEFT JOIN _old o ON o.n = p.row LEFT JOIN _now t ON t.n = p.row "
            f"WHERE p.action IN ('create', 'update')) t) TO {literal(file)} (FORMAT parquet)"
        )
        return replace(self._request.survivors, files=(file,), columns=tuple(self._columns), count=count)

    def _keep_dependents(self) -> None:
        if not self._execute("SELECT count(*) FROM _gone"):
            return
        self._table.keep_referenced_rows()
        self._execute(
            f"INSERT INTO _plan SELECT n, target, 'refused', {literal(HAS_DEPENDENTS)}, NULL FROM _removed "
            "WHERE target NOT IN (SELECT target FROM _gone)"
        )

    def _list(self) -> None:
        """Write the customers that are left alone and, for a plan that is kept, what is done."""
        workspace = self._request.workspace
        for name in (LEFT_ALONE, REVIEW):
            (workspace / name).unlink(missing_ok=True)
        left = (
            "SELECT u.customer, u.action, coalesce(p.reason, "
            f"{literal(CHANGED_SINCE)} || ': ' || array_to_string(d.since, ', ')) AS reason FROM _plan p "
            "JOIN _undone u ON u.n = p.row JOIN _decided d ON d.n = p.row WHERE p.action = 'refused' "
            "OR (p.action = 'update' AND len(d.since) > 0)"
        )
        if self._execute(f"SELECT count(*) FROM ({left})"):
            self._execute(f"COPY ({left} ORDER BY ALL) TO {literal(workspace / LEFT_ALONE)} (FORMAT parquet)")
        if not self._request.compare:
            return
        named = ", ".join(
            f"CASE WHEN list_contains(p.changed, {literal(name)}) THEN struct_pack(field := {literal(name)}, "
            f"now := t.{image(name)}::VARCHAR, back := o.{image(name)}::VARCHAR) END"
            for name in self._updated
        )
        fields = f"list_filter([{named}], lambda c: c IS NOT NULL)" if named else "[]"
        restored = (
            "SELECT 'restore' AS what, customer, c.field AS field, c.now AS now, c.back AS back FROM ("
            f"SELECT u.customer, unnest({fields}) AS c FROM _plan p JOIN _undone u ON u.n = p.row "
            "JOIN _old o ON o.n = p.row JOIN _now t ON t.n = p.row WHERE p.action = 'update')"
            if named
            else "SELECT '' AS what, '' AS customer, '' AS field, '' AS now, '' AS back WHERE false"
        )
        self._execute(
            f"COPY ({restored} UNION ALL SELECT 'return', customer, NULL, NULL, NULL FROM _plan p JOIN _undone u "
            "ON u.n = p.row WHERE p.action = 'create' UNION ALL SELECT 'remove', customer, NULL, NULL, NULL "
            "FROM _removed r JOIN _undone u ON u.n = r.n WHERE r.target IN (FROM _gone) UNION ALL "
            f"SELECT 'leave', customer, reason, NULL, NULL FROM ({left}) ORDER BY ALL) "
            f"TO {literal(workspace / REVIEW)} (FORMAT parquet)"
        )

    def _finish(self, notes: tuple[str, ...]) -> Plan:
        rows = self._request.workspace / "plan.parquet"
        self._execute(
            f"COPY (SELECT row, action, reason, changed FROM _plan ORDER BY row) TO {literal(rows)} (FORMAT parquet)"
        )
        counts = {**dict.fromkeys((*ACTIONS, "delete"), 0)}
        counts |= dict(self._connection.execute("SELECT action, count(*) FROM _plan GROUP BY action").fetchall())
        counts["delete"] = self._execute("SELECT count(*) FROM _gone")
        changed = self._connection.execute(
            "SELECT f, count(*) FROM (SELECT unnest(d.restored) AS f FROM _decided d JOIN _plan p ON p.row = d.n "
            f"WHERE p.action = 'update') WHERE f <> {literal(RUN)} GROUP BY f"
        ).fetchall()
        existing = self._execute("SELECT count(*) FROM _table")
        partly = self._execute(
            "SELECT count(*) FROM _plan p JOIN _decided d ON d.n = p.row WHERE p.action = 'update' AND len(d.since) > 0"
        )
        return Plan(rows, counts, dict(sorted(changed)), existing, (*notes, *self._notes()), partly=partly)

    def _notes(self) -> Iterator[str]:
        if self._undone.keys is not None:
            known = {
                name
                for (name,) in self._connection.execute(
                    "SELECT name FROM _chosen_keys WHERE name IN (SELECT customer FROM _undone)"
                ).fetchall()
            }
            missing = sum(not known.intersection(key_spellings(key)) for key in self._undone.keys)
            if missing:
                yield f"{counted(missing, 'key')} of no customer that the run has changed"


def _of_key(key: str) -> tuple[str, str]:
    """Return the external id and the e-mail of which `new_key` makes this key, as SQL."""
    other = f"WHEN NOT starts_with({key}, 'email:') THEN {key}"
    known = f"CASE WHEN starts_with({key}, 'id:') THEN substr({key}, 4) {other} END"
    return known, f"CASE WHEN starts_with({key}, 'email:') THEN substr({key}, 7) END"


def _named(conditions: Sequence[tuple[str, str]]) -> str:
    """Return a list of the columns whose condition is true, as SQL."""
    cases = ", ".join(f"CASE WHEN {condition} THEN {literal(name)} END" for name, condition in conditions)
    return f"list_filter([{cases or 'NULL::VARCHAR'}]::VARCHAR[], lambda f: f IS NOT NULL)"

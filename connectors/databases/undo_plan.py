"""The plan that takes back what a run did to a table, for every database: a three-way comparison in DuckDB SQL.

Of each customer, `_old` has the values before the run, `_new` those that it wrote and `_now` the current ones; all
three have the columns of the table as `=<name>`. A column that the run has changed is restored if it is as the run
left it, and left alone if it is neither that nor as it was before. Columns that the run has not changed keep their
values. A row that the run created is removed if it is as the run left it and nothing refers to it; one that it removed
returns unless its key is taken.

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

from tranship.connectors.contract import BEFORE_IMAGES, Plan, Survivors, WriteRequest, key_spellings
from tranship.connectors.databases.before_images import RESTORED, ImageFacts, image
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
from tranship.connectors.databases.undo_decisions import Decisions
from tranship.connectors.databases.undo_lists import CHANGED_SINCE, write_lists
from tranship.connectors.databases.undone_table import RestoredField, RestoredTable, UndoneTable
from tranship.connectors.databases.written_times import TIMES, compare_times
from tranship.schemas.counted import counted

PLAN: Final = "plan.parquet"
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
        self._facts, self._undone = facts, request.undo
        self._columns = columns
        """Column → as a field of its own name."""
        self._has_times = TIMES in facts.files
        """The run has changed times in `_tranship_written`."""
        self._decisions = Decisions(facts, columns, mapping.key, defaults, request.undo.is_undo, self._has_times)

    def plan(self, notes: tuple[str, ...]) -> TakenBack:
        """Decide on every customer of the run, and write the plan, the records and the lists for people."""
        if self._has_times:
            self._table.load_last_written()
            compare_times(self._connection, self._undone.folder)
        self._load_undone()
        self._load_table()
        self._match()
        self._keep_chosen()
        self._load_values()
        self._decide()
        restored = self._restored_table()
        request = replace(self._request, survivors=self._write_records())
        create_survivors_view(self._connection, request)
        self._table.write_by(restored, request)
        self._keep_dependents()
        refuse_violations(Comparison(self._connection, self._table, restored, request))
        write_lists(self._connection, self._request, self._decisions.updated)
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
        before = undone.folder / BEFORE_IMAGES
        actions = [*undone.actions, *(["mark"] if "delete" in undone.actions else [])]
        changed = (
            f"SELECT row AS n, row, action, key, id, mail FROM read_parquet({files_literal([before])})"
            if BEFORE_IMAGES in self._facts.files
            else "SELECT NULL::UBIGINT AS n, NULL::UBIGINT AS row, '' AS action, '' AS key, '' AS id, '' AS mail "
            "WHERE false"
        )
        self._execute(
            "CREATE OR REPLACE TEMP TABLE _undone AS "
            f"SELECT *, coalesce(key, {customer_key('id', 'mail')}) AS customer FROM ({changed} UNION ALL "
            f"SELECT p.row, p.row, 'create', {key}, {known}, {mail} FROM {plan} p JOIN _survivors s ON s._row = p.row "
            f"WHERE p.action = 'create') WHERE action IN ({', '.join(map(literal, actions))})"
        )

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

    def _keep_chosen(self) -> None:
        """Leave out the customers that are not among those chosen by id, or by an e-mail that they had or have; create
        `_named`: n and the name by which a customer was chosen.
        """
        if self._undone.keys is None:
            return
        spellings = pl.DataFrame({"name": [name for key in self._undone.keys for name in key_spellings(key)]})
        self._connection.register("_keys", spellings.to_arrow())
        self._execute("CREATE OR REPLACE TEMP TABLE _chosen_keys AS SELECT DISTINCT name FROM _keys")
        self._connection.unregister("_keys")
        mails = [
            "SELECT n, mail FROM _undone",
            "SELECT u.n, s.email FROM _undone u JOIN _survivors s ON s._row = u.row",
            "SELECT f.n, h.mail FROM _found f JOIN _table h ON h.target = f.target",
        ]
        file, kept = self._images()
        if (mapped := self._mapping.mapped("email")) and f"={mapped.column_name}" in kept:
            mails.append(f"SELECT row, {image(mapped.column_name)}::VARCHAR FROM {file}")
        names = "SELECT n, customer AS name FROM _undone UNION ALL SELECT n, 'email:' || lower(mail) FROM ({})"
        self._execute(
            "CREATE OR REPLACE TEMP TABLE _named AS "
            f"SELECT n, name FROM ({names.format(' UNION ALL '.join(mails))}) WHERE name IN (FROM _chosen_keys)"
        )
        self._execute("DELETE FROM _undone WHERE n NOT IN (SELECT n FROM _named)")
        self._execute("DELETE FROM _found WHERE n NOT IN (SELECT n FROM _named)")

    def _images(self) -> tuple[str, set[str]]:
        """Return the before-images as a relation, and the names of their columns."""
        if BEFORE_IMAGES not in self._facts.files:
            return "(SELECT 0 AS row WHERE false)", set()
        file = f"read_parquet({files_literal([self._undone.folder / BEFORE_IMAGES])})"
        return file, {name for name, *_ in self._connection.execute(f"DESCRIBE FROM {file}").fetchall()}

    def _load_values(self) -> None:
        """Create `_old`, `_new` and `_now`, and `_changed` if columns are gone."""
        file, kept = self._images()
        typed = {
            name: f"CAST({image(name)} AS {self._table.image_type(name)})" if f"={name}" in kept else "NULL"
            for name in self._columns
        }
        dropped = {name: image(name) if f"={name}" in kept else "NULL" for name in self._decisions.dropped}
        values = "".join(f", {value} AS {image(name)}" for name, value in {**typed, **dropped}.items())
        if dropped:
            plan = f"read_parquet({files_literal([self._undone.folder / PLAN])})"
            self._execute(f"CREATE OR REPLACE TEMP VIEW _changed AS SELECT row, changed FROM {plan}")
        self._execute(f"CREATE OR REPLACE TEMP VIEW _old AS SELECT row AS n{values} FROM {file}")
        self._table.load_current()
        self._table.load_written(self._decisions.written())

    def _decide(self) -> None:
        """Create `_decided`: n, action (of the run), target, restored (the columns to restore) and since (those that
        are left alone); and from it `_plan`, `_removed` (n, target), `_gone` and `_differs`.
        """
        self._execute(f"CREATE OR REPLACE TEMP TABLE _decided AS {self._decisions.sql()}")
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

    def _restored_table(self) -> RestoredTable:
        fields = tuple(RestoredField(name, self._table.restored_column(name)) for name in self._columns)
        unique = tuple(name for name in self._mapping.unique if name in self._columns)
        written_key = self._mapping.row_key if self._has_times else None
        return RestoredTable(
            fields, self._mapping.key, bookkeeping=False, required=(), unique=unique, written_key=written_key
        )

    def _write_records(self) -> Survivors:
        """Write the records: rows to change as they will be, and rows that return."""
        updated = {*self._facts.updated, RUN, DELETED}
        restored = {
            name: f"CASE WHEN p.action = 'create'"
            f"{f' OR list_contains(d.restored, {literal(name)})' if name in updated else ''} "
            f"THEN o.{image(name)} ELSE t.{image(name)} END"
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

    def _finish(self, notes: tuple[str, ...]) -> Plan:
        rows = self._request.workspace / PLAN
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
            "SELECT count(*) FROM _plan p JOIN _decided d ON d.n = p.row "
            "WHERE p.action IN ('create', 'update') AND len(d.since) > 0"
        )
        return Plan(rows, counts, dict(sorted(changed)), existing, (*notes, *self._notes()), partly=partly)

    def _notes(self) -> Iterator[str]:
        if self._undone.keys is not None:
            known = {name for (name,) in self._connection.execute("SELECT DISTINCT name FROM _named").fetchall()}
            missing = sum(not known.intersection(key_spellings(key)) for key in self._undone.keys)
            if missing:
                yield f"{counted(missing, 'key')} of no customer that the run has changed"


def _of_key(key: str) -> tuple[str, str]:
    """Return the external id and the e-mail of which `new_key` makes this key, as SQL."""
    other = f"WHEN NOT starts_with({key}, 'email:') THEN {key}"
    known = f"CASE WHEN starts_with({key}, 'id:') THEN substr({key}, 4) {other} END"
    return known, f"CASE WHEN starts_with({key}, 'email:') THEN substr({key}, 7) END"

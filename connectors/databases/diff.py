"""The comparison of a run's survivors with a table of customers: one algorithm for every database, in DuckDB SQL.

A DuckDB table is compared in place. Of a table on a server, only the keys and a hash of each row are kept in memory
while its rows are streamed; the columns are read again for the rows that differ. Memory grows by a few bytes per
customer, and the server reads the table once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import duckdb

from tranship.connectors.contract import Plan, WriteRequest
from tranship.connectors.databases.constraints import taken
from tranship.connectors.databases.table_mapping import (
    DELETED,
    RUN,
    TYPE_OF,
    MappedField,
    TableMapping,
    customer_key,
    literal,
    lookup_key,
    new_key,
    quoted,
)
from tranship.schemas.counted import counted
from tranship.schemas.customer import KEY


class ComparedTable(Protocol):
    """The table with which survivors are compared, as relations of the connection that compares."""

    row_id: str
    """The id of a row `t`: a BIGINT, as SQL."""

    def load_survivors(self) -> None:
        """Create `_survivors`: the survivors, with values that only the server can convert in `_as_<field>`."""
        ...

    def load_table(self, select: str, joined: str) -> None:
        """Create `_table`, a view or table of `SELECT {select} FROM <the table> t {joined}`; packed columns are one
        column.
        """
        ...

    def undecided_rows(self) -> str:
        """Return a relation with the rows that `_plan` has not decided on, in the table's own columns, with `row_id`.

        After this call, `_as_<field>` is exact for these rows.
        """
        ...

    def refuse_violations(self, *, alone: bool) -> int:
        """Refuse in `_plan` the creates and updates that would violate a constraint; return their number.

        `alone` selects the constraints that concern one row, otherwise those between rows.
        """
        ...

    def keep_referenced_rows(self) -> list[tuple[str, int]]:
        """Remove from `_gone` the rows that cannot be deleted because other rows reference them.

        Return the referencing tables, each with the number of rows removed.
        """
        ...


@dataclass(frozen=True)
class PackedColumns:
    """Columns that are read as one in the first pass. Packs are equal if and only if all their columns are equal."""

    fields: tuple[MappedField, ...]
    name: str
    """The column with the pack of a row."""
    value: str
    """The pack of a survivor, as SQL."""


def create_survivors_view(
    connection: duckdb.DuckDBPyConnection, request: WriteRequest, also: str = "", joined: str = ""
) -> None:
    """Create the view `_survivors`, optionally with further expressions and joins."""
    files = ", ".join(map(literal, request.survivors.files))
    typed = {**TYPE_OF, "metadata": "VARCHAR", "_row": "UBIGINT", "_email_blocked": "BOOLEAN"}
    nobody = ", ".join(f"NULL::{dtype} AS {quoted(name)}" for name, dtype in typed.items())
    whole = (
        f"SELECT * FROM read_parquet([{files}]) s "
        f"ANTI JOIN read_parquet({literal(request.survivors.dropped)}) d ON s._row = d.row"
        if request.survivors.files
        else f"SELECT {nobody} WHERE false"
    )
    if also:
        whole = f"SELECT s.*{also} FROM ({whole}) s{joined}"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW _survivors AS {whole}").fetchall()


def plan_new_table(
    connection: duckdb.DuckDBPyConnection,
    request: WriteRequest,
    rows: Path,
    mapping: TableMapping | None = None,
    notes: tuple[str, ...] = (),
) -> Plan:
    """Return the plan for a table that does not exist: every survivor is created, or refused if only updates are
    allowed or a value does not fit into the new table. `_survivors` must exist.
    """
    if request.mode == "update":
        reason = "'not_there'"
    else:
        compared = [
            mapped for mapped in (mapping.fields if mapping else ()) if mapped.field in request.survivors.columns
        ]
        faults = mapping.encoding_faults(request) if mapping else []
        faults += [(mapped.misfit, mapped.misfit_reason) for mapped in compared if not mapped.fits_always]
        reasons = [f"WHEN {fault} THEN {literal(why)}" for fault, why in faults]
        reason = f"CASE {' '.join(reasons)} END" if reasons else "NULL::VARCHAR"
    connection.execute(
        f"COPY (SELECT row, CASE WHEN reason IS NULL THEN 'create' ELSE 'refused' END AS action, reason, "
        f"NULL::VARCHAR[] AS changed FROM (SELECT _row AS row, {reason} AS reason FROM _survivors s)) "
        f"TO {literal(rows)} (FORMAT parquet)"
    ).fetchall()
    found = connection.execute(f"SELECT action, count(*) FROM read_parquet({literal(rows)}) GROUP BY action").fetchall()
    stale_file(request).unlink(missing_ok=True)
    return Plan(rows, {**dict.fromkeys((*ACTIONS, "delete"), 0), **dict(found)}, notes=notes)


ACTIONS: Final = ("create", "update", "unchanged", "stale", "refused", "ambiguous")
OLDER: Final = "older"
"""The reason with which a record is stale or refused."""
_ENDLESS: Final = "TIMESTAMPTZ '9999-12-31'"
_NAMED: Final = 3


def stale_file(request: WriteRequest) -> Path:
    """Return the file with the records that are older than the rows they would change: source, line, external_id,
    email, updated_at, destination_updated_at. It does not exist if there are no such records."""
    return request.workspace / "stale.parquet"


def compute_written_times(connection: duckdb.DuckDBPyConnection, mapping: TableMapping, request: WriteRequest) -> None:
    """Create `_wrote`, the new rows of `_written` for customers that `_plan` creates or updates, before the write."""
    known = f"coalesce({mapping.survivor_external_id}, t.id)" if mapping.has_id else "NULL::VARCHAR"
    time = "s.updated_at" if request.overwrite_nulls else "coalesce(s.updated_at, w.updated_at)"
    customer = customer_key(known, "coalesce(s.email, t.mail)")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE _wrote AS SELECT customer, any_value(time) AS updated_at FROM ("
        f"SELECT k.customer, {time} AS time FROM (SELECT p.row, {customer} AS customer "
        "FROM _plan p JOIN _survivors s ON s._row = p.row LEFT JOIN _table t ON t.target = p.target "
        "WHERE p.action IN ('create', 'update')) k JOIN _survivors s ON s._row = k.row "
        "LEFT JOIN _written w ON w.customer = k.customer) WHERE customer IS NOT NULL GROUP BY customer"
    ).fetchall()


class Classifier:
    """Compares survivors with a table, in temporary tables of one connection."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: ComparedTable,
        mapping: TableMapping,
        request: WriteRequest,
        packed: PackedColumns | None = None,
    ) -> None:
        self._connection, self._table, self._mapping, self._request = connection, table, mapping, request
        self._compared = [mapped for mapped in mapping.fields if mapped.field in request.survivors.columns]
        alone = [mapped for mapped in self._compared if packed is None or mapped not in packed.fields]
        self._compared_pairs = [self._pair(mapped) for mapped in alone]
        self._compared_pairs += [(f"t.{quoted(packed.name)}", packed.value)] if packed else []
        self._compared_rows = ""
        self._existing = 0

    def plan(self, rows: Path, notes: tuple[str, ...]) -> Plan:
        """Decide on every survivor and write the plan to `rows`; `_plan` and `_gone` stay for the write."""
        self.compare()
        return self.finish(rows, notes)

    def compare(self) -> None:
        """Decide on every survivor, in `_plan`."""
        self._table.load_survivors()
        self._load_table()
        self._existing = self._value("SELECT count(*) FROM _table")
        self._match_ids()
        self._match_emails()
        self._refuse_by_mode()
        self._refuse_unidentifiable()
        self._refuse_misfits()
        self._refuse_double_matches()
        self._compare()
        self._refuse_violations()

    def finish(self, rows: Path, notes: tuple[str, ...], order: str = "") -> Plan:
        """Decide which customers to delete, once all refusals are known, and write the plan to `rows`."""
        connection = self._connection
        withheld, unidentified = self._find_deleted()
        if self._request.hard_delete and self._value("SELECT count(*) FROM _gone"):
            for table, count in self._table.keep_referenced_rows():
                withheld += count
                referenced = counted(count, "customer")
                notes = (*notes, f"table {table} references {referenced} that the source no longer has; not deleted")
        if self._request.compare:
            self._write_compared()
        self._write_stale()
        connection.execute(
            f"COPY (SELECT row, action, reason, changed FROM _plan {order}) TO {literal(rows)} (FORMAT parquet)"
        ).fetchall()
        counts = dict.fromkeys(ACTIONS, 0)
        counts |= dict(connection.execute("SELECT action, count(*) FROM _plan GROUP BY action").fetchall())
        counts["delete"] = self._value("SELECT count(*) FROM _gone")
        changed = connection.execute(
            "SELECT f, count(*) FROM (SELECT unnest(changed) AS f FROM _plan) GROUP BY f"
        ).fetchall()
        return Plan(rows, counts, dict(sorted(changed)), self._existing, notes, withheld, unidentified)

    def _value(self, sql: str) -> int:
        return int(self._connection.execute(sql).fetchall()[0][0])

    def _execute(self, sql: str) -> int:
        """Run a statement; return the number of rows of an INSERT, UPDATE or DELETE."""
        found = self._connection.execute(sql).fetchall()
        return int(found[0][0]) if found else 0

    def _load_table(self) -> None:
        mapping = self._mapping
        deleted = f"t.{quoted(DELETED)} IS NOT NULL" if mapping.bookkeeping else "false"
        ours = f"t.{quoted(RUN)} IS NOT NULL" if mapping.bookkeeping else "false"
        hashed = ", ".join(table for table, _ in self._compared_pairs) or "0"
        must_differ = "".join(
            f", t.{quoted(column)} AS {quoted(_unique_column(column))}" for column in self._unique_values()
        )
        self._table.load_table(
            f"{self._table.row_id} AS target, {mapping.row_external_id} AS id, {mapping.row_email} AS mail, "
            f"{lookup_key(mapping.row_external_id, mapping.row_email)} AS known, "
            f"{deleted} AS deleted, {ours} AS ours, hash({hashed}) AS seen{must_differ}",
            self._written if any(mapped.field == "updated_at" for mapped in self._compared) else "",
        )

    @property
    def _written(self) -> str:
        """A join that adds to each row `t`, as `w`, the values that Tranship last wrote."""
        return f"LEFT JOIN _written w ON w.customer = {self._mapping.written_key}" if self._mapping.written_key else ""

    def _pair(self, mapped: MappedField) -> tuple[str, str]:
        """Return the value of a field in a row and in a survivor, as SQL."""
        table = f"t.{quoted(mapped.column_name)}"
        if mapped.field == "updated_at" and self._mapping.written_key:
            # The table may change the time itself: the value that was last written counts.
            return f"CASE WHEN w.customer IS NOT NULL THEN w.updated_at ELSE {_instant(table)} END", "s.updated_at"
        return table, mapped.value

    def _times(self) -> tuple[str, str] | None:
        """Return `updated_at` of a survivor and of a row, as SQL; null if they cannot be compared."""
        mapped = self._mapping.mapped("updated_at")
        if "updated_at" not in self._request.survivors.columns:
            return None
        if self._mapping.written_key:
            return "s.updated_at", "w.updated_at"
        return (_instant(mapped.value), _instant(f"t.{quoted(mapped.column_name)}")) if mapped else None

    def _unique_values(self) -> dict[str, str]:
        """Return unique column → the survivor's value for it."""
        mapping = self._mapping
        own = [] if mapping.has_id else ["email"]
        found = {
            mapped.column_name: mapped.value
            for mapped in mapping.fields
            if mapped.column_name in mapping.unique
            or mapped.field in own
            or (mapped.field == "external_id" and mapped.column.dtype != "VARCHAR")
        }
        return found | ({mapping.key: f"CASE WHEN p.target IS NULL THEN {new_key('s')} END"} if mapping.key else {})

    def _match_ids(self) -> None:
        """Match every survivor with the row of its external id or, if neither has one, of its e-mail. A hash of all
        compared columns finds equal rows without carrying the columns through the join; rows that differ are then
        compared column by column."""
        wanted = ", ".join(value for _, value in self._compared_pairs) or "0"
        self._execute(
            "CREATE OR REPLACE TEMP TABLE _plan AS SELECT s.row, t.target, NULL::VARCHAR AS action, "
            "NULL::VARCHAR AS reason, NULL::VARCHAR[] AS changed, "
            "s.wanted = t.seen AND NOT t.deleted AS same "
            f"FROM (SELECT s._row AS row, {lookup_key(self._mapping.survivor_external_id, 's.email')} AS known, "
            f"hash({wanted}) AS wanted FROM _survivors s) s LEFT JOIN _table t ON t.known = s.known"
        )
        self._execute("CREATE OR REPLACE TEMP TABLE _unsure (target BIGINT)")
        if self._value("SELECT count(*) FROM _plan") > self._request.survivors.count:
            # One external id in several rows: whichever row was written, the others would stay wrong.
            several = "(SELECT row FROM _plan GROUP BY row HAVING count(*) > 1)"
            self._execute(f"INSERT INTO _unsure SELECT target FROM _plan WHERE row IN {several}")
            self._execute(
                "CREATE OR REPLACE TEMP TABLE _plan AS SELECT row, "
                "CASE WHEN count(*) = 1 THEN any_value(target) END AS target, "
                "CASE WHEN count(*) > 1 THEN 'refused' END AS action, "
                "CASE WHEN count(*) > 1 THEN 'matches_several' END AS reason, "
                "NULL::VARCHAR[] AS changed, bool_and(same) AS same FROM _plan GROUP BY row"
            )

    def _match_emails(self) -> None:
        """Apply rule 2 at the destination, in both directions.

        A survivor without an id matches the only row with its e-mail. Rows of customers that are in the run by their id
        do not count: their e-mail is the one in the run. A survivor with an id takes over the only row that has its
        e-mail and no id, if no other customer, in the table or in the run, has that e-mail.
        """
        mapping = self._mapping
        self._execute("CREATE OR REPLACE TEMP TABLE _mail (row UBIGINT, target BIGINT, alone BOOLEAN)")
        if not mapping.has_email:
            return
        ids = f"(SELECT {mapping.survivor_external_id} FROM _survivors s WHERE s.external_id IS NOT NULL)"
        wanted = "true" if not mapping.has_id else "s.external_id IS NULL"
        self._execute(
            "CREATE OR REPLACE TEMP TABLE _found AS SELECT s._row AS row, t.target, t.id, "
            "s.external_id IS NULL AS alone FROM _survivors s JOIN _table t ON t.mail = s.email "
            f"WHERE {wanted} AND NOT s._email_blocked"
        )
        usable = "true" if not mapping.has_id else f"(id IS NULL OR id NOT IN {ids})"
        self._execute(f"INSERT INTO _mail SELECT row, target, alone FROM _found WHERE {usable}")
        if mapping.has_id:
            self._match_rows_without_id(ids)
        # same = false: these few are compared column by column.
        self._execute(
            "UPDATE _plan SET target = m.target, same = false FROM "
            "(SELECT row, min(target) AS target FROM _mail GROUP BY row HAVING count(*) = 1) m "
            "WHERE _plan.row = m.row AND _plan.target IS DISTINCT FROM m.target"
        )
        self._execute(
            "UPDATE _plan SET action = CASE WHEN m.alone THEN 'ambiguous' ELSE 'refused' END, "
            "reason = CASE WHEN NOT m.alone THEN 'matches_several' END "
            "FROM (SELECT row, alone FROM _mail GROUP BY ALL HAVING count(*) > 1) m WHERE _plan.row = m.row"
        )
        self._execute(
            "INSERT INTO _unsure SELECT target FROM _mail WHERE row IN (SELECT row FROM _plan WHERE action IS NOT NULL)"
        )

    def _match_rows_without_id(self, ids: str) -> None:
        """Match survivors whose id is new with rows that have their e-mail and no id."""
        if not self._value("SELECT count(*) FROM _plan WHERE target IS NULL AND action IS NULL"):
            return
        found = self._execute(
            "CREATE OR REPLACE TEMP TABLE _nameless AS SELECT s._row AS row, t.target, s.email AS mail "
            "FROM _survivors s JOIN _plan p ON p.row = s._row AND p.target IS NULL AND p.action IS NULL "
            "JOIN _table t ON t.mail = s.email "
            "WHERE s.external_id IS NOT NULL AND NOT s._email_blocked AND t.id IS NULL"
        )
        if not found:
            return
        in_run = (
            "SELECT s.email FROM _survivors s WHERE s.external_id IS NOT NULL AND NOT s._email_blocked "
            "AND s.email IN (SELECT mail FROM _nameless) GROUP BY s.email HAVING count(*) > 1"
        )
        in_table = f"SELECT t.mail FROM _table t WHERE t.mail IN (SELECT mail FROM _nameless) AND t.id NOT IN {ids}"
        self._execute(
            "INSERT INTO _mail SELECT row, target, false FROM _nameless "
            f"WHERE mail NOT IN ({in_run}) AND mail NOT IN ({in_table}) "
            "AND row IN (SELECT row FROM _nameless GROUP BY row HAVING count(*) = 1)"
        )

    def _refuse_by_mode(self) -> None:
        if self._request.mode == "insert":
            self._refuse("target IS NOT NULL", "already_there")
        elif self._request.mode == "update":
            self._refuse("target IS NULL", "not_there")

    def _refuse(self, where: str, reason: str) -> None:
        self._execute(
            f"UPDATE _plan SET action = 'refused', reason = {literal(reason)} WHERE action IS NULL AND {where}"
        )

    def _refuse_unidentifiable(self) -> None:
        """Refuse records whose identifier the table cannot store: every run would create them again."""
        mapping = self._mapping
        if not mapping.has_email:
            nobody, mapped = "s.external_id IS NULL", mapping.mapped("external_id")
        elif not mapping.has_id:
            nobody, mapped = "s.email IS NULL OR s._email_blocked", mapping.mapped("email")
        else:
            return
        column = mapped.column_name if mapped else KEY
        self._refuse(
            f"target IS NULL AND row IN (SELECT s._row FROM _survivors s WHERE {nobody})",
            f"identifies_nobody: {column}",
        )

    def _refuse_misfits(self) -> None:
        """Refuse values that the column's type cannot hold, and nulls where the table requires a value."""
        mapping, request = self._mapping, self._request
        for fault, reason in mapping.encoding_faults(request):
            self._refuse(f"row IN (SELECT s._row FROM _survivors s WHERE {fault})", reason)
        for mapped in self._compared:
            if not mapped.fits_always:
                self._refuse(
                    f"row IN (SELECT s._row FROM _survivors s WHERE {mapped.misfit})",
                    mapped.misfit_reason,
                )
        for mapped in mapping.fields:
            if mapped.column_name in mapping.required:
                erased = mapped in self._compared and mapped.erasable(request)
                self._refuse_null(mapped, "true" if erased else "target IS NULL")
            elif mapped.column.null_becomes_default and mapped in self._compared and mapped.erasable(request):
                self._refuse_null(mapped, "target IS NOT NULL")

    def _refuse_null(self, mapped: MappedField, where: str) -> None:
        value = mapped.value if mapped in self._compared else "NULL"
        self._refuse(
            f"{where} AND row IN (SELECT s._row FROM _survivors s WHERE {value} IS NULL)",
            f"must_have_a_value: {mapped.column_name}",
        )

    def _refuse_double_matches(self) -> None:
        """Refuse all but the first of survivors that match the same row."""
        mapped = self._mapping.mapped("external_id" if self._mapping.has_id else "email")
        text = mapped is None or mapped.column.dtype == "VARCHAR"
        self._refuse(
            "row IN (SELECT row FROM _plan WHERE target IS NOT NULL AND action IS NULL "
            f"{'AND target IN (SELECT target FROM _mail) ' if text else ''}"
            "QUALIFY row_number() OVER (PARTITION BY target ORDER BY row) > 1)",
            taken(mapped.column_name if mapped else KEY),
        )

    def _compare(self) -> None:
        self._execute("UPDATE _plan SET action = 'create' WHERE action IS NULL AND target IS NULL")
        self._execute("UPDATE _plan SET action = 'unchanged' WHERE action IS NULL AND same")
        if not self._value("SELECT count(*) FROM _plan WHERE action IS NULL") and not self._request.compare:
            return
        rows = self._compared_rows = self._table.undecided_rows()
        differs = []
        for mapped in self._compared:
            table, wanted = self._pair(mapped)
            filled = "" if mapped.erasable(self._request) else f"{wanted} IS NOT NULL AND "
            differs.append(f"CASE WHEN {filled}{wanted} IS DISTINCT FROM {table} THEN {literal(mapped.field)} END")
        times = self._times()
        wanted_time, held_time = times or ("NULL", "NULL::TIMESTAMPTZ")
        older = f"coalesce({wanted_time} < {held_time} AND {held_time} < {_ENDLESS}, false)" if times else "false"
        if self._mapping.bookkeeping:
            differs.append(f"CASE WHEN t.{quoted(DELETED)} IS NOT NULL THEN {literal(DELETED)} END")
        self._execute(
            "CREATE OR REPLACE TEMP TABLE _differs AS SELECT p.row, "
            f"list_filter([{', '.join(differs) or 'NULL::VARCHAR'}], lambda f: f IS NOT NULL) AS changed, "
            f"{older} AS older, {held_time} AS held_time "
            "FROM _plan p JOIN _survivors s ON s._row = p.row "
            f"JOIN {rows} t ON {self._table.row_id} = p.target {self._written} WHERE p.action IS NULL"
        )
        self._execute(
            "UPDATE _plan SET action = CASE WHEN len(d.changed) = 0 THEN 'unchanged' ELSE 'update' END, "
            "changed = CASE WHEN len(d.changed) > 0 THEN d.changed END "
            "FROM _differs d WHERE _plan.row = d.row"
        )
        fate = {"skip": "stale", "refuse": "refused"}.get(self._request.older)
        if fate and times:
            self._execute(
                f"UPDATE _plan SET action = {literal(fate)}, reason = {literal(OLDER)}, changed = NULL "
                "FROM _differs d WHERE _plan.row = d.row AND d.older AND action = 'update'"
            )

    def _refuse_duplicates(self) -> None:
        """Refuse values that a unique column (or the key) holds already. If two survivors have the same value, the
        first record of the run keeps it. A value that one customer gives up in this run, another may take."""
        # A refused record keeps the value that it would have given up: repeat until nothing is refused.
        while sum(self._refuse_taken(column, value) for column, value in self._unique_values().items()):
            pass

    def _refuse_taken(self, column: str, value: str) -> int:
        self._execute(
            "CREATE OR REPLACE TEMP TABLE _brought AS "
            f"SELECT p.row, p.target, {value} AS value FROM _plan p JOIN _survivors s ON s._row = p.row "
            "WHERE p.action IN ('create', 'update')"
        )
        existing = f"t.{quoted(_unique_column(column))}"
        repeated = (
            "SELECT row FROM _brought WHERE value IS NOT NULL "
            "QUALIFY row_number() OVER (PARTITION BY value ORDER BY row) > 1"
        )
        in_table = (
            f"SELECT b.row FROM _brought b JOIN _table t ON {existing} = b.value "
            "LEFT JOIN _brought o ON o.target = t.target "
            f"WHERE b.target IS DISTINCT FROM t.target AND coalesce(o.value = {existing}, true)"
        )
        return self._execute(
            f"UPDATE _plan SET action = 'refused', reason = {literal(taken(column))}, changed = NULL "
            f"WHERE row IN ({repeated} UNION ALL {in_table})"
        )

    def _refuse_violations(self) -> None:
        # Rows on their own first: a refused record does not take a value from another one.
        self._table.refuse_violations(alone=True)
        self._refuse_duplicates()
        while self._table.refuse_violations(alone=False):
            self._refuse_duplicates()

    def _write_compared(self) -> None:
        """Write the existing values of records that differ, and the customers that the source lacks."""
        fields = "".join(
            f", t.{quoted(mapped.column_name)}::VARCHAR AS {quoted(mapped.field)}" for mapped in self._compared
        )
        self._execute(
            f"COPY (SELECT p.row{fields} FROM _plan p JOIN {self._compared_rows} t ON {self._table.row_id} = p.target "
            f"WHERE p.changed IS NOT NULL) TO {literal(self._request.workspace / 'found.parquet')} (FORMAT parquet)"
        )
        self._execute(
            "COPY (SELECT id AS external_id, mail AS email FROM _table WHERE NOT deleted AND target NOT IN "
            "(SELECT target FROM _plan WHERE target IS NOT NULL UNION ALL SELECT target FROM _unsure)) "
            f"TO {literal(self._request.workspace / 'extra.parquet')} (FORMAT parquet)"
        )

    def _write_stale(self) -> None:
        """Write the records that are older than the rows they would change, with both times."""
        file = stale_file(self._request)
        file.unlink(missing_ok=True)
        if self._value(f"SELECT count(*) FROM _plan WHERE reason = {literal(OLDER)}"):
            self._execute(
                "COPY (SELECT s._source AS source, s._line AS line, s.external_id, s.email, s.updated_at, "
                "d.held_time AS destination_updated_at FROM _plan p JOIN _differs d ON d.row = p.row "
                f"JOIN _survivors s ON s._row = p.row WHERE p.reason = {literal(OLDER)} ORDER BY source, line) "
                f"TO {literal(file)} (FORMAT parquet)"
            )

    def _find_deleted(self) -> tuple[int, tuple[str, ...]]:
        """Create `_gone`: rows that Tranship wrote and the source no longer has. Rows that a record may refer to stay,
        and so do rows of rejected or refused records. If such a record cannot be identified, all rows stay: return
        their number and the places of the first such records.
        """
        if self._request.mode != "mirror":
            self._execute("CREATE OR REPLACE TEMP TABLE _gone (target BIGINT)")
            return 0, ()
        self._load_present()
        # The table may ignore case: in doubt, nothing is deleted.
        known = (
            "SELECT target FROM _plan WHERE target IS NOT NULL UNION ALL SELECT target FROM _unsure UNION ALL "
            "SELECT t.target FROM _table t JOIN _present p ON lower(t.id) = lower(p.id) UNION ALL "
            "SELECT t.target FROM _table t JOIN _present p ON t.mail = p.mail"
        )
        gone = self._execute(
            "CREATE OR REPLACE TEMP TABLE _gone AS SELECT target FROM _table "
            f"WHERE ours AND NOT deleted AND target NOT IN ({known})"
        )
        if not gone:
            return 0, ()
        nobody = (
            "FROM _present p WHERE NOT matched AND ((p.id IS NULL AND p.mail IS NULL) "
            "OR (p.id_unusable AND NOT EXISTS (SELECT 1 FROM _table t WHERE t.mail = p.mail)) "
            "OR (p.email_unusable AND NOT EXISTS (SELECT 1 FROM _table t WHERE lower(t.id) = lower(p.id)) "
            "AND EXISTS (SELECT 1 FROM _gone g JOIN _table t ON t.target = g.target WHERE t.id IS NULL)))"
        )
        count = self._value(f"SELECT count(*) {nobody}")
        if not count:
            return 0, ()
        first = self._connection.execute(
            f"SELECT source, line {nobody} ORDER BY source, line LIMIT {_NAMED}"
        ).fetchall()
        self._execute("DELETE FROM _gone")
        places = [f"{source}, line {line}" for source, line in first]
        return gone, (*places, *([f"and {count - len(places):,} more"] if count > len(places) else []))

    def _load_present(self) -> None:
        """Create `_present`: the keys, as the table spells them, of all records that were read but are not written."""
        mapping = self._mapping
        known_id = mapping.survivor_external_id if mapping.has_id else "NULL::VARCHAR"
        mail = "{}" if mapping.has_email else "NULL::VARCHAR"
        blocked = mail.format("CASE WHEN NOT s._email_blocked THEN s.email END")
        refused = (
            f"SELECT s._source AS source, s._line AS line, {known_id} AS id, {blocked} AS mail, false AS id_unusable, "
            "false AS email_unusable, p.target IS NOT NULL AS matched FROM _plan p JOIN _survivors s ON s._row = p.row "
            "WHERE p.action IN ('refused', 'ambiguous')"
        )
        self._execute(f"CREATE OR REPLACE TEMP TABLE _present AS {refused}")
        if self._request.present:
            files = ", ".join(map(literal, self._request.present))
            self._execute(
                f"INSERT INTO _present SELECT source, line, {known_id}, {mail.format('s.email')}, id_unusable, "
                f"email_unusable, false FROM read_parquet([{files}]) s"
            )


def _instant(value: str) -> str:
    return f"TRY_CAST({value} AS TIMESTAMP WITH TIME ZONE)"


def _unique_column(column: str) -> str:
    """Return the column of `_table` with the values of a unique column."""
    return f"_at_{column}"

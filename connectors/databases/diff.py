"""The comparison of a run's survivors with a table of customers: one algorithm for every database, in DuckDB SQL.

A DuckDB table is compared in place. Of a table on a server, only the keys and a hash of each row are kept in memory
while its rows are streamed; the columns are read again for the rows that differ. Memory grows by a few bytes per
customer, and the server reads the table once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb
from msgspec import Struct

from tranship.connectors.contract import EXTRA, FOUND, GONE, Plan, WriteRequest
from tranship.connectors.databases.comparison import ComparedTable, Comparison, unique_column
from tranship.connectors.databases.deletes import find_deleted
from tranship.connectors.databases.matching import match_emails, match_ids
from tranship.connectors.databases.quoting import files_literal, literal, quoted
from tranship.connectors.databases.refusals import (
    refuse_by_mode,
    refuse_double_matches,
    refuse_misfits,
    refuse_unidentifiable,
    refuse_violations,
)
from tranship.connectors.databases.table_mapping import (
    DELETED,
    RUN,
    TYPE_OF,
    MappedField,
    TableMapping,
    lookup_key,
)


class PackedColumns(Struct, frozen=True):
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
    files = files_literal(request.survivors.files)
    typed = {**TYPE_OF, "metadata": "VARCHAR", "_row": "UBIGINT", "_email_blocked": "BOOLEAN"}
    nobody = ", ".join(f"NULL::{dtype} AS {quoted(name)}" for name, dtype in typed.items())
    whole = (
        f"SELECT * FROM read_parquet({files}) s "
        f"ANTI JOIN read_parquet({files_literal([request.survivors.dropped])}) d ON s._row = d.row"
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
    found = connection.execute(
        f"SELECT action, count(*) FROM read_parquet({files_literal([rows])}) GROUP BY action"
    ).fetchall()
    stale_file(request).unlink(missing_ok=True)
    return Plan(rows, {**dict.fromkeys((*ACTIONS, "delete"), 0), **dict(found)}, notes=notes)


ACTIONS: Final = ("create", "update", "unchanged", "stale", "refused", "ambiguous")
OLDER: Final = "older"
"""The reason with which a record is stale or refused."""
_ENDLESS: Final = "TIMESTAMPTZ '9999-12-31'"


def stale_file(request: WriteRequest) -> Path:
    """Return the file with the records that are older than the rows they would change: source, line, external_id,
    email, updated_at, destination_updated_at. It does not exist if there are no such records."""
    return request.workspace / "stale.parquet"


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
        self._comparison = Comparison(connection, table, mapping, request)
        self._connection, self._table, self._mapping, self._request = connection, table, mapping, request
        self._compared = self._comparison.compared
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
        self._existing = self._comparison.value("SELECT count(*) FROM _table")
        match_ids(self._comparison, self._compared_pairs)
        match_emails(self._comparison)
        refuse_by_mode(self._comparison)
        refuse_unidentifiable(self._comparison)
        refuse_misfits(self._comparison)
        refuse_double_matches(self._comparison)
        self._compare()
        refuse_violations(self._comparison)

    def finish(self, rows: Path, notes: tuple[str, ...], order: str = "") -> Plan:
        """Decide which customers to delete, once all refusals are known, and write the plan to `rows`."""
        connection = self._connection
        withheld, unidentified = find_deleted(self._comparison)
        if self._comparison.value("SELECT count(*) FROM _gone"):
            for count, note in self._table.keep_undeletable_rows():
                withheld += count
                notes = (*notes, note)
        if self._request.compare:
            self._write_compared()
        self._write_stale()
        connection.execute(
            f"COPY (SELECT row, action, reason, changed FROM _plan {order}) TO {literal(rows)} (FORMAT parquet)"
        ).fetchall()
        counts = dict.fromkeys(ACTIONS, 0)
        counts |= dict(connection.execute("SELECT action, count(*) FROM _plan GROUP BY action").fetchall())
        counts["delete"] = self._comparison.value("SELECT count(*) FROM _gone")
        changed = connection.execute(
            "SELECT f, count(*) FROM (SELECT unnest(changed) AS f FROM _plan) GROUP BY f"
        ).fetchall()
        losses = self._mapping.losses(self._request)
        return Plan(
            *(rows, counts, dict(sorted(changed)), self._existing, notes, withheld, unidentified), losses=losses
        )

    def _load_table(self) -> None:
        mapping = self._mapping
        deleted = f"t.{quoted(DELETED)} IS NOT NULL" if mapping.bookkeeping else "false"
        ours = f"t.{quoted(RUN)} IS NOT NULL" if mapping.bookkeeping else "false"
        hashed = ", ".join(table for table, _ in self._compared_pairs) or "0"
        must_differ = "".join(
            f", t.{quoted(column)} AS {quoted(unique_column(column))}" for column in self._comparison.unique_values()
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

    def _compare(self) -> None:
        self._comparison.execute("UPDATE _plan SET action = 'create' WHERE action IS NULL AND target IS NULL")
        self._comparison.execute("UPDATE _plan SET action = 'unchanged' WHERE action IS NULL AND same")
        if not self._comparison.value("SELECT count(*) FROM _plan WHERE action IS NULL") and not self._request.compare:
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
        self._comparison.execute(
            "CREATE OR REPLACE TEMP TABLE _differs AS SELECT p.row, "
            f"list_filter([{', '.join(differs) or 'NULL::VARCHAR'}], lambda f: f IS NOT NULL) AS changed, "
            f"{older} AS older, {held_time} AS held_time "
            "FROM _plan p JOIN _survivors s ON s._row = p.row "
            f"JOIN {rows} t ON {self._table.row_id} = p.target {self._written} WHERE p.action IS NULL"
        )
        self._comparison.execute(
            "UPDATE _plan SET action = CASE WHEN len(d.changed) = 0 THEN 'unchanged' ELSE 'update' END, "
            "changed = CASE WHEN len(d.changed) > 0 THEN d.changed END "
            "FROM _differs d WHERE _plan.row = d.row"
        )
        fate = {"skip": "stale", "refuse": "refused"}.get(self._request.older)
        if fate and times:
            self._comparison.execute(
                f"UPDATE _plan SET action = {literal(fate)}, reason = {literal(OLDER)}, changed = NULL "
                "FROM _differs d WHERE _plan.row = d.row AND d.older AND action = 'update'"
            )

    def _write_compared(self) -> None:
        """Write the existing values of records that differ, and the customers that the source lacks."""
        fields = "".join(
            f", t.{quoted(mapped.column_name)}::VARCHAR AS {quoted(mapped.field)}" for mapped in self._compared
        )
        self._comparison.execute(
            f"COPY (SELECT p.row{fields} FROM _plan p JOIN {self._compared_rows} t ON {self._table.row_id} = p.target "
            f"WHERE p.changed IS NOT NULL) TO {literal(self._request.workspace / FOUND)} (FORMAT parquet)"
        )
        self._comparison.execute(
            "COPY (SELECT id AS external_id, mail AS email FROM _table WHERE NOT deleted AND target NOT IN "
            "(SELECT target FROM _plan WHERE target IS NOT NULL UNION ALL SELECT target FROM _unsure)) "
            f"TO {literal(self._request.workspace / EXTRA)} (FORMAT parquet)"
        )
        self._comparison.execute(
            "COPY (SELECT t.id AS external_id, t.mail AS email FROM _gone g JOIN _table t ON t.target = g.target "
            f"ORDER BY ALL) TO {literal(self._request.workspace / GONE)} (FORMAT parquet)"
        )

    def _write_stale(self) -> None:
        """Write the records that are older than the rows they would change, with both times."""
        file = stale_file(self._request)
        file.unlink(missing_ok=True)
        if self._comparison.value(f"SELECT count(*) FROM _plan WHERE reason = {literal(OLDER)}"):
            self._comparison.execute(
                "COPY (SELECT s._source AS source, s._line AS line, s.external_id, s.email, s.updated_at, "
                "d.held_time AS destination_updated_at FROM _plan p JOIN _differs d ON d.row = p.row "
                f"JOIN _survivors s ON s._row = p.row WHERE p.reason = {literal(OLDER)} ORDER BY source, line) "
                f"TO {literal(file)} (FORMAT parquet)"
            )


def _instant(value: str) -> str:
    return f"TRY_CAST({value} AS TIMESTAMP WITH TIME ZONE)"

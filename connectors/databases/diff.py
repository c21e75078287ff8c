"""The comparison of a run's survivors with a table of customers: one logic for every database, in SQL of DuckDB.

A DuckDB table is compared where it lies. Of a table elsewhere only the keys and a hash of each row are held here, as
they stream past; columns come again for the rows that differ. So memory grows by bytes per customer, and what the
other side does is read a table once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import duckdb

from tranship.connectors.contract import Plan, WriteRequest
from tranship.connectors.databases.table_mapping import (
    DELETED,
    RUN,
    TYPE_OF,
    Stored,
    Target,
    id_or_email,
    key_of,
    literal,
    new_key,
    quoted,
)
from tranship.schemas.customer import KEY


class Held(Protocol):
    """The table that survivors are compared with, as relations of the connection that compares."""

    place: str
    """What tells a row `t` from all others: a BIGINT, as SQL."""

    def see_survivors(self) -> None:
        """Make `_survivors`: the survivors in their columns, and in `_as_<field>` what only the server knows."""
        ...

    def see_table(self, select: str, joined: str) -> None:
        """Make `_table`, a view or table of `SELECT {select} FROM <the table> t {joined}`; what is packed comes as its
        pack.
        """
        ...

    def undecided(self) -> str:
        """A relation that has, in the table's own columns, the rows that `_plan` has not decided on, and `place`.

        From then on `_as_<field>` of these rows is exact.
        """
        ...

    def object(self, *, alone: bool) -> int:
        """Refuse in `_plan` the creates and updates that the database would refuse, for what they are themselves or for
        what else there is; how many.
        """
        ...

    def keep(self) -> list[tuple[str, int]]:
        """Take from `_gone` the rows that the database would not delete, since others refer to them: which table refers
        to how many.
        """
        ...


@dataclass(frozen=True)
class Packed:
    """Columns that come as one when the table is first looked at. Packs are equal where all the columns are."""

    stored: tuple[Stored, ...]
    column: str
    """The pack of a row."""
    value: str
    """The pack of a survivor, as SQL."""


def see_survivors(run: duckdb.DuckDBPyConnection, load: WriteRequest, also: str = "", joined: str = "") -> None:
    """Make the view `_survivors`, with further expressions and joins if these are given."""
    files = ", ".join(map(literal, load.survivors.files))
    typed = {**TYPE_OF, "metadata": "VARCHAR", "_row": "UBIGINT", "_email_blocked": "BOOLEAN"}
    nobody = ", ".join(f"NULL::{dtype} AS {quoted(name)}" for name, dtype in typed.items())
    whole = (
        f"SELECT * FROM read_parquet([{files}]) s "
        f"ANTI JOIN read_parquet({literal(load.survivors.dropped)}) d ON s._row = d.row"
        if load.survivors.files
        else f"SELECT {nobody} WHERE false"
    )
    if also:
        whole = f"SELECT s.*{also} FROM ({whole}) s{joined}"
    run.execute(f"CREATE OR REPLACE TEMP VIEW _survivors AS {whole}").fetchall()


def plan_fresh(
    run: duckdb.DuckDBPyConnection,
    load: WriteRequest,
    rows: Path,
    target: Target | None = None,
    notes: tuple[str, ...] = (),
) -> Plan:
    """Nothing is there: every survivor is created, or refused if only updates are allowed, or if a value does not fit
    what `target` will be. `_survivors` is there.
    """
    if load.mode == "update":
        reason = "'not_there'"
    else:
        stored = [at for at in (target.stored if target else ()) if at.field in load.survivors.columns]
        faults = target.encoding_faults(load) if target else []
        faults += [(at.misfit, at.misfit_reason) for at in stored if not at.fits_always]
        reasons = [f"WHEN {fault} THEN {literal(why)}" for fault, why in faults]
        reason = f"CASE {' '.join(reasons)} END" if reasons else "NULL::VARCHAR"
    run.execute(
        f"COPY (SELECT row, CASE WHEN reason IS NULL THEN 'create' ELSE 'refused' END AS action, reason, "
        f"NULL::VARCHAR[] AS changed FROM (SELECT _row AS row, {reason} AS reason FROM _survivors s)) "
        f"TO {literal(rows)} (FORMAT parquet)"
    ).fetchall()
    found = run.execute(f"SELECT action, count(*) FROM read_parquet({literal(rows)}) GROUP BY action").fetchall()
    stale_file(load).unlink(missing_ok=True)
    return Plan(rows, {**dict.fromkeys((*ACTIONS, "delete"), 0), **dict(found)}, notes=notes)


ACTIONS: Final = ("create", "update", "unchanged", "stale", "refused", "ambiguous")
OLDER: Final = "older"
"""Why a record is stale, or refused."""
_ENDLESS: Final = "TIMESTAMPTZ '9999-12-31'"
_NAMED: Final = 3


def stale_file(load: WriteRequest) -> Path:
    """The records that are older than what they would change: source, line, external_id, email, updated_at,
    destination_updated_at. There is none if there are no such records."""
    return load.workspace / "stale.parquet"


def see_wrote(run: duckdb.DuckDBPyConnection, target: Target, load: WriteRequest) -> None:
    """Make `_wrote`: what `_written` becomes for each customer whom `_plan` creates or updates. Before the write."""
    known = f"coalesce({target.wanted_id}, t.id)" if target.by_id else "NULL::VARCHAR"
    time = "s.updated_at" if load.overwrite_nulls else "coalesce(s.updated_at, w.updated_at)"
    customer = key_of(known, "coalesce(s.email, t.mail)")
    run.execute(
        "CREATE OR REPLACE TEMP TABLE _wrote AS SELECT customer, any_value(time) AS updated_at FROM ("
        f"SELECT k.customer, {time} AS time FROM (SELECT p.row, {customer} AS customer "
        "FROM _plan p JOIN _survivors s ON s._row = p.row LEFT JOIN _table t ON t.target = p.target "
        "WHERE p.action IN ('create', 'update')) k JOIN _survivors s ON s._row = k.row "
        "LEFT JOIN _written w ON w.customer = k.customer) WHERE customer IS NOT NULL GROUP BY customer"
    ).fetchall()


class Classifier:
    """The comparison of survivors and table, in temporary tables of one connection."""

    def __init__(
        self,
        run: duckdb.DuckDBPyConnection,
        held: Held,
        target: Target,
        load: WriteRequest,
        packed: Packed | None = None,
    ) -> None:
        self._run, self._held, self._target, self._load = run, held, target, load
        self._compared = [stored for stored in target.stored if stored.field in load.survivors.columns]
        alone = [stored for stored in self._compared if packed is None or stored not in packed.stored]
        self._alike = [self._pair(stored) for stored in alone]
        self._alike += [(f"t.{quoted(packed.column)}", packed.value)] if packed else []
        self._looked_at = ""
        self._existing = 0

    def plan(self, rows: Path, notes: tuple[str, ...]) -> Plan:
        """Decide on every survivor and write the plan to `rows`; `_plan` and `_gone` stay for the write."""
        self.compare()
        return self.settle(rows, notes)

    def compare(self) -> None:
        """Decide on every survivor, in `_plan`."""
        self._held.see_survivors()
        self._see_table()
        self._existing = self._value("SELECT count(*) FROM _table")
        self._match_ids()
        self._match_emails()
        self._refuse_by_mode()
        self._refuse_who_cannot_be_found_again()
        self._refuse_what_does_not_fit()
        self._refuse_second_matches()
        self._compare()
        self._refuse_what_the_table_refuses()

    def settle(self, rows: Path, notes: tuple[str, ...], order: str = "") -> Plan:
        """Decide who is gone, now that all is refused that is to be, and write the plan to `rows`."""
        run = self._run
        withheld, unidentified = self._find_gone()
        if self._load.hard_delete and self._value("SELECT count(*) FROM _gone"):
            for table, count in self._held.keep():
                withheld += count
                who = "a customer" if count == 1 else f"{count:,} customers"
                notes = (*notes, f"table {table} refers to {who} that the source no longer has; not removed")
        if self._load.compare:
            self._write_found()
        self._write_stale()
        run.execute(
            f"COPY (SELECT row, action, reason, changed FROM _plan {order}) TO {literal(rows)} (FORMAT parquet)"
        ).fetchall()
        counts = dict.fromkeys(ACTIONS, 0)
        counts |= dict(run.execute("SELECT action, count(*) FROM _plan GROUP BY action").fetchall())
        counts["delete"] = self._value("SELECT count(*) FROM _gone")
        changed = run.execute("SELECT f, count(*) FROM (SELECT unnest(changed) AS f FROM _plan) GROUP BY f").fetchall()
        return Plan(rows, counts, dict(sorted(changed)), self._existing, notes, withheld, unidentified)

    def _value(self, sql: str) -> int:
        return int(self._run.execute(sql).fetchall()[0][0])

    def _do(self, sql: str) -> int:
        """Run a statement; for INSERT, UPDATE and DELETE the number of rows."""
        found = self._run.execute(sql).fetchall()
        return int(found[0][0]) if found else 0

    def _see_table(self) -> None:
        target = self._target
        deleted = f"t.{quoted(DELETED)} IS NOT NULL" if target.bookkeeping else "false"
        ours = f"t.{quoted(RUN)} IS NOT NULL" if target.bookkeeping else "false"
        hashed = ", ".join(held for held, _ in self._alike) or "0"
        must_differ = "".join(f", t.{quoted(at)} AS {quoted(_held(at))}" for at in self._must_differ())
        self._held.see_table(
            f"{self._held.place} AS target, {target.known_id} AS id, {target.known_email} AS mail, "
            f"{id_or_email(target.known_id, target.known_email)} AS known, "
            f"{deleted} AS deleted, {ours} AS ours, hash({hashed}) AS seen{must_differ}",
            self._written if any(stored.field == "updated_at" for stored in self._compared) else "",
        )

    @property
    def _written(self) -> str:
        """A join that gives each row `t`, as `w`, what this tool last wrote."""
        return f"LEFT JOIN _written w ON w.customer = {self._target.written}" if self._target.written else ""

    def _pair(self, stored: Stored) -> tuple[str, str]:
        """What a row has of a field and what a survivor has of it, as SQL; they differ if the field does."""
        held = f"t.{quoted(stored.column)}"
        if stored.field == "updated_at" and self._target.written:
            # What the table makes of the time is its own affair: what counts is what was written.
            return f"CASE WHEN w.customer IS NOT NULL THEN w.updated_at ELSE {_instant(held)} END", "s.updated_at"
        return held, stored.value

    def _times(self) -> tuple[str, str] | None:
        """`updated_at` of a survivor and of a row, as SQL; null where these cannot be compared."""
        stored = self._target.column("updated_at")
        if "updated_at" not in self._load.survivors.columns:
            return None
        if self._target.written:
            return "s.updated_at", "w.updated_at"
        return (_instant(stored.value), _instant(f"t.{quoted(stored.column)}")) if stored else None

    def _must_differ(self) -> dict[str, str]:
        """Column → the survivor's value for it, of each column in which no value may stand twice."""
        target = self._target
        own = [] if target.by_id else ["email"]
        found = {
            stored.column: stored.value
            for stored in target.stored
            if stored.column in target.unique
            or stored.field in own
            or (stored.field == "external_id" and stored.at.dtype != "VARCHAR")
        }
        return found | ({target.key: f"CASE WHEN p.target IS NULL THEN {new_key('s')} END"} if target.key else {})

    def _match_ids(self) -> None:
        """Every survivor with the row of its external id or, where neither has one, of its e-mail. A hash of all
        compared columns finds what is equal without carrying the columns through the join; what differs is looked
        at column by column."""
        wanted = ", ".join(value for _, value in self._alike) or "0"
        self._do(
            "CREATE OR REPLACE TEMP TABLE _plan AS SELECT s.row, t.target, NULL::VARCHAR AS action, "
            "NULL::VARCHAR AS reason, NULL::VARCHAR[] AS changed, "
            "s.wanted = t.seen AND NOT t.deleted AS same "
            f"FROM (SELECT s._row AS row, {id_or_email(self._target.wanted_id, 's.email')} AS known, "
            f"hash({wanted}) AS wanted FROM _survivors s) s LEFT JOIN _table t ON t.known = s.known"
        )
        self._do("CREATE OR REPLACE TEMP TABLE _unsure (target BIGINT)")
        if self._value("SELECT count(*) FROM _plan") > self._load.survivors.count:
            # One external id, several rows: whichever were written, the other would stay wrong.
            several = "(SELECT row FROM _plan GROUP BY row HAVING count(*) > 1)"
            self._do(f"INSERT INTO _unsure SELECT target FROM _plan WHERE row IN {several}")
            self._do(
                "CREATE OR REPLACE TEMP TABLE _plan AS SELECT row, "
                "CASE WHEN count(*) = 1 THEN any_value(target) END AS target, "
                "CASE WHEN count(*) > 1 THEN 'refused' END AS action, "
                "CASE WHEN count(*) > 1 THEN 'matches_several' END AS reason, "
                "NULL::VARCHAR[] AS changed, bool_and(same) AS same FROM _plan GROUP BY row"
            )

    def _match_emails(self) -> None:
        """Rule 2 at the destination, both ways round.

        A survivor without an id belongs to the one row with its e-mail; rows of customers that are in the run
        by their id do not count, their e-mail is what the run says. A survivor with an id takes over the one
        row that has its e-mail and no id, if no other customer, here or in the run, has that e-mail.
        """
        target = self._target
        self._do("CREATE OR REPLACE TEMP TABLE _mail (row UBIGINT, target BIGINT, alone BOOLEAN)")
        if not target.by_email:
            return
        ids = f"(SELECT {target.wanted_id} FROM _survivors s WHERE s.external_id IS NOT NULL)"
        wanted = "true" if not target.by_id else "s.external_id IS NULL"
        self._do(
            "CREATE OR REPLACE TEMP TABLE _found AS SELECT s._row AS row, t.target, t.id, "
            "s.external_id IS NULL AS alone FROM _survivors s JOIN _table t ON t.mail = s.email "
            f"WHERE {wanted} AND NOT s._email_blocked"
        )
        usable = "true" if not target.by_id else f"(id IS NULL OR id NOT IN {ids})"
        self._do(f"INSERT INTO _mail SELECT row, target, alone FROM _found WHERE {usable}")
        if target.by_id:
            self._match_nameless_rows(ids)
        # same = false: these few are compared column by column.
        self._do(
            "UPDATE _plan SET target = m.target, same = false FROM "
            "(SELECT row, min(target) AS target FROM _mail GROUP BY row HAVING count(*) = 1) m "
            "WHERE _plan.row = m.row AND _plan.target IS DISTINCT FROM m.target"
        )
        self._do(
            "UPDATE _plan SET action = CASE WHEN m.alone THEN 'ambiguous' ELSE 'refused' END, "
            "reason = CASE WHEN NOT m.alone THEN 'matches_several' END "
            "FROM (SELECT row, alone FROM _mail GROUP BY ALL HAVING count(*) > 1) m WHERE _plan.row = m.row"
        )
        self._do(
            "INSERT INTO _unsure SELECT target FROM _mail WHERE row IN (SELECT row FROM _plan WHERE action IS NOT NULL)"
        )

    def _match_nameless_rows(self, ids: str) -> None:
        """Survivors with an id that is not there yet, and rows of their e-mail that have no id."""
        if not self._value("SELECT count(*) FROM _plan WHERE target IS NULL AND action IS NULL"):
            return
        found = self._do(
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
        self._do(
            "INSERT INTO _mail SELECT row, target, false FROM _nameless "
            f"WHERE mail NOT IN ({in_run}) AND mail NOT IN ({in_table}) "
            "AND row IN (SELECT row FROM _nameless GROUP BY row HAVING count(*) = 1)"
        )

    def _refuse_by_mode(self) -> None:
        if self._load.mode == "insert":
            self._refuse("target IS NOT NULL", "already_there")
        elif self._load.mode == "update":
            self._refuse("target IS NULL", "not_there")

    def _refuse(self, where: str, reason: str) -> None:
        self._do(f"UPDATE _plan SET action = 'refused', reason = {literal(reason)} WHERE action IS NULL AND {where}")

    def _refuse_who_cannot_be_found_again(self) -> None:
        """The table has no place for what identifies them: every run would create them anew."""
        target = self._target
        if not target.by_email:
            nobody, at = "s.external_id IS NULL", target.column("external_id")
        elif not target.by_id:
            nobody, at = "s.email IS NULL OR s._email_blocked", target.column("email")
        else:
            return
        column = at.column if at else KEY
        self._refuse(
            f"target IS NULL AND row IN (SELECT s._row FROM _survivors s WHERE {nobody})",
            f"identifies_nobody: {column}",
        )

    def _refuse_what_does_not_fit(self) -> None:
        """Values that the column's type cannot hold, and nulls where the table wants a value."""
        target, load = self._target, self._load
        for fault, reason in target.encoding_faults(load):
            self._refuse(f"row IN (SELECT s._row FROM _survivors s WHERE {fault})", reason)
        for stored in self._compared:
            if not stored.fits_always:
                self._refuse(
                    f"row IN (SELECT s._row FROM _survivors s WHERE {stored.misfit})",
                    stored.misfit_reason,
                )
        for stored in target.stored:
            if stored.column in target.required:
                erased = stored in self._compared and stored.erasable(load)
                self._refuse_null(stored, "true" if erased else "target IS NULL")
            elif stored.at.filled and stored in self._compared and stored.erasable(load):
                self._refuse_null(stored, "target IS NOT NULL")

    def _refuse_null(self, stored: Stored, where: str) -> None:
        value = stored.value if stored in self._compared else "NULL"
        self._refuse(
            f"{where} AND row IN (SELECT s._row FROM _survivors s WHERE {value} IS NULL)",
            f"must_have_a_value: {stored.column}",
        )

    def _refuse_second_matches(self) -> None:
        """Two survivors that the table cannot tell apart: the first record of the run stays."""
        at = self._target.column("external_id" if self._target.by_id else "email")
        text = at is None or at.at.dtype == "VARCHAR"
        self._refuse(
            "row IN (SELECT row FROM _plan WHERE target IS NOT NULL AND action IS NULL "
            f"{'AND target IN (SELECT target FROM _mail) ' if text else ''}"
            "QUALIFY row_number() OVER (PARTITION BY target ORDER BY row) > 1)",
            f"taken: {at.column if at else KEY}",
        )

    def _compare(self) -> None:
        self._do("UPDATE _plan SET action = 'create' WHERE action IS NULL AND target IS NULL")
        self._do("UPDATE _plan SET action = 'unchanged' WHERE action IS NULL AND same")
        if not self._value("SELECT count(*) FROM _plan WHERE action IS NULL") and not self._load.compare:
            return
        rows = self._looked_at = self._held.undecided()
        differs = []
        for stored in self._compared:
            held, wanted = self._pair(stored)
            filled = "" if stored.erasable(self._load) else f"{wanted} IS NOT NULL AND "
            differs.append(f"CASE WHEN {filled}{wanted} IS DISTINCT FROM {held} THEN {literal(stored.field)} END")
        times = self._times()
        wanted_time, held_time = times or ("NULL", "NULL::TIMESTAMPTZ")
        older = f"coalesce({wanted_time} < {held_time} AND {held_time} < {_ENDLESS}, false)" if times else "false"
        if self._target.bookkeeping:
            differs.append(f"CASE WHEN t.{quoted(DELETED)} IS NOT NULL THEN {literal(DELETED)} END")
        self._do(
            "CREATE OR REPLACE TEMP TABLE _differs AS SELECT p.row, "
            f"list_filter([{', '.join(differs) or 'NULL::VARCHAR'}], lambda f: f IS NOT NULL) AS changed, "
            f"{older} AS older, {held_time} AS held_time "
            "FROM _plan p JOIN _survivors s ON s._row = p.row "
            f"JOIN {rows} t ON {self._held.place} = p.target {self._written} WHERE p.action IS NULL"
        )
        self._do(
            "UPDATE _plan SET action = CASE WHEN len(d.changed) = 0 THEN 'unchanged' ELSE 'update' END, "
            "changed = CASE WHEN len(d.changed) > 0 THEN d.changed END "
            "FROM _differs d WHERE _plan.row = d.row"
        )
        fate = {"skip": "stale", "refuse": "refused"}.get(self._load.older)
        if fate and times:
            self._do(
                f"UPDATE _plan SET action = {literal(fate)}, reason = {literal(OLDER)}, changed = NULL "
                "FROM _differs d WHERE _plan.row = d.row AND d.older AND action = 'update'"
            )

    def _refuse_repeated(self) -> None:
        """Values that a unique column (or the key) has already, or that two survivors would bring: the first
        record of the run stays, the others are refused. What one customer gives up now, another may have."""
        # A refusal takes back what the record would have given up: look again until nothing is refused.
        while sum(self._refuse_taken(column, value) for column, value in self._must_differ().items()):
            pass

    def _refuse_taken(self, column: str, value: str) -> int:
        self._do(
            "CREATE OR REPLACE TEMP TABLE _brought AS "
            f"SELECT p.row, p.target, {value} AS value FROM _plan p JOIN _survivors s ON s._row = p.row "
            "WHERE p.action IN ('create', 'update')"
        )
        at = f"t.{quoted(_held(column))}"
        repeated = (
            "SELECT row FROM _brought WHERE value IS NOT NULL "
            "QUALIFY row_number() OVER (PARTITION BY value ORDER BY row) > 1"
        )
        taken = (
            f"SELECT b.row FROM _brought b JOIN _table t ON {at} = b.value "
            "LEFT JOIN _brought o ON o.target = t.target "
            f"WHERE b.target IS DISTINCT FROM t.target AND coalesce(o.value = {at}, true)"
        )
        return self._do(
            f"UPDATE _plan SET action = 'refused', reason = {literal(f'taken: {column}')}, changed = NULL "
            f"WHERE row IN ({repeated} UNION ALL {taken})"
        )

    def _refuse_what_the_table_refuses(self) -> None:
        # First what no other record can change: who is refused takes nothing away from others.
        self._held.object(alone=True)
        self._refuse_repeated()
        while self._held.object(alone=False):
            self._refuse_repeated()

    def _write_found(self) -> None:
        """What is there of the records that differ, and who is there that the source lacks."""
        fields = "".join(f", t.{quoted(at.column)}::VARCHAR AS {quoted(at.field)}" for at in self._compared)
        self._do(
            f"COPY (SELECT p.row{fields} FROM _plan p JOIN {self._looked_at} t ON {self._held.place} = p.target "
            f"WHERE p.changed IS NOT NULL) TO {literal(self._load.workspace / 'found.parquet')} (FORMAT parquet)"
        )
        self._do(
            "COPY (SELECT id AS external_id, mail AS email FROM _table WHERE NOT deleted AND target NOT IN "
            "(SELECT target FROM _plan WHERE target IS NOT NULL UNION ALL SELECT target FROM _unsure)) "
            f"TO {literal(self._load.workspace / 'extra.parquet')} (FORMAT parquet)"
        )

    def _write_stale(self) -> None:
        """The records that are older than what they would change, with both times."""
        file = stale_file(self._load)
        file.unlink(missing_ok=True)
        if self._value(f"SELECT count(*) FROM _plan WHERE reason = {literal(OLDER)}"):
            self._do(
                "COPY (SELECT s._source AS source, s._line AS line, s.external_id, s.email, s.updated_at, "
                "d.held_time AS destination_updated_at FROM _plan p JOIN _differs d ON d.row = p.row "
                f"JOIN _survivors s ON s._row = p.row WHERE p.reason = {literal(OLDER)} ORDER BY source, line) "
                f"TO {literal(file)} (FORMAT parquet)"
            )

    def _find_gone(self) -> tuple[int, tuple[str, ...]]:
        """Make `_gone`: what this tool wrote and the source no longer has. Rows that a record might have meant stay,
        and so do those that a rejected or refused record means. Where one of these could be anybody, all stay: how
        many, and where the first of these records are.
        """
        if self._load.mode != "mirror":
            self._do("CREATE OR REPLACE TEMP TABLE _gone (target BIGINT)")
            return 0, ()
        self._see_present()
        # Small and capital letters may be the same to the table: then rather nobody is deleted.
        known = (
            "SELECT target FROM _plan WHERE target IS NOT NULL UNION ALL SELECT target FROM _unsure UNION ALL "
            "SELECT t.target FROM _table t JOIN _present p ON lower(t.id) = lower(p.id) UNION ALL "
            "SELECT t.target FROM _table t JOIN _present p ON t.mail = p.mail"
        )
        gone = self._do(
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
        first = self._run.execute(f"SELECT source, line {nobody} ORDER BY source, line LIMIT {_NAMED}").fetchall()
        self._do("DELETE FROM _gone")
        places = [f"{source}, line {line}" for source, line in first]
        return gone, (*places, *([f"and {count - len(places):,} more"] if count > len(places) else []))

    def _see_present(self) -> None:
        """Make `_present`: the keys, as the table knows them, of all records that were read and are not written."""
        target = self._target
        known_id = target.wanted_id if target.by_id else "NULL::VARCHAR"
        mail = "{}" if target.by_email else "NULL::VARCHAR"
        blocked = mail.format("CASE WHEN NOT s._email_blocked THEN s.email END")
        refused = (
            f"SELECT s._source AS source, s._line AS line, {known_id} AS id, {blocked} AS mail, false AS id_unusable, "
            "false AS email_unusable, p.target IS NOT NULL AS matched FROM _plan p JOIN _survivors s ON s._row = p.row "
            "WHERE p.action IN ('refused', 'ambiguous')"
        )
        self._do(f"CREATE OR REPLACE TEMP TABLE _present AS {refused}")
        if self._load.present:
            files = ", ".join(map(literal, self._load.present))
            self._do(
                f"INSERT INTO _present SELECT source, line, {known_id}, {mail.format('s.email')}, id_unusable, "
                f"email_unusable, false FROM read_parquet([{files}]) s"
            )


def _instant(value: str) -> str:
    return f"TRY_CAST({value} AS TIMESTAMP WITH TIME ZONE)"


def _held(column: str) -> str:
    """The column of `_table` with the values of a column in which none may stand twice."""
    return f"_at_{column}"

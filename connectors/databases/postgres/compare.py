"""The table at the server, as `connectors/databases/diff.py` compares it with the survivors."""

from __future__ import annotations

from typing import Final

from tranship.connectors.databases.diff import Packed, see_survivors
from tranship.connectors.databases.postgres.catalog import EARLIEST, LATEST, Relation, references_to
from tranship.connectors.databases.postgres.constraints import Objections, try_query
from tranship.connectors.databases.postgres.context import Work
from tranship.connectors.databases.postgres.encoding import AS_GIVEN
from tranship.connectors.databases.postgres.sql import OWN_TYPES, own_column, type_sql
from tranship.connectors.databases.postgres.transfer import copy_to_server, rows_by_place, stream_into
from tranship.connectors.databases.postgres.values import as_text, is_array, is_jsonb, is_plain, without_blanks
from tranship.connectors.databases.table_mapping import (
    DELETED,
    RUN,
    TYPE_OF,
    Column,
    Stored,
    as_stored,
    holds_one_of,
    quoted,
    unfit,
)


class Held:
    """The table at the server: its rows are looked at as they stream past, and only what must be kept is kept."""

    place = "t.ctid"

    def __init__(self, work: Work) -> None:
        self._work, self._types = work, work.types
        self._objections: Objections | None = None
        self._told: set[int] = set()
        """Columns, by their number among those asked for, of which the server has said what values become."""
        seen = (*work.target.unique, *work.added)
        texts = tuple(at for at in work.brought if _is_tidy(at) and at.column not in seen)
        self.packed = Packed(texts, _PACK, _pack_wanted([at.value for at in texts])) if len(texts) > 1 else None

    def see_survivors(self) -> None:
        """Make `_survivors`."""
        see_survivors(self._work.bench, self._work.load)
        for number, at in enumerate(self._asked()):
            self._work.bench.execute(
                f"CREATE OR REPLACE TEMP TABLE _cast_{number} (value VARCHAR, stored VARCHAR)"
            ).fetchall()
            odd = f" WHERE NOT coalesce({is_plain(as_text(at))}, true)" if is_jsonb(at) else ""
            self._ask(number, at, f"_survivors s{odd}")
        self._see_what_is_stored()

    def _asked(self) -> list[Stored]:
        return [at for at in self._work.brought if at.at.by_server]

    def _see_what_is_stored(self) -> None:
        """Make `_survivors` again, with what the server has said until now."""
        also, joined = "", ""
        for number, at in enumerate(self._asked()):
            source = as_text(at)
            plain = f"json({source})::VARCHAR"
            if is_jsonb(at) and number not in self._told:
                stored, cannot = plain, "false"
            else:
                joined += f" LEFT JOIN _cast_{number} c{number} ON c{number}.value = {source}"
                known, stored = f"c{number}.value IS NOT NULL", f"c{number}.stored"
                cannot = f"{known} AND {stored} IS NULL"
                if is_jsonb(at):
                    stored = f"CASE WHEN {known} THEN {stored} WHEN {is_plain(source)} THEN {plain} END"
            also += f", {stored} AS {quoted(as_stored(at.field))}"
            also += f", coalesce({cannot} OR contains({source}, chr(0)), false) AS {quoted(unfit(at.field))}"
        if also:
            see_survivors(self._work.bench, self._work.load, also, joined)

    def _ask(self, number: int, at: Stored, where: str) -> None:
        """Have the server say what each value becomes in the column, null where it does not fit."""
        bench, wire, source = self._work.bench, self._work.wire, as_text(at)
        asked = f"CREATE OR REPLACE TEMP TABLE _asked AS SELECT DISTINCT {source} AS value FROM {where}"
        if not bench.execute(asked).fetchall()[0][0]:
            return
        self._told.add(number)
        odd = holds_one_of("value", f"\0{self._work.target.unwritable}")
        if copy_to_server(wire, "_tranship_values", bench.sql(f"SELECT value FROM _asked WHERE NOT {odd}")):
            kind = self._types.get(at.column)
            # A cast to varchar(3) cuts off what is too long; stored it would be refused.
            whole = " AND stored = value" if kind and kind.text else ""
            whole = " AND stored = value::text[]::text" if is_array(at) else whole
            wire.run(
                "CREATE OR REPLACE FUNCTION pg_temp.tranship_stored(value text) RETURNS text LANGUAGE plpgsql AS "
                f"$tranship$ BEGIN RETURN value::{at.at.shown}::text; "
                "EXCEPTION WHEN OTHERS THEN RETURN NULL; END $tranship$"
            )
            told = wire.stream(
                f"SELECT value, CASE WHEN stored IS NOT NULL{whole} THEN stored END AS stored FROM "
                "(SELECT value, pg_temp.tranship_stored(value) AS stored FROM pg_temp._tranship_values OFFSET 0) v"
            )
            stored = without_blanks("stored") if is_jsonb(at) else "stored"
            stream_into(bench, f"INSERT INTO _cast_{number} SELECT value, {stored} FROM _stream", told)
        wire.run("DROP TABLE pg_temp._tranship_values")

    def see_table(self, select: str, joined: str) -> None:
        """Make `_table`."""
        relation = self._existing
        packed = [at.at for at in self.packed.stored] if self.packed else []
        alone = [column for column in self._needed() if column not in packed]
        pack = f", {_pack_held([f't.{quoted(at.name)}' for at in packed])} AS {quoted(_PACK)}" if packed else ""
        stream = self._work.wire.stream(
            f"SELECT {relation.place_sent} AS ctid{self._columns(alone)}{pack} FROM {relation.name} t"
        )
        rows = self._typed(alone, {} if relation.parts else {"ctid": "('0x' || hex(ctid))::BIGINT"})
        stream_into(
            self._work.bench, f"CREATE OR REPLACE TEMP TABLE _table AS SELECT {select} FROM {rows} t {joined}", stream
        )

    def undecided(self) -> str:
        """Return the relation with the rows that `_plan` has not decided on."""
        wire, relation = self._work.wire, self._existing
        copy_to_server(
            wire, "_tranship_rows", self._work.bench.sql("SELECT target FROM _plan WHERE action IS NULL ORDER BY 1")
        )
        wire.run("ANALYZE pg_temp._tranship_rows")
        with rows_by_place(wire):
            stream = wire.stream(
                f"SELECT u.target AS ctid{self._columns(self._needed())} FROM pg_temp._tranship_rows u "
                f"JOIN {relation.name} t ON {relation.at('u.target')}"
            )
            rows = self._typed(self._needed(), {})
            stream_into(self._work.bench, f"CREATE OR REPLACE TEMP TABLE _rows AS SELECT * FROM {rows}", stream)
        wire.run("DROP TABLE pg_temp._tranship_rows")
        for number, at in enumerate(self._asked()):
            if is_jsonb(at):
                # Equal but for the order of names? The server knows.
                source = as_text(at)
                differs = f"json({source})::VARCHAR IS DISTINCT FROM t.{quoted(at.column)}"
                self._ask(
                    number,
                    at,
                    f"_plan p JOIN _rows t ON t.ctid = p.target JOIN _survivors s ON s._row = p.row "
                    f"WHERE CASE WHEN {is_plain(source)} THEN {differs} ELSE false END",
                )
        self._see_what_is_stored()
        return "_rows"

    def object(self, *, alone: bool) -> int:
        """Refuse in `_plan` what would break a constraint."""
        objections = self._objections = self._objections or Objections(self._work, self._existing)
        return objections.refuse(alone=alone)

    def keep(self) -> list[tuple[str, int]]:
        """Take from `_gone` the rows that others refer to."""
        wire, bench, relation = self._work.wire, self._work.bench, self._existing
        referring = [one for one in references_to(wire, relation) if one.holds_deletes]
        if not referring:
            return []
        copy_to_server(wire, "_tranship_gone", bench.sql("SELECT target FROM _gone ORDER BY 1"))
        wire.run("ANALYZE pg_temp._tranship_gone")
        kept = []
        for one in referring:
            with rows_by_place(wire):
                rows = try_query(
                    wire,
                    f"SELECT u.target FROM pg_temp._tranship_gone u JOIN {relation.name} t "
                    f"ON {relation.at('u.target')} WHERE {one.exists}",
                )
            if rows:
                places = ", ".join(str(place) for (place,) in rows)
                [(count,)] = bench.execute(f"DELETE FROM _gone WHERE target IN ({places})").fetchall()
                kept += [(one.table, int(count))] if count else []
        wire.run("DROP TABLE pg_temp._tranship_gone")
        return kept

    @property
    def _existing(self) -> Relation:
        assert self._work.relation is not None  # noqa: S101  (a table that does not exist is not compared with)
        return self._work.relation

    def _needed(self) -> list[Column]:
        """The columns that the comparison looks at, the table's own."""
        target = self._work.target
        fields = [at.at for at in target.stored if at in self._work.brought or at.field in ("external_id", "email")]
        unique = [at.at for at in target.stored if at.column in target.unique]
        own = [
            own_column(name) for name in ([target.key] if target.key else []) + ([RUN, DELETED] * target.bookkeeping)
        ]
        return list({column.name: column for column in (*own, *fields, *unique)}.values())

    def _columns(self, needed: list[Column]) -> str:
        work = self._work
        unsaid = work.added if work.load.mode == "mirror" else (*work.added, RUN)
        sent = {at.name: f"NULL::{_kind(at)}" if at.name in unsaid else _sent(at) for at in needed}
        return "".join(f", {value} AS {quoted(name)}" for name, value in sent.items())

    def _typed(self, needed: list[Column], typed: dict[str, str]) -> str:
        """What streams past, in the types of the comparison."""
        columns = {at.name: at for at in needed}
        typed = typed | {
            name: f"{quoted(name)}::{at.dtype}" for name, at in columns.items() if at.dtype in ("UUID", "JSON")
        }
        typed |= {name: without_blanks(quoted(name)) for name, at in columns.items() if at.shown == "jsonb"}
        replaced = ", ".join(f"{value} AS {quoted(name)}" for name, value in typed.items())
        return f"(SELECT * {f'REPLACE ({replaced}) ' if replaced else ''}FROM _stream)"


def _kind(column: Column) -> str:
    """The type in which a column that does not exist yet is sent."""
    return "text" if column.by_server else type_sql(OWN_TYPES[column.dtype])


def _sent(column: Column) -> str:
    """A column as it is sent to be compared; what has no place in a frame becomes something no customer has."""
    at = f"t.{quoted(column.name)}"
    if column.dtype.startswith("TIMESTAMP") or column.dtype == "DATE":
        return f"CASE WHEN {at} BETWEEN '{EARLIEST}' AND '{LATEST}' THEN {at} WHEN {at} IS NOT NULL THEN '{LATEST}' END"
    if column.dtype == "VARCHAR[]":
        return f"CASE WHEN array_ndims({at}) > 1 THEN ARRAY['several dimensions'] ELSE {at} END"
    return f"{at}::text" if column.by_server or column.dtype in ("UUID", "JSON") else at


_PACK: Final = "tranship texts"
"""Texts with a control character between them, and the number of nulls in front: the driver's time goes by fields, not
by bytes.

A survivor's text has no control characters, so that its pack has one for each gap; a row with the same pack has none
in its texts either. It is empty where the survivor's is null, and all its empty texts are null, or the numbers would
differ: a survivor's text is never empty.
"""


def _is_tidy(at: Stored) -> bool:
    """Whether it is a text without control characters; but for what customers are found by."""
    tidy = at.field not in (*AS_GIVEN, "external_id", "email")
    return tidy and TYPE_OF[at.field] == at.at.dtype == "VARCHAR" and not at.at.by_server


def _pack_wanted(values: list[str]) -> str:
    """The pack of a survivor, as SQL of the comparison."""
    nulls = " + ".join(f"({value} IS NULL)::INTEGER" for value in values)
    return _pack(values, f"({nulls})::VARCHAR")


def _pack_held(columns: list[str]) -> str:
    """The pack of a row, as SQL of the server."""
    return _pack(columns, f"num_nulls({', '.join(columns)})")


def _pack(texts: list[str], nulls: str) -> str:
    given = ", ".join(f"coalesce({text}, '')" for text in texts)
    return f"concat_ws(chr(31), {nulls}, {given})"

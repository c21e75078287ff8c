"""The plan carried out: one statement for each kind of change, the ledger row, the commit."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateSchema, CreateTable, SetColumnComment, SetTableComment

from tranship.connectors.contract import Plan
from tranship.connectors.databases.ledger import LATER_COUNTS, LEDGER, ledger_row
from tranship.connectors.databases.postgres.address import Address
from tranship.connectors.databases.postgres.catalog import Relation, column_types, find_relation
from tranship.connectors.databases.postgres.connection import arrow
from tranship.connectors.databases.postgres.context import Work, new_row
from tranship.connectors.databases.postgres.last_written import LastWritten
from tranship.connectors.databases.postgres.sql import (
    OWN_COLUMNS,
    TABLE_COMMENT,
    ddl,
    ledger_table,
    own_type,
    sql_name,
    type_sql,
)
from tranship.connectors.databases.postgres.transfer import SENT_ROWS, copy_to_server, rows_by_place
from tranship.connectors.databases.postgres.values import is_jsonb, needs_cast, sent_value
from tranship.connectors.databases.table_mapping import COMMENTS, DELETED, RUN, Stored, literal, quoted
from tranship.connectors.errors import (
    ConfigError,
    Refused,
)
from tranship.schemas.customer import KEY


class Writer:
    """The plan, carried out: one statement for each kind of change, the ledger row, the commit."""

    def __init__(self, work: Work, plan: Plan, address: Address, where: str) -> None:
        self._work, self._plan, self._address, self._where = work, plan, address, where
        self._wire, self._bench, self._load = work.wire, work.bench, work.load

    def write(self) -> None:
        """Everything, and COMMIT."""
        wire = self._wire
        relation = self._work.relation
        schema = relation.schema if relation else self._schema()
        ledger = find_relation(wire, Address("", schema, LEDGER, None, ""), LEDGER)
        keeps = self._work.target.written and "updated_at" in self._load.survivors.columns
        written = LastWritten(wire, relation) if relation and keeps else None
        if relation is None or ledger is None or (written and not written.is_there):
            # Two runs that make the same schema or ledger at once would stumble over each other.
            wire.rows(
                f"SELECT pg_advisory_xact_lock(hashtextextended({literal(f'tranship ledger:{schema}')}, 0)) IS NULL"
            )
            ledger = find_relation(wire, Address("", schema, LEDGER, None, ""), LEDGER)
        if relation is None:
            self._create(schema)
        else:
            for name in self._work.added:
                kind = type_sql(own_type(name))
                wire.run(f"ALTER TABLE {relation.name} ADD COLUMN {quoted(name)} {kind}")
            if written:
                written.write(self._bench, self._work.target, self._load)
            self._update(relation)
            self._delete(relation)
        self._insert(relation)
        if relation is None:
            wire.run(f"ALTER TABLE {quoted(schema)}.{quoted(self._address.table)} ADD PRIMARY KEY ({quoted(KEY)})")
        if ledger is None:
            wire.run(ddl(CreateTable(ledger_table(schema))))
        row = ledger_row(self._load, self._plan, self._address.table)
        if ledger is not None:
            self._extend_ledger(ledger, row)
        lacked = dict.fromkeys(map(ord, self._work.target.unwritable), "?")
        values = ", ".join(literal(str(value).translate(lacked)) for value in row.values())
        wire.run(
            f"INSERT INTO {quoted(schema)}.{quoted(LEDGER)} ({', '.join(map(quoted, row))}, finished_at) "
            f"VALUES ({values}, clock_timestamp())"
        )
        wire.run("COMMIT")

    def _extend_ledger(self, ledger: Relation, row: dict[str, Any]) -> None:
        """A ledger of an earlier version gets the counts that it lacks; only its owner can do that."""
        lacking_counts = [name for name in LATER_COUNTS if name not in column_types(self._wire, ledger)]
        if not lacking_counts:
            return
        owner = f"(SELECT relowner FROM pg_catalog.pg_class WHERE oid = {ledger.oid})"
        if self._wire.value(f"SELECT pg_has_role({owner}, 'USAGE')"):
            added = ", ".join(f"ADD COLUMN IF NOT EXISTS {name} bigint NOT NULL DEFAULT 0" for name in lacking_counts)
            self._wire.run(f"ALTER TABLE {ledger.name} {added}")
            return
        self._load.say(
            f"{ledger.name} is of an earlier version and lacks {' and '.join(lacking_counts)}, which are left out. "
            f"Let its owner ALTER TABLE {ledger.name} "
            + ", ".join(f"ADD COLUMN {name} bigint NOT NULL DEFAULT 0" for name in lacking_counts)
        )
        for name in lacking_counts:
            del row[name]

    def _schema(self) -> str:
        """The schema of a new table, made if it is missing."""
        schema = self._address.schema or self._wire.value("SELECT current_schema()::text")
        if schema is None:
            raise ConfigError(f"{self._where}: no schema is on the search path; name one: ?table=schema.table")
        if not self._wire.rows(f"SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {literal(schema)}"):
            self._wire.run(ddl(CreateSchema(sql_name(schema), if_not_exists=True)))
        return str(schema)

    def _create(self, schema: str) -> None:
        columns = [
            sa.Column(sql_name(name), own_type(name), nullable=name != KEY, comment=COMMENTS.get(name))
            for name in OWN_COLUMNS
        ]
        table = sa.Table(
            sql_name(self._address.table), sa.MetaData(), *columns, schema=sql_name(schema), comment=TABLE_COMMENT
        )
        self._wire.run(ddl(CreateTable(table)))
        self._wire.run(ddl(SetTableComment(table)))
        for column in columns:
            if column.comment:
                self._wire.run(ddl(SetColumnComment(column)))

    def _insert(self, relation: Relation | None) -> None:
        work, plan = self._work, self._plan
        if not plan.counts["create"]:
            return
        values = new_row(work)
        everything = plan.counts["create"] == self._load.survivors.count
        chosen = f"JOIN read_parquet({literal(plan.rows)}) p ON p.row = s._row AND p.action = 'create'"
        rows = self._bench.sql(
            f"SELECT {', '.join(f'{value} AS {quoted(name)}' for name, value in values.items())} "
            f"FROM _survivors s {'' if everything else chosen}"
        )
        casts = {at.column for at in work.brought if needs_cast(at)}
        blank = self._blank(chosen if not everything else "")
        if relation is None or not (casts or blank or relation.inserts_only):
            batches = rows.to_arrow_reader(SENT_ROWS)
            json = [at.column for at in work.brought if is_jsonb(at)]
            schema = relation.schema if relation else self._schema()
            table = relation.table if relation else self._address.table
            done = self._wire.load(table, arrow(batches.schema, batches, json), schema=schema)
        else:
            casts |= {at.column for at in work.brought if is_jsonb(at)}
            copy_to_server(self._wire, "_tranship_new", rows)
            given = {name: f"u.{quoted(name)}" for name in values}
            kinds = {name: work.types.get(name) for name in casts}
            given |= {at: kind.cast(given[at]) if kind else f"{given[at]}::jsonb" for at, kind in kinds.items()}
            given |= {name: f"coalesce({given[name]}, {work.types[name].default})" for name in blank}
            sources = ", ".join(given.values())
            done = self._wire.run(
                f"INSERT INTO {relation.name} ({', '.join(map(quoted, values))}) "
                f"SELECT {sources} FROM pg_temp._tranship_new u"
            )
            self._wire.run("DROP TABLE pg_temp._tranship_new")
        self._as_planned("create", done)

    def _blank(self, chosen: str) -> list[str]:
        """The columns of which some new rows get the default, for want of a value."""
        filled = [at for at in self._work.brought if at.at.filled]
        if not filled:
            return []
        missing = ", ".join(f"count(*) - count({at.value})" for at in filled)
        counts = self._bench.execute(f"SELECT {missing} FROM _survivors s {chosen}").fetchall()[0]
        return [at.column for at, count in zip(filled, counts, strict=True) if count]

    def _update(self, relation: Relation) -> None:
        work, plan = self._work, self._plan
        if not plan.counts["update"]:
            return
        changed = self._changed()
        values = "".join(f", {sent_value(at)} AS {quoted(at.column)}" for at in changed)
        rows = self._bench.sql(
            f"SELECT p.target AS _place{values} FROM _plan p JOIN _survivors s ON s._row = p.row "
            "WHERE p.action = 'update' ORDER BY p.target"
        )
        copy_to_server(self._wire, "_tranship_changed", rows)
        self._wire.run("ANALYZE pg_temp._tranship_changed (_place)")
        self._step_aside(relation)
        sets = {}
        for at in changed:
            value = f"u.{quoted(at.column)}"
            if is_jsonb(at) or needs_cast(at):
                value = work.types[at.column].cast(value) if at.column in work.types else f"{value}::{at.at.shown}"
            sets[at.column] = value if at.erasable(self._load) else f"coalesce({value}, t.{quoted(at.column)})"
        if work.target.bookkeeping:
            sets |= {RUN: literal(self._load.run_id), DELETED: "NULL"}
        assigned = ", ".join(f"{quoted(name)} = {value}" for name, value in sets.items())
        with rows_by_place(self._wire):
            done = self._wire.run(
                f"UPDATE {relation.name} t SET {assigned} "
                f"FROM pg_temp._tranship_changed u WHERE {relation.at('u._place')}"
            )
        self._wire.run("DROP TABLE pg_temp._tranship_changed")
        self._as_planned("update", done)

    def _changed(self) -> list[Stored]:
        """The columns in which any row changes; the others would be set to what they are."""
        return [at for at in self._work.brought if at.field in self._plan.changed_fields]

    def _step_aside(self, relation: Relation) -> None:
        """Unique values that move from one row to another are given up first: Postgres looks at each row in turn."""
        work = self._work
        for at in self._changed():
            kind = work.types.get(at.column)
            if at.column not in work.target.unique or kind is None:
                continue
            is_text = kind.base in ("text", "varchar")
            nothing = (
                "NULL"
                if kind.nullable and not self._once_null(relation, at.column)
                else "'tranship:' || u._place"
                if is_text
                else ""
            )
            if not nothing:
                continue
            column = quoted(at.column)
            gives_up = f"t.{column} IS DISTINCT FROM u.{column}::{kind.shown}"
            if not at.erasable(self._load):
                gives_up += f" AND u.{column} IS NOT NULL"
            self._wire.run(
                f"WITH aside AS (UPDATE {relation.name} t SET {column} = {nothing} FROM pg_temp._tranship_changed u "
                f"WHERE {relation.at('u._place')} AND {gives_up} AND t.{column} IN "
                f"(SELECT o.{column}::{kind.shown} FROM pg_temp._tranship_changed o) "
                f"RETURNING u._place AS was, {relation.place} AS now) "
                "UPDATE pg_temp._tranship_changed u SET _place = aside.now FROM aside WHERE u._place = aside.was"
            )

    def _once_null(self, relation: Relation, column: str) -> bool:
        """Whether no two nulls may stand in a column."""
        return bool(
            self._wire.rows(
                "SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid "
                f"AND a.attnum = i.indkey[0] WHERE i.indrelid = {relation.oid} AND a.attname = {literal(column)} "
                "AND i.indnkeyatts = 1 AND (to_jsonb(i)->>'indnullsnotdistinct')::boolean"
            )
        )

    def _delete(self, relation: Relation) -> None:
        if not self._plan.counts["delete"]:
            return
        copy_to_server(self._wire, "_tranship_gone", self._bench.sql("SELECT target FROM _gone ORDER BY 1"))
        self._wire.run("ANALYZE pg_temp._tranship_gone")
        gone = f"pg_temp._tranship_gone u WHERE {relation.at('u.target')}"
        with rows_by_place(self._wire):
            if self._load.hard_delete:
                done = self._wire.run(f"DELETE FROM {relation.name} t USING {gone}")
            else:
                done = self._wire.run(
                    f"UPDATE {relation.name} t SET {quoted(DELETED)} = now(), "
                    f"{quoted(RUN)} = {literal(self._load.run_id)} FROM {gone}"
                )
        self._wire.run("DROP TABLE pg_temp._tranship_gone")
        self._as_planned("delete", done)

    def _as_planned(self, action: str, done: int) -> None:
        planned = self._plan.counts[action]
        if done != planned:
            raise Refused(
                f"{self._address.shown}: {self._where}: took {done:,} rows where {planned:,} were to be written "
                f"({action}); a trigger, rule or policy of the table keeps the others away. Nothing was written."
            )
